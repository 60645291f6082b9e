//! Every shipped scenario under fixed seeds; the same seed twice; and what must fail does.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use weft_simulations::{Scenario, SimReport, run, run_steps, scenario};

fn shipped(name: &str) -> Scenario {
    scenario(name).expect("shipped")
}

fn passes(name: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let report = run(&shipped(name), seed);
        assert!(report.pass, "{name} {seed}:\n{}", report.failures.join("\n"));
    }
}

#[test]
fn calm_passes() {
    passes("calm", 0..4);
}

#[test]
fn partition_passes() {
    passes("partition", 0..4);
}

#[test]
fn crash_passes() {
    passes("crash", 0..4);
}

#[test]
fn lossy_passes() {
    passes("lossy", 0..4);
}

#[test]
fn large_passes() {
    passes("large", 0..3);
}

#[test]
fn one_percent_loss_loses_no_publication() {
    passes("topics", 0..4);
}

#[test]
fn skew_passes() {
    passes("skew", 0..4);
}

#[test]
fn join_passes() {
    passes("join", 0..4);
}

#[test]
fn chaos_passes() {
    passes("chaos", 0..3);
}

#[test]
fn the_same_seed_gives_the_same_report_and_another_seed_another_trace() {
    let chaos = shipped("chaos");
    let report = run(&chaos, 3);
    assert_eq!(report, run(&chaos, 3));
    assert_ne!(report.trace_hash, run(&chaos, 4).trace_hash);
}

#[test]
fn a_fault_that_never_struck_fails_the_run() {
    let report = run_steps(&shipped("partition"), 0, &[]);
    assert!(!report.pass);
    let missing: Vec<&str> = reasons(&report, "the scenario promises");
    assert_eq!(
        missing,
        [
            "the scenario promises frames-partitioned, and that never struck",
            "the scenario promises frames-cut-one-way, and that never struck",
        ]
    );
}

#[test]
fn a_check_that_was_never_made_fails_the_run() {
    let report = run_steps(&shipped("calm"), 0, &[]);
    assert!(!report.pass);
    assert!(reasons(&report, "executed-once").contains(&"executed-once was never checked"), "{:?}", report.failures);
}

fn reasons<'a>(report: &'a SimReport, start: &str) -> Vec<&'a str> {
    report.failures.iter().map(String::as_str).filter(|reason| reason.starts_with(start)).collect()
}

#[test]
fn a_report_has_the_fields_that_scripts_rely_on() {
    let report = run(&shipped("calm"), 1).with_wall_s(1.5);
    let json = serde_json::to_value(&report).expect("a report serializes");
    let fields = ["scenario", "seed", "nodes", "pass", "trace_hash", "virtual_s", "wall_s", "checks", "faults"];
    for field in fields.into_iter().chain(["real", "replaced"]) {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!(json["wall_s"], 1.5);
    assert_eq!(json["checks"]["converges"], serde_json::json!({"ok": true, "count": 1}));
}
