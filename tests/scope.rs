//! Scopes of real agents: whom they reach, who reaches them, and that the chain says who was refused.

use crate::agents::script;
use crate::cluster::{BOUND, Node, run, wait_for};

/// Calls, or publishes, as its message says, and answers with what came of it.
const TALKER: &str = r#"
from weft_agent import Agent, Refused

def answer(agent, message):
    words = message["payload"]["text"].split()
    try:
        if words[0] == "call":
            return {"text": agent.call(words[1], {"text": "hi"})["reply"]["text"]}
        if words[0] == "publish":
            agent.request("publish", topic=words[1], payload={"text": "hi"})
            return {"text": "published"}
    except Refused as refused:
        return {"text": f"{refused.code}: {refused}"}
    return {"text": "heard"}

Agent(answer).run()
"#;

#[test]
fn an_agent_reaches_whom_its_scope_names_and_nobody_else_reaches_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let command = script(folder.path(), TALKER);
    let spawn = |agent: &str, scope: &str| {
        let words = ["agent", "spawn", agent, "--exec", &command, "--ipc-scope", scope, "--restart", "transient"];
        alpha.json(&[words.as_slice(), &["--grant", "call:*", "--grant", "publish:*"]].concat());
    };
    spawn("narrow", "restricted:open");
    spawn("open", "all");
    spawn("other", "all");
    spawn("mute", "none");
    spawn("poster", "topic:jobs.*");
    let say = |node: &Node, agent: &str, what: &str| {
        node.json(&["call", agent, what])["reply"].as_str().expect("a text").to_owned()
    };
    let refused = |agent: &str, scope: &str, what: &str| {
        format!("out-of-scope: the ipc scope of {agent}, {scope}, does not reach {what}")
    };
    assert_eq!(say(&alpha, "narrow", "call open"), "heard");
    assert_eq!(say(&alpha, "open", "call narrow"), "heard");
    assert_eq!(say(&alpha, "narrow", "call other"), refused("narrow", "restricted:open", "other"));
    assert_eq!(say(&alpha, "other", "call narrow"), refused("narrow", "restricted:open", "other"));
    assert_eq!(say(&alpha, "mute", "call open"), refused("mute", "none", "open"));
    assert_eq!(say(&alpha, "open", "call mute"), refused("mute", "none", "open"));
    assert_eq!(say(&alpha, "poster", "publish jobs.new"), "published");
    assert_eq!(say(&alpha, "poster", "publish logs"), refused("poster", "topic:jobs.*", "topic:logs"));
    assert_eq!(alpha.json(&["agent", "inspect", "narrow"])["ipc_scope"], "restricted:open");
    let denied = alpha.weft(&["chain", "log", "--kind", "gate.denied", "--json"]);
    assert_eq!(denied.stdout.matches("\"rule\":\"ipc scope restricted:open\"").count(), 2, "{denied:?}");

    alpha.kill();
    alpha.restart();
    let running = || (alpha.json(&["agent", "inspect", "narrow"])["state"] == "running").then_some(());
    wait_for("it runs again", BOUND, running);
    assert_eq!(say(&alpha, "narrow", "call other"), refused("narrow", "restricted:open", "other"), "it stays so");
    assert_eq!(alpha.json(&["chain", "verify"])["ok"], true);
    assert!(alpha.down().success());
    let offline = run(&["chain", "verify", "--offline", alpha.home.to_str().expect("text"), "--json"]);
    assert_eq!(offline.json()["ok"], true, "{offline:?}");
}
