//! SIGKILL under load, again and again: whatever was acknowledged as durable is there when the node comes back alone.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::{BOUND, Node, wait_for};

/// How often a node is killed.
const KILLS: usize = 50;
/// How many calls must be acknowledged before the kill; the kill itself falls wherever the load then is.
const ACKNOWLEDGED_MIN: usize = 4;

#[test]
fn acknowledged_durable_calls_survive_kills_of_either_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = |name: &str| folder.path().join(format!("{name}.strace")).to_str().expect("text").to_owned();
    let (alpha_trace, beta_trace) = (trace("alpha"), trace("beta"));
    let mut alpha = Node::start(folder.path().join("alpha"), "alpha", &[], &counting_syncs(&alpha_trace));
    let token = alpha.invite(&[]);
    let join = ["join", token.as_str()];
    let mut beta = Node::start(folder.path().join("beta"), "beta", &join, &counting_syncs(&beta_trace));
    let mut texts = BTreeSet::new();
    let mut slowest = Duration::ZERO;
    for round in 0..KILLS {
        let met = alpha.wait_alive("beta", BOUND).max(beta.wait_alive("alpha", BOUND));
        slowest = slowest.max(met);
        assert!(met < Duration::from_secs(5), "round {round}: the two found each other only after {met:?}");
        let acknowledged = load_and_kill(round, &mut alpha, &mut beta);
        texts.extend(acknowledged.iter().cloned());

        let (victim, trace) = if round % 2 == 0 { (&mut alpha, &alpha_trace) } else { (&mut beta, &beta_trace) };
        let syncs = syncs_counted(trace);
        assert!(
            2 * syncs >= acknowledged.len(),
            "round {round}: {} calls acknowledged as durable with {syncs} disk syncs, each worth at most one each way",
            acknowledged.len()
        );
        victim.restart();
        assert_present(round, victim, &texts);
        let other = if round % 2 == 0 { &mut beta } else { &mut alpha };
        other.restart();
    }
    println!("{KILLS} kills, {} calls acknowledged, slowest reunion {slowest:?}", texts.len());
}

/// What is put before a node so that every successful sync of it leaves a line in `file`.
fn counting_syncs(file: &str) -> [&str; 8] {
    ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=fdatasync,fsync", "-o", file]
}

fn syncs_counted(file: &str) -> usize {
    let lines = std::fs::read_to_string(file).expect("strace wrote");
    lines.lines().filter(|line| line.trim_end().ends_with("= 0")).count()
}

/// Calls both ways from two threads until the victim is killed under them; the other is killed too, so that nobody can heal
/// it. What was acknowledged.
fn load_and_kill(round: usize, alpha: &mut Node, beta: &mut Node) -> BTreeSet<String> {
    let acknowledged = Mutex::new(BTreeSet::new());
    let ended = AtomicBool::new(false);
    let load = |node: &Node, target: &str| {
        for call in 0.. {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            let text = format!("{}-{round}-{call}", node.name);
            if node.call_durable(target, &text) {
                acknowledged.lock().expect("not poisoned").insert(text);
            }
        }
    };
    let (from_alpha, from_beta): (&Node, &Node) = (alpha, beta);
    std::thread::scope(|scope| {
        scope.spawn(|| load(from_alpha, "echo@beta"));
        scope.spawn(|| load(from_beta, "echo@alpha"));
        wait_for("enough acknowledged calls", BOUND, || {
            (acknowledged.lock().expect("not poisoned").len() >= ACKNOWLEDGED_MIN + round % 7).then_some(())
        });
        let victims = if round.is_multiple_of(2) { [from_alpha, from_beta] } else { [from_beta, from_alpha] };
        for victim in victims {
            crate::cluster::signal(victim.pid(), "KILL");
        }
        ended.store(true, Ordering::Relaxed);
    });
    alpha.wait_end();
    beta.wait_end();
    acknowledged.into_inner().expect("not poisoned")
}

/// Every text is in a record of the node's own chain, and all its chains verify, with nobody to ask.
fn assert_present(round: usize, node: &Node, texts: &BTreeSet<String>) {
    let begin = Instant::now();
    let own = node.up["node"].as_str().expect("an id");
    let said = node.weft(&["chain", "log", "--kind", "ipc.message", "--node", own, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let held: BTreeSet<String> = said
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|row| Some(row["detail"]["body"]["text"].as_str().or(row["detail"]["body"].as_str())?.to_owned()))
        .collect();
    let lost: Vec<&String> = texts.difference(&held).collect();
    assert!(lost.is_empty(), "round {round}: {} lost {} acknowledged calls, {lost:?}", node.name, lost.len());
    let verified = node.json(&["chain", "verify"]);
    assert_eq!(verified["ok"], true, "round {round}: {verified}");
    assert!(begin.elapsed() < BOUND);
}
