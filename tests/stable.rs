//! The order becomes stable, says whom it waits for, and goes on when more than half agree that somebody is not waited for.

use serde_json::Value;

use crate::cluster::{BOUND, Node, wait_for};

/// One event of the order: its node, its place there, its kind.
pub(crate) type Event = (String, u64, String);

/// What a node calls stable, in order.
pub(crate) fn stable(node: &Node) -> Vec<Event> {
    let said = node.weft(&["order", "--stable", "--json"]);
    let rows = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row"));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let event = |row: Value| {
        assert_eq!(row["stable"], true);
        (text(&row["node"]), row["seq"].as_u64().expect("a number"), text(&row["kind"]))
    };
    rows.map(event).collect()
}

pub(crate) fn state(node: &Node) -> Value {
    let (status, state) = node.api("GET", "/v1/order/state", None).expect("the door");
    assert_eq!(status, 200);
    state
}

fn counting(node: &Node) -> usize {
    state(node)["counting"].as_array().expect("rows").len()
}

/// How often nodes have sent this text, as far as that is stable.
fn stable_messages(node: &Node) -> usize {
    stable(node).iter().filter(|(_, _, kind)| kind == "ipc.message").count()
}

/// Whatever one of them calls stable the other does too, or will.
fn assert_agreed(nodes: &[&Node]) {
    let all: Vec<Vec<Event>> = nodes.iter().map(|node| stable(node)).collect();
    for pair in all.windows(2) {
        let shared = pair[0].len().min(pair[1].len());
        assert!(shared > 0, "something is stable on both");
        assert_eq!(pair[0][..shared], pair[1][..shared]);
    }
}

fn cluster(folder: &std::path::Path) -> [Node; 3] {
    let alpha = Node::found(folder, "alpha");
    let token = alpha.invite(&["--uses", "2"]);
    let beta = Node::join(folder, "beta", &token);
    let gamma = Node::join(folder, "gamma", &token);
    [alpha, beta, gamma]
}

#[test]
fn the_order_waits_for_the_silent_until_more_than_half_suspend_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let [alpha, beta, mut gamma] = cluster(folder.path());
    for node in [&alpha, &beta, &gamma] {
        wait_for("all three count", BOUND, || (counting(node) == 3).then_some(()));
    }
    assert!(alpha.call_durable("echo@gamma", "while all are there"));
    for node in [&alpha, &beta, &gamma] {
        wait_for("the message is stable", BOUND, || (stable_messages(node) >= 4).then_some(()));
    }
    assert_agreed(&[&alpha, &beta, &gamma]);
    let before = stable(&alpha);

    gamma.kill();
    assert!(alpha.call_durable("echo@beta", "while gamma is silent"));
    let waits = wait_for("alpha says whom it waits for", BOUND, || {
        let state = state(&alpha);
        let waits = state["waits_for"].as_array().expect("rows").clone();
        (!waits.is_empty() && waits[0]["name"] == "gamma" && state["order"] == "provisional").then_some(waits)
    });
    assert!(waits[0]["heard_until"].is_string(), "{waits:?}");
    assert_eq!(stable_messages(&alpha), 4, "nothing of the second message is stable");

    let said = alpha.json(&["members", "suspend", "gamma"]);
    assert_eq!((&said["decided"], &said["change"]), (&Value::Bool(true), &Value::from("suspend")));
    for node in [&alpha, &beta] {
        wait_for("the second message is stable", BOUND, || (stable_messages(node) >= 8).then_some(()));
        assert_eq!(stable(node)[..before.len()], before, "what was stable stays");
        assert_eq!(counting(node), 2);
    }

    gamma.restart();
    gamma.wait_alive("alpha", BOUND);
    assert!(gamma.call_durable("echo@alpha", "from the suspended"), "whoever is suspended goes on working");
    let said = beta.weft(&["members", "resume", "gamma", "--json"]);
    assert_eq!(said.code, 7, "a worker proposes nothing: {said:?}");
    let said = alpha.json(&["members", "resume", "gamma"]);
    assert_eq!(said["decided"], true);
    for node in [&alpha, &beta, &gamma] {
        wait_for("everything is stable", BOUND, || (stable_messages(node) >= 12).then_some(()));
        assert_eq!(stable(node)[..before.len()], before, "what was stable stays");
        assert_eq!(counting(node), 3);
    }
    assert_agreed(&[&alpha, &beta, &gamma]);
}

#[test]
fn an_evicted_node_is_a_member_no_longer() {
    let folder = tempfile::tempdir().expect("a folder");
    let [mut alpha, beta, mut gamma] = cluster(folder.path());
    wait_for("all three count", BOUND, || (counting(&alpha) == 3).then_some(()));
    let said = alpha.json(&["evict", "gamma"]);
    assert_eq!(said["decided"], true);
    for node in [&alpha, &beta] {
        wait_for("gamma is evicted", BOUND, || (node.state_of("gamma").as_deref() == Some("evicted")).then_some(()));
    }
    let refused = alpha.weft(&["call", "echo@gamma", "hi", "--deadline", "5s", "--json"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    gamma.kill();
    gamma.restart();
    let said = wait_for("gamma is told", BOUND, || {
        let status = gamma.json(&["members"]);
        let rows = status["members"].as_array()?.clone();
        let alone = rows.iter().filter(|row| row["name"] != "gamma").all(|row| row["state"] != "alive");
        alone.then_some(rows)
    });
    assert!(said.len() >= 2);
    // It stays so.
    alpha.kill();
    alpha.restart();
    alpha.wait_alive("beta", BOUND);
    assert_eq!(alpha.state_of("gamma").as_deref(), Some("evicted"));
    assert_eq!(counting(&alpha), 2);
}

#[test]
fn what_was_wanted_is_still_wanted_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let mut beta = Node::join(folder.path(), "beta", &alpha.invite(&["--role", "admin"]));
    let mut gamma = Node::join(folder.path(), "gamma", &alpha.invite(&[]));
    for node in [&alpha, &beta, &gamma] {
        wait_for("all three count", BOUND, || (counting(node) == 3).then_some(()));
    }
    // Alone nobody is more than half.
    beta.kill();
    gamma.kill();
    let said = alpha.json(&["members", "suspend", "gamma"]);
    assert_eq!(said["decided"], false, "{said:?}");
    alpha.kill();
    alpha.restart();
    beta.restart();
    for node in [&alpha, &beta] {
        wait_for("gamma is suspended", BOUND, || (counting(node) == 2).then_some(()));
    }
    gamma.restart();
    gamma.wait_alive("alpha", BOUND);
    assert_eq!(beta.json(&["members", "resume", "gamma"])["decided"], true);
    // What was answered is not wanted again, whatever somebody else has wanted since.
    alpha.kill();
    alpha.restart();
    alpha.wait_alive("gamma", BOUND);
    assert!(alpha.call_durable("echo@gamma", "after both"));
    for node in [&alpha, &beta, &gamma] {
        wait_for("everything is stable", BOUND, || (stable_messages(node) >= 4).then_some(()));
        assert_eq!(counting(node), 3);
    }
}
