//! Rights across two real nodes: given, used, passed on no wider, and taken back with effect on both within five seconds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{BOUND, Node, Said, wait_for};

/// How long a revocation may take until it has effect on every connected node.
const EFFECT: Duration = Duration::from_secs(5);

/// Does what its message says with its own rights, and answers with what came of it.
const ACTOR: &str = r#"
from weft_agent import Agent, Refused

def answer(agent, message):
    method, *words = message["payload"]["text"].split()
    try:
        if method == "call":
            return {"text": "ok " + agent.call(words[0], {"text": "hi"}, deadline_ms=3000)["reply"]["text"]}
        if method == "grant":
            budget = int(words[3]) if len(words) > 3 else None
            given = agent.request("grant", to=words[0], right=words[1], resource=words[2], budget=budget)
            return {"text": given["grant"]}
        agent.request("revoke", grant=words[0])
        return {"text": "ok"}
    except Refused as refused:
        return {"text": f"{refused.code}: {refused}"}

Agent(answer).run()
"#;

fn actor(folder: &Path) -> String {
    let code = folder.join("code");
    fs::create_dir_all(&code).expect("a folder");
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agents/weft_agent.py");
    fs::copy(module, code.join("weft_agent.py")).expect("a copy");
    fs::write(code.join("actor.py"), ACTOR).expect("written");
    format!("python3 {}", code.join("actor.py").display())
}

/// What the agent says came of it.
fn act(node: &Node, agent: &str, what: &str) -> String {
    node.json(&["call", agent, what, "--deadline", "10s"])["reply"].as_str().expect("a text").to_owned()
}

fn give(node: &Node, words: &[&str]) -> String {
    node.json(&[&["cap", "grant"], words].concat())["id"].as_str().expect("an id").to_owned()
}

fn ids(node: &Node) -> Vec<String> {
    let listed = node.json(&["cap", "ls"]);
    listed["grants"].as_array().expect("rows").iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout)
        .or_else(|_| serde_json::from_str(&said.stderr))
        .unwrap_or_else(|_| panic!("{said:?}"))
}

#[test]
fn a_revoked_grant_stops_working_on_every_connected_node_and_stays_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let mut beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    let command = actor(folder.path());
    let spawn = |node: &Node, name: &str| {
        node.json(&["agent", "spawn", name, "--exec", &command, "--restart", "permanent"]);
    };
    spawn(&beta, "worker");
    spawn(&beta, "helper");
    assert!(act(&beta, "worker", "call echo@alpha").starts_with("denied: "));

    let first = give(&alpha, &["worker@beta", "call:echo@alpha"]);
    wait_for("beta hears of it", BOUND, || ids(&beta).contains(&first).then_some(()));
    assert_eq!(act(&beta, "worker", "call echo@alpha"), "ok hi");
    assert!(act(&beta, "worker", "call echo").starts_with("denied: "), "it counts for nothing at home");
    let wider = act(&beta, "worker", "grant helper call echo*");
    assert_eq!(wider, format!("wider: call:echo* is wider than what is held: {first} call:echo@alpha"));
    let passed_on = act(&beta, "worker", "grant helper call echo@alpha 5");
    assert!(passed_on.starts_with("g-"), "{passed_on}");
    assert_eq!(act(&beta, "helper", "call echo@alpha"), "ok hi");

    let begin = Instant::now();
    assert_eq!(alpha.json(&["cap", "revoke", &first])["id"], first.as_str());
    for agent in ["worker", "helper"] {
        let denied = || act(&beta, agent, "call echo@alpha").starts_with("denied: ").then_some(());
        wait_for("the revocation has effect", EFFECT, denied);
    }
    wait_for("beta has heard of it", EFFECT, || (!ids(&beta).contains(&first)).then_some(()));
    let took = begin.elapsed();
    assert!(took < EFFECT, "{took:?}");
    println!("a revocation had effect on both nodes after {took:?}");
    assert!(!ids(&beta).contains(&passed_on), "what was passed on fell with it");

    // A node that was away when a right was taken back hears of it when it returns.
    let second = give(&alpha, &["worker@beta", "call:echo@alpha"]);
    wait_for("beta hears of it", BOUND, || ids(&beta).contains(&second).then_some(()));
    assert_eq!(act(&beta, "worker", "call echo@alpha"), "ok hi");
    beta.kill();
    alpha.json(&["cap", "revoke", &second]);
    alpha.kill();
    alpha.restart();
    beta.restart();
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    wait_for("the worker runs again", BOUND, || {
        (beta.json(&["agent", "inspect", "worker"])["state"] == "running").then_some(())
    });
    assert!(act(&beta, "worker", "call echo@alpha").starts_with("denied: "), "alpha refuses, whatever beta knows");
    wait_for("beta was told", EFFECT, || (!ids(&beta).contains(&second)).then_some(()));
    assert!(!ids(&alpha).contains(&second) && !ids(&alpha).contains(&first));
    for node in [&alpha, &beta] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true);
    }
}

#[test]
fn rights_are_given_used_up_and_taken_back_at_home() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let command = actor(folder.path());
    let spawn = |name: &str| alpha.json(&["agent", "spawn", name, "--exec", &command, "--restart", "permanent"]);
    spawn("boss");
    spawn("helper");
    let held = give(&alpha, &["boss", "call:echo*", "--uses", "3", "--expires", "1h"]);
    let shown = alpha.json(&["cap", "ls", "boss"]);
    let row = &shown["grants"][0];
    assert_eq!((&row["id"], &row["uses"], &row["used"]), (&held.as_str().into(), &3.into(), &0.into()), "{shown}");
    assert_eq!((&row["agent"], &row["name"], &row["depth"]), (&"boss".into(), &"alpha".into(), &4.into()), "{shown}");
    assert!(row["expires_at"].is_string(), "{shown}");
    let passed_on = act(&alpha, "boss", "grant helper call echo 2");
    assert_eq!(act(&alpha, "helper", "call echo"), "ok hi");
    // A plain call is answered before its records are on disk; what counts after a kill is what is.
    wait_for("the use is on disk", BOUND, || {
        let used = alpha.weft(&["chain", "log", "--kind", "grant.used", "--json"]);
        (used.stdout.matches("grant.used").count() >= 2).then_some(())
    });
    alpha.kill();
    alpha.restart();
    for agent in ["boss", "helper"] {
        wait_for("it runs again", BOUND, || {
            (alpha.json(&["agent", "inspect", agent])["state"] == "running").then_some(())
        });
    }
    assert_eq!(act(&alpha, "helper", "call echo"), "ok hi");
    let used_up = act(&alpha, "helper", "call echo");
    assert_eq!(used_up, format!("denied: denied by rule grant#3 used up {passed_on}"));
    assert_eq!(act(&alpha, "boss", "call echo"), "ok hi", "the third use of three");
    assert_eq!(act(&alpha, "boss", "call echo"), format!("denied: denied by rule grant#3 used up {held}"));
    assert_eq!(act(&alpha, "boss", &format!("revoke {passed_on}")), "ok");
    assert_eq!(ids(&alpha), std::slice::from_ref(&held));
    alpha.json(&["cap", "revoke", &held]);
    let said = alpha.weft(&["cap", "revoke", &held, "--json"]);
    assert_eq!((said.code, &json(&said)["error"]["code"]), (4, &"not-found".into()), "{said:?}");
    let said = alpha.weft(&["cap", "grant", "nobody", "call:echo", "--json"]);
    assert_eq!((said.code, &json(&said)["error"]["code"]), (4, &"not-found".into()), "{said:?}");
    let said = alpha.weft(&["cap", "grant", "boss@nowhere", "call:echo", "--json"]);
    assert_eq!(said.code, 4, "{said:?}");
    let kinds = alpha.weft(&["chain", "log", "--kind", "grant.*", "--json"]);
    for (kind, count) in [("grant.issued", 2), ("grant.revoked", 2)] {
        assert_eq!(kinds.stdout.matches(kind).count(), count, "{}", kinds.stdout);
    }
}
