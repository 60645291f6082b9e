//! The tree of resources from outside: two nodes that hold the same show the same, prove it, and survive a crash with it.

use serde_json::{Value, json};

use crate::cluster::{BOUND, Node, run, wait_for};

fn cluster(folder: &std::path::Path) -> (Node, Node) {
    let alpha = Node::found(folder, "alpha");
    let beta = Node::join(folder, "beta", &alpha.invite(&[]));
    (alpha, beta)
}

/// The root that both show once they hold the same chains.
fn agreed_root(one: &Node, other: &Node) -> String {
    wait_for("both hold the same", BOUND, || {
        let roots = [one, other].map(|node| node.json(&["tree", "root"]));
        let [first, second] = &roots;
        if first["vector_root"] != second["vector_root"] {
            return None;
        }
        assert_eq!(first["root"], second["root"], "equal vector roots");
        let stable = |root: &Value| root["stable"]["hlc"].as_str().map(str::to_owned);
        if stable(first).is_some() && stable(first) == stable(second) {
            assert_eq!(first["stable"], second["stable"], "equal vector roots, stable up to the same place");
        }
        first["root"].as_str().map(str::to_owned)
    })
}

fn get(node: &Node, path: &str) -> Option<Value> {
    let said = node.weft(&["tree", "get", path, "--json"]);
    (said.code == 0).then(|| said.json())
}

fn wait_state(node: &Node, path: &str, state: &str) -> Value {
    wait_for(&format!("{path} {state} on {}", node.name), BOUND, || {
        get(node, path).filter(|row| row["metadata"]["state"] == state)
    })
}

#[test]
fn two_nodes_show_the_same_resources_and_prove_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = cluster(folder.path());
    alpha.json(&["agent", "spawn", "words", "--builtin", "echo"]);
    let row = wait_state(&beta, "/agents/words", "running");
    assert_eq!(
        (&row["kind"], &row["name"], &row["scoring"]["trust"]),
        (&json!("agent"), &json!("words@alpha"), &json!(0.5))
    );
    let root = agreed_root(&alpha, &beta);

    let file = folder.path().join("words.proof");
    let file = file.to_str().expect("text");
    let written = beta.json(&["tree", "prove", "/agents/words", "--output", file]);
    assert_eq!(written["present"], true);
    let proven_root = written["root"].as_str().expect("a root").to_owned();
    let checked = run(&["tree", "check-proof", file, "--root", &proven_root, "--json"]);
    assert_eq!((checked.code, &checked.json()["resource"]["metadata"]["state"]), (0, &json!("running")));
    let other = run(&["tree", "check-proof", file, "--root", &root.replace(|_: char| true, "0"), "--json"]);
    assert_eq!(other.json_error(), ("bad-proof".to_owned(), 7));
    let unsure = run(&["tree", "check-proof", file]);
    assert_eq!(unsure.code, 1, "whose root it is must be known: {unsure:?}");
    assert!(unsure.stderr.contains(&format!("--root {proven_root}")), "{unsure:?}");
    let absent = beta.json(&["tree", "prove", "/agents/nobody", "--output", "-"]);
    assert_eq!(absent["present"], false);

    // A copy with one other letter in the proof.
    let mut text: Value = serde_json::from_slice(&std::fs::read(file).expect("read")).expect("JSON");
    let proof = text["proof"].as_str().expect("text");
    let end = proof.len() / 2;
    let letter = if proof.as_bytes()[end] == b'A' { "B" } else { "A" };
    text["proof"] = format!("{}{letter}{}", &proof[..end], &proof[end + 1..]).into();
    let changed = folder.path().join("changed.proof");
    std::fs::write(&changed, text.to_string()).expect("written");
    let changed = run(&["tree", "check-proof", changed.to_str().expect("text"), "--root", &proven_root, "--json"]);
    assert_eq!(changed.json_error(), ("bad-proof".to_owned(), 7));
}

#[test]
fn scores_blend_alike_on_every_node_and_survive_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut alpha, beta) = cluster(folder.path());
    alpha.json(&["agent", "spawn", "words", "--builtin", "echo"]);
    wait_state(&beta, "/agents/words", "running");
    let scored = beta.json(&["tree", "score", "/agents/words", "--reliability", "1", "--weight", "0.5"]);
    assert_eq!(scored["scoring"]["reliability"], 0.75, "{scored}");
    let reliability = |node: &Node, expected: f64| {
        wait_for(&format!("reliability {expected} on {}", node.name), BOUND, || {
            get(node, "/agents/words@alpha").filter(|row| row["scoring"]["reliability"] == expected)
        })
    };
    reliability(&alpha, 0.75);

    // The end of a life says something too: 0.75·0.7 + 0.3.
    alpha.json(&["agent", "stop", "words"]);
    let ended = reliability(&beta, 0.825);
    assert_eq!(ended["metadata"]["state"], "exited");
    let before = agreed_root(&alpha, &beta);
    assert_eq!(alpha.json(&["tree", "root"])["root"], before);
    alpha.kill();
    alpha.restart();
    alpha.wait_alive("beta", BOUND);
    reliability(&alpha, 0.825);
    agreed_root(&alpha, &beta);

    let said = beta.weft(&["tree", "score", "/agents/words", "--trust", "1", "--weight", "2"]);
    assert_eq!(said.code, 2, "{said:?}");
}

#[test]
fn a_name_on_two_nodes_is_ambiguous_until_its_node_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (alpha, beta) = cluster(folder.path());
    // Each node begins with an agent `echo`.
    wait_for("both agents", BOUND, || {
        get(&alpha, "/agents/echo@beta").filter(|row| row["metadata"]["state"] == "running")
    });
    let said = alpha.weft(&["tree", "get", "/agents/echo", "--json"]);
    assert_eq!(said.json_error().0, "ambiguous", "{said:?}");
    assert_eq!(get(&beta, "/agents/echo@alpha").expect("there")["name"], "echo@alpha");
    let peers = alpha.json(&["tree", "ls", "/network/peers"]);
    let names: Vec<&str> =
        peers["resources"].as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(get(&alpha, "/environments/development/beta").expect("there")["kind"], "node");
    assert_eq!(get(&beta, "/network/peers/alpha").expect("there")["metadata"]["state"], "admitted");
    assert!(names.len() == 2 && names.contains(&"alpha") && names.contains(&"beta"), "{names:?}");
}
