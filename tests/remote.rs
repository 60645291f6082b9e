//! Agents that are started and changed on another node: under its gate, on its chain, once.

use std::path::Path;

use serde_json::Value;

use crate::agents::script;
use crate::cluster::{BOUND, Node, Said, signal, wait_for};

pub(crate) fn two(folder: &Path) -> (Node, Node) {
    let alpha = Node::found(folder, "alpha");
    let beta = Node::join(folder, "beta", &alpha.invite(&[]));
    alpha.wait_alive("beta", BOUND);
    beta.wait_alive("alpha", BOUND);
    (alpha, beta)
}

fn error(said: &Said, exit: i32, code: &str) -> Value {
    let error = said.json()["error"].clone();
    assert_eq!((said.code, error["code"].as_str()), (exit, Some(code)), "{said:?}");
    error
}

/// The events of that kind on the node's own chain.
fn events(node: &Node, kind: &str) -> Vec<Value> {
    let log = node.weft(&["chain", "log", "--kind", kind, "--json"]);
    log.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// How often the node began to start an agent of that name.
fn starts(node: &Node, agent: &str) -> usize {
    let of = |event: &&Value| event["detail"]["spawn"]["agent"] == agent;
    let found = events(node, "effect.intent");
    found.iter().filter(of).count()
}

fn state(node: &Node, agent: &str) -> Option<String> {
    let listed = node.json(&["agent", "ls"]);
    let row = listed["agents"].as_array()?.iter().find(|row| row["agent"] == agent)?.clone();
    row["state"].as_str().map(str::to_owned)
}

#[test]
fn an_agent_spawned_on_another_node_lives_there_and_goes_on_without_whoever_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut alpha, beta) = two(folder.path());
    let spawned =
        alpha.json(&["agent", "spawn", "w", "--builtin", "counter", "--on", "beta", "--restart", "permanent"]);
    assert_eq!((&spawned["node"], &spawned["state"]), (&beta.up["node"], &Value::from("running")));
    assert!(spawned["process"].as_str().is_some_and(|process| process.starts_with('#')), "{spawned}");
    wait_for("alpha hears of it", BOUND, || (alpha.weft(&["call", "w", "hi"]).code == 0).then_some(()));
    assert_eq!(alpha.json(&["agent", "inspect", "w@beta"])["backend"], "builtin counter");

    let intent = events(&beta, "effect.intent").into_iter().find(|event| event["detail"]["spawn"]["agent"] == "w");
    assert_eq!(intent.expect("the intent is on beta's chain")["detail"]["spawn"]["from"], alpha.up["node"]);
    let asked = events(&alpha, "ipc.message");
    let asked: Vec<&str> = asked.iter().filter_map(|event| event["detail"]["stage"].as_str()).collect();
    assert_eq!(asked[..2], ["sent", "acknowledged"], "alpha's chain tells what it asked for");

    let program = script(
        folder.path(),
        "import os\nfrom weft_agent import Agent\nAgent(lambda agent, message: {'text': os.getcwd()}).run()\n",
    );
    alpha.json(&["agent", "spawn", "program", "--exec", &program, "--on", "beta"]);
    let home = alpha.json(&["call", "program@beta", "where"])["reply"].as_str().expect("a text").to_owned();
    assert!(Path::new(&home).starts_with(&beta.home), "it runs in beta's home: {home}");

    let suspended = alpha.json(&["agent", "suspend", "w@beta"]);
    assert_eq!((&suspended["state"], &suspended["node"]), (&Value::from("suspended"), &beta.up["node"]));
    assert_eq!(alpha.json(&["agent", "resume", "w@beta"])["state"], "running");
    let again = alpha.json(&["agent", "restart", "w@beta"]);
    assert_ne!(again["process"], spawned["process"]);
    assert_eq!(alpha.json(&["agent", "stop", "program@beta"])["reason"], "stopped");
    alpha.json(&["agent", "spawn", "victim", "--builtin", "echo", "--on", "beta"]);
    assert_eq!(alpha.json(&["agent", "signal", "victim@beta", "kill"])["agent"], "victim");
    wait_for("it is killed", BOUND, || (state(&beta, "victim").as_deref() == Some("exited")).then_some(()));

    alpha.kill();
    assert_eq!(state(&beta, "w").as_deref(), Some("running"), "it lives without alpha");
    assert_eq!(beta.weft(&["call", "w", "hi"]).code, 0);
    alpha.restart();
    alpha.wait_alive("beta", BOUND);
    let listed = || {
        let listed = alpha.json(&["ps"]);
        let rows = listed["agents"].as_array()?.clone();
        rows.iter().any(|row| row["agent"] == "w" && row["name"] == "beta").then_some(())
    };
    wait_for("alpha lists it", BOUND, listed);
    for node in [&alpha, &beta] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true);
    }
}

#[test]
fn what_goes_wrong_elsewhere_is_told_with_whose_fault_it_is_and_whether_anything_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, mut beta) = two(folder.path());
    let on = |node: &Node, place: &str, words: &[&str]| {
        let spawn = ["agent", "spawn", "w", "--builtin", "echo", "--json", "--on", place];
        node.weft(&[&spawn, words].concat())
    };
    let unknown = error(&on(&alpha, "betta", &[]), 4, "not-found");
    assert_eq!(
        (&unknown["message"], &unknown["hint"]),
        (&Value::from("no member betta"), &Value::from("did you mean beta?"))
    );

    let denied = error(&on(&beta, "alpha", &[]), 3, "denied");
    assert_eq!(denied["message"], "denied by rule member-role#2", "beta is a worker");
    assert_eq!(denied["changed"], false);
    assert_eq!(denied["hint"], "alpha says no: ask an admin of that node for the right");
    let jobs = error(&alpha.weft(&["call", "kernel@beta", "--tool", "cron.list", "--json"]), 3, "denied");
    assert_eq!(jobs["hint"], "jobs are for their own node: ask an admin of beta to type there: weft cron ls");
    assert_eq!(starts(&alpha, "w"), 0);
    let denial = events(&alpha, "gate.denied");
    assert_eq!(denial.last().expect("on alpha's chain")["detail"]["action"], "spawn", "{denial:?}");

    assert_eq!(on(&alpha, "beta", &[]).code, 0);
    let taken = error(&on(&alpha, "beta", &[]), 7, "invalid");
    assert!(taken["message"].as_str().expect("a message").starts_with("w is alive already, as #"), "{taken}");
    assert_eq!((taken["changed"].as_bool(), starts(&beta, "w")), (Some(false), 1));

    // A node that stands still answers nothing: alpha cannot know, and says so.
    signal(beta.pid(), "STOP");
    let spawn = ["agent", "spawn", "late", "--builtin", "echo", "--json", "--on", "beta", "--deadline", "1s"];
    let said = alpha.weft(&spawn);
    let lost = error(&said, 5, "deadline");
    assert_eq!(lost["changed"], true, "{lost}");
    signal(beta.pid(), "CONT");
    beta.wait_alive("alpha", BOUND);
    alpha.wait_alive("beta", BOUND);
    let spawn = ["agent", "spawn", "late", "--builtin", "echo", "--json", "--on", "beta"];
    wait_for("it is there", BOUND, || {
        let said = alpha.weft(&spawn);
        (said.code == 0 || said.stdout.contains("late is alive already")).then_some(())
    });
    assert_eq!(starts(&beta, "late"), 1, "asking again starts it once");

    beta.kill();
    // What is sent while a silent connection still counts may have arrived: nobody could say that nothing changed.
    wait_for("alpha knows", BOUND, || (alpha.json(&["path", "beta"])["path"] == "none").then_some(()));
    let gone = error(&on(&alpha, "beta", &[]), 4, "unreachable");
    assert_eq!(gone["changed"], false, "{gone}");
}

/// Asks the kernel of a node for a tool, with its own rights.
const PLANNER: &str = r#"
from weft_agent import Agent, Refused

def answer(agent, message):
    name, node = message["payload"]["text"].split()
    call = {"tool_call": {"name": "agent.spawn", "args": {"agent": name, "builtin": "echo"}}}
    try:
        return {"text": str(agent.call("kernel@" + node, call)["reply"]["json"]["state"])}
    except Refused as refused:
        return {"text": f"{refused.code}: {refused}"}

Agent(answer).run()
"#;

#[test]
fn an_agent_starts_others_elsewhere_as_far_as_it_was_granted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = two(folder.path());
    let program = script(folder.path(), PLANNER);
    let grants = ["--grant", "call:kernel@*", "--grant", "spawn:w1@beta"];
    alpha.json(&[&["agent", "spawn", "planner", "--exec", &program], &grants[..]].concat());
    let ask = |what: &str| alpha.json(&["call", "planner", what])["reply"].as_str().expect("a text").to_owned();
    assert_eq!(ask("w1 beta"), "running");
    assert!(ask("w2 beta").starts_with("denied: "), "it was not granted w2");
    assert!(ask("w1 alpha").starts_with("denied: "), "nor w1 at home");
    assert_eq!((starts(&beta, "w1"), starts(&beta, "w2"), starts(&alpha, "w1")), (1, 0, 0));
}

#[test]
fn a_kernel_is_told_commands_as_json_here_and_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = two(folder.path());
    for target in ["kernel", "kernel@beta"] {
        let told = |command: &str| alpha.json(&["call", target, command])["reply"].clone();
        assert_eq!(told(r#"{"cmd": "ping"}"#), "pong");
        assert_eq!(told(r#"{"cmd": "echo", "text": "hi there"}"#), "hi there");
        let node = if target == "kernel" { &alpha } else { &beta };
        assert_eq!(told(r#"{"cmd": "status"}"#)["json"]["node"], node.up["node"]);
        let inspected = told(r#"{"cmd": "exec", "tool": "agent.inspect", "args": {"agent": "echo"}}"#);
        assert_eq!((&inspected["json"]["agent"], &inspected["json"]["node"]), (&"echo".into(), &node.up["node"]));
    }
    assert_eq!(
        alpha.json(&["call", "kernel", r#"{"cmd": "cron.list"}"#])["reply"]["json"]["jobs"],
        serde_json::json!([])
    );
    error(&alpha.weft(&["call", "kernel", r#"{"cmd": "dance"}"#, "--json"]), 7, "invalid");
}

#[test]
fn a_trace_says_that_both_sides_agree_only_when_the_other_side_has_a_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, mut beta) = two(folder.path());
    let whole = alpha.json(&["call", "echo@beta", "hi"]);
    let both = || {
        let trace = alpha.json(&["trace", whole["trace"].as_str()?]);
        (trace["agree"] == true && trace["unheard"] == serde_json::json!([])).then_some(())
    };
    wait_for("both sides agree", BOUND, both);

    beta.kill();
    let lost =
        alpha.weft(&["send", "echo@beta", "lost", "--receipt", "received+durable", "--deadline", "1s", "--json"]);
    assert_ne!(lost.code, 0, "{lost:?}");
    let sent = events(&alpha, "ipc.message").into_iter().rfind(|event| event["detail"]["stage"] == "sent");
    let id = sent.expect("it is recorded")["detail"]["trace"].as_str().expect("a trace").to_owned();
    let trace = alpha.json(&["trace", &id]);
    assert_eq!((&trace["agree"], &trace["disagreements"]), (&false.into(), &serde_json::json!([])), "{trace}");
    let unheard = trace["unheard"][0].as_str().expect("a sentence");
    assert!(unheard.starts_with("beta could not be asked") && unheard.contains("next: weft members"), "{trace}");
    let text = alpha.weft(&["trace", &id]).stdout;
    assert!(text.contains("one side alone") && !text.contains("both sides agree"), "{text}");

    beta.restart();
    alpha.wait_alive("beta", BOUND);
    let asked = || {
        let trace = alpha.json(&["trace", &id]);
        let unheard = trace["unheard"][0].as_str()?;
        unheard.starts_with("the other side has no record").then(|| unheard.to_owned())
    };
    let unheard = wait_for("beta says that it has no record", BOUND, asked);
    assert!(unheard.contains("(deadline) and beta never let it in; next: weft members shows"), "{unheard}");
}
