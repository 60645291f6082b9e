//! Real child processes in Python, and an event loop played by the test. The guard is a stand-in that only becomes the
//! program: the real one is another program, tested where that is built.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use weft_kernel::{Answer, SendReport, Syscall};
use weft_peer::{Question, Reply};
use weft_protocol::{
    BuiltinKind, ChainId, Incarnation, Payload, Principal, Refusal, ResourceLimits, Sender, Timestamp, TraceId,
};

use super::*;
use crate::ask::{Local, door};

/// Far longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const GUARD: &str = r#"
import json, os
plan = json.loads(os.environ["WEFT_CHILD"])
print('\n{"jsonrpc":"2.0","method":"child/started","params":{"pid":%d}}' % os.getpid(), flush=True)
os.execve(plan["program"], [plan["program"], *plan["arguments"]], plan["environment"])
"#;

const PROCESS: ProcessId = ProcessId { index: 1, generation: 0 };

/// A node's runners, and what reaches its event loop.
struct Node {
    runners: Runners,
    locals: mpsc::Receiver<Local>,
    place: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let exe = place.path().join("guard");
        let python = confinement::find_program("python3", variable("PATH").as_deref()).expect("python3");
        fs::write(&exe, format!("#!{}{GUARD}", python.display())).expect("written");
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).expect("executable");
        let home = place.path().join("home");
        fs::create_dir(&home).expect("a home");
        let (asker, locals) = door();
        let node_name = "alpha".parse().expect("a name");
        let config = RunnersConfig { node: NodeId::from_bytes([1; 32]), node_name, home, exe };
        Self { runners: Runners::new(config, asker), locals, place }
    }

    fn home(&self) -> &Path {
        &self.runners.shared.config.home
    }

    fn start(&mut self, command: &[&str]) {
        let command = command.iter().map(ToString::to_string).collect();
        // Nothing confines the agents of these tests: Python would leave its bytecode among the examples.
        let environment = BTreeMap::from([("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned())]);
        let spec = spec(Backend::Command { command, environment, trusted: false });
        assert!(self.runners.start(PROCESS, spec, ResourceLimits::default()).is_none());
    }

    /// Starts a script of this text, with the example module at hand.
    fn start_script(&mut self, text: &str) {
        let script = self.place.path().join("script.py");
        let examples = example("");
        let text = format!("import sys\nsys.path.insert(0, {examples:?})\nfrom weft_agent import Agent\n{text}");
        fs::write(&script, text).expect("written");
        self.start(&["python3", script.to_str().expect("UTF-8")]);
    }

    async fn next(&mut self) -> Local {
        let next = tokio::time::timeout(PATIENCE, self.locals.recv()).await;
        next.expect("nothing happened in time").expect("the door is open")
    }

    async fn happened(&mut self) -> Input {
        match self.next().await {
            Local::Happened(input) => *input,
            other => panic!("{other:?}"),
        }
    }

    async fn asked(&mut self) -> (Principal, Question, oneshot::Sender<Result<Reply, Refusal>>) {
        match self.next().await {
            Local::Asked { by, question, answer, .. } => (by, *question, answer),
            other => panic!("{other:?}"),
        }
    }

    /// The process of the operating system, once the agent runs.
    async fn started(&mut self) -> u32 {
        match self.happened().await {
            Input::AgentStarted { process: PROCESS, pid: Some(pid) } => pid,
            other => panic!("{other:?}"),
        }
    }

    async fn answered(&mut self) -> Result<Option<Payload>, String> {
        match self.happened().await {
            Input::AgentAnswered { process: PROCESS, answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    }

    async fn exited(&mut self) -> ExitReason {
        match self.happened().await {
            Input::AgentExited { process: PROCESS, reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    fn deliver(&mut self, counter: u64, text: &str) {
        assert_eq!(self.at_once(counter, text), None);
    }

    /// What is known at once of a message.
    fn at_once(&mut self, counter: u64, text: &str) -> Option<Result<Option<Payload>, String>> {
        let mut inputs = VecDeque::new();
        self.runners.deliver(PROCESS, delivery(counter, text), Timestamp(0), &mut inputs);
        inputs.pop_front().map(|input| match input {
            Input::AgentAnswered { answer, .. } => answer,
            other => panic!("{other:?}"),
        })
    }

    async fn call(&mut self, text: &str) -> String {
        self.deliver(1, text);
        match self.answered().await {
            Ok(Some(Payload::Text(text) | Payload::Json(text))) => text,
            other => panic!("{other:?}"),
        }
    }
}

fn spec(backend: Backend) -> AgentSpec {
    AgentSpec::new("a".parse().expect("a name"), backend)
}

fn message(counter: u64) -> MessageId {
    let chain = ChainId { node: NodeId::from_bytes([2; 32]), incarnation: Incarnation(1) };
    MessageId { chain, counter }
}

fn delivery(counter: u64, text: &str) -> Delivery {
    Delivery {
        message: message(counter),
        from: Sender { node: NodeId::from_bytes([2; 32]), principal: Principal::Operator },
        target: "a".into(),
        payload: Payload::Text(text.into()),
        wants_reply: true,
        deadline: crate::clock::wall().after_us(30_000_000),
        trace: TraceId(77),
        parts: false,
    }
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agents").join(name);
    fs::canonicalize(path).expect("the examples").to_str().expect("UTF-8").to_owned()
}

fn sent(level: weft_protocol::Level, reply: &str) -> Result<Reply, Refusal> {
    Ok(Reply::Kernel(Answer::Sent(Box::new(SendReport {
        id: message(9),
        trace: TraceId(77),
        node: NodeId::from_bytes([3; 32]),
        level,
        reply: Some(Payload::Text(reply.into())),
        delivered: None,
        latency_us: 5,
        record: None,
        remote_record: None,
        witnesses: Vec::new(),
        parts: None,
    }))))
}

/// Whether the process runs; one that ended and was not waited for does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn built_in_agents_answer_in_the_same_turn() {
    let mut node = Node::new();
    let started = node.runners.start(PROCESS, spec(Backend::Builtin(BuiltinKind::Counter)), ResourceLimits::default());
    assert!(matches!(started, Some(Input::AgentStarted { process: PROCESS, pid: None })));
    for expected in ["1", "2"] {
        assert_eq!(node.at_once(1, "x"), Some(Ok(Some(Payload::Text(expected.into())))));
    }
    let stopped = node.runners.stop(PROCESS, 0);
    assert!(matches!(stopped, Some(Input::AgentExited { reason: ExitReason::Stopped, .. })));
    assert_eq!(node.at_once(1, "x"), Some(Err("the process has ended".into())));
}

#[tokio::test]
async fn the_word_count_example_counts_and_stops() {
    let mut node = Node::new();
    node.start(&["python3", &example("wordcount.py")]);
    let pid = node.started().await;
    assert!(node.runners.agent_processes().is_agent_pid(pid));
    let counted = node.call("to be\nor not to be").await;
    assert_eq!(counted, r#"{"words": 6, "lines": 2, "characters": 18}"#);
    node.runners.stop(PROCESS, 5_000_000);
    assert_eq!(node.exited().await, ExitReason::Stopped);
    assert!(!runs(pid));
    assert_eq!(fs::read_dir(node.home().join("run")).expect("a folder").count(), 0, "the socket is gone");
}

#[tokio::test]
async fn the_calling_example_asks_in_the_same_conversation() {
    let mut node = Node::new();
    node.start(&["python3", &example("caller.py")]);
    node.started().await;
    node.deliver(1, "wordcount@beta one two");
    let (by, question, answer) = node.asked().await;
    assert_eq!(by, Principal::Agent { agent: "a".parse().expect("a name"), process: PROCESS });
    let Question::Kernel(syscall) = question else { panic!("{question:?}") };
    let Syscall::Send { target, payload, wants_reply, level, trace, .. } = *syscall else { panic!("{syscall:?}") };
    assert_eq!((target.to_string(), payload), ("wordcount@beta".into(), Payload::Text("one two".into())));
    assert_eq!((wants_reply, trace), (true, Some(TraceId(77))));
    answer.send(sent(level, "2")).expect("somebody waits");
    let expected = r#"{"asked": "wordcount@beta", "answer": "2", "note": "asked by a on alpha"}"#;
    assert_eq!(node.answered().await, Ok(Some(Payload::Json(expected.into()))));

    node.deliver(2, "secret hi");
    let (_, _, answer) = node.asked().await;
    answer.send(Err(Refusal::Denied { rule: "default-closed".into() })).expect("somebody waits");
    assert_eq!(node.answered().await, Err("Refused: denied by rule default-closed".into()));
}

#[tokio::test]
async fn a_program_that_never_answers_initialize_is_ended() {
    let mut node = Node::new();
    if let Some(shared) = Arc::get_mut(&mut node.runners.shared) {
        shared.initialize_within = Duration::from_millis(50);
    }
    node.start(&["tail", "-f", "/dev/null"]);
    assert_eq!(
        node.exited().await,
        ExitReason::StartFailed { reason: "initialize was not answered within 50ms".into() }
    );
}

#[tokio::test]
async fn a_program_that_writes_garbage_is_ended() {
    let mut node = Node::new();
    node.start(&["yes"]);
    assert_eq!(node.exited().await, ExitReason::Misbehaved { reason: "10 malformed lines in a row".into() });
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    for (command, expected) in [
        (&["no-such-program"] as &[_], "the program no-such-program was not found"),
        (&["./agent"], "the program ./agent is not an absolute path"),
        (&["sh", "-c", "echo first >&2; echo 'no module' >&2; exit 4"], "it exited with code 4 before it answered"),
        (&["sh", "-c", "kill -11 $$"], "it killed by signal 11 before it answered initialize"),
    ] {
        let mut node = Node::new();
        node.start(command);
        let ExitReason::StartFailed { reason } = node.exited().await else { panic!("started") };
        assert!(reason.starts_with(expected), "{reason}");
    }
    let mut node = Node::new();
    node.start(&["sh", "-c", "echo 'no module' >&2; exit 4"]);
    let ExitReason::StartFailed { reason } = node.exited().await else { panic!("started") };
    assert!(reason.ends_with("; it said: no module"), "{reason}");
}

#[tokio::test]
async fn an_exit_and_a_signal_are_told_apart() {
    let mut node = Node::new();
    node.start_script("import os\nAgent(lambda agent, message: os._exit(137)).run()");
    node.started().await;
    node.deliver(1, "x");
    assert_eq!(node.exited().await, ExitReason::Exited { code: 137 });
    node.start_script("import os\nAgent(lambda agent, message: os.kill(os.getpid(), 9)).run()");
    node.started().await;
    node.deliver(1, "x");
    assert_eq!(node.exited().await, ExitReason::Killed { signal: 9 });
}

#[tokio::test]
async fn a_stubborn_family_is_ended_to_the_last() {
    let mut node = Node::new();
    // The agent and its child ignore SIGTERM and the request to finish; the grandchild has left the group.
    node.start_script(
        r#"
import os, signal, subprocess, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sh", "-c", "setsid tail -f /dev/null >/dev/null & echo $!; exec tail -f /dev/null >/dev/null"], stdout=subprocess.PIPE)
pids = f"{os.getpid()} {child.pid} {child.stdout.readline().decode().strip()}"
Agent(lambda agent, message: {"text": pids}).run()
threading.Event().wait()
"#,
    );
    node.started().await;
    let pids: Vec<u32> = node.call("pids").await.split(' ').map(|pid| pid.parse().expect("a number")).collect();
    assert!(pids.len() == 3 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    assert!(pids.iter().all(|pid| node.runners.agent_processes().is_agent_pid(*pid)));
    // The shortest grace there is; none at all would be a kill.
    node.runners.stop(PROCESS, 1);
    assert_eq!(node.exited().await, ExitReason::Stopped);
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
}

#[tokio::test]
async fn shutdown_leaves_nothing_and_tells_nobody() {
    let mut node = Node::new();
    node.start_script("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nAgent(None).run()");
    let pid = node.started().await;
    tokio::time::timeout(PATIENCE, node.runners.shutdown()).await.expect("in time");
    assert!(!runs(pid));
    assert!(node.locals.try_recv().is_err());
}

#[tokio::test]
async fn sixty_four_requests_are_open_and_more_are_busy() {
    let mut node = Node::new();
    node.start_script(
        r#"
from concurrent.futures import ThreadPoolExecutor
from weft_agent import Refused
from threading import Semaphore
refusals = Semaphore(0)
def ask(agent):
    try:
        return agent.call("b", {"text": "x"})["reply"]["text"]
    except Refused as refused:
        refusals.release()
        return refused.code
def answer(agent, message):
    if message["payload"]["text"] == "all refused?":
        for _ in range(36):
            refusals.acquire()
        return None
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: ask(agent), range(100)))
    return {"json": {answer: answers.count(answer) for answer in sorted(set(answers))}}
Agent(answer).run()
"#,
    );
    node.started().await;
    node.deliver(1, "go");
    let mut waiting = Vec::new();
    for _ in 0..64 {
        waiting.push(node.asked().await);
    }
    // All others are refused without reaching the event loop; only then is anything answered.
    node.deliver(2, "all refused?");
    assert_eq!(node.answered().await, Ok(None));
    assert!(node.locals.try_recv().is_err());
    for (_, question, answer) in waiting {
        let Question::Kernel(syscall) = question else { panic!("{question:?}") };
        let Syscall::Send { level, .. } = *syscall else { panic!("{syscall:?}") };
        answer.send(sent(level, "yes")).expect("somebody waits");
    }
    assert_eq!(node.answered().await, Ok(Some(Payload::Json(r#"{"busy": 36, "yes": 64}"#.into()))));
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_and_the_next_one_is_read() {
    let mut node = Node::new();
    node.start_script(
        r#"
def answer(agent, message):
    sys.stdout.write("x" * 3_000_000 + "\n")
    return {"text": "still here"}
Agent(answer).run()
"#,
    );
    node.started().await;
    assert_eq!(node.call("x").await, "still here");
}

#[tokio::test]
async fn cancellations_and_publications_reach_the_agent() {
    let mut node = Node::new();
    node.start(&[
        "sh",
        "-c",
        r#"
read initialize; echo '{"jsonrpc":"2.0","id":0,"result":null}'
read message; read cancel; read published
echo "$cancel" >&2; echo "$published" >&2
echo '{"jsonrpc":"2.0","id":1,"result":{"text":"late"}}'
read signal; echo "$signal" >&2
"#,
    ]);
    node.started().await;
    node.deliver(1, "x");
    node.runners.cancel(PROCESS, message(1));
    node.runners.deliver_publication(
        PROCESS,
        Publication {
            id: message(2),
            hlc: weft_protocol::Hlc(1),
            trace: TraceId(1),
            from: Sender { node: NodeId::from_bytes([2; 32]), principal: Principal::Operator },
            topic: "jobs".parse().expect("a topic"),
            seq: 1,
            payload: Payload::Text("news".into()),
            grant: None,
            prev: 0,
            forgetful: false,
            ed25519: None,
        },
        Timestamp(0),
    );
    assert_eq!(node.answered().await, Ok(Some(Payload::Text("late".into()))));
    node.runners.stop(PROCESS, 5_000_000);
    assert_eq!(node.exited().await, ExitReason::Stopped);
    let log = fs::read_to_string(node.home().join("logs/a.log")).expect("a log");
    let methods: Vec<_> = log.lines().filter_map(|line| line.split("\"method\":").nth(1)?.split('"').nth(1)).collect();
    assert_eq!(methods, ["cancel", "published", "signal"], "{log}");
}

#[tokio::test]
async fn the_agents_own_socket_serves_its_family_and_nobody_else() {
    let mut node = Node::new();
    node.start_script(
        r#"
import os, subprocess
helper = '''
import os, socket
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["WEFT_API"])
f = s.makefile("rw")
for line in ('{"jsonrpc":"2.0","id":1,"method":"send","params":{"target":"b","payload":{"text":"from below"}}}',
             '{"jsonrpc":"2.0","id":2,"method":"subscribe","params":{"topic":"jobs"}}', 'garbage'):
    f.write(line + chr(10))
f.flush()
s.shutdown(socket.SHUT_WR)
print("|".join(sorted(line.strip() for line in f)))
'''
def answer(agent, message):
    found = subprocess.run([sys.executable, "-c", helper], stdout=subprocess.PIPE, text=True, check=True)
    return {"text": os.environ["WEFT_API"] + " " + found.stdout}
Agent(answer).run()
"#,
    );
    node.started().await;
    node.deliver(1, "go");
    let (by, question, answer) = node.asked().await;
    assert!(matches!(by, Principal::Agent { process: PROCESS, .. }));
    let Question::Kernel(syscall) = question else { panic!("{question:?}") };
    let Syscall::Send { level, wants_reply: false, .. } = *syscall else { panic!("{syscall:?}") };
    answer.send(sent(level, "")).expect("somebody waits");
    let Ok(Some(Payload::Text(text))) = node.answered().await else { panic!("no answer") };
    let (socket, lines) = text.split_once(' ').expect("two words");
    let lines: Vec<_> = lines.trim().split('|').collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains(r#""id":1,"result":{"reply":{"text":""},"id":"m-"#), "{lines:?}");
    assert!(lines[1].contains(r#""id":2,"error""#) && lines[1].contains("unsupported"), "{lines:?}");
    assert!(lines[2].contains("-32700"), "{lines:?}");

    // This test is no child of the agent: it is let in by nobody.
    let stream = tokio::net::UnixStream::connect(socket).await.expect("connected");
    let (reading, mut writing) = stream.into_split();
    let _closed = writing.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ready\"}\n").await;
    let mut line = String::new();
    let read = tokio::io::BufReader::new(reading).read_line(&mut line).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{line}");
}

#[tokio::test]
async fn the_environment_holds_what_was_named_and_nothing_else() {
    let mut node = Node::new();
    let command = ["sh", "-c", r#"env >&2; pwd >&2; exit 0"#].iter().map(ToString::to_string).collect();
    let environment = BTreeMap::from([("COLOUR".to_owned(), "red".to_owned())]);
    let backend = Backend::Command { command, environment, trusted: false };
    assert!(node.runners.start(PROCESS, spec(backend), ResourceLimits::default()).is_none());
    node.exited().await;
    let log = fs::read_to_string(node.home().join("logs/a.log")).expect("a log");
    let mut names: Vec<_> = log
        .lines()
        .filter_map(|line| line.split(" stderr ").nth(1)?.split_once('='))
        .map(|(name, _)| name)
        // The shell adds these by itself.
        .filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["COLOUR", "WEFT_AGENT", "WEFT_API", "WEFT_NODE"], "{log}");
    assert!(log.contains("home/agents/a"), "{log}");
}
