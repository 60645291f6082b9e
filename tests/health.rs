//! Health from outside: a hung agent is started again, the chain holds the changes alone, and the node says how it is.

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, wait_for};
use crate::cron::events;

/// Answers messages and probes until it is told to hang; then it reads nothing any more.
const HANGS: &str = r#"
import json, sys, threading
state = {}
def write(**frame): print(json.dumps({"jsonrpc": "2.0", **frame}), flush=True)
for line in sys.stdin:
    frame = json.loads(line)
    method, params = frame.get("method"), frame.get("params")
    if method == "initialize": write(id=frame["id"], result={})
    elif method == "health": write(id=frame["id"], result=state)
    elif method == "message":
        text = params["payload"]["text"]
        if text == "hang": threading.Event().wait()
        if text.startswith("{"): state = json.loads(text)
        write(id=frame["id"], result={"text": text})
    elif method == "signal": break
"#;

fn spawn(node: &Node, folder: &std::path::Path, words: &[&str]) {
    let path = folder.join("hangs.py");
    std::fs::write(&path, HANGS).expect("written");
    let command = format!("python3 {}", path.display());
    node.json(&[&["agent", "spawn", "words", "--exec", &command], words].concat());
}

/// What the node finds of the agent by this probe.
fn row(node: &Node, check: &str) -> Option<Value> {
    let report = node.json(&["health"]);
    let rows = report["checks"].as_array().expect("a list");
    rows.iter().find(|row| row["subject"] == "words" && row["check"] == check).cloned()
}

fn is(node: &Node, check: &str, health: &str) -> Option<()> {
    row(node, check).filter(|row| row["health"] == health).map(drop)
}

/// The changes of the agent on the chain, in words.
fn changes(node: &Node) -> Vec<String> {
    let changes = events(node, "health.changed").into_iter().map(|event| event["detail"].clone());
    let changes = changes.filter(|detail| detail["agent"] == "words");
    changes
        .map(|detail| format!("{} {} {}", detail["process"], detail["probe"], detail["now"]).replace('"', ""))
        .collect()
}

#[test]
fn a_hung_agent_is_started_again_after_three_failures_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let probe = ["--restart", "permanent", "--probe", "liveness=message,interval=200ms,timeout=100ms"];
    spawn(&alpha, folder.path(), &probe);
    wait_for("it answers its probe", BOUND, || is(&alpha, "liveness", "healthy"));
    let first = row(&alpha, "liveness").expect("a row")["process"].clone();
    let _never_answered = alpha.weft(&["send", "words", "hang"]);
    let again = || row(&alpha, "liveness").filter(|row| row["process"] != first && row["health"] == "healthy");
    let second = wait_for("its next life answers", BOUND, again)["process"].clone();
    assert_eq!(alpha.json(&["call", "words", "hi"])["reply"], "hi");
    let (first, second) = (first.as_str().expect("a process"), second.as_str().expect("a process"));
    let expected = [
        format!("{first} liveness healthy"),
        format!("{first} liveness unhealthy"),
        format!("{second} liveness healthy"),
    ];
    assert_eq!(changes(&alpha), expected, "the changes, and nothing else");
    let exits = events(&alpha, "process.exited");
    let reason = exits.last().expect("an end")["detail"]["reason"].to_string();
    assert!(reason.contains("its liveness probe failed 3 times in a row: no answer within 100ms"), "{reason}");

    // The probes are part of what the node remembers of the agent.
    alpha.kill();
    alpha.restart();
    wait_for("it is probed again", BOUND, || is(&alpha, "liveness", "healthy"));
    let third = row(&alpha, "liveness").expect("a row");
    assert_eq!((&third["interval_ms"], &third["timeout_ms"]), (&json!(200), &json!(100)));
}

#[test]
fn a_process_that_was_stopped_by_a_signal_does_not_live() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    spawn(&alpha, folder.path(), &["--restart", "permanent", "--probe", "liveness=process,interval=100ms,failures=2"]);
    wait_for("it is there", BOUND, || is(&alpha, "liveness", "healthy"));
    let inspected = alpha.json(&["agent", "inspect", "words"]);
    let pid = u32::try_from(inspected["pid"].as_u64().expect("a pid")).expect("a pid");
    crate::cluster::signal(pid, "STOP");
    let first = inspected["process"].clone();
    let again = || row(&alpha, "liveness").filter(|row| row["process"] != first && row["health"] == "healthy");
    wait_for("its next life is there", BOUND, again);
    let reason = events(&alpha, "process.exited").last().expect("an end")["detail"]["reason"].to_string();
    assert!(reason.contains("is stopped by a signal or a debugger"), "{reason}");
}

#[test]
fn the_node_says_how_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let checked = |node: &Node| {
        let report = node.json(&["health"]);
        let rows = report["checks"].as_array().expect("a list").clone();
        let known = rows.iter().filter(|row| row["subject"] == "node").all(|row| row["health"] == "healthy");
        (rows.len() >= 3 && known).then_some(report["health"].clone())
    };
    assert_eq!(wait_for("it has checked itself", BOUND, || checked(&alpha)), "healthy");
    for path in ["/v1/livez", "/v1/readyz"] {
        let (status, body) = alpha.api("GET", path, None).expect("an answer");
        let expected = json!({"ok": true, "state": "running", "health": "healthy", "reasons": []});
        assert_eq!((status, body), (200, expected), "{path}");
    }
    spawn(&alpha, folder.path(), &["--probe", "readiness=message,interval=100ms,failures=1"]);
    wait_for("it is ready", BOUND, || is(&alpha, "readiness", "healthy"));
    alpha.json(&["call", "words", r#"{"state": "unhealthy", "reason": "no database"}"#]);
    wait_for("it is not ready", BOUND, || is(&alpha, "readiness", "unhealthy"));
    let (status, body) = alpha.api("GET", "/v1/readyz", None).expect("an answer");
    assert_eq!((status, &body["health"]), (200, &json!("degraded")), "{body}");
    let line = body["reasons"][0].as_str().expect("a line").to_owned();
    assert!(line.starts_with("words #") && line.ends_with(" readiness: no database"), "{line}");
    let status = alpha.json(&["status"]);
    assert_eq!((&status["health"], &status["health_reasons"][0]), (&json!("degraded"), &json!(line)));
    let said = alpha.weft(&["health"]);
    assert!(said.code == 0 && said.stdout.starts_with("degraded\n"), "{said:?}");
    alpha.json(&["call", "words", "{}"]);
    wait_for("it is ready again", BOUND, || is(&alpha, "readiness", "healthy"));
    alpha.json(&["agent", "stop", "words"]);
    assert_eq!(alpha.json(&["health"])["health"], "healthy");

    let said = alpha.weft(&["agent", "spawn", "echo2", "--builtin", "echo", "--probe", "liveness=ping"]);
    assert!(said.code == 2 && said.stderr.contains("write liveness=message,interval=2s"), "{said:?}");
    let said = alpha.weft(&["agent", "spawn", "echo2", "--builtin", "echo", "--probe", "liveness,interval=1ms"]);
    assert!(said.code == 7 && said.stderr.contains("interval is not between 100ms and 1h"), "{said:?}");
    assert!(alpha.down().success());
}
