//! Certificates that end: what an invite says of them is kept over a start, and every member shows when they end.

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, wait_for};

fn ends(node: &Node, member: &str) -> Value {
    let rows = node.json(&["members"]);
    let row = rows["members"].as_array().expect("rows").iter().find(|row| row["name"] == member);
    row.map_or(Value::Null, |row| row["certificate_ends"].clone())
}

#[test]
fn an_invite_gives_certificates_that_end_and_everybody_sees_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    for wrong in ["59s", "3651d"] {
        let said = alpha.weft(&["invite", "--certificate-ttl", wrong, "--json"]);
        assert_eq!(said.code, 2, "{wrong}: {said:?}");
    }
    let (status, said) =
        alpha.api("POST", "/v1/invites", Some(&json!({ "certificate_ttl_ms": 59_999 }))).expect("an answer");
    assert_eq!((status / 100, said["error"]["code"].as_str()), (4, Some("invalid")), "{said}");
    let token = alpha.invite(&["--certificate-ttl", "30d"]);
    alpha.kill();
    alpha.restart();
    let beta = Node::join(folder.path(), "beta", &token);
    let end = ends(&alpha, "beta");
    assert!(end.is_string(), "{end}");
    assert_eq!(ends(&alpha, "alpha"), Value::Null, "the founder's certificate does not end");
    let same = || (ends(&beta, "beta") == end).then_some(());
    wait_for("beta shows when its certificate ends", BOUND, same);

    let log = alpha.weft(&["chain", "log", "--kind", "invite.issued", "--json"]);
    assert!(log.stdout.contains("\"certificate_ttl_ms\":2592000000"), "{log:?}");
}
