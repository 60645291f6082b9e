//! Worlds with a defect, each caught by the check that is there for it: what was never red proves nothing.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use weft_simulations::{
    AgentKind, AgentSettings, DiskSettings, Mutation, Scenario, SimReport, Step, Transition, Unsynced, run_mutated,
    run_steps, scenario,
};

fn shipped(name: &str) -> Scenario {
    scenario(name).expect("shipped")
}

fn assert_caught(report: &SimReport, mutation: Mutation, check: &str) {
    let reasons = report.failures.join("\n");
    assert!(!report.checks[check].ok, "{mutation:?} was not caught by {check}:\n{reasons}");
    assert!(!report.pass);
}

/// The mutation in a shipped scenario, under a seed in which it matters.
fn caught(name: &str, seed: u64, mutation: Mutation, check: &str) {
    assert_caught(&run_mutated(&shipped(name), seed, None, mutation), mutation, check);
}

/// The mutation in a plan made for it, which passes every check without it.
fn caught_in(plan: &[Step], mutation: Mutation, check: &str) {
    let scenario = slow_world();
    let sound = run_steps(&scenario, 0, plan);
    let broken: Vec<_> = sound.checks.iter().filter(|(_, check)| !check.ok).collect();
    assert!(broken.is_empty(), "{broken:?}:\n{}", sound.failures.join("\n"));
    assert_caught(&run_mutated(&scenario, 0, Some(plan), mutation), mutation, check);
}

/// Three nodes whose writes take 50 ms and whose agents start in 200 ms, so that a crash can be aimed.
fn slow_world() -> Scenario {
    Scenario {
        disk: DiskSettings { write_us: [50_000, 50_000], ..DiskSettings::default() },
        agents: AgentSettings { start_us: [200_000, 200_000], ..AgentSettings::default() },
        ..shipped("calm")
    }
}

const fn at(at_us: u64, transition: Transition) -> Step {
    Step { at_us, transition }
}

const fn call(node: usize, to: usize, durable: bool) -> Transition {
    Transition::Call { node, to: Some(to), agent: AgentKind::Echo, durable }
}

const fn crash(node: usize) -> Transition {
    Transition::Crash { node, unsynced: Unsynced::Lost, writing: false }
}

const fn echo_on(node: usize) -> Step {
    at(0, Transition::Spawn { node, agent: AgentKind::Echo })
}

/// The node that runs the agent hears one other node, and that one hears both: only what it promised keeps the third from
/// starting it too.
fn half_cut(more: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let cut = |from, to| at(3_000_000, Transition::CutOneWay { from, to });
    let plan = [at(0, Transition::Roam { node: 0 }), cut(0, 1), cut(1, 0)];
    plan.into_iter().chain(more).chain([at(30_000_000, Transition::Heal)]).collect()
}

#[test]
fn a_node_that_speaks_the_newest_version_to_everybody() {
    caught("versions", 0, Mutation::SpeakNewest, "older-understand");
}

#[test]
fn a_member_that_promises_a_fence_twice() {
    caught_in(&half_cut([]), Mutation::PromiseTwice, "one-node-runs-it");
}

#[test]
fn an_agent_that_outlives_its_lease() {
    let alone = at(3_000_000, Transition::Partition { side: vec![0] });
    let plan = [at(0, Transition::Roam { node: 0 }), alone, at(30_000_000, Transition::Heal)];
    caught_in(&plan, Mutation::OutliveLease, "one-node-runs-it");
}

#[test]
fn a_member_that_forgets_over_a_start_what_it_promised() {
    let again = [at(15_000_000, crash(2)), at(16_000_000, Transition::Restart { node: 2 })];
    caught_in(&half_cut(again), Mutation::ForgetFences, "one-node-runs-it");
}

#[test]
fn a_writer_that_breaks_its_ticks() {
    caught("calm", 1, Mutation::BreakTicks, "one-history");
    caught("skew", 1, Mutation::BreakTicks, "one-history");
}

#[test]
fn an_event_that_is_called_stable_too_early() {
    let caught = (0..8).map(|seed| run_mutated(&shipped("partition"), seed, None, Mutation::StableEarly));
    let caught = caught.filter(|report| !report.checks["stable-stays"].ok).count();
    assert!(caught > 0, "nothing that was stable moved");
}

#[test]
fn a_batch_acknowledged_before_it_is_written() {
    caught("calm", 1, Mutation::AcknowledgeBeforeWrite, "acknowledged-is-kept");
}

#[test]
fn a_disk_that_lies_about_its_syncs() {
    caught("calm", 1, Mutation::LyingDisk, "spoken-is-durable");
}

#[test]
fn a_batch_without_its_tail() {
    caught("calm", 1, Mutation::DropTail, "spoken-is-durable");
}

#[test]
fn a_foreign_commit_that_is_not_the_one_that_was_checked() {
    caught("calm", 1, Mutation::StoreUnverified, "one-history");
}

#[test]
fn an_own_commit_with_a_wrong_signature() {
    caught("calm", 1, Mutation::SignWrongly, "stored-is-verified");
}

#[test]
fn a_witness_of_a_commit_that_it_does_not_hold() {
    caught("calm", 1, Mutation::VouchWrongly, "witnesses-are-consistent");
}

#[test]
fn a_disk_that_comes_back_older() {
    caught("crash", 1, Mutation::RollBackDisk, "recovers-what-was-synced");
    caught("crash", 1, Mutation::RollBackDisk, "equal-roots-equal-bytes");
    let plan = [echo_on(1), at(1_000_000, call(0, 1, true)), at(2_000_000, crash(0))];
    caught_in(&plan, Mutation::RollBackDisk, "acknowledged-is-kept");
}

#[test]
fn a_start_that_takes_from_the_disk_what_it_has_only_read() {
    let plan = [
        echo_on(1),
        at(1_000_000, call(0, 1, true)),
        at(1_060_000, crash(0)),
        at(2_000_000, Transition::Restart { node: 0 }),
    ];
    caught_in(&plan, Mutation::EmptyOutbox, "recovers-the-same-twice");
}

#[test]
fn an_agent_that_nobody_asked_for() {
    caught("calm", 1, Mutation::StartUnasked, "effects-have-intents");
}

#[test]
fn a_message_handed_out_twice() {
    caught("calm", 1, Mutation::DeliverTwice, "executed-once");
}

#[test]
fn a_publication_handed_out_twice() {
    caught("calm", 1, Mutation::NotifyTwice, "publications-in-order");
}

#[test]
fn a_lost_publication_that_nobody_is_asked_for() {
    caught("topics", 1, Mutation::RepairNothing, "publications-reach-all");
}

#[test]
fn a_start_that_forgets_its_topic_numbers() {
    let publish = Transition::Publish { node: 0, topic: 0 };
    let plan = [
        at(1_000_000, publish.clone()),
        at(2_000_000, crash(0)),
        at(2_100_000, Transition::Restart { node: 0 }),
        at(5_000_000, publish),
    ];
    caught_in(&plan, Mutation::ForgetReservation, "numbers-are-unique");
}

#[test]
fn a_service_whose_agents_are_handed_nothing() {
    caught("failover", 1, Mutation::DeliverNothing, "service-goes-on");
}

#[test]
fn an_agent_elsewhere_that_its_node_forgets() {
    caught("elsewhere", 1, Mutation::ForgetIntents, "elsewhere-is-kept");
}

#[test]
fn an_answer_that_never_comes() {
    caught("calm", 1, Mutation::SwallowAnswers, "one-answer");
}

#[test]
fn a_node_that_hears_nothing_of_chains() {
    caught("calm", 1, Mutation::DeafToSync, "converges");
}

#[test]
fn a_request_in_another_encoding() {
    caught("calm", 1, Mutation::EncodeWrongly, "frames-are-canonical");
}

#[test]
fn a_node_that_ignores_the_stamps_of_others() {
    caught("skew", 1, Mutation::IgnoreStamps, "order-is-causal");
}

#[test]
fn a_start_that_forgets_intents() {
    let counter = Transition::Spawn { node: 1, agent: AgentKind::Counter };
    let plan = [at(1_000_000, counter), at(1_150_000, crash(1)), at(1_500_000, Transition::Restart { node: 1 })];
    caught_in(&plan, Mutation::ForgetIntents, "intents-have-one-outcome");
}

#[test]
fn a_tree_without_the_scores_of_an_earlier_run() {
    let (node, agent) = (1, AgentKind::Counter);
    let plan = [
        at(1_000_000, Transition::Spawn { node, agent }),
        at(2_000_000, Transition::Stop { node, agent }),
        at(4_000_000, crash(node)),
        at(4_500_000, Transition::Restart { node }),
    ];
    caught_in(&plan, Mutation::ForgetScores, "equal-roots-equal-trees");
}

#[test]
fn a_start_that_forgets_messages() {
    // Several calls, since each draws its deadline and one must outlive the connection.
    let plan = [
        echo_on(1),
        at(1_000_000, Transition::CutOneWay { from: 1, to: 0 }),
        at(1_001_000, call(0, 1, true)),
        at(1_002_000, call(0, 1, true)),
        at(1_003_000, call(0, 1, true)),
        at(1_300_000, crash(1)),
        at(1_400_000, Transition::Restart { node: 1 }),
        at(1_500_000, Transition::Heal),
    ];
    caught_in(&plan, Mutation::ForgetMessages, "executed-once");
}

#[test]
fn a_start_that_forgets_its_message_numbers() {
    let plan = [
        echo_on(1),
        at(1_000_000, call(0, 1, false)),
        at(2_000_000, crash(0)),
        at(2_100_000, Transition::Restart { node: 0 }),
        at(5_000_000, call(0, 1, false)),
    ];
    caught_in(&plan, Mutation::ForgetReservation, "ids-are-unique");
}

#[test]
fn a_start_that_forgets_its_stamps() {
    let plan = [
        echo_on(1),
        at(1_000_000, Transition::ClockStep { node: 0, by_us: 400_000 }),
        at(2_000_000, call(0, 1, false)),
        at(2_200_000, call(0, 1, false)),
        at(2_210_000, crash(0)),
        at(2_210_001, Transition::ClockSkew { node: 0, offset_us: -400_000, drift_ppm: 0 }),
        at(2_220_000, Transition::Restart { node: 0 }),
    ];
    caught_in(&plan, Mutation::ForgetReservation, "stamps-increase");
}
