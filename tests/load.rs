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

/// Fewer than wait for the disk at most, so that the loop is never told to wait and must look around by itself; enough that
/// it takes longer than a question does.
#[test]
fn a_node_under_load_hears_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    alpha.json(&["agent", "spawn", "load", "--grant", "send:echo"]);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| order(&alpha, r#"{"to":"echo","messages":120000,"bytes":8}"#));
        let is_busy = || alpha.weft(&["call", "load", "{}"]).stderr.contains("still sending");
        wait_for("it sends, and says so", BOUND, || (is_busy() || loading.is_finished()).then_some(()));
        assert!(!loading.is_finished(), "nobody was heard while it was sending");
        assert_eq!(loading.join().expect("no panic")["sent"], 120_000);
    });
    assert_eq!(alpha.weft(&["chain", "verify"]).code, 0);
}

/// More than a topic's history holds, and faster than another node takes them.
#[test]
fn what_it_publishes_another_hears_however_fast() {
    const PUBLICATIONS: u64 = 12_000;
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    alpha.json(&["agent", "spawn", "load", "--grant", "publish:jobs"]);
    beta.json(&["agent", "spawn", "load", "--grant", "subscribe:jobs"]);
    assert_eq!(order(&beta, r#"{"listen":"jobs"}"#)["listens"], true);
    alpha.json(&["pub", "jobs", "first", "--wait-for", "1"]);
    let heard = || order(&beta, r#"{"heard":"jobs"}"#);
    wait_for("the first", BOUND, || (heard()["heard"] == 1).then_some(()));
    let report = order(&alpha, &format!(r#"{{"to":"topic:jobs","messages":{PUBLICATIONS},"bytes":8}}"#));
    assert_eq!((&report["sent"], &report["refused"]), (&PUBLICATIONS.into(), &serde_json::json!({})), "{report}");
    let all = wait_for("all of them", BOUND, || Some(heard()).filter(|heard| heard["heard"] == PUBLICATIONS + 1));
    let (bytes, other) = (8 * PUBLICATIONS, 1);
    assert_eq!((&all["bytes"], &all["other"], &all["gaps"]), (&bytes.into(), &other.into(), &0.into()), "{all}");
}

#[test]
fn it_stops_when_nobody_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    alpha.json(&["agent", "spawn", "load", "--grant", "send:echo"]);
    let all = r#"{"to":"echo","messages":10000000,"bytes":8}"#;
    let said = alpha.weft(&["call", "load", all, "--deadline", "1s"]);
    assert!(said.stderr.contains("deadline"), "{said:?}");
    assert_eq!(order(&alpha, r#"{"to":"echo","messages":1}"#)["sent"], 1);
    assert_eq!(alpha.weft(&["chain", "verify"]).code, 0);
}
