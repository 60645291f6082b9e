//! Agents that fail: started again as other processes, given up when that does not help, and what a person can do about it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::agents::{runs, script};
use crate::cluster::{BOUND, Node, wait_for};

/// Writes down its number and when, then ends with an error as soon as it works.
const CRASHING: &str = r#"
import os, time
from weft_agent import Agent
with open("lives", "a") as lives:
    lives.write(f"{os.getpid()} {time.monotonic_ns()}\n")
class Crashing(Agent):
    def _write(self, frame):
        super()._write(frame)
        os._exit(3)
Crashing(lambda agent, message: None).run()
"#;

/// Ends when it is told to.
const MORTAL: &str = r#"
import os
from weft_agent import Agent
def answer(agent, message):
    if message["payload"].get("text") == "die":
        os._exit(4)
    return {"text": str(os.getpid())}
Agent(answer).run()
"#;

fn row(node: &Node, agent: &str) -> Value {
    let listed = node.json(&["agent", "ls"]);
    let rows = listed["agents"].as_array().expect("rows");
    rows.iter().find(|row| row["agent"] == agent).cloned().unwrap_or_default()
}

fn wait_state(node: &Node, agent: &str, state: &str) -> Value {
    let reached = || Some(row(node, agent)).filter(|row| row["state"] == state);
    wait_for(&format!("{agent} is {state}"), BOUND, reached)
}

/// Operating system numbers and times, in nanoseconds, of the lives of an agent that writes them down.
fn lives(home: &Path, agent: &str) -> Vec<(u32, u64)> {
    let text = fs::read_to_string(home.join("agents").join(agent).join("lives")).unwrap_or_default();
    let words = text.lines().filter_map(|line| line.split_once(' '));
    words.map(|(pid, time)| (pid.parse().expect("a pid"), time.parse().expect("a time"))).collect()
}

#[test]
fn a_crashing_agent_lives_again_after_growing_waits_and_is_then_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), CRASHING);
    let first =
        alpha.json(&["agent", "spawn", "crash", "--exec", &command, "--restart", "permanent"])["process"].clone();
    let failed = wait_state(&alpha, "crash", "failed");
    assert_eq!((&failed["restarts"], failed["process"] != first), (&5.into(), true), "{failed}");
    assert!(failed["reason"].as_str().expect("a reason").contains("exited with code 3"), "{failed}");

    let lives_then = lives(&alpha.home, "crash");
    assert_eq!(lives_then.len(), 6, "{lives_then:?}");
    let pids: std::collections::BTreeSet<_> = lives_then.iter().map(|(pid, _)| *pid).collect();
    assert_eq!(pids.len(), 6, "each life is another process");
    assert!(pids.iter().all(|pid| !runs(*pid)), "and none of them is left");
    let gaps_ms: Vec<_> = lives_then.windows(2).map(|pair| (pair[1].1 - pair[0].1) / 1_000_000).collect();
    let least_ms = [100, 200, 400, 800, 1_600];
    assert!(gaps_ms.iter().zip(least_ms).all(|(gap, least)| *gap >= least), "{gaps_ms:?}");

    let gone = alpha.weft(&["call", first.as_str().expect("a process"), "hi", "--json"]);
    assert_eq!(gone.json_error(), ("gone".to_owned(), 4), "{gone:?}");
    let absent = alpha.weft(&["call", "crash", "hi", "--json"]);
    assert_eq!(absent.json_error(), ("no-responder".to_owned(), 4), "{absent:?}");

    alpha.kill();
    alpha.restart();
    let failed = row(&alpha, "crash");
    assert_eq!((&failed["state"], &failed["restarts"]), (&"failed".into(), &5.into()), "it stays so: {failed}");
    assert_eq!(lives(&alpha.home, "crash").len(), 6);
    alpha.json(&["agent", "restart", "crash"]);
    let again = || (lives(&alpha.home, "crash").len() > 6).then_some(());
    wait_for("a person's restart gives it a new life", BOUND, again);
    let kinds = ["supervisor.restart-planned", "supervisor.gave-up"];
    for (kind, least) in kinds.into_iter().zip([5, 1]) {
        let log = alpha.weft(&["chain", "log", "--kind", kind, "--json"]);
        assert!(log.stdout.lines().count() >= least, "{kind}: {log:?}");
    }
}

#[test]
fn an_agent_that_died_is_another_process_under_the_same_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), MORTAL);
    alpha.json(&["agent", "spawn", "mortal", "--exec", &command, "--restart", "transient"]);
    let before = alpha.json(&["call", "mortal", "who?"])["reply"].clone();
    let died = alpha.weft(&["call", "mortal", "die", "--json"]);
    assert_eq!(died.json_error().0, "agent-failed", "{died:?}");
    let again = || {
        let said = alpha.weft(&["call", "mortal", "who?", "--json"]);
        match said.code {
            0 => Some(said.json()["reply"].clone()),
            _ => {
                assert_eq!(said.json_error().0, "restarting", "{said:?}");
                None
            }
        }
    };
    let after = wait_for("the name works again", BOUND, again);
    assert_ne!(before, after);
    let row = row(&alpha, "mortal");
    assert_eq!((&row["state"], &row["restarts"]), (&"running".into(), &1.into()), "{row}");
}

#[test]
fn a_group_shares_its_fate_as_its_strategy_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), MORTAL);
    let spawn = |agent: &str, words: &[&str]| {
        let common = ["agent", "spawn", agent, "--exec", &command, "--restart", "permanent", "--group", "shop"];
        alpha.json(&[common.as_slice(), words].concat());
    };
    spawn("first", &["--strategy", "rest-for-one"]);
    spawn("second", &[]);
    spawn("third", &[]);
    let pid = |agent: &str| alpha.json(&["call", agent, "who?"])["reply"].clone();
    let before = ["first", "second", "third"].map(pid);
    let _it_dies = alpha.weft(&["call", "second", "die"]);
    let restarts = |agent: &str| row(&alpha, agent)["restarts"].as_u64().unwrap_or_default();
    let both = || {
        let running = ["second", "third"].iter().all(|agent| row(&alpha, agent)["state"] == "running");
        (running && restarts("second") == 1 && restarts("third") == 1).then_some(())
    };
    wait_for("both later ones live again", BOUND, both);
    let after = ["first", "second", "third"].map(pid);
    assert_eq!(before[0], after[0], "the first was not concerned");
    assert!(before[1] != after[1] && before[2] != after[2], "{before:?} {after:?}");
    let shown = alpha.json(&["agent", "inspect", "third"]);
    assert_eq!((&shown["group"], &shown["strategy"]), (&"shop".into(), &"rest-for-one".into()), "{shown}");
    assert_eq!(shown["restart"], "permanent");
}
