//! Links and monitors between real agents: who ends with whom, and who is told, also across nodes and when a node is killed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::agents::script;
use crate::cluster::{BOUND, Node, run, wait_for};

/// Ties itself as its message says, writes down every signal it gets, and dies when it is told to.
const TIED: &str = r#"
import json, os
from weft_agent import Agent, Refused

def signalled(agent, params):
    with open("heard", "a") as heard:
        heard.write(json.dumps(params) + "\n")

def answer(agent, message):
    word, *words = message["payload"]["text"].split()
    if word == "die":
        os._exit(int(words[0]))
    if word == "who":
        return {"text": str(os.getpid())}
    try:
        return {"json": agent.request(word, agent=words[0])}
    except Refused as refused:
        return {"text": f"{refused.code}: {refused}"}

Agent(answer, signalled=signalled).run()
"#;

fn spawn(node: &Node, command: &str, agent: &str, words: &[&str]) -> String {
    let common = ["agent", "spawn", agent, "--exec", command];
    node.json(&[common.as_slice(), words].concat())["process"].as_str().expect("a process").to_owned()
}

/// The signals that an agent wrote down.
fn heard(home: &Path, agent: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.join("agents").join(agent).join("heard")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn wait_heard(home: &Path, agent: &str, signal: &str) -> Value {
    let found = || heard(home, agent).into_iter().find(|told| told["signal"] == signal);
    wait_for(&format!("{agent} hears {signal}"), BOUND, found)
}

fn wait_exited(node: &Node, agent: &str) -> String {
    let exited = || {
        let row = node.json(&["agent", "inspect", agent]);
        (row["state"] == "exited").then(|| row["reason"].as_str().expect("a reason").to_owned())
    };
    wait_for(&format!("{agent} has exited"), BOUND, exited)
}

/// The kinds of facts about bonds on the node's chain.
fn kinds(node: &Node) -> Vec<String> {
    let log = node.weft(&["chain", "log", "--json"]);
    let events = log.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    let kinds = events.filter_map(|event| event["kind"].as_str().map(str::to_owned));
    kinds.filter(|kind| kind.starts_with("bond.")).collect()
}

fn verify(node: &Node) {
    let verified = node.json(&["chain", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
}

#[test]
fn linked_agents_end_together_and_a_trapping_one_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), TIED);
    let first = spawn(&alpha, &command, "first", &[]);
    let second = spawn(&alpha, &command, "second", &["--grant", "link:first"]);
    spawn(&alpha, &command, "third", &["--trap-exits"]);
    // One link made by an agent for itself, one by the operator.
    let linked = alpha.json(&["call", "second", "link first"]);
    assert_eq!(linked["reply"]["json"]["process"].as_str(), Some(first.as_str()), "{linked}");
    let denied = alpha.json(&["call", "first", "link second"]);
    assert_eq!(denied["reply"], "denied: denied by rule default-closed#4");
    let linked = alpha.json(&["agent", "link", "third", "second"]);
    assert_eq!((&linked["with_process"], &linked["linked"]), (&second.as_str().into(), &true.into()), "{linked}");
    let shown = alpha.json(&["agent", "inspect", "second"]);
    let links: Vec<_> = shown["links"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(links.contains(&format!("first {first}").as_str()) && links.len() == 2, "{shown}");
    assert_eq!(alpha.json(&["agent", "inspect", "third"])["traps_exits"], true);

    let _it_dies = alpha.weft(&["call", "first", "die 4"]);
    let reason = wait_exited(&alpha, "second");
    assert_eq!(reason, format!("ended by the node: linked to first {first}: exited with code 4"));
    assert_eq!(wait_heard(&alpha.home, "second", "link-exit")["agent"], "first");
    let told = wait_heard(&alpha.home, "third", "link-exit");
    assert_eq!((&told["agent"], &told["process"]), (&"second".into(), &second.as_str().into()), "{told}");
    assert!(told["reason"].as_str().expect("a reason").contains("linked to first"), "{told}");
    assert_eq!(alpha.json(&["agent", "inspect", "third"])["state"], "running");
    assert_eq!(kinds(&alpha), ["bond.linked", "bond.linked", "bond.fired", "bond.fired"]);
    verify(&alpha);
    assert!(alpha.down().success());
    let offline = run(&["chain", "verify", "--offline", alpha.home.to_str().expect("text"), "--json"]);
    assert_eq!(offline.json()["ok"], true, "{offline:?}");
}

#[test]
fn an_orderly_end_takes_nobody_along_and_an_undone_bond_does_not_fire() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), TIED);
    for agent in ["first", "second", "third", "fourth"] {
        spawn(&alpha, &command, agent, &[]);
    }
    for other in ["second", "third", "fourth"] {
        alpha.json(&["agent", "link", "first", other]);
    }
    alpha.json(&["agent", "monitor", "first", "second"]);
    alpha.json(&["agent", "monitor", "first", "fourth"]);
    assert_eq!(alpha.json(&["agent", "unlink", "fourth", "first"])["linked"], false);
    assert_eq!(alpha.json(&["agent", "demonitor", "first", "fourth"])["monitored"], false);
    alpha.json(&["agent", "stop", "second"]);
    let _it_ends = alpha.weft(&["call", "third", "die 0"]);
    wait_exited(&alpha, "third");
    let _it_dies = alpha.weft(&["call", "fourth", "die 1"]);
    wait_exited(&alpha, "fourth");
    let down = wait_heard(&alpha.home, "first", "monitor-down");
    assert_eq!((&down["agent"], &down["reason"]), (&"second".into(), &"stopped".into()), "{down}");
    let shown = alpha.json(&["agent", "inspect", "first"]);
    assert_eq!((&shown["state"], &shown["links"]), (&"running".into(), &serde_json::json!([])), "{shown}");
    assert_eq!(heard(&alpha.home, "first").len(), 1, "nothing else was told");
    // What is gone already is told of at once.
    alpha.json(&["agent", "monitor", "first", "fourth"]);
    let told = || heard(&alpha.home, "first").get(1).cloned();
    assert_eq!(wait_for("the end that is past is told", BOUND, told)["reason"], "exited with code 1");
    verify(&alpha);
}

#[test]
fn bonds_that_the_operator_made_survive_a_killed_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), TIED);
    for agent in ["first", "second"] {
        spawn(&alpha, &command, agent, &["--restart", "transient"]);
    }
    alpha.json(&["agent", "link", "first", "second"]);
    alpha.json(&["agent", "monitor", "first", "second"]);
    alpha.kill();
    alpha.restart();
    let shown = || {
        let shown = alpha.json(&["agent", "inspect", "first"]);
        (shown["state"] == "running").then_some(shown)
    };
    let shown = wait_for("first runs again", BOUND, shown);
    let second = alpha.json(&["agent", "inspect", "second"])["process"].as_str().expect("a process").to_owned();
    assert_eq!(shown["links"], serde_json::json!([format!("second {second}")]), "{shown}");
    assert_eq!(shown["monitors"], serde_json::json!([format!("second {second}")]), "{shown}");
    let running = || (alpha.json(&["agent", "inspect", "second"])["state"] == "running").then_some(());
    wait_for("second runs again", BOUND, running);
    let _it_dies = alpha.weft(&["call", "second", "die 7"]);
    let down = wait_heard(&alpha.home, "first", "monitor-down");
    assert_eq!((&down["process"], &down["reason"]), (&second.as_str().into(), &"exited with code 7".into()), "{down}");
    verify(&alpha);
}

#[test]
fn the_end_of_an_agent_elsewhere_is_heard_of_and_that_of_its_whole_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let mut beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    let command = script(folder.path(), TIED);
    spawn(&alpha, &command, "watcher", &["--grant", "monitor:*"]);
    let far = spawn(&beta, &command, "far", &[]);
    let farther = spawn(&beta, &command, "farther", &[]);
    let known = || {
        let tried = alpha.weft(&["agent", "monitor", "watcher", "farther@beta", "--json"]);
        (tried.code == 0).then(|| tried.json())
    };
    let monitored = wait_for("the directory knows it", BOUND, known);
    assert_eq!(monitored["target_process"].as_str(), Some(farther.as_str()), "{monitored}");
    let monitored = alpha.json(&["call", "watcher", "monitor far@beta"]);
    assert_eq!(monitored["reply"]["json"]["process"].as_str(), Some(far.as_str()), "{monitored}");
    let refused = alpha.weft(&["agent", "link", "watcher", "far@beta", "--json"]);
    assert_eq!(refused.json_error(), ("unsupported".to_owned(), 7), "{refused:?}");
    let shown = alpha.json(&["agent", "inspect", "watcher"]);
    assert_eq!(shown["monitors"].as_array().map(Vec::len), Some(2), "{shown}");

    let _it_dies = beta.weft(&["call", "far", "die 5"]);
    let down = wait_heard(&alpha.home, "watcher", "monitor-down");
    assert_eq!((&down["agent"], &down["node"]), (&"far".into(), &beta.up["node"]), "{down}");
    assert_eq!((&down["process"], &down["reason"]), (&far.as_str().into(), &"exited with code 5".into()), "{down}");

    beta.kill();
    let told = || heard(&alpha.home, "watcher").get(1).cloned();
    let lost = wait_for("the loss of the node is told", BOUND, told);
    assert_eq!((&lost["agent"], &lost["reason"]), (&"farther".into(), &"node lost".into()), "{lost}");
    // Back again it says how the process ended, which was told already.
    beta.restart();
    alpha.wait_alive("beta", BOUND);
    let exits = || {
        let log = alpha.weft(&["chain", "log", "--node", "beta", "--kind", "process.exited", "--json"]);
        log.stdout.contains("farther").then_some(())
    };
    wait_for("alpha has what beta says of it", BOUND, exits);
    assert_eq!(heard(&alpha.home, "watcher").len(), 2, "each end is told once");
    assert_eq!(kinds(&alpha), ["bond.monitored", "bond.monitored", "bond.fired", "bond.fired"]);
    verify(&alpha);
    verify(&beta);
}
