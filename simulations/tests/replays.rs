//! A run that failed, written down and seen again: the same trace, the steps that matter, and files that are none.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use weft_simulations::{Replay, Scenario, SimReport, Thresholds, run, run_and_shrink, scenario};

/// A scenario that fails whatever happens in it: nobody can agree within a microsecond.
fn hopeless() -> Scenario {
    Scenario { quiet_us_max: 1, steps: 20, ..scenario("crash").expect("shipped") }
}

fn failed() -> (SimReport, Replay) {
    let report = run_and_shrink(&hopeless(), 3);
    let replay = report.replay.clone().expect("it failed");
    (report, *replay)
}

#[test]
fn what_failed_goes_the_same_way_again_from_its_text() {
    let (report, replay) = failed();
    assert!(!report.pass && replay.steps.len() < replay.steps_before, "{} steps", replay.steps.len());
    assert_eq!(report.minimal.len(), replay.steps.len());
    let read = Replay::parse(&replay.text()).expect("just written");
    assert_eq!(read, replay);
    let again = read.run();
    assert_eq!(again.trace_hash, replay.trace_hash);
    assert_eq!(again.failures, replay.failures);
    assert!(again.failed_at_us.is_some());
}

#[test]
fn what_lacks_something_keeps_all_of_its_steps() {
    let promising = Scenario { promises: vec!["homes-restored".to_owned()], ..scenario("calm").expect("shipped") };
    let report = run_and_shrink(&promising, 1);
    let replay = report.replay.expect("that never struck");
    assert_eq!(replay.steps.len(), replay.steps_before);
    assert_eq!(report.failed_at_us, None, "it is missing in the end");
    assert_eq!(replay.run().trace_hash, report.trace_hash);
}

#[test]
fn what_passes_has_no_replay() {
    let report = run_and_shrink(&scenario("calm").expect("shipped"), 0);
    assert!(report.pass && report.replay.is_none() && report.failed_at_us.is_none());
}

#[test]
fn another_file_is_refused_with_what_is_wrong() {
    let text = failed().1.text();
    let refusal = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Replay::parse(&text.replacen(from, to, 1)).expect_err("changed for the worse").to_string()
    };
    assert_eq!(
        refusal("weft-sim-replay/1", "weft-sim-replay/9"),
        "the file is of the format `weft-sim-replay/9`, and this program reads `weft-sim-replay/1`"
    );
    assert!(refusal("\"nodes\": 3", "\"nodes\": 300").ends_with("`nodes` must be from 2 to 128"));
    assert!(refusal("\"seed\"", "\"sead\"").contains("unknown field `sead`"));
    let step = r#""steps": [{"at_us": 1, "transition": {"restart": {"node": 7}}}],"#;
    let beyond = text.replace("\"steps\": [],", step);
    assert_ne!(beyond, text);
    let error = Replay::parse(&beyond).expect_err("there is no such node").to_string();
    assert!(error.ends_with("`steps.0.transition.restart.node` must be a node, from 0 to 2"), "{error}");
    let error = Replay::parse("name = \"calm\"").expect_err("a scenario").to_string();
    assert!(
        error.starts_with("line 1: ") && error.ends_with("that `weft sim run` wrote of a run that failed"),
        "{error}"
    );
}

#[test]
fn a_ledger_counts_what_was_sent_and_heard() {
    let report = run(&scenario("topics").expect("shipped"), 0);
    let ledger = &report.ledger;
    assert_eq!(ledger.bytes_by_node.len(), report.nodes);
    assert!(ledger.bytes_by_node.iter().all(|bytes| *bytes > 0));
    assert_eq!(ledger.bytes_by_node.iter().sum::<u64>(), ledger.bytes_by_kind.values().sum::<u64>());
    assert!(ledger.gossip_new > 0 && ledger.gossip_new <= ledger.gossip_heard);
    assert!(ledger.publications.count > 0 && ledger.publications.p50_us <= ledger.publications.p99_us);
    assert!(ledger.answers.count > 0 && ledger.answers.p99_us <= ledger.answers.max_us);
    let last = ledger.samples.last().unwrap();
    assert_eq!((last.running, last.states), (report.nodes, 1), "all run and agree in the end");
    assert!(ledger.samples.is_sorted_by_key(|sample| sample.at_us));
}

#[test]
fn a_ledger_and_the_thresholds_count_the_same() {
    let topics = scenario("topics").expect("shipped");
    let ledger = run(&topics, 0).ledger;
    let passes = |messages: u64, bytes: u64| {
        let thresholds = Thresholds { messages_max: Some(messages), bytes_max: Some(bytes), ..Thresholds::default() };
        run(&Scenario { thresholds, ..topics.clone() }, 0).pass
    };
    let (frames, bytes) = (ledger.frames, ledger.bytes_by_node.iter().sum::<u64>());
    assert!(passes(frames, bytes), "as much as it was");
    assert!(!passes(frames - 1, bytes) && !passes(frames, bytes - 1), "one less");
}
