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

/// Under about every tenth seed, 1, 8 and 21 among them, a publication is lost: see ARCHITECTURE.md, "Not there yet".
#[test]
fn lossy_passes() {
    passes("lossy", 0..4);
}

#[test]
fn large_passes() {
    passes("large", 0..3);
}

#[test]
fn mixed_passes_and_no_seed_need_have_everything() {
    let mut lacking = 0;
    for seed in 0..4 {
        let report = run(&shipped("mixed"), seed);
        assert!(report.pass, "mixed {seed}:\n{}", report.failures.join("\n"));
        lacking += usize::from(!report.faults.contains_key("homes-restored"));
    }
    assert!(lacking > 0, "each run has everything, as if that were promised in each");
}

#[test]
fn one_percent_loss_loses_no_publication() {
    passes("topics", 0..4);
}

#[test]
fn two_versions_of_the_wire_live_in_one_cluster() {
    for seed in 0..4 {
        let report = run(&shipped("versions"), seed);
        assert!(report.pass, "versions {seed}:\n{}", report.failures.join("\n"));
        assert!(report.checks["parts-are-whole"].count > 0, "those of the newer version take parts of each other");
    }
}

#[test]
fn a_partial_mesh_is_one_cluster() {
    let report = run(&shipped("partial"), 0);
    assert!(report.pass, "partial 0:\n{}", report.failures.join("\n"));
    assert_eq!(report, run(&shipped("partial"), 0));
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
fn calls_to_a_service_go_on_without_a_provider_which_is_tried_again_when_it_is_back() {
    for seed in 0..4 {
        let report = run(&shipped("failover"), seed);
        assert!(report.pass, "failover {seed}:\n{}", report.failures.join("\n"));
        let count = |name: &str| report.faults.get(name).copied().unwrap_or_default();
        let breaker = ["breakers-opened", "breakers-probed", "breakers-closed"].map(count);
        assert_eq!(breaker, [1, 1, 1], "one provider died once, and was tried once when it was back");
        assert_eq!(report.checks["service-goes-on"].count, 500, "every call was answered");
    }
}

#[test]
fn an_agent_that_outlives_its_node_runs_in_one_place_at_a_time() {
    for seed in 0..6 {
        let report = run(&shipped("fences"), seed);
        assert!(report.pass, "fences {seed}:\n{}", report.failures.join("\n"));
        assert!(report.faults["agents-resumed-elsewhere"] >= 2, "{:?}", report.faults);
    }
}

#[test]
fn an_agent_started_elsewhere_comes_back_with_its_node_and_what_is_denied_there_is_on_both_chains() {
    for seed in 0..4 {
        let report = run(&shipped("elsewhere"), seed);
        assert!(report.pass, "elsewhere {seed}:\n{}", report.failures.join("\n"));
        assert_eq!(report.faults["spawns-denied-elsewhere"], 2);
        assert_eq!(report.checks["elsewhere-is-kept"].count, 82, "the start, 80 calls, and the end");
    }
}

#[test]
fn eight_that_join_at_one_moment_are_all_admitted() {
    passes("join-storm", 0..2);
}

#[test]
fn both_halves_of_a_split_brain_go_on() {
    passes("split-brain", 0..2);
}

#[test]
fn durable_calls_survive_their_caller_and_their_callee() {
    passes("crash-in-call", 0..3);
}

#[test]
fn calls_go_on_through_a_rolling_restart() {
    passes("rolling-restart", 0..2);
}

#[test]
fn clocks_may_do_what_they_want() {
    passes("clock-chaos", 0..3);
}

#[test]
fn a_member_that_lies_is_convicted_by_all_and_believed_by_none() {
    for seed in 0..3 {
        let report = run(&shipped("liar"), seed);
        assert!(report.pass, "liar {seed}:\n{}", report.failures.join("\n"));
        assert_eq!(report.checks["liar-is-convicted"].count, 4, "every honest member holds the proof");
    }
}

#[test]
fn slow_and_full_disks_lose_nothing() {
    passes("slow-disk", 0..3);
}

#[test]
fn a_hot_topic_is_in_order() {
    passes("hot-topic", 0..2);
}

#[test]
fn links_that_flap_queue_reorder_and_corrupt() {
    passes("flapping", 0..3);
}

#[test]
fn every_fault_strikes_in_one_run() {
    passes("faults", 0..1);
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
fn a_fault_that_is_over_before_it_can_strike_fails_the_run_with_that_reason() {
    let step = |transition: &str| format!("[[script]]\nat_us = 3_000_000\ntransition = {transition}\n");
    let text = format!(
        "name = \"hasty\"\nabout = \"Divided and joined at one moment.\"\nnodes = 3\nsteps = 1\npause_us = [0, 0]\n\
         quiet_us_max = 60_000_000\npromises = [\"frames-partitioned\"]\n{}{}{}",
        "[[script]]\nat_us = 0\ntransition = { spawn = { node = 1, agent = \"echo\" } }\n",
        step("{ partition = { side = [1] } }"),
        step("\"heal\""),
    );
    let report = run(&Scenario::parse("hasty", &text).expect("sound"), 0);
    assert!(!report.pass);
    let missing = reasons(&report, "the scenario promises");
    assert_eq!(missing, ["the scenario promises frames-partitioned, and that never struck"]);
}

#[test]
fn a_check_that_was_never_made_fails_the_run() {
    let report = run_steps(&shipped("calm"), 0, &[]);
    assert!(!report.pass);
    let never = "publications-in-order was never checked, though something happened that gives reason for it";
    assert!(reasons(&report, "publications-in-order").contains(&never), "{:?}", report.failures);
    assert!(reasons(&report, "executed-once").is_empty(), "nobody called anybody: {:?}", report.failures);
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
