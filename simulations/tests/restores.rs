//! Two hundred runs in which homes are put back from old copies: no member that could be asked ever sees a second history.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use weft_simulations::{
    AgentKind, DiskSettings, Mutation, Remembers, Scenario, SimReport, Step, Transition, Unsynced, run, run_mutated,
    run_steps, scenario,
};

fn shipped() -> Scenario {
    scenario("restore").expect("shipped")
}

/// Runs these seeds, and counts what came about.
fn passes(seeds: std::ops::Range<u64>) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut checked = 0;
    for seed in seeds {
        let report = run(&shipped(), seed);
        assert!(report.pass, "restore {seed}:\n{}", report.failures.join("\n"));
        checked += report.checks["no-fork-to-prevent"].count;
        for (name, times) in report.faults {
            *counts.entry(name).or_default() += times;
        }
    }
    let count = |name: &str| counts.get(name).copied().unwrap_or_default();
    let [restored, fetched, begun] = ["homes-restored", "chains-fetched-back", "incarnations-begun"].map(count);
    println!(
        "{restored} homes restored, {fetched} chains fetched back, {begun} begun, {checked} commits checked, {counts:?}"
    );
    assert!(restored > 50 && fetched > 10 && begun > 10, "{counts:?}");
}

#[test]
fn seeds_to_50() {
    passes(0..50);
}

#[test]
fn seeds_to_100() {
    passes(50..100);
}

#[test]
fn seeds_to_150() {
    passes(100..150);
}

#[test]
fn seeds_to_200() {
    passes(150..200);
}

#[test]
fn a_start_that_asks_nobody_is_caught() {
    let caught = (0..20).map(|seed| run_mutated(&shipped(), seed, None, Mutation::AskNobody));
    let caught = caught.filter(|report| !report.checks["no-fork-to-prevent"].ok).count();
    assert!(caught > 5, "{caught} of 20");
}

const fn at(at_us: u64, transition: Transition) -> Step {
    Step { at_us, transition }
}

/// A copy is taken and put back between calls, with the others there or away.
fn story(memory: Remembers, alone: bool) -> SimReport {
    let scenario = Scenario { disk: DiskSettings::default(), promises: Vec::new(), ..shipped() };
    let call = |at_us, to| at(at_us, Transition::Call { node: 0, to: Some(to), agent: AgentKind::Echo, durable: true });
    let mut plan: Vec<Step> = (0..4).map(|node| at(0, Transition::Spawn { node, agent: AgentKind::Echo })).collect();
    plan.extend([call(1_000_000, 1), at(2_000_000, Transition::CopyHome { node: 0 })]);
    plan.extend(
        (0..5).map(|number| call(3_000_000 + number * 100_000, 1 + usize::try_from(number % 3).expect("small"))),
    );
    if alone {
        plan.extend(
            (1..4).map(|node| at(5_000_000, Transition::Crash { node, unsynced: Unsynced::Kept, writing: false })),
        );
        plan.extend((1..4).map(|node| at(16_000_000, Transition::Restart { node })));
    }
    plan.push(at(6_000_000, Transition::RestoreHome { node: 0, copy: 0, memory }));
    plan.push(at(6_100_000, Transition::Restart { node: 0 }));
    plan.push(call(12_000_000, 0));
    plan.sort_by_key(|step| step.at_us);
    run_steps(&scenario, 7, &plan)
}

fn counts(report: &SimReport) -> [u64; 4] {
    let names = ["homes-restored", "chains-fetched-back", "incarnations-begun", "forks-nobody-could-prevent"];
    names.map(|name| report.faults.get(name).copied().unwrap_or_default())
}

fn broken(report: &SimReport) -> Vec<&str> {
    report.checks.iter().filter(|(_, check)| !check.ok).map(|(name, _)| *name).collect()
}

#[test]
fn with_members_there_the_chain_is_fetched_back_whatever_is_remembered() {
    for memory in [Remembers::Kept, Remembers::Gone, Remembers::RolledBack] {
        let report = story(memory, false);
        assert_eq!(broken(&report), [""; 0], "{memory:?}: {}", report.failures.join("\n"));
        assert_eq!(counts(&report), [1, 1, 0, 0], "{memory:?}");
    }
}

#[test]
fn with_nobody_there_a_new_chain_is_begun_and_a_rollback_of_the_whole_machine_goes_unseen() {
    for memory in [Remembers::Kept, Remembers::Gone] {
        let report = story(memory, true);
        assert_eq!(broken(&report), [""; 0], "{memory:?}: {}", report.failures.join("\n"));
        assert_eq!(counts(&report), [1, 0, 1, 0], "{memory:?}");
    }
    let report = story(Remembers::RolledBack, true);
    assert_eq!(broken(&report), [""; 0], "{}", report.failures.join("\n"));
    assert_eq!(counts(&report), [1, 0, 0, 1], "the documentation says so");
}
