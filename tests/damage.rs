//! One flipped byte on disk: the node refuses to start and says what to do, or is repaired from a peer and says so.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::cluster::{BOUND, Node, Said, run, wait_for};

/// What of the stored bytes is flipped.
#[derive(Debug, Clone, Copy)]
enum Flip {
    Event,
    Commit,
    ForeignCommit,
}

const FLIPS: [Flip; 3] = [Flip::Event, Flip::Commit, Flip::ForeignCommit];

#[test]
fn a_flipped_byte_without_a_peer_refuses_to_start() {
    for flip in FLIPS {
        let mut pair = Pair::new();
        pair.beta.down();
        pair.alpha.down();
        let before = flip_byte(&pair, flip);
        let said = start_again(&pair.alpha.home);
        assert_eq!(said.code, 8, "{flip:?}: {said:?}");
        assert!(said.stderr.contains("damaged"), "{flip:?}: {said:?}");
        assert!(said.stderr.contains("weft"), "{flip:?}: the error says what to type next: {said:?}");
        let after = std::fs::read(pair.alpha.home.join("store.redb")).expect("the store");
        assert_eq!(before.len(), after.len(), "{flip:?}: the refusal changed the store");
        let offline = run(&["chain", "verify", "--offline", pair.alpha.home.to_str().expect("text"), "--json"]);
        assert_eq!(offline.code, 8, "{flip:?}: {offline:?}");
    }
}

#[test]
fn a_flipped_byte_with_a_peer_is_repaired() {
    for flip in FLIPS {
        let mut pair = Pair::new();
        let before = pair.alpha.json(&["chain", "status"]);
        pair.alpha.down();
        flip_byte(&pair, flip);
        pair.alpha.restart();
        let after = pair.alpha.json(&["chain", "status"]);
        assert_eq!(after["incarnation"], before["incarnation"], "{flip:?}: a new chain");
        assert!(after["events"].as_u64() > before["events"].as_u64(), "{flip:?}: a shorter chain");
        assert_eq!(pair.alpha.json(&["chain", "verify"])["ok"], true, "{flip:?}");
        let said = pair.alpha.weft(&["chain", "log", "--kind", "chain.repaired", "--json"]);
        assert!(said.stdout.lines().count() >= 1, "{flip:?}: the repair is not on the chain: {said:?}");
    }
}

/// What rots in the own chain while the node runs is told within a pass; nothing is promised any more, and the next start repairs it.
#[test]
fn rot_in_the_own_chain_of_a_running_node_is_told_and_repaired_by_the_next_start() {
    let mut pair = Pair::new();
    pair.scrub_often();
    let before = pair.alpha.json(&["chain", "status"]);
    assert!(flip_under(&pair.alpha, NEEDLE.as_bytes()) > 0, "the bytes are in the store");
    wait_for("the scrub finds it", BOUND, || {
        flip_under(&pair.alpha, NEEDLE.as_bytes());
        (pair.alpha.json(&["status"])["state"] == "damaged").then_some(())
    });
    let status = pair.alpha.json(&["status"]);
    let (own, finds) = (status["node"].as_str().expect("a node"), status["scrub"]["finds"].as_array().expect("finds"));
    // The other's chain holds the same text.
    let is_own = |find: &&serde_json::Value| find["chain"].as_str().is_some_and(|chain| chain.starts_with(own));
    let find = finds.iter().find(is_own).expect("one of its own");
    assert!(find["commit"].as_u64().is_some() && find["since"].as_str().is_some(), "{find}");
    let (ready, _) = pair.alpha.api("GET", "/v1/readyz", None).expect("an answer");
    assert_eq!(ready, 503);
    assert!(!pair.alpha.call_durable("echo", "nothing is promised any more"));
    let doctor = pair.alpha.weft(&["doctor", "--json"]);
    assert_eq!(doctor.code, 8, "{doctor:?}");
    let checks = doctor.json()["checks"].clone();
    let damaged = |name: &str| {
        checks.as_array().expect("checks").iter().any(|row| row["name"] == name && row["verdict"] == "damaged")
    };
    assert!(damaged("scrub") && damaged("node"), "{checks}");
    assert_eq!(pair.alpha.weft(&["down"]).code, 8, "its end cannot be recorded");
    pair.alpha.wait_end();
    let home = pair.alpha.home.to_str().expect("text").to_owned();
    assert_eq!(run(&["doctor", "--json", "--home", &home]).code, 8, "a stopped node too");
    assert_eq!(run(&["doctor", "--storage", "--json", "--home", &home]).code, 8, "it is damaged still");
    pair.alpha.restart();
    let after = pair.alpha.json(&["chain", "status"]);
    assert_eq!(after["incarnation"], before["incarnation"], "a new chain");
    assert!(after["events"].as_u64() >= before["events"].as_u64(), "a shorter chain");
    assert_eq!(pair.alpha.json(&["chain", "verify"])["ok"], true);
    let repaired = pair.alpha.weft(&["chain", "log", "--kind", "chain.repaired", "--json"]);
    assert!(repaired.stdout.lines().count() >= 1, "the repair is not on the chain: {repaired:?}");
    let passed = || pair.alpha.json(&["status"])["scrub"]["last"]["rows"].as_u64().filter(|rows| *rows > 0);
    wait_for("a pass ends well", BOUND, passed);
    assert_eq!(pair.alpha.json(&["status"])["scrub"]["finds"], serde_json::json!([]));
    pair.alpha.down();

    // A start that finds nothing of what a run found does not believe its disk.
    std::fs::write(pair.alpha.home.join("damaged"), "read otherwise then").expect("written");
    let refused = run(&["up", "--log", "off", "--json", "--home", &home]);
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(refused.stdout.contains("weft doctor --storage"), "{refused:?}");
    assert_eq!(run(&["doctor", "--storage", "--json", "--home", &home]).code, 0);
    pair.alpha.restart();
}

/// What rots in another member's chain is told, and the node goes on; it is mended as soon as somebody is there who holds it.
#[test]
fn rot_in_a_foreign_chain_of_a_running_node_is_mended_by_a_member() {
    const FOREIGN: &str = "what beta alone has said";
    let mut pair = Pair::new();
    assert!(pair.beta.call_durable("echo", FOREIGN));
    pair.wait_exchanged();
    pair.scrub_often();
    pair.wait_exchanged();
    pair.beta.down();
    assert!(flip_under(&pair.alpha, FOREIGN.as_bytes()) > 0, "the bytes are in the store");
    let find = || Some(pair.alpha.json(&["status"])["scrub"]["finds"][0].clone()).filter(|find| find.is_object());
    let found = wait_for("the scrub finds it", BOUND, || {
        flip_under(&pair.alpha, FOREIGN.as_bytes());
        find()
    });
    let beta = pair.beta.up["node"].as_str().expect("a node").to_owned();
    assert!(found["chain"].as_str().is_some_and(|chain| chain.starts_with(&beta)), "{found}");
    assert_eq!((&found["table"], &found["mended_at"]), (&"groups".into(), &serde_json::Value::Null), "{found}");
    assert_eq!(pair.alpha.weft(&["doctor", "--json"]).code, 8);
    assert_eq!(pair.alpha.json(&["status"])["state"], "running", "the own chain is whole");
    assert!(pair.alpha.call_durable("echo", "life goes on"));
    pair.beta.restart();
    let mended = wait_for("beta gives it back", BOUND, || find().filter(|find| find["mended_at"].is_string()));
    assert_eq!(mended["mended_by"].as_str(), Some(beta.as_str()), "{mended}");
    assert_eq!(pair.alpha.json(&["chain", "verify"])["ok"], true);
    let said = || {
        let said = pair.alpha.weft(&["chain", "log", "--kind", "chain.repaired", "--json"]);
        (said.stdout.lines().count() == 1).then_some(())
    };
    wait_for("it is on the chain", BOUND, said);
    pair.alpha.down();
    pair.alpha.restart();
    assert_eq!(pair.alpha.json(&["chain", "verify"])["ok"], true, "the next start finds everything whole");
}

/// Two members whose chains hold a call each way, fully exchanged.
struct Pair {
    alpha: Node,
    beta: Node,
    alpha_commit: String,
    beta_commit: String,
    _folder: tempfile::TempDir,
}

const NEEDLE: &str = "a needle in the chain of alpha";

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let alpha = Node::found(folder.path(), "alpha");
        let token = alpha.invite(&[]);
        let beta = Node::join(folder.path(), "beta", &token);
        alpha.wait_alive("beta", BOUND);
        beta.wait_alive("alpha", BOUND);
        assert!(alpha.call_durable("echo@beta", NEEDLE));
        let (alpha_commit, beta_commit) = (head(&alpha), head(&beta));
        assert!(alpha.call_durable("echo@beta", "one commit more, which names the one before"));
        let pair = Self { alpha, beta, alpha_commit, beta_commit, _folder: folder };
        pair.wait_exchanged();
        pair
    }

    /// Alpha reads everything that it stores every second.
    fn scrub_often(&mut self) {
        self.alpha.down();
        std::fs::write(self.alpha.home.join("config.toml"), "[storage]\nscrub_period = \"1s\"\n").expect("written");
        self.alpha.restart();
        self.alpha.wait_alive("beta", BOUND);
        self.beta.wait_alive("alpha", BOUND);
    }

    /// Both hold all of the other's chain as it stands.
    fn wait_exchanged(&self) {
        for (reader, writer) in [(&self.alpha, &self.beta), (&self.beta, &self.alpha)] {
            wait_for("the chains are exchanged", BOUND, || {
                let events = writer.json(&["chain", "status"])["events"].as_u64()?;
                let members = reader.json(&["members"]);
                let rows = members["members"].as_array()?;
                let row = rows.iter().find(|row| row["name"] == writer.name.as_str())?;
                (row["chain"]["events"].as_u64()? >= events).then_some(())
            });
        }
    }
}

fn head(node: &Node) -> String {
    node.json(&["chain", "status"])["head"].as_str().expect("a head").to_owned()
}

/// Flips one bit in every copy of the chosen bytes in alpha's store; the store as it is then.
fn flip_byte(pair: &Pair, flip: Flip) -> Vec<u8> {
    let hash = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("a hash");
    let needle = match flip {
        Flip::Event => NEEDLE.as_bytes().to_vec(),
        Flip::Commit => hash(&pair.alpha_commit),
        Flip::ForeignCommit => hash(&pair.beta_commit),
    };
    let path = pair.alpha.home.join("store.redb");
    let mut bytes = std::fs::read(&path).expect("the store");
    let places: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, part)| *part == needle).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{flip:?}: the bytes are not in the store");
    for place in places {
        bytes[place + needle.len() / 2] ^= 1;
    }
    std::fs::write(&path, &bytes).expect("the store is ours");
    bytes
}

/// Flips one bit in every copy of these bytes in the store of a node that runs.
fn flip_under(node: &Node, needle: &[u8]) -> usize {
    let path = node.home.join("store.redb");
    let bytes = std::fs::read(&path).expect("the store");
    let places: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, part)| *part == needle).map(|(at, _)| at).collect();
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("the store is ours");
    for place in &places {
        let at = place + needle.len() / 2;
        file.write_all_at(&[bytes[at] ^ 1], at as u64).expect("written");
    }
    places.len()
}

fn start_again(home: &Path) -> Said {
    let begin = std::time::Instant::now();
    let said = run(&["up", "--json", "--home", home.to_str().expect("text")]);
    assert!(begin.elapsed() < Duration::from_secs(20), "the refusal took {:?}", begin.elapsed());
    said
}
