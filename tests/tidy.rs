//! The boundaries of the code, each with the reason it is there; ARCHITECTURE.md tells the whole story.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may know whom among our own packages, tests included.
const MAY_KNOW: [(&str, &[&str]); 8] = [
    ("weft-protocol", &[]),
    ("weft-discovery", &["weft-protocol"]),
    ("weft-replication", &["weft-protocol"]),
    ("weft-kernel", &["weft-protocol"]),
    ("weft-peer", &["weft-discovery", "weft-kernel", "weft-protocol", "weft-replication"]),
    ("weft-storage", &["weft-protocol"]),
    (
        "weft-simulations",
        &["weft-discovery", "weft-kernel", "weft-peer", "weft-protocol", "weft-replication", "weft-storage"],
    ),
    (
        "weft-node",
        &[
            "weft-discovery",
            "weft-kernel",
            "weft-peer",
            "weft-protocol",
            "weft-replication",
            "weft-simulations",
            "weft-storage",
        ],
    ),
];

/// External packages that a pure crate must never name, whatever for.
const WORLDLY: [&str; 6] = ["tokio", "libp2p", "axum", "getrandom", "rustix", "redb"];
const PURE: [&str; 5] = ["weft-protocol", "weft-discovery", "weft-replication", "weft-kernel", "weft-peer"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node/ stands in the workspace").to_owned()
}

#[test]
fn packages_know_only_whom_they_may() {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata");
    let allowed: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table of who may know whom"));
        seen.insert(name.to_owned());
        for dependency in &package.dependencies {
            let dependency = dependency.name.as_str();
            if dependency.starts_with("weft-") {
                assert!(allowed.contains(&dependency), "{name} must not know {dependency} (ARCHITECTURE.md)");
            }
            let pure = PURE.contains(&name);
            assert!(!(pure && WORLDLY.contains(&dependency)), "{name} is pure and must not name {dependency}");
        }
    }
    assert_eq!(seen.len(), MAY_KNOW.len(), "a package of the table is gone: {seen:?}");
}

#[test]
fn the_cores_touch_no_world() {
    let text = std::fs::read_to_string(root().join(".clippy.toml")).expect(".clippy.toml");
    for method in ["Instant::now", "SystemTime::now", "thread::spawn", "unbounded_channel", "env::var", "getrandom"] {
        assert!(text.contains(method), "clippy no longer refuses {method}");
    }
    let cores = ["protocol/src", "discovery/src", "replication/src", "kernel/src", "node/peer/src"];
    for (path, text) in sources().into_iter().filter(|(path, _)| cores.iter().any(|core| path.starts_with(core))) {
        assert!(
            !text.contains("disallowed_methods"),
            "{path} is in a core and may not lift the ban on clocks and entropy"
        );
        assert!(!text.contains("async fn"), "{path} is in a core and may not be async");
    }
}

#[test]
fn external_engines_are_named_in_their_rooms() {
    let rooms: [(&str, &[&str]); 3] = [
        ("libp2p::", &["node/src/network/", "node/src/identity.rs", "node/src/cli/bench/"]),
        ("wasmtime::", &["node/src/runners/wasm.rs"]),
        ("bollard::", &["node/src/runners/container.rs"]),
    ];
    for (path, text) in sources() {
        if path == "tests/tidy.rs" {
            continue;
        }
        for (engine, rooms) in rooms {
            let at_home = rooms.iter().any(|room| path.starts_with(room));
            assert!(at_home || !text.contains(engine), "{path} names {engine} outside {rooms:?} (ARCHITECTURE.md)");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 12, "{path} must open with a //! sentence");
    }
}

#[test]
fn golden_bytes_change_only_with_a_version_note() {
    let golden = root().join("protocol/golden");
    let mut digest = Vec::new();
    for (name, bytes) in files(&golden, "hex") {
        digest.push(format!("{}  {name}", weft_protocol::content_address(&bytes)));
    }
    assert!(!digest.is_empty(), "protocol/golden holds the recorded bytes of each type");
    let notes = std::fs::read_to_string(golden.join("VERSIONS.md")).expect("protocol/golden/VERSIONS.md");
    for line in digest {
        assert!(notes.contains(&line), "recorded bytes changed without a note in VERSIONS.md:\n{line}");
    }
}

#[test]
fn nothing_is_left_to_be_fixed() {
    let marks = [concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore")];
    for (path, text) in sources() {
        for mark in marks {
            assert!(!text.contains(mark), "{path} contains {mark}");
        }
    }
}

/// Every Rust source of the workspace with its path below the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["protocol", "discovery", "replication", "kernel", "node", "simulations", "tests"] {
        for (path, bytes) in files(&root().join(folder), "rs") {
            found.push((format!("{folder}/{path}"), String::from_utf8(bytes).expect("sources are text")));
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// Every file below `folder` with this extension, by its path below it, sorted.
fn files(folder: &Path, extension: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
                found.push((name, std::fs::read(&path).expect("readable")));
            }
        }
    }
    found.sort();
    found
}
