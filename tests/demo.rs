//! The first thing a newcomer types: it works, leaves nothing behind, and neither does it when it is cut short.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cluster::{BOUND, run_command, signal, wait_for, weft};

#[test]
fn it_shows_the_main_job_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("a folder");
    let said = run_command(weft().args(["demo", "--json"]).env("TMPDIR", temporary.path()));
    assert_eq!(said.code, 0, "{said:?}");
    let report = said.json();
    assert_eq!(report["nodes"].as_u64(), Some(3), "{report}");
    assert_eq!(report["verified"], true, "{report}");
    assert!(report["delivered"].as_u64().expect("a count") >= 1, "{report}");
    assert_eq!(report["chains"].as_object().expect("chains").len(), 3, "{report}");
    assert_nothing_left(temporary.path());
}

#[test]
fn keep_leaves_the_homes_and_nothing_that_runs() {
    let temporary = tempfile::tempdir().expect("a folder");
    let kept = temporary.path().join("kept");
    let said = run_command(weft().args(["demo", "--json", "--keep"]).arg(&kept).env("TMPDIR", temporary.path()));
    assert_eq!(said.code, 0, "{said:?}");
    for name in ["alpha", "beta", "gamma"] {
        let home = kept.join(name);
        assert!(home.join("store.redb").exists(), "{name} was kept");
        assert_eq!(run_command(weft().args(["chain", "verify", "--offline"]).arg(&home)).code, 0, "{name} verifies");
    }
    assert_eq!(processes_naming(temporary.path()), BTreeSet::new());
}

#[test]
fn it_leaves_nothing_behind_when_interrupted_or_killed() {
    for name in ["INT", "KILL"] {
        let temporary = tempfile::tempdir().expect("a folder");
        let mut demo = weft()
            .arg("demo")
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo starts");
        wait_for("the demo's nodes run", BOUND, || (processes_naming(temporary.path()).len() >= 4).then_some(()));
        signal(demo.id(), name);
        let _ended = demo.wait();
        wait_for("everything is gone", BOUND, || {
            (processes_naming(temporary.path()).is_empty() && entries(temporary.path()).is_empty()).then_some(())
        });
    }
}

fn assert_nothing_left(folder: &Path) {
    assert_eq!(processes_naming(folder), BTreeSet::new(), "processes are left");
    assert_eq!(entries(folder), Vec::<PathBuf>::new(), "files are left");
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("ours").flatten().map(|entry| entry.path()).collect()
}

/// Processes whose command line or environment names this folder, besides the one that looks.
fn processes_naming(folder: &Path) -> BTreeSet<String> {
    let found = Command::new("pgrep").args(["-f", folder.to_str().expect("text")]).output().expect("pgrep");
    String::from_utf8_lossy(&found.stdout).split_whitespace().map(str::to_owned).collect()
}
