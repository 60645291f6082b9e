//! Probes: when they are made, what their answers add up to, and that the chain holds the changes and nothing else.

use weft_kernel::{AgentRef, Input, KernelConfig, Output, ProbeAnswer, ProbeTarget, Syscall};
use weft_protocol::{
    AgentSpec, Fact, Health, HealthSubject, NodeCheck, ProbeCheck, ProbeKind, ProbeSpec, ProbeTiming, ProcessId,
    RestartPolicy,
};

use crate::node::{Node, echo, effects, name};

const SECOND: u64 = 1_000_000;
const WORDS: ProcessId = ProcessId { index: 0, generation: 0 };

const fn probe_of(kind: ProbeKind) -> ProbeSpec {
    let timing = ProbeTiming { interval_us: 2 * SECOND, timeout_us: SECOND / 2, failures: 3, successes: 1 };
    ProbeSpec { kind, check: ProbeCheck::Message, timing }
}

fn probed(name: &str, probes: &[ProbeSpec]) -> AgentSpec {
    AgentSpec { restart: RestartPolicy::Permanent, probes: probes.to_vec(), ..echo(name) }
}

/// The numbers of the probes that are made.
fn probes(outputs: &[Output]) -> Vec<(u64, ProbeTarget)> {
    let probes = outputs.iter().filter_map(|output| match output {
        Output::Probe { number, target } => Some((*number, *target)),
        _ => None,
    });
    probes.collect()
}

/// A node with one agent, and the numbers of its first probes.
fn node_with(probes_of: &[ProbeSpec]) -> (Node, Vec<u64>) {
    let mut node = Node::new("alpha");
    let numbers = start(&mut node, "words", probes_of).into_iter().map(|(number, _)| number).collect();
    (node, numbers)
}

/// Starts an agent; its first probes, which are made at once.
fn start(node: &mut Node, agent: &str, probes_of: &[ProbeSpec]) -> Vec<(u64, ProbeTarget)> {
    let asked = node.asked(1, Syscall::Spawn { spec: Box::new(probed(agent, probes_of)) });
    node.run(asked);
    started(node, agent)
}

/// The agent runs now.
fn started(node: &mut Node, agent: &str) -> Vec<(u64, ProbeTarget)> {
    let process = node.kernel.agent(&name(agent)).expect("it starts");
    probes(&node.run(Input::AgentStarted { process, pid: None }))
}

/// Time passes, and each probe is answered at once, or never.
fn pass(node: &mut Node, duration_us: u64, mut answers: impl FnMut(ProbeTarget) -> Option<ProbeAnswer>) {
    let until = node.now.after_us(duration_us);
    while let Some(at) = node.kernel.next_wakeup().filter(|at| *at <= until) {
        node.now = node.now.max(at);
        for (number, target) in probes(&node.run(Input::Woken)) {
            if let Some(answered) = answers(target) {
                answer(node, number, answered);
            }
        }
    }
    node.now = until;
}

/// The next probe, after time has passed for it.
fn next(node: &mut Node, after_us: u64) -> u64 {
    let made = probes(&node.pass(after_us));
    let [(number, _)] = made.as_slice() else { panic!("one probe: {made:?}") };
    *number
}

fn answer(node: &mut Node, number: u64, answer: ProbeAnswer) -> Vec<Output> {
    node.run(Input::ProbeAnswered { number, answer })
}

fn degraded(reason: &str) -> ProbeAnswer {
    ProbeAnswer::Degraded { reason: reason.to_owned() }
}

fn failed(reason: &str) -> ProbeAnswer {
    ProbeAnswer::Failed { reason: reason.to_owned() }
}

/// All changes on the chain.
fn changes(node: &Node) -> Vec<String> {
    let facts = node.facts().into_iter();
    let changes = facts.filter_map(|fact| if let Fact::HealthChanged(changed) = fact { Some(changed) } else { None });
    let words = changes.map(|changed| {
        let what = match changed.subject {
            HealthSubject::Node { check } => check.to_string(),
            HealthSubject::Process { process, agent, probe } => format!("{agent}{process} {probe}"),
        };
        let why = changed.now.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{what} {}>{}{why}", changed.before.name(), changed.now.name())
    });
    words.collect()
}

#[test]
fn an_hour_of_good_answers_is_one_event() {
    let (mut node, first) = node_with(&[probe_of(ProbeKind::Liveness)]);
    assert_eq!(node.kernel.health().rows[0].health, Health::Unknown, "before the first answer");
    answer(&mut node, first[0], ProbeAnswer::Healthy);
    for _ in 0..1_800 {
        let number = next(&mut node, 2 * SECOND);
        answer(&mut node, number, ProbeAnswer::Healthy);
    }
    assert_eq!(changes(&node), ["words#0.0 liveness unknown>healthy"]);
    assert_eq!(node.kernel.health().health, Health::Healthy);
}

#[test]
fn an_agent_that_hangs_is_ended_after_three_failures_and_the_chain_says_why() {
    let (mut node, first) = node_with(&[probe_of(ProbeKind::Liveness)]);
    answer(&mut node, first[0], ProbeAnswer::Healthy);
    // The deadlines of the first two pass, and it is not ended.
    assert_eq!(probes(&node.pass(2 * SECOND)).len(), 1);
    assert_eq!(probes(&node.pass(2 * SECOND)).len(), 1);
    assert_eq!(probes(&node.pass(2 * SECOND)).len(), 1);
    assert_eq!(changes(&node), ["words#0.0 liveness unknown>healthy"]);
    let ended = effects(&node.pass(SECOND / 2));
    assert!(ended.contains(&"stop #0.0".to_owned()), "{ended:?}");
    let expected =
        ["words#0.0 liveness unknown>healthy", "words#0.0 liveness healthy>unhealthy (no answer within 500ms)"];
    assert_eq!(changes(&node), expected);
    assert!(probes(&node.pass(SECOND)).is_empty(), "it is not probed while it ends");
    node.run(Input::AgentExited { process: WORDS, reason: weft_protocol::ExitReason::Stopped });
    let reasons = node.facts().into_iter().filter_map(|fact| match fact {
        Fact::Exited(exited) => Some(exited.reason.to_string()),
        _ => None,
    });
    let because = "its liveness probe failed 3 times in a row: no answer within 500ms";
    assert_eq!(reasons.collect::<Vec<_>>(), [format!("ended by the node: {because}")]);
    // Its supervisor starts it again, and it begins with nothing known.
    node.pass(SECOND);
    let process = node.kernel.agent(&name("words")).expect("it starts again");
    let made = started(&mut node, "words");
    answer(&mut node, made[0].0, ProbeAnswer::Healthy);
    assert_eq!(changes(&node)[2..], [format!("words{process} liveness unknown>healthy")]);
}

#[test]
fn a_failure_now_and_then_is_no_change() {
    let (mut node, first) = node_with(&[probe_of(ProbeKind::Liveness)]);
    answer(&mut node, first[0], ProbeAnswer::Healthy);
    for _ in 0..20 {
        for answered in [failed("busy"), failed("busy"), ProbeAnswer::Healthy] {
            let number = next(&mut node, 2 * SECOND);
            assert!(!effects(&answer(&mut node, number, answered)).contains(&"stop #0.0".to_owned()));
        }
    }
    assert_eq!(changes(&node), ["words#0.0 liveness unknown>healthy"]);
}

#[test]
fn a_late_answer_means_nothing() {
    let (mut node, first) = node_with(&[probe_of(ProbeKind::Liveness)]);
    node.pass(SECOND);
    answer(&mut node, first[0], ProbeAnswer::Healthy);
    assert_eq!(changes(&node), Vec::<String>::new());
    assert_eq!(node.kernel.health().rows[0].failures, 1);
    answer(&mut node, 999, ProbeAnswer::Healthy);
    assert_eq!(node.kernel.health().rows[0].health, Health::Unknown);
}

#[test]
fn a_probe_that_hangs_hangs_no_other() {
    let mut node = Node::new("alpha");
    start(&mut node, "hangs", &[probe_of(ProbeKind::Readiness)]);
    let first = start(&mut node, "words", &[probe_of(ProbeKind::Readiness)]);
    answer(&mut node, first[0].0, ProbeAnswer::Healthy);
    let mut answered = 0;
    pass(&mut node, 20 * SECOND, |target| {
        let words = matches!(target, ProbeTarget::Process { process, .. } if process.index == 1);
        answered += u64::from(words);
        words.then_some(ProbeAnswer::Healthy)
    });
    assert_eq!(answered, 10);
    let expected =
        ["words#1.0 readiness unknown>healthy", "hangs#0.0 readiness unknown>unhealthy (no answer within 500ms)"];
    assert_eq!(changes(&node), expected);
    assert!(node.kernel.agent(&name("hangs")).is_some(), "what is not ready is not ended");
}

#[test]
fn readiness_goes_down_and_comes_back_by_its_thresholds() {
    let mut probe = probe_of(ProbeKind::Readiness);
    probe.timing.successes = 2;
    let (mut node, first) = node_with(&[probe]);
    let answers = [
        ProbeAnswer::Healthy,
        degraded("disk is slow"),
        degraded("disk is slower"),
        failed("no database"),
        failed("no database"),
        failed("still no database"),
        failed("none at all"),
        ProbeAnswer::Healthy,
        failed("again"),
        ProbeAnswer::Healthy,
        ProbeAnswer::Healthy,
    ];
    answer(&mut node, first[0], ProbeAnswer::Healthy);
    assert_eq!(changes(&node), Vec::<String>::new(), "two successes are asked for");
    for answered in answers {
        let number = next(&mut node, 2 * SECOND);
        answer(&mut node, number, answered);
    }
    let expected = [
        "unknown>healthy",
        "healthy>degraded (disk is slow)",
        "degraded>unhealthy (still no database)",
        "unhealthy>healthy",
    ];
    assert_eq!(changes(&node), expected.map(|words| format!("words#0.0 readiness {words}")));
}

#[test]
fn what_is_not_well_makes_the_node_degraded_and_nothing_to_probe_is_healthy() {
    let node = Node::new("alpha");
    assert_eq!(node.kernel.health().health, Health::Healthy, "an empty table is not down");
    let (mut node, first) = node_with(&[probe_of(ProbeKind::Readiness), probe_of(ProbeKind::Liveness)]);
    assert_eq!(first.len(), 2);
    assert_eq!(node.kernel.health().health, Health::Healthy, "not known is not down");
    answer(&mut node, first[0], ProbeAnswer::Healthy);
    answer(&mut node, first[1], degraded("slow"));
    let report = node.kernel.health();
    assert_eq!(report.health, Health::Degraded { reason: report.reasons.join("; ") });
    assert_eq!(report.reasons, ["words #0.0 readiness: slow"]);
    node.give(Input::PersistFailed);
    assert_eq!(node.kernel.health().health.name(), "unhealthy");
}

fn node_that_checks(checks: &[NodeCheck]) -> Node {
    let node_checks = checks.iter().map(|check| (*check, ProbeTiming::default())).collect();
    let mut node = Node::unborn("alpha", KernelConfig { node_checks, ..crate::node::at_once() });
    node.run(Input::Woken);
    node
}

#[test]
fn the_node_checks_itself_every_ten_seconds_and_records_changes_alone() {
    let mut node = node_that_checks(&[NodeCheck::Disk, NodeCheck::Network, NodeCheck::Chain]);
    assert_eq!(node.kernel.health().health, Health::Unknown, "it has not looked yet");
    for round in 0..60 {
        let full = (20..40).contains(&round);
        pass(&mut node, 10 * SECOND, |target| {
            assert_ne!(target, ProbeTarget::Node(NodeCheck::Chain), "the kernel knows about its chain");
            let disk = target == ProbeTarget::Node(NodeCheck::Disk);
            Some(if full && disk { failed("0 MiB are left on the disk") } else { ProbeAnswer::Healthy })
        });
        let expected = if (22..40).contains(&round) { "unhealthy" } else { "healthy" };
        assert_eq!(node.kernel.health().health.name(), expected, "{round}");
    }
    let expected = ["disk healthy>unhealthy (0 MiB are left on the disk)", "disk unhealthy>healthy"];
    assert_eq!(changes(&node), expected, "that all is well after a start is no event");
}

#[test]
fn a_disk_that_confirms_nothing_is_seen_while_it_hangs() {
    let mut node = node_that_checks(&[NodeCheck::Chain]);
    node.pass(SECOND);
    assert_eq!(node.kernel.health().health, Health::Healthy);
    let topic = "jobs".parse().expect("a topic");
    let asked = node.asked(1, Syscall::Publish { topic, payload: crate::node::text("x"), trace: None });
    node.give(asked);
    for _ in 0..8 {
        node.now = node.now.after_us(10 * SECOND);
        node.give(Input::Woken);
    }
    let report = node.kernel.health();
    assert_eq!(report.reasons, ["chain: the disk has not confirmed a write for 80 s"]);
    assert_eq!(report.health.name(), "unhealthy");
}

#[test]
fn probes_live_as_long_as_their_process_and_return_with_it() {
    let (mut node, first) = node_with(&[probe_of(ProbeKind::Liveness)]);
    answer(&mut node, first[0], ProbeAnswer::Healthy);
    node.crash();
    node.run(Input::Woken);
    assert!(node.kernel.health().rows.is_empty(), "it does not run yet");
    let process = node.kernel.agent(&name("words")).expect("permanent");
    let made = started(&mut node, "words");
    assert_eq!(made.len(), 1, "with the probes of its spawn");
    let stop = node.asked(2, Syscall::Stop { agent: AgentRef::Name(name("words")) });
    node.run(stop);
    node.run(Input::AgentExited { process, reason: weft_protocol::ExitReason::Stopped });
    assert!(node.kernel.health().rows.is_empty());
    answer(&mut node, made[0].0, failed("too late"));
    assert!(probes(&node.pass(60 * SECOND)).is_empty());
}

#[test]
fn probes_out_of_bounds_are_refused() {
    let mut node = Node::new("alpha");
    let mut refused = |probes: &[ProbeSpec]| {
        let spec = Box::new(probed("words", probes));
        let asked = node.asked(1, Syscall::Spawn { spec });
        effects(&node.run(asked)).join("; ")
    };
    let with = |change: fn(&mut ProbeTiming)| {
        let mut probe = probe_of(ProbeKind::Liveness);
        change(&mut probe.timing);
        [probe]
    };
    let twice = [probe_of(ProbeKind::Liveness), probe_of(ProbeKind::Liveness)];
    assert_eq!(refused(&twice), "answer 1 invalid: two liveness probes: an agent has at most one of each kind");
    let interval = "answer 1 invalid: the liveness probe's interval is not between 100ms and 1h";
    assert_eq!(refused(&with(|timing| timing.interval_us = 99_999)), interval);
    assert_eq!(refused(&with(|timing| timing.interval_us = 3_600_000_001)), interval);
    let timeout = "answer 1 invalid: the liveness probe's timeout is not between 1us and 1m";
    assert_eq!(refused(&with(|timing| timing.timeout_us = 0)), timeout);
    assert_eq!(refused(&with(|timing| timing.timeout_us = 60_000_001)), timeout);
    let counts = "answer 1 invalid: the liveness probe's failures and successes are not between 1 and 100";
    assert_eq!(refused(&with(|timing| timing.failures = 0)), counts);
    assert_eq!(refused(&with(|timing| timing.successes = 101)), counts);
}
