//! Jobs from outside: they survive a kill and run afterwards, agents make them under grants, and nonsense is refused.

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, wait_for};

/// The events of these kinds on the node's own chain, oldest first.
pub(crate) fn events(node: &Node, kind: &str) -> Vec<Value> {
    let said = node.weft(&["chain", "log", "--kind", kind, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn job(node: &Node) -> Value {
    node.json(&["cron", "ls"])["jobs"][0].clone()
}

#[test]
fn a_job_survives_a_kill_and_runs_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    alpha.json(&["agent", "spawn", "counter", "--restart", "permanent"]);
    let added = alpha.json(&["cron", "add", "1s", "counter", "tick", "--missed", "once"]);
    let id = added["id"].as_str().expect("an id").to_owned();
    let runs = |node: &Node| job(node)["runs"].as_u64().expect("a number");
    wait_for("two runs", BOUND, || (runs(&alpha) >= 2).then_some(()));
    alpha.kill();
    alpha.restart();
    let before = events(&alpha, "cron.fired").len() as u64;
    wait_for("two runs more", BOUND, || (runs(&alpha) >= before + 2).then_some(()));
    let shown = job(&alpha);
    assert_eq!((&shown["id"], &shown["by"], &shown["target"]), (&json!(id), &json!("operator"), &json!("counter")));
    wait_for("the end of a run", BOUND, || (job(&alpha)["last_result"] == "delivered").then_some(()));
    let removed = alpha.json(&["cron", "rm", &id]);
    assert_eq!(removed["id"], json!(id));

    // What the chain says: every run was intended before it ended, each time once.
    let intents = events(&alpha, "effect.intent");
    let times = intents.iter().filter_map(|event| event["detail"]["fire"]["scheduled"].as_str()).collect::<Vec<_>>();
    assert!(times.len() >= 4 && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    for fired in events(&alpha, "cron.fired") {
        let detail = &fired["detail"];
        let intent = intents.iter().find(|event| event["seq"] == detail["intent"]).expect("its intent");
        assert_eq!(intent["detail"]["fire"]["scheduled"], detail["scheduled"]);
        assert!(intent["seq"].as_u64() < fired["seq"].as_u64());
    }
    let delivered = |event: &&Value| event["detail"]["result"] == "delivered";
    assert!(events(&alpha, "cron.fired").iter().filter(delivered).count() >= 3);
    alpha.kill();
    alpha.restart();
    assert_eq!(alpha.json(&["cron", "ls"])["jobs"], json!([]), "what was removed stays removed");
    assert_eq!(alpha.weft(&["chain", "verify"]).code, 0);
}

#[test]
fn a_run_says_how_it_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let id = |added: &Value| added["id"].as_str().expect("an id").to_owned();
    let good =
        id(&alpha.json(&["cron", "add", "30 2 * * *", "echo", "[1]", "--json-payload", "--timezone", "Asia/Tokyo"]));
    let ran = alpha.json(&["cron", "run", &good]);
    assert_eq!((&ran["result"], ran["message"].is_string()), (&json!("delivered"), true), "{ran}");
    let shown = job(&alpha);
    assert_eq!((&shown["payload"], &shown["runs"]), (&json!({"json": [1]}), &json!(1)));
    assert!(shown["next_run_at"].as_str().expect("a time").ends_with("T17:30:00.000000Z"), "{shown}");
    let nobody = id(&alpha.json(&["cron", "add", "@daily", "nobody", "hi"]));
    let said = alpha.weft(&["cron", "run", &nobody, "--json"]);
    assert_eq!((said.code, &said.json()["result"]), (1, &json!("failed")), "{said:?}");
    assert_eq!(said.json()["reason"], "no responder: nobody");
}

#[test]
fn what_is_no_job_is_refused_with_what_would_be_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let large = "x".repeat(16 * 1024 + 1);
    let cases: [(&[&str], i32, &str); 8] = [
        (&["add", "61 * * * *", "echo", "hi"], 7, "minute `61`: number out of bounds; write `30 2 * * *`"),
        (&["add", "@every 1ms", "echo", "hi"], 7, "it is shorter than 1s; write `@every 90s`"),
        (&["add", "@daily", "echo", "hi", "--timezone", "Mars/Olympus"], 7, "write an IANA name, as Europe/Berlin"),
        (&["add", "@daily", "Echo!", "hi"], 7, "is not a target (echo, echo@beta"),
        (&["add", "@daily", "echo", "{", "--json-payload"], 7, "the text is not one JSON value"),
        (&["add", "@daily", "echo", &large], 7, "too large: 16385 bytes, at most 16384"),
        (&["rm", "c999"], 4, "no cron job c999 (nothing changed); next: weft cron ls"),
        (&["rm", "12"], 2, "a cron job (c12, as weft cron ls lists them)"),
    ];
    for (words, code, expected) in cases {
        let said = alpha.weft(&[&["cron"], words].concat());
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.stderr.contains(expected) && said.stderr.trim_end().lines().count() == 1, "{said:?}");
    }
    assert_eq!(alpha.json(&["cron", "ls"])["jobs"], json!([]));
}

/// An agent that makes a job for itself when it is told to, and lists and removes it.
const PLANNER: &str = r#"
import json, sys
asked = None
def write(**frame): print(json.dumps({"jsonrpc": "2.0", **frame}), flush=True)
for line in sys.stdin:
    frame = json.loads(line)
    method = frame.get("method")
    if method == "initialize": write(id=frame["id"], result={})
    elif method == "message" and frame["params"]["wants_reply"]:
        asked = frame["id"]
        words = frame["params"]["payload"]["text"].split(" ", 1)
        write(id=1, method=words[0], params=json.loads(words[1]))
    elif method == "message": write(id=frame["id"], result=None)
    elif method is None and asked is not None:
        write(id=asked, result={"json": frame.get("result") or frame["error"]["data"]})
        asked = None
"#;

#[test]
fn an_agent_keeps_jobs_when_it_was_granted_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let path = folder.path().join("planner.py");
    std::fs::write(&path, PLANNER).expect("written");
    let command = format!("python3 {}", path.display());
    let grants = ["cron-add:planner", "cron-list:jobs", "cron-remove:agent/planner", "send:planner"];
    let words = grants.iter().flat_map(|grant| ["--grant", grant]).collect::<Vec<_>>();
    alpha.json(&[&["agent", "spawn", "planner", "--exec", &command], words.as_slice()].concat());
    let ask = |text: &str| alpha.json(&["call", "planner", text])["reply"]["json"].clone();
    let made = ask(r#"cron_add {"expression": "1s", "target": "planner", "payload": {"text": "now"}}"#);
    assert_eq!(made["by"], "agent/planner", "{made}");
    wait_for("a run in its name", BOUND, || (job(&alpha)["last_result"] == "delivered").then_some(()));
    let elsewhere = ask(r#"cron_add {"expression": "1s", "target": "echo", "payload": {"text": "now"}}"#);
    assert_eq!(elsewhere["code"], "denied", "{elsewhere}");
    assert_eq!(ask("cron_list {}")["jobs"][0]["id"], made["id"]);
    let removed = ask(&format!(r#"cron_remove {{"id": {}}}"#, made["id"]));
    assert_eq!(removed["id"], made["id"]);
    assert_eq!(ask("cron_list {}")["jobs"], json!([]));
}
