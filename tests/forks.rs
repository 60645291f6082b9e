//! A node that writes two histories of its chain is proven guilty by everybody, cut at the same place, and cut off.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::{BOUND, Node, run, state_of, wait_for};

/// How soon after honest nodes are connected all of them must know.
const KNOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// Most bytes of evidence.
const EVIDENCE_BYTES_MAX: u64 = 24 * 1024;

/// What a home and everything outside it that a node goes by held at one time.
pub(crate) struct Copy {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Copy {
    pub(crate) fn of(home: &Path) -> Self {
        let mut copy = Self { files: Vec::new() };
        copy.take(home);
        copy.take(&state_of(home));
        copy
    }

    fn take(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("the home").flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.take(&path),
                Ok(kind) if kind.is_file() => self.files.push((path.clone(), std::fs::read(&path).expect("a file"))),
                _ => {}
            }
        }
    }

    /// Writes every file as it was, into the very same file: the machine itself goes back in time.
    pub(crate) fn put_back(&self) {
        for (path, bytes) in &self.files {
            std::fs::write(path, bytes).expect("a file of ours");
        }
    }
}

/// How many events of `of` a node holds.
fn held(node: &Node, of: &str) -> Option<u64> {
    let members = node.json(&["members"]);
    let row = members["members"].as_array()?.iter().find(|row| row["name"] == of)?.clone();
    row["chain"]["events"].as_u64()
}

/// Lets the liar write while only these nodes are there to see it; then all of them go down.
fn deceive(liar: &mut Node, nodes: &mut [Node], text: &str) {
    liar.restart();
    let first = nodes[0].name.clone();
    liar.wait_alive(&first, BOUND);
    assert!(liar.call_durable(&format!("echo@{first}"), text));
    let events = liar.json(&["chain", "status"])["events"].as_u64().expect("a number");
    for node in nodes.iter() {
        wait_for("the liar's history arrives", BOUND, || (held(node, "liar")? >= events).then_some(()));
    }
    liar.kill();
    for node in nodes {
        node.down();
    }
}

/// What is proven on a node, once it shows where the two histories part.
fn evidence(node: &Node) -> Option<Value> {
    let listed = node.json(&["chain", "evidence"]);
    let row = listed["evidence"].as_array()?.first().cloned()?;
    row["shared_commits"].is_u64().then_some(row)
}

#[test]
fn a_lying_node_is_known_to_all_within_five_seconds_and_cut_at_the_same_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&["--uses", "4"]);
    let mut nodes = vec![alpha];
    for name in ["beta", "gamma", "delta"] {
        nodes.push(Node::join(folder.path(), name, &token));
    }
    // In a folder of its own, with all that a node goes by outside its home.
    let apart = folder.path().join("apart");
    std::fs::create_dir(&apart).expect("a folder");
    let mut liar = Node::join(&apart, "liar", &token);
    for node in &nodes {
        node.wait_alive("liar", BOUND);
    }
    liar.down();
    let home = liar.home.to_str().expect("text");
    let verified = run(&["chain", "verify", "--json", "--offline", home]).json();
    let chains = verified["chains"].as_array().expect("chains");
    let own = chains.iter().find(|row| row["node"] == liar.up["node"]).expect("its own chain");
    let shared = own["events"].as_u64().expect("a number");

    let honest = Copy::of(&liar.home);
    for node in &mut nodes[2..] {
        node.down();
    }
    deceive(&mut liar, &mut nodes[..2], "to alpha and beta");
    honest.put_back();
    for node in &mut nodes[2..] {
        node.restart();
    }
    deceive(&mut liar, &mut nodes[2..], "to gamma and delta, and it never said anything else");

    for node in &mut nodes {
        node.restart();
    }
    for node in &nodes[1..] {
        nodes[0].wait_alive(&node.name, BOUND);
    }
    let begun = std::time::Instant::now();
    let found: Vec<Value> = nodes.iter().map(|node| wait_for("evidence", BOUND, || evidence(node))).collect();
    let took = begun.elapsed();
    assert!(took < KNOWN_WITHIN, "known to all after {took:?}");
    for row in &found {
        assert_eq!(row["name"], "liar");
        assert_eq!(row["kind"], "siblings", "{row}");
        assert_eq!(row["shared_commits"], found[0]["shared_commits"], "all cut at the same commit");
        assert!(row["bytes"].as_u64().is_some_and(|bytes| bytes <= EVIDENCE_BYTES_MAX), "{row}");
    }
    for node in &nodes {
        wait_for("the liar is cut off", BOUND, || (node.state_of("liar")? == "quarantined").then_some(()));
        wait_for("what does not count is gone", BOUND, || (held(node, "liar")? == shared).then_some(()));
        assert_eq!(node.json(&["chain", "verify"])["ok"], true);
    }
    // Anybody can check it, without a node, and it convicts nobody else.
    let file = folder.path().join("liar.json");
    let said = nodes[2].weft(&["chain", "evidence", "liar", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    std::fs::write(&file, &said.stdout).expect("a file");
    let (path, id) = (file.to_str().expect("text"), liar.up["node"].as_str().expect("an id"));
    let checked = run(&["chain", "check-evidence", path, "--node", id, "--json"]);
    assert_eq!((checked.code, &checked.json()["ok"]), (0, &Value::Bool(true)), "{checked:?}");
    let of_another = nodes[0].up["node"].as_str().expect("an id");
    let checked = run(&["chain", "check-evidence", path, "--node", of_another, "--json"]);
    assert_eq!(checked.code, 7, "{checked:?}");

    // It stays so after a restart of everybody.
    for node in &mut nodes {
        node.down();
        node.restart();
        assert_eq!(evidence(node).map(|row| row["shared_commits"].clone()), Some(found[0]["shared_commits"].clone()));
        assert_eq!(held(node, "liar"), Some(shared));
    }

    // An admin takes it back, with a chain that it begins anew; what was cut stays out.
    let rejoined = run(&["identity", "rejoin", "--yes", "--home", liar.home.to_str().expect("text"), "--json"]);
    assert_eq!(rejoined.code, 0, "{rejoined:?}");
    liar.restart();
    nodes[0].json(&["members", "readmit", "liar"]);
    for node in &nodes {
        node.wait_alive("liar", BOUND);
        wait_for("its new chain counts", BOUND, || {
            let rows = node.json(&["members"])["members"].as_array()?.clone();
            let liar = rows.into_iter().find(|row| row["name"] == "liar")?;
            (liar["counts"] == true).then_some(())
        });
        assert_eq!(evidence(node).map(|row| row["shared_commits"].clone()), Some(found[0]["shared_commits"].clone()));
    }
    assert!(liar.call_durable("echo@beta", "an honest word"));
}
