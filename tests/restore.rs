//! A node whose home is put back from an old copy: with a peer it goes on where it was, without one it begins a new chain, and nobody
//! ever holds two histories of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::{BOUND, Node, state_of, wait_for};

/// Two members that know each other, with a copy of alpha's home as it was before its last calls.
struct Pair {
    alpha: Node,
    beta: Node,
    copy: PathBuf,
    folder: tempfile::TempDir,
}

impl Pair {
    /// `live` copies the home under the running node, as a snapshot of a disk would.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut alpha = Node::found(folder.path(), "alpha");
        let token = alpha.invite(&[]);
        let beta = Node::join(folder.path(), "beta", &token);
        alpha.wait_alive("beta", BOUND);
        alpha.json(&["agent", "spawn", "keeper", "--builtin", "counter", "--restart", "permanent"]);
        alpha.down();
        let copy = folder.path().join("copy-of-alpha");
        copy_folder(&alpha.home, &copy);
        alpha.restart();
        alpha.wait_alive("beta", BOUND);
        beta.wait_alive("alpha", BOUND);
        for call in 0..3 {
            assert!(alpha.call_durable("echo@beta", &format!("call {call}")));
        }
        Self { alpha, beta, copy, folder }
    }

    /// Kills alpha and puts the copy in the place of its home.
    fn put_back(&mut self) {
        self.alpha.kill();
        fs::remove_dir_all(&self.alpha.home).expect("removed");
        copy_folder(&self.copy, &self.alpha.home);
    }

    fn events_held_by_beta(&self) -> u64 {
        let members = self.beta.json(&["members"]);
        let rows = members["members"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["name"] == "alpha").expect("alpha");
        row["chain"]["events"].as_u64().expect("a number")
    }

    /// Neither has seen two histories, and both verify everything that they hold.
    fn assert_no_fork(&self) {
        for node in [&self.alpha, &self.beta] {
            let seen = node.weft(&["chain", "log", "--kind", "chain.fork-seen", "--json"]);
            assert_eq!((seen.code, seen.stdout.as_str()), (0, ""), "{}", node.name);
            let states = node.json(&["members"])["members"].clone();
            let states: Vec<&str> =
                states.as_array().expect("rows").iter().filter_map(|row| row["state"].as_str()).collect();
            assert!(!states.contains(&"quarantined"), "{states:?}");
            assert_eq!(node.json(&["chain", "verify"])["ok"], true, "{}", node.name);
        }
    }
}

/// Copies a folder with what is in it, but for sockets and locks.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (kind, target) = (entry.file_type().expect("a type"), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn status(node: &Node) -> Value {
    node.json(&["status"])
}

fn incarnation(node: &Node) -> String {
    status(node)["incarnation"].as_str().expect("an incarnation").to_owned()
}

fn log(node: &Node, kind: &str) -> Vec<Value> {
    let said = node.weft(&["chain", "log", "--kind", kind, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn with_a_peer_a_restored_node_goes_on_with_its_chain_twice_from_one_copy() {
    let mut pair = Pair::new();
    let before = incarnation(&pair.alpha);
    for round in 0..2 {
        let held = pair.events_held_by_beta();
        pair.put_back();
        if round == 1 {
            // Whatever the machine remembered is gone too.
            fs::remove_dir_all(state_of(&pair.alpha.home)).expect("removed");
        }
        pair.alpha.restart();
        assert_eq!(incarnation(&pair.alpha), before, "round {round}");
        let events = pair.alpha.json(&["chain", "status"])["events"].as_u64().expect("a number");
        assert!(events >= held, "round {round}: {events} events, and beta held {held}");
        pair.alpha.wait_alive("beta", BOUND);
        assert!(pair.alpha.call_durable("echo@beta", &format!("after round {round}")));
        pair.beta.wait_alive("alpha", BOUND);
        assert!(pair.beta.call_durable("keeper@alpha", "still there"), "its agent lives again");
    }
    pair.assert_no_fork();
}

#[test]
fn without_a_peer_it_begins_a_new_chain_and_the_peer_brings_the_rest_of_the_old_one_back() {
    let mut pair = Pair::new();
    let before = incarnation(&pair.alpha);
    let held = pair.events_held_by_beta();
    pair.beta.down();
    pair.put_back();
    pair.alpha.restart();
    let now = status(&pair.alpha);
    assert_ne!(now["incarnation"], before.as_str());
    let reason = now["incarnation_reason"].as_str().expect("a reason");
    assert!(reason.contains("commits") && reason.ends_with("1 of 1 other members did not answer"), "{reason}");
    assert!(pair.alpha.call_durable("echo", "at once"));
    assert!(pair.alpha.call_durable("keeper", "at once"), "its agent lives again");
    let short = pair.alpha.weft(&["chain", "log", "--kind", "chain.tail-returned", "--json"]);
    assert_eq!(short.stdout, "");

    pair.beta.restart();
    let returned = wait_for("the lost end is back", BOUND, || log(&pair.alpha, "chain.tail-returned").pop());
    assert!(returned["detail"]["head"]["size"].as_u64().expect("a size") >= held, "{returned}");
    assert_eq!(log(&pair.alpha, "chain.tail-returned").len(), 1);
    pair.alpha.wait_alive("beta", BOUND);
    assert!(pair.alpha.call_durable("echo@beta", "on the new chain"));
    pair.assert_no_fork();
    let identity = pair.alpha.json(&["identity", "show"]);
    let chains = identity["incarnations"].as_array().expect("rows");
    assert_eq!(chains.len(), 2, "{identity}");
    assert_eq!((&chains[0]["incarnation"], &chains[0]["current"]), (&before.as_str().into(), &false.into()));
    assert_eq!((&chains[1]["incarnation"], &chains[1]["current"]), (&now["incarnation"], &true.into()));

    pair.alpha.down();
    pair.alpha.restart();
    assert_eq!(status(&pair.alpha)["incarnation"], now["incarnation"], "it stays");
    assert_eq!(log(&pair.alpha, "chain.tail-returned").len(), 1, "and that is said once");
    drop(pair.folder);
}

#[test]
fn an_ordinary_restart_reads_at_once_and_goes_on_with_its_chain_without_its_peer() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let token = alpha.invite(&[]);
    let mut beta = Node::join(folder.path(), "beta", &token);
    alpha.wait_alive("beta", BOUND);
    let before = incarnation(&alpha);
    beta.kill();
    alpha.kill();
    alpha.restart();
    assert_eq!(incarnation(&alpha), before, "what is read is read while members are asked");
    assert!(alpha.call_durable("echo", "it waits for the record, and is recorded"));
    assert_eq!(incarnation(&alpha), before);
    assert_eq!(log(&alpha, "node.boot").len(), 2);
}

#[test]
fn a_copy_of_the_home_cannot_run_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let alpha = Node::found(folder.path(), "alpha");
    let copy = folder.path().join("copy");
    copy_folder(&alpha.home, &copy);
    let said = crate::cluster::run_command(
        crate::cluster::weft().args(["up", "--json", "--home"]).arg(&copy).env("XDG_STATE_HOME", state_of(&alpha.home)),
    );
    assert_eq!(said.json_error(), ("locked".to_owned(), said.code), "{said:?}");
    assert_ne!(said.code, 0);
    assert!(
        said.json()["error"]["message"].as_str().is_some_and(|text| text.contains("a copy of its home")),
        "{said:?}"
    );
}

#[test]
fn rejoining_begins_a_new_chain_on_request_and_only_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut alpha = Node::found(folder.path(), "alpha");
    let before = incarnation(&alpha);
    let running = alpha.weft(&["identity", "rejoin", "--json"]);
    assert_eq!(running.json_error().0, "locked", "{running:?}");
    alpha.down();
    let refused = alpha.weft(&["identity", "rejoin", "--json"]);
    assert_eq!(refused.json_error().0, "invalid", "{refused:?}");
    assert!(refused.json()["error"]["hint"].as_str().is_some_and(|hint| hint.contains("--yes")), "{refused:?}");
    let shown = alpha.json(&["identity", "show"]);
    assert_eq!(shown["incarnations"].as_array().map(Vec::len), Some(1), "{shown}");
    let report = alpha.json(&["identity", "rejoin", "--yes"]);
    assert_eq!(report["before"], before.as_str(), "{report}");
    alpha.restart();
    assert_eq!(incarnation(&alpha), report["incarnation"].as_str().expect("an incarnation"));
    assert_ne!(incarnation(&alpha), before);
    assert!(alpha.call_durable("echo", "on the new chain"));
    assert_eq!(alpha.json(&["chain", "verify"])["ok"], true);
}
