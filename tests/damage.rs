//! One flipped byte on disk: the node refuses to start and says what to do, or is repaired from a peer and says so.

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

fn start_again(home: &Path) -> Said {
    let begin = std::time::Instant::now();
    let said = run(&["up", "--json", "--home", home.to_str().expect("text")]);
    assert!(begin.elapsed() < Duration::from_secs(20), "the refusal took {:?}", begin.elapsed());
    said
}
