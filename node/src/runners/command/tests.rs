//! A conversation that panics: its family is ended and its end is told of. The guard is a stand-in that only becomes the program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use weft_protocol::{Backend, NodeId, Payload, Sender, TraceId};

use super::*;
use crate::ask::{Local, door};
use crate::runners::confinement::find_program;
use crate::runners::{Runners, RunnersConfig, variable};

/// Far longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const GUARD: &str = r#"
import json, os
plan = json.loads(os.environ["WEFT_CHILD"])
print('\n{"jsonrpc":"2.0","method":"child/started","params":{"pid":%d}}' % os.getpid(), flush=True)
os.execve(plan["program"], [plan["program"], *plan["arguments"]], plan["environment"])
"#;

/// Answers with the numbers of its family; the grandchild has left the group, so only below its guard it is found.
const AGENT: &str = r#"
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from weft_agent import Agent
child = subprocess.Popen(["sh", "-c", "setsid tail -f /dev/null >/dev/null & echo $!; exec tail -f /dev/null >/dev/null"], stdout=subprocess.PIPE)
pids = f"{os.getpid()} {child.pid} {child.stdout.readline().decode().strip()}"
Agent(lambda agent, message: {"text": pids}).run()
"#;

const PROCESS: ProcessId = ProcessId { index: 1, generation: 0 };

fn delivery(counter: u64) -> Delivery {
    let node = NodeId::from_bytes([2; 32]);
    let chain = weft_protocol::ChainId { node, incarnation: weft_protocol::Incarnation(1) };
    Delivery {
        message: MessageId { chain, counter },
        from: Sender { node, principal: Principal::Operator },
        target: "a".into(),
        payload: Payload::Text("who?".into()),
        wants_reply: true,
        deadline: wall().after_us(30_000_000),
        trace: TraceId(77),
        parts: false,
    }
}

/// What is known at once of a message that is handed over.
fn deliver(runners: &mut Runners, counter: u64) -> Option<Input> {
    let mut inputs = std::collections::VecDeque::new();
    runners.deliver(PROCESS, delivery(counter), wall(), &mut inputs);
    inputs.pop_front()
}

async fn happened(locals: &mut mpsc::Receiver<Local>) -> Input {
    match tokio::time::timeout(PATIENCE, locals.recv()).await.expect("nothing happened in time") {
        Some(Local::Happened(input)) => *input,
        other => panic!("{other:?}"),
    }
}

/// Whether the process runs; one that ended and was not waited for does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_conversation_that_panics_ends_its_whole_family_and_is_told_of_as_a_failure() {
    let place = tempfile::tempdir().expect("a folder");
    let (exe, home, script) = (place.path().join("guard"), place.path().join("home"), place.path().join("agent.py"));
    let python = find_program("python3", variable("PATH").as_deref()).expect("python3");
    fs::write(&exe, format!("#!{}{GUARD}", python.display())).expect("written");
    fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).expect("executable");
    fs::write(&script, AGENT).expect("written");
    fs::create_dir(&home).expect("a home");
    let (asker, mut locals) = door();
    let node_name = "alpha".parse().expect("a name");
    let config = RunnersConfig { node: NodeId::from_bytes([1; 32]), node_name, home: home.clone(), exe };
    let mut runners = Runners::new(config, asker);
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/agents").to_owned();
    let command = vec!["python3".to_owned(), script.to_str().expect("UTF-8").to_owned(), examples];
    let environment = BTreeMap::from([("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned())]);
    let backend = Backend::Command { command, environment, trusted: false };
    let spec = AgentSpec::new("a".parse().expect("a name"), backend);
    assert!(runners.start(PROCESS, spec.clone(), ResourceLimits::default()).is_none());
    assert!(matches!(happened(&mut locals).await, Input::AgentStarted { process: PROCESS, .. }));
    assert!(deliver(&mut runners, 1).is_none());
    let Input::AgentAnswered { answer: Ok(Some(Payload::Text(pids))), .. } = happened(&mut locals).await else {
        panic!("no answer")
    };
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().expect("a number")).collect();
    assert!(pids.len() == 3 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");

    assert!(deliver(&mut runners, FAILS_AT).is_none());
    let ended = happened(&mut locals).await;
    let Input::AgentExited { reason: ExitReason::Terminated { reason }, .. } = ended else { panic!("{ended:?}") };
    assert!(reason.starts_with("its node failed to serve it, a defect of weft: ") && reason.contains("for a test"));
    assert!(!pids.iter().any(|pid| runs(*pid)), "{pids:?}");
    let Some(Input::AgentAnswered { answer, .. }) = deliver(&mut runners, 3) else { panic!("no answer") };
    assert_eq!(answer, Err("the process has ended".into()), "nobody is left to answer");
    assert_eq!(fs::read_dir(home.join("run")).expect("a folder").count(), 0, "the socket is gone");

    let next = ProcessId { generation: 1, ..PROCESS };
    assert!(runners.start(next, spec, ResourceLimits::default()).is_none());
    assert!(matches!(happened(&mut locals).await, Input::AgentStarted { process, .. } if process == next));
    runners.shutdown().await;
}
