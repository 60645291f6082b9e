//! Receipts that a third member vouches for, on real nodes: what is said, what both sides show, and what is said without one.

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, wait_for};

fn call(node: &Node, receipt: &str, deadline_ms: u64) -> (u16, Value) {
    let body = json!({"target": "echo@beta", "payload": "hi", "receipt": receipt, "deadline_ms": deadline_ms});
    node.api("POST", "/v1/call", Some(&body)).expect("an answer")
}

/// The steps of a conversation whose records somebody vouches for, as this node shows them.
fn vouched_steps(node: &Node, trace: &str) -> Vec<String> {
    let report = node.json(&["trace", trace]);
    let hops = report["hops"].as_array().expect("steps").iter();
    let vouched = hops.filter(|hop| hop["witnesses"].as_u64().unwrap_or_default() > 0);
    vouched
        .map(|hop| format!("{} {}", hop["name"].as_str().unwrap_or_default(), hop["kind"].as_str().unwrap_or_default()))
        .collect()
}

#[test]
fn a_third_member_vouches_for_a_message_and_both_sides_show_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&["--uses", "2"]);
    let beta = Node::join(folder.path(), "beta", &token);
    alpha.wait_alive("beta", BOUND);

    let (code, refused) = call(&alpha, "executed+witnessed", 5_000);
    assert_eq!((code, refused["error"]["code"].as_str()), (409, Some("no-witness")), "a cluster of two: {refused}");

    let mut gamma = Node::join(folder.path(), "gamma", &token);
    for node in [&alpha, &beta] {
        node.wait_alive("gamma", BOUND);
    }
    let gamma_id = gamma.up["node"].as_str().expect("an id").to_owned();
    let (code, report) = call(&alpha, "executed+witnessed", 20_000);
    assert_eq!(code, 200, "{report}");
    assert_eq!(report["receipt"], "executed+witnessed");
    assert_eq!(report["witnesses"], json!([gamma_id]), "{report}");

    let place = report["record"].as_u64().expect("a place").to_string();
    let listed = alpha.json(&["chain", "witnesses", &place]);
    let rows = listed["witnesses"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["name"] == "gamma" && row["agrees"] == true), "{listed}");
    let commit = rows[0]["commit"].as_str().expect("a hash");
    let by_hash = alpha.json(&["chain", "witnesses", commit]);
    assert!(!by_hash["witnesses"].as_array().expect("rows").is_empty(), "{by_hash}");
    let missing = alpha.weft(&["chain", "witnesses", "999999", "--json"]);
    assert_eq!(missing.json_error(), ("not-found".to_owned(), 4));

    let trace = report["trace"].as_str().expect("a trace");
    for node in [&alpha, &beta] {
        let both = || {
            let steps = vouched_steps(node, trace);
            let has = |step: &str| steps.iter().any(|it| it == step);
            (has("alpha sent") && has("beta answered")).then_some(())
        };
        wait_for(&format!("{} shows who vouches", node.name), BOUND, both);
    }

    let (code, refused) = call(&alpha, "executed+witnessed(2)", 5_000);
    assert_eq!((code, refused["error"]["code"].as_str()), (409, Some("no-witness")), "there is one third: {refused}");

    gamma.kill();
    let said =
        alpha.weft(&["call", "echo@beta", "hi", "--receipt", "executed+witnessed", "--deadline", "2s", "--json"]);
    assert_eq!(said.json_error(), ("not-witnessed".to_owned(), 5), "{said:?}");
    let error = &said.json()["error"];
    assert_eq!((error["changed"].as_bool(), error["retry"].as_bool()), (Some(true), Some(false)), "{error}");
}
