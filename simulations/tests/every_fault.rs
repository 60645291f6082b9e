//! The scenario of every fault: without any one of them the run is another one, and the effect of that fault is not there.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use weft_simulations::{Scenario, Scripted, SimReport, Step, Transition, run_steps, scenario};

/// The number of tests that share the faults, so that they run beside each other.
const SHARES: usize = 6;
const SEED: u64 = 0;

/// What each fault of the scenario is called in a report, by its transition and, where one has several, a word of it.
const EFFECTS: [(&str, &str, &str); 29] = [
    ("partition", "", "frames-partitioned"),
    ("flap", "", "frames-stopped-by-flapping"),
    ("cut_one_way", "", "frames-cut-one-way"),
    ("loss", "", "frames-lost"),
    ("duplicate", "", "frames-doubled"),
    ("delay_spike", "", "frames-delayed"),
    ("reorder", "", "frames-held-back"),
    ("slow_link", "", "frames-queued"),
    ("corrupt", "", "answers-corrupted"),
    ("crash", "\"lost\"", "crashes"),
    ("crash", "\"kept\"", "kills-while-writing"),
    ("crash", "\"scattered\"", "writes-scattered"),
    ("crash", "\"torn\"", "writes-torn"),
    ("churn", "", "crashes-of-churn"),
    ("disk_error", "", "disk-errors"),
    ("disk_full", "", "disk-full-errors"),
    ("slow_disk", "\"by_us\":100000", "writes-slowed"),
    ("freeze", "", "events-held-by-freeze"),
    ("shutdown", "", "shutdowns"),
    ("clock_step", "\"by_us\":400000", "clocks-forward"),
    ("clock_step", "\"by_us\":-300000", "clocks-back"),
    ("clock_freeze", "", "clocks-frozen"),
    ("join_storm", "", "joins-in-a-storm"),
    ("lie", "\"replay\"", "lies-replayed"),
    ("lie", "\"flood\"", "lies-flooded"),
    ("lie", "\"stale_sync\"", "lies-of-sameness"),
    ("lie", "\"future_clock\"", "lies-of-the-future"),
    ("lie", "\"forged_entry\"", "lies-forged"),
    ("restore_home", "", "homes-restored"),
];

fn shipped() -> Scenario {
    scenario("faults").expect("shipped")
}

fn steps(scenario: &Scenario) -> Vec<Step> {
    let mut steps: Vec<Step> = scenario.script.iter().flat_map(Scripted::steps).collect();
    steps.sort_by_key(|step| step.at_us);
    steps
}

fn is(transition: &Transition, name: &str, word: &str) -> bool {
    let written = serde_json::to_string(transition).expect("a transition serializes");
    written.starts_with(&format!("{{\"{name}\":")) && written.contains(word)
}

/// Leaves out, one at a time, each fault of a share.
fn without_each(share: usize) {
    let scenario = shipped();
    let all = steps(&scenario);
    let whole = run_steps(&scenario, SEED, &all);
    assert!(whole.pass, "{}", whole.failures.join("\n"));
    for (name, word, effect) in EFFECTS.iter().skip(share).step_by(SHARES) {
        let rest: Vec<Step> = all.iter().filter(|step| !is(&step.transition, name, word)).cloned().collect();
        assert_eq!(rest.len(), all.len() - 1, "{name} {word} is one step of the scenario");
        let report = run_steps(&scenario, SEED, &rest);
        assert_ne!(report.trace_hash, whole.trace_hash, "{name} {word}");
        assert!(struck(&whole, effect) > struck(&report, effect), "{name} {word} is not what {effect} counts");
        let missing = format!("the scenario promises {effect}, and that never struck");
        assert!(!report.pass && report.failures.contains(&missing), "{name} {word}: {:?}", report.failures);
    }
}

fn struck(report: &SimReport, effect: &str) -> u64 {
    report.faults.get(effect).copied().unwrap_or_default()
}

#[test]
fn without_a_fault_the_run_is_another_one_first_share() {
    without_each(0);
}

#[test]
fn without_a_fault_the_run_is_another_one_second_share() {
    without_each(1);
}

#[test]
fn without_a_fault_the_run_is_another_one_third_share() {
    without_each(2);
}

#[test]
fn without_a_fault_the_run_is_another_one_fourth_share() {
    without_each(3);
}

#[test]
fn without_a_fault_the_run_is_another_one_fifth_share() {
    without_each(4);
}

#[test]
fn without_a_fault_the_run_is_another_one_last_share() {
    without_each(5);
}

#[test]
fn the_scenario_promises_each_of_them() {
    let promised: BTreeMap<String, ()> = shipped().promises.into_iter().map(|name| (name, ())).collect();
    let named: BTreeMap<String, ()> = EFFECTS.iter().map(|(_, _, effect)| ((*effect).to_owned(), ())).collect();
    assert_eq!(promised, named);
}
