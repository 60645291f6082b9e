//! The ML-DSA-65 key of a running node is rotated: messages go on, others follow, offline checks hold, and whenever the node is
//! killed the chain says which of the two keys is its own.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cluster::{BOUND, Node, run, spawn, state_of, wait_for, weft};

fn fingerprint(shown: &Value) -> String {
    shown["mldsa65_fingerprint"].as_str().expect("a fingerprint").to_owned()
}

fn verifies_offline(path: &Path) {
    let said = run(&["chain", "verify", "--offline", path.to_str().expect("text"), "--json"]);
    assert_eq!((said.code, said.json()["ok"].as_bool()), (0, Some(true)), "{said:?}");
}

/// What `node` holds of the chain of that member.
fn held(node: &Node, member: &str) -> u64 {
    let rows = node.json(&["members"]);
    let row = rows["members"].as_array().expect("rows").iter().find(|row| row["name"] == member).cloned();
    row.and_then(|row| row["chain"]["events"].as_u64()).unwrap_or_default()
}

/// All talk to the member whose keys were rotated, both ways, and hold its chain.
fn go_on(alpha: &Node, others: &[&Node]) {
    for other in others {
        alpha.wait_alive(&other.name, BOUND);
        other.wait_alive("alpha", BOUND);
        assert!(alpha.call_durable(&format!("echo@{}", other.name), "there"), "{}", other.name);
        assert!(other.call_durable("echo@alpha", "and back"), "{}", other.name);
    }
    let events = alpha.json(&["chain", "status"])["events"].as_u64().expect("a number");
    for other in others {
        let follows = || (held(other, "alpha") >= events).then_some(());
        wait_for(&format!("{} holds what alpha has written", other.name), BOUND, follows);
    }
}

#[test]
fn a_cluster_goes_on_when_the_keys_of_a_member_are_rotated() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let tokens = [0, 1, 2].map(|_| alpha.invite(&[]));
    let mut beta = Node::join(folder.path(), "beta", &tokens[0]);
    let mut gamma = Node::join(folder.path(), "gamma", &tokens[1]);
    go_on(&alpha, &[&beta, &gamma]);

    let first = alpha.json(&["identity", "show"]);
    assert_eq!((first["rotations"].as_u64(), &first["keys_since"]), (Some(0), &Value::Null));
    for rotations in 1..=2 {
        let before = fingerprint(&alpha.json(&["identity", "show"]));
        let report = alpha.json(&["identity", "rotate"]);
        assert_eq!((report["before"].as_str(), report["rotations"].as_u64()), (Some(before.as_str()), Some(rotations)));
        let shown = alpha.json(&["identity", "show"]);
        assert_eq!(fingerprint(&shown), fingerprint(&report));
        assert_ne!(fingerprint(&shown), before);
        assert_eq!(shown["node"], first["node"], "the node is the same");
        assert!(shown["keys_since"].is_string(), "{shown}");
        assert!(!alpha.home.join("identity.next.key").exists());
        go_on(&alpha, &[&beta, &gamma]);
    }
    let said = alpha.weft(&["chain", "log", "--kind", "keys.rotated", "--json"]);
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");

    for node in [&alpha, &beta, &gamma] {
        assert_eq!(node.json(&["chain", "verify"])["ok"], true, "{}", node.name);
        let export = folder.path().join(format!("export-of-{}", node.name));
        node.json(&["chain", "export", export.to_str().expect("text")]);
        verifies_offline(&export);
    }
    proofs_hold(&alpha, folder.path());

    for node in [&mut alpha, &mut beta, &mut gamma] {
        node.down();
        verifies_offline(&node.home);
    }
    // Whoever is down says the same of itself as while it runs.
    let shown = alpha.json(&["identity", "show"]);
    assert_eq!(shown["rotations"], 2);
    for node in [&mut alpha, &mut beta, &mut gamma] {
        node.restart();
    }
    assert_eq!(fingerprint(&alpha.json(&["identity", "show"])), fingerprint(&shown));
    go_on(&alpha, &[&beta, &gamma]);

    // The token pins the keys that alpha had when it made it.
    let delta = Node::join(folder.path(), "delta", &tokens[2]);
    go_on(&alpha, &[&beta, &gamma, &delta]);
    beta.wait_alive("delta", BOUND);
    assert!(beta.call_durable("echo@delta", "admitted with the new keys"));
    let seen = gamma.weft(&["chain", "log", "--kind", "chain.fork-seen", "--json"]);
    assert_eq!((seen.code, seen.stdout.as_str()), (0, ""));
}

/// An event from before the rotations, and the genesis under the newest checkpoint, are proven to outsiders.
fn proofs_hold(alpha: &Node, folder: &Path) {
    let id = alpha.json(&["identity", "show"])["node"].as_str().expect("an id").to_owned();
    let (_, proof) = alpha.api("GET", "/v1/chain/proof/1", None).expect("a proof");
    let path = folder.join("proof.json");
    fs::write(&path, proof.to_string()).expect("written");
    let said = run(&["chain", "check-proof", path.to_str().expect("text"), "--node", &id, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let checkpoint = alpha.api("GET", "/v1/chain/checkpoint", None).expect("a checkpoint");
    assert_eq!(checkpoint.0, 200, "the keys of the genesis lead to those that signed: {checkpoint:?}");
}

#[test]
fn whenever_it_is_killed_the_chain_says_which_keys_are_the_nodes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let beta = Node::join(folder.path(), "beta", &alpha.invite(&[]));
    go_on(&alpha, &[&beta]);
    let (key, next) = (alpha.home.join("identity.key"), alpha.home.join("identity.next.key"));
    let old = folder.path().join("old.key");
    fs::copy(&key, &old).expect("a copy");
    let report = alpha.json(&["identity", "rotate"]);
    go_on(&alpha, &[&beta]);

    // Recorded, and killed before the new keys took their place.
    alpha.kill();
    fs::rename(&key, &next).expect("renamed");
    fs::copy(&old, &key).expect("a copy");
    let down = alpha.json(&["identity", "show"]);
    assert_eq!(fingerprint(&down), fingerprint(&report));
    alpha.restart();
    assert!(!next.exists(), "the new keys took their place");
    assert_eq!(fingerprint(&alpha.json(&["identity", "show"])), fingerprint(&report));
    go_on(&alpha, &[&beta]);

    // Written, and killed before it was recorded: what lies there was never announced.
    alpha.kill();
    fs::copy(&old, &next).expect("a copy");
    alpha.restart();
    assert!(!next.exists(), "what was never recorded is gone");
    assert_eq!(fingerprint(&alpha.json(&["identity", "show"])), fingerprint(&report));
    go_on(&alpha, &[&beta]);

    // Really killed in the middle, as soon as the next keys are on disk.
    for _ in 0..3 {
        let mut rotating = weft();
        rotating.args(["identity", "rotate", "--json", "--home"]).arg(&alpha.home);
        let mut rotating = rotating.spawn().expect("the command starts");
        let pid = alpha.pid();
        while !next.exists() && rotating.try_wait().expect("a child").is_none() {
            std::hint::spin_loop();
        }
        crate::cluster::signal(pid, "KILL");
        alpha.wait_end();
        let _said = rotating.wait().expect("it ends");
        verifies_offline(&alpha.home);
        alpha.restart();
        assert!(!next.exists());
        go_on(&alpha, &[&beta]);
    }
    assert_eq!(alpha.json(&["chain", "verify"])["ok"], true);

    // The old keys alone are of no use any more, and that is said.
    alpha.down();
    let current = folder.path().join("current.key");
    fs::rename(&key, &current).expect("renamed");
    fs::copy(&old, &key).expect("a copy");
    let mut up = weft();
    up.args(["up", "--json", "--home"]).arg(&alpha.home).env("XDG_STATE_HOME", state_of(&alpha.home));
    let said = spawn(&mut up).expect_err("it does not start");
    assert!(format!("{said:?}").contains("gave way to others"), "{said:?}");
    fs::rename(&current, &key).expect("renamed");
    alpha.restart();
    go_on(&alpha, &[&beta]);
}

#[test]
fn there_is_an_end_to_rotations_and_it_is_said_before_anything_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    for _ in 0..8 {
        alpha.json(&["identity", "rotate"]);
    }
    let before = alpha.json(&["identity", "show"]);
    let said = alpha.weft(&["identity", "rotate"]);
    assert_eq!(said.code, 7, "{said:?}");
    assert!(said.stderr.contains("weft join TOKEN --home ANOTHER"), "{said:?}");
    assert_eq!(alpha.json(&["identity", "show"]), before);
    assert!(!alpha.home.join("identity.next.key").exists());
}
