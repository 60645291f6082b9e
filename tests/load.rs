//! The built-in agent that makes load: what it says it sent is on the chain, and the node hears others meanwhile.

use serde_json::Value;

use crate::cluster::{BOUND, Node, wait_for};

fn order(node: &Node, order: &str) -> Value {
    let said = node.json(&["call", "load", order, "--deadline", "60s"]);
    said["reply"]["json"].clone()
}

#[test]
fn what_it_sends_is_on_the_chain_and_what_it_may_not_send_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    alpha.json(&["agent", "spawn", "load", "--grant", "send:echo"]);
    let report = order(&alpha, r#"{"to":"echo","messages":500,"at_once":7}"#);
    assert_eq!((&report["sent"], &report["refused"]), (&500.into(), &serde_json::json!({})), "{report}");
    let report = order(&alpha, r#"{"to":"load","messages":3}"#);
    assert_eq!((&report["sent"], &report["refused"]["denied"]), (&0.into(), &3.into()), "{report}");
    let wrong = alpha.weft(&["call", "load", r#"{"to":"echo","messages":0}"#]);
    assert!(wrong.stderr.contains("messages is 0: from 1 to 10000000"), "{wrong:?}");

    let leaves = || -> u64 {
        let log = alpha.weft(&["chain", "log", "--kind", "ipc.batch", "--json"]);
        let counted = log.stdout.lines().map(|line| {
            let event: Value = serde_json::from_str(line).expect("an event");
            event["detail"]["count"].as_u64().expect("a count")
        });
        counted.sum()
    };
    // 500 messages, and two steps each of the three orders.
    wait_for("all leaves", BOUND, || (leaves() >= 506).then_some(()));
    assert_eq!(alpha.weft(&["chain", "verify"]).code, 0);
}

#[test]
fn a_node_under_load_hears_others_and_stops_when_nobody_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    alpha.json(&["agent", "spawn", "load", "--grant", "send:echo"]);
    std::thread::scope(|scope| {
        let all = r#"{"to":"echo","messages":10000000,"bytes":8}"#;
        let loading = scope.spawn(|| alpha.weft(&["call", "load", all, "--deadline", "5s"]));
        let is_busy = || alpha.weft(&["call", "load", "{}"]).stderr.contains("still sending");
        wait_for("it sends", BOUND, || is_busy().then_some(()));
        assert_eq!(alpha.json(&["call", "echo", "hi"])["reply"], "hi");
        assert!(is_busy(), "it was still sending while echo answered");
        let said = loading.join().expect("no panic");
        assert!(said.stderr.contains("deadline"), "{said:?}");
    });
    let report = order(&alpha, r#"{"to":"echo","messages":1}"#);
    assert_eq!(report["sent"], 1, "{report}");
    assert_eq!(alpha.weft(&["chain", "verify"]).code, 0);
}
