//! Messages larger than a frame: fetched in proven chunks, and kept beside the record that names them.

use serde_json::json;

use crate::cluster::{BOUND, Node};

#[test]
fn a_large_durable_call_crosses_the_mesh_and_its_text_survives_a_kill_of_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&[]);
    let mut beta = Node::join(folder.path(), "beta", &token);
    alpha.wait_alive("beta", BOUND);

    let text = "0123456789".repeat(90_000);
    let body = json!({"target": "echo@beta", "payload": text, "receipt": "executed+durable", "deadline_ms": 20_000});
    let (status, report) = alpha.api("POST", "/v1/call", Some(&body)).expect("an answer");
    assert_eq!((status, &report["receipt"]), (200, &json!("executed+durable")), "{report:.300}");
    assert_eq!(report["reply"], json!(text), "the answer is as long");

    for node in [&mut alpha, &mut beta] {
        node.kill();
        node.restart();
        let (status, page) = node.api("GET", "/v1/chain/events?from=0&kind=ipc.message", None).expect("an answer");
        assert_eq!(status, 200);
        let events = page["events"].as_array().expect("events");
        let held = events.iter().filter(|event| event["detail"]["body"] == json!(text)).count();
        assert_eq!(held, 2, "{}: question and answer, of {} events", node.name, events.len());
    }
    let plain = json!({"target": "echo@beta", "payload": text, "deadline_ms": 20_000});
    alpha.wait_alive("beta", BOUND);
    let (status, report) = alpha.api("POST", "/v1/call", Some(&plain)).expect("an answer");
    assert_eq!((status, &report["reply"]), (200, &json!(text)), "{report:.300}");
    for node in [&alpha, &beta] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true);
    }
}
