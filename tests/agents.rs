//! Agents as child processes: what they can touch, and that nothing of them outlives its guard, its node or its stop.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, Said, run_command, signal, wait_for, weft};

/// Tries what an agent must not be able to do, and answers with everything that worked.
const PROBE: &str = r#"
import os, socket, sys
from weft_agent import Agent

def reads(path):
    with open(path, "rb") as file:
        file.read(1)

def connects(path):
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(5)
        door.connect(path)
        door.sendall(b"GET /v1/status HTTP/1.1\r\nhost: weft\r\nconnection: close\r\n\r\n")
        status = door.makefile("rb").readline().split()
        if status[1:2] != [b"200"]:
            raise PermissionError(13, f"answered {status}")

def probe(agent, message):
    home = message["payload"]["text"]
    attempts = {
        "list " + home: lambda: os.listdir(home),
        "write " + home: lambda: open(home + "/new", "w"),
        "link": lambda: os.link(home + "/identity.key", "linked"),
        "rename": lambda: os.rename(home + "/identity.key", "renamed"),
        "truncate": lambda: os.truncate(home + "/store.redb", 0),
        "remove": lambda: os.remove(home + "/operator.token"),
        "memory of the node": lambda: reads(f"/proc/{os.getppid()}/mem"),
        "environment of the guard": lambda: reads(f"/proc/{os.getppid()}/environ"),
        "signal to the guard": lambda: os.kill(os.getppid(), 0),
        "connect": lambda: connects(home + "/api.sock"),
        "shadow": lambda: reads("/etc/shadow"),
    }
    for name in ("identity.key", "operator.token", "store.redb", "cluster.cbor", "lock", "listen.json", "logs/probe.log"):
        attempts[name] = lambda name=name: reads(f"{home}/{name}")
    worked, errors = [], set()
    for name, attempt in attempts.items():
        try:
            attempt()
            worked.append(name)
        except OSError as error:
            errors.add(f"{name}: {error.strerror}")
    open("mine", "w").write("my own folder")
    return {"text": repr((worked, sorted(errors)))}

Agent(probe).run()
"#;

/// Ignores everything it is asked, and so do its child and an orphan that left the group. Answers with all their numbers.
pub(crate) const STUBBORN: &str = r#"
import os, signal, subprocess, threading
from weft_agent import Agent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
tail = "exec tail -f /dev/null >/dev/null"
child = subprocess.Popen(["sh", "-c", tail])
orphan = subprocess.check_output(["sh", "-c", f"setsid sh -c 'echo $$; {tail}' &"], text=True).strip()
pids = f"{os.getpid()} {child.pid} {orphan}"
Agent(lambda agent, message: {"text": pids}).run()
threading.Event().wait()
"#;

fn examples() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agents")).expect("the examples")
}

/// Writes a script with the examples' module beside it, and gives the command that runs it.
pub(crate) fn script(folder: &Path, text: &str) -> String {
    let code = folder.join("code");
    fs::create_dir_all(&code).expect("a folder");
    fs::copy(examples().join("weft_agent.py"), code.join("weft_agent.py")).expect("a copy");
    fs::write(code.join("agent.py"), text).expect("written");
    format!("python3 {}", code.join("agent.py").display())
}

/// Whether the process runs; one that ended and was not waited for does not.
pub(crate) fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn numbers(text: &Value) -> Vec<u32> {
    let numbers = text.as_str().expect("a text").split(' ').map(|number| number.parse().expect("a number"));
    numbers.collect()
}

#[test]
fn an_agent_that_looks_for_keys_and_sockets_finds_none_it_can_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), PROBE);
    alpha.json(&["agent", "spawn", "probe", "--exec", &command]);
    let home = alpha.home.to_str().expect("text");
    let found = alpha.json(&["call", "probe", home])["reply"].as_str().expect("a text").to_owned();
    assert!(found.starts_with("([], "), "{found}");
    for name in ["identity.key", "operator.token", "store.redb", "cluster.cbor"] {
        assert!(found.contains(&format!("'{name}: Permission denied'")), "{found}");
        assert!(alpha.home.join(name).exists(), "{name} was there to be found, and still is");
    }
    assert!(found.contains("connect: answered [b'HTTP/1.1', b'403'"), "{found}");
    assert!(alpha.home.join("agents/probe/mine").exists(), "its own folder is its own");
    assert!(
        alpha.api("GET", "/v1/status", None).is_ok_and(|(code, _)| code == 200),
        "the operator's door is open to us"
    );
}

#[test]
fn the_examples_answer_and_call_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = |name: &str| format!("python3 {}", examples().join(name).display());
    alpha.json(&["agent", "spawn", "wordcount", "--exec", &command("wordcount.py")]);
    alpha.json(&["agent", "spawn", "caller", "--exec", &command("caller.py"), "--grant", "call:wordcount*"]);
    let counted = alpha.json(&["call", "wordcount", "to be or not to be"]);
    assert!(
        counted.to_string().contains("\"words\":6") || counted.to_string().contains(r#"\"words\": 6"#),
        "{counted}"
    );
    let called = alpha.json(&["call", "caller", "wordcount one two"]);
    assert!(called.to_string().contains("asked by caller on alpha"), "{called}");
    let said = alpha.weft(&["call", "caller", "echo hi", "--json"]);
    assert_ne!(said.code, 0, "the grant is for wordcount alone: {said:?}");
}

#[test]
fn a_program_that_is_no_agent_is_refused_with_its_last_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), "raise SystemExit('no configuration')");
    for (command, expected) in [(command.as_str(), "no configuration"), ("no-such-program", "was not found")] {
        let said = alpha.weft(&["agent", "spawn", "broken", "--exec", command, "--json"]);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(format!("{said:?}").contains(expected), "{said:?}");
    }
}

#[test]
fn a_killed_node_and_a_stop_leave_no_process_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), STUBBORN);
    let start = |alpha: &Node, name: &str| {
        alpha.json(&["agent", "spawn", name, "--exec", &command]);
        let pids = numbers(&alpha.json(&["call", name, "who?"])["reply"]);
        assert!(pids.len() == 3 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
        pids
    };
    let stopped = start(&alpha, "first");
    alpha.json(&["agent", "stop", "first"]);
    assert!(!stopped.iter().any(|pid| runs(*pid)), "{stopped:?}");
    let orphaned = start(&alpha, "second");
    alpha.kill();
    let gone = || orphaned.iter().all(|pid| !runs(*pid)).then_some(());
    wait_for("the agent's whole family is gone", BOUND, gone);
    let sockets = || fs::read_dir(alpha.home.join("run")).map_or(Some(()), |left| (left.count() == 0).then_some(()));
    wait_for("its socket is gone", BOUND, sockets);
}

/// What a guard is told by its node; here the node is this test.
fn plan(program: &str, arguments: &[&str], folder: &Path) -> Value {
    let system = ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
    json!({
        "node": std::process::id(),
        "program": program,
        "arguments": arguments,
        "environment": {"NAMED": "yes"},
        "confinement": {
            "readable": system.collect::<Vec<_>>(),
            "devices": ["/dev/null"],
            "writable": [folder],
            "sockets": [],
        },
        "trusted": false,
        "limits": {},
    })
}

fn guard(plan: &Value) -> Command {
    let mut command = weft();
    command.args(["child", "guard"]).env_clear().env("WEFT_CHILD", plan.to_string()).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn guarded(plan: &Value) -> Said {
    run_command(&mut guard(plan))
}

/// The messages of the guard, and what the program itself wrote.
fn lines(said: &Said) -> (Vec<Value>, Vec<&str>) {
    let (words, own): (Vec<_>, Vec<_>) =
        said.stdout.lines().filter(|line| !line.is_empty()).partition(|line| line.contains("child/"));
    (words.into_iter().map(|line| serde_json::from_str(line).expect("JSON")).collect(), own)
}

#[test]
fn the_guard_passes_on_how_the_program_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let shell = |script: &str| plan("/bin/sh", &["-c", script], folder.path());
    let said = guarded(&shell("echo $NAMED $HOME$WEFT_CHILD; exit 5"));
    let (words, own) = lines(&said);
    assert_eq!((said.code, own), (5, vec!["yes"]), "{said:?}");
    assert_eq!(words.iter().map(|word| word["method"].as_str()).collect::<Vec<_>>(), [Some("child/started")]);

    let said = guarded(&shell("kill -9 $$"));
    let (words, _) = lines(&said);
    assert_eq!(said.code, 137);
    assert_eq!(words.last().expect("a word")["params"], json!({"signal": 9}));

    let said = guarded(&plan("/no/such/program", &[], folder.path()));
    let (words, _) = lines(&said);
    assert_eq!(said.code, 126);
    let reason = words.last().expect("a word")["params"]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.starts_with("/no/such/program cannot be run: No such file"), "{reason}");

    let mut strange = shell("echo never");
    strange["node"] = json!(1);
    let said = guarded(&strange);
    assert_eq!(said.code, 126);
    assert!(said.stdout.contains("the node is gone") && !said.stdout.contains("never"), "{said:?}");
}

#[test]
fn the_program_has_its_limits_and_cannot_leave_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = tempfile::tempdir().expect("a folder");
    fs::write(secret.path().join("key"), "secret").expect("written");
    let script = format!(
        "ulimit -c; ulimit -v; ulimit -t; cat {secret}/key; ls {secret}; echo x > {secret}/new; echo x > {own}/new && cat {own}/new",
        secret = secret.path().display(),
        own = folder.path().display(),
    );
    let mut plan = plan("/bin/sh", &["-c", &script], folder.path());
    plan["limits"] = json!({"memory_bytes": 512 * 1024 * 1024, "cpu_us": 1_500_000});
    let said = guarded(&plan);
    // The hard ends stand behind what the node measures: in KiB twice the memory and 1 GiB, in seconds twice the time and one.
    assert_eq!(lines(&said).1, ["0", "2097152", "4", "x"], "{said:?}");
    assert_eq!(said.stderr.matches("ermission denied").count(), 3, "{said:?}");
    assert!(!secret.path().join("new").exists());
}

/// Processes of a test; whatever it finds, none of them is left.
struct Family {
    first: Child,
    pids: Vec<u32>,
}

impl Drop for Family {
    fn drop(&mut self) {
        for pid in &self.pids {
            signal(*pid, "KILL");
        }
        let _ended = self.first.kill();
        let _ended = self.first.wait();
    }
}

/// Starts a guard over a program that ignores SIGTERM with all it started, and waits until all of them run.
fn stubborn(command: &mut Command) -> Family {
    let mut child = command.spawn().expect("started");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let words = stdout.lines().map_while(Result::ok).find_map(|line| line.strip_prefix("family ").map(str::to_owned));
    let pids = numbers(&json!(words.expect("the family's numbers").trim()));
    assert!(pids.len() == 3 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    Family { first: child, pids }
}

const STUBBORN_SHELL: &str = "trap '' TERM; \
    orphan=$(setsid sh -c 'echo $$; exec tail -f /dev/null >/dev/null' &); \
    tail -f /dev/null >/dev/null & echo family $$ $! $orphan; while :; do wait; done";

#[test]
fn a_guard_that_is_asked_to_end_ends_the_whole_family() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut family = stubborn(&mut guard(&plan("/bin/sh", &["-c", STUBBORN_SHELL], folder.path())));
    signal(family.first.id(), "TERM");
    let status = family.first.wait().expect("its end");
    assert!(!family.pids.iter().any(|pid| runs(*pid)), "{:?}", family.pids);
    assert_eq!((status.code(), status.signal()), (Some(137), None));
}

#[test]
fn a_family_does_not_outlive_the_node_nor_its_guard() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = plan("/bin/sh", &["-c", STUBBORN_SHELL], folder.path());
    // A shell in the node's place: it puts its own number into the plan, starts the guard in a group of its own, and waits.
    plan["node"] = json!("NODE");
    let start = r#"WEFT_CHILD=$(printf %s "$PLAN" | sed "s/\"NODE\"/$$/") setsid "$0" child guard & wait"#;
    for end_guard in [false, true] {
        let mut node = Command::new("/bin/sh");
        node.args(["-c", start, env!("CARGO_BIN_EXE_weft")]).env("PLAN", plan.to_string());
        let family = stubborn(node.stdin(Stdio::null()).stdout(Stdio::piped()));
        let victim = if end_guard { parent(family.pids[0]) } else { family.first.id() };
        signal(victim, "KILL");
        // Without a guard the program goes at once; what it started is left to the node, and here there is none.
        let must_go = if end_guard { &family.pids[..1] } else { &family.pids[..] };
        wait_for("the family is gone", BOUND, || must_go.iter().all(|pid| !runs(*pid)).then_some(()));
    }
}

fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace();
    fields.skip(1).map(|field| field.parse().expect("a number")).next().expect("a parent")
}
