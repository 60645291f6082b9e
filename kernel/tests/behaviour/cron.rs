//! Jobs: when they run, in whose name, what is recorded, what a crash and a wrong clock make of them.

use weft_kernel::{AgentRef, Answer, AskId, CronJob, CronSpec, Input, Output, Route, Syscall};
use weft_protocol::{
    AgentSpec, CronFired, CronId, CronMissed, CronResult, Effect, Fact, MissedRule, Payload, Principal, Refusal,
    RestartPolicy, Timestamp,
};

use crate::node::{Node, START, echo, effects, granted, lines, name, text};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

fn spec(expression: &str, missed: MissedRule) -> CronSpec {
    CronSpec {
        expression: expression.to_owned(),
        timezone: "UTC".to_owned(),
        target: "echo".parse().expect("a target"),
        payload: text("tick"),
        missed,
    }
}

fn ask(node: &mut Node, by: Principal, syscall: Syscall) -> Result<Answer, Refusal> {
    let input = Input::Asked { ask: AskId(1), by, syscall: Box::new(syscall), route: Route::Local };
    let outputs = node.run(input);
    let answer = outputs.into_iter().find_map(|output| match output {
        Output::Answer { answer, .. } => Some(answer),
        _ => None,
    });
    answer.expect("an answer")
}

fn add(node: &mut Node, spec: CronSpec) -> CronId {
    match ask(node, Principal::Operator, Syscall::CronAdd { spec: Box::new(spec) }) {
        Ok(Answer::CronAdded(job)) => job.id,
        other => panic!("{other:?}"),
    }
}

fn jobs(node: &mut Node) -> Vec<CronJob> {
    match ask(node, Principal::Operator, Syscall::CronList) {
        Ok(Answer::CronJobs(jobs)) => jobs,
        other => panic!("{other:?}"),
    }
}

/// The job, of which there is one.
fn job(node: &mut Node) -> CronJob {
    jobs(node).pop().expect("a job")
}

/// For which times runs were intended, in microseconds since the start.
fn intended(node: &Node) -> Vec<u64> {
    let facts = node.facts().into_iter();
    let times = facts.filter_map(|fact| match fact {
        Fact::Intent(effect) => match *effect {
            Effect::Fire { scheduled, .. } => scheduled.map(|at| at.since_us(START)),
            _ => None,
        },
        _ => None,
    });
    times.collect()
}

fn missed(node: &Node) -> Vec<CronMissed> {
    let facts = node.facts().into_iter();
    facts.filter_map(|fact| if let Fact::CronMissed(missed) = fact { Some(missed) } else { None }).collect()
}

fn fired(node: &Node) -> Vec<CronFired> {
    let facts = node.facts().into_iter();
    facts.filter_map(|fact| if let Fact::CronFired(fired) = fact { Some(fired) } else { None }).collect()
}

/// A node with an agent that is there again whenever the node starts.
fn node_with_echo() -> Node {
    let mut node = Node::new("alpha");
    node.start_agent(AgentSpec { restart: RestartPolicy::Permanent, ..echo("echo") });
    node
}

/// The node starts again, and its agent with it.
fn restart(node: &mut Node) -> Vec<Output> {
    node.crash();
    let mut outputs = node.run(Input::Woken);
    let process = node.kernel.agent(&name("echo")).expect("it starts again");
    outputs.extend(node.run(Input::AgentStarted { process, pid: None }));
    outputs.extend(node.pass(0));
    outputs
}

/// The clock comes to the first time of an hourly job: the intent of its run is being written.
fn intend(node: &mut Node) -> Vec<String> {
    node.pass(HOUR - 1);
    node.now = node.now.after_us(1);
    assert_eq!(lines(&node.give(Input::Woken)), ["persist reserved"], "the stamps of so much later");
    lines(&node.persist())
}

#[test]
fn a_job_is_recorded_before_it_runs_and_after() {
    let mut node = node_with_echo();
    let id = add(&mut node, spec("@every 1h", MissedRule::Skip));
    assert_eq!(node.kernel.next_wakeup().map(|at| at.since_us(START) < HOUR), Some(true), "a seal is due before");
    assert_eq!(intend(&mut node), ["persist [effect.intent]"], "nothing leaves before its intent is on disk");
    let second = lines(&node.persist());
    assert_eq!(second, ["announce [effect.intent]", "ask as operator"]);
    let asked = node.own.pop_front().expect("asked");
    let third = lines(&node.give(asked));
    assert_eq!(third[0], "persist [cron.fired ipc.batch] (received m0 operator-local#1)");
    assert_eq!(third[1], "deliver m0 to #0.0 `tick`");
    node.run(Input::Woken);
    let shown = job(&mut node);
    assert_eq!((shown.id, shown.runs, shown.missed), (id, 1, 0));
    assert_eq!(shown.last_run.map(|at| at.since_us(START) / SECOND), Some(3_600));
    assert_eq!(shown.last_result, Some(CronResult::Delivered));
    assert_eq!(shown.next_run, Some(START.after_us(2 * HOUR)));
    let [fired] = fired(&node).try_into().expect("one run");
    assert_eq!(
        (fired.job, fired.scheduled, fired.message.map(|id| id.counter)),
        (id, Some(START.after_us(HOUR)), Some(0))
    );
}

#[test]
fn a_month_of_hours_with_ten_days_missed_by_each_rule() {
    let table = [(MissedRule::Skip, 0), (MissedRule::Once, 1), (MissedRule::All, 100)];
    for (rule, caught_up) in table {
        let mut node = node_with_echo();
        let id = add(&mut node, spec("30 * * * *", rule));
        node.pass(10 * DAY);
        assert_eq!(intended(&node).len(), 240, "{rule}");
        node.now = node.now.after_us(10 * DAY);
        restart(&mut node);
        let gap = missed(&node);
        let [gap] = gap.as_slice() else { panic!("{rule}: one record of all that was missed: {gap:?}") };
        let at = |hours: u64| START.after_us(hours * HOUR + HOUR / 2);
        let run_from = match rule {
            MissedRule::Skip => None,
            MissedRule::Once => Some(at(479)),
            MissedRule::All => Some(at(380)),
        };
        assert_eq!(*gap, CronMissed { job: id, first: at(240), last: at(479), count: 240, run_from }, "{rule}");
        let runs = intended(&node);
        assert_eq!(runs.len(), 240 + caught_up, "{rule}");
        node.pass(10 * DAY);
        let mut runs = intended(&node);
        assert_eq!(runs.len(), 480 + caught_up, "{rule}");
        runs.dedup();
        assert_eq!(runs.len(), 480 + caught_up, "{rule}: no time ran twice");
        assert!(runs.is_sorted(), "{rule}");
        let shown = job(&mut node);
        assert_eq!((shown.runs, shown.missed), (480 + caught_up as u64, 240), "{rule}");
        assert!(fired(&node).iter().all(|fired| fired.result == CronResult::Delivered), "{rule}");
    }
}

#[test]
fn a_job_of_every_second_that_was_away_for_a_month_starts_at_once() {
    let mut node = node_with_echo();
    add(&mut node, spec("* * * * * *", MissedRule::All));
    node.now = node.now.after_us(30 * DAY);
    restart(&mut node);
    let [gap] = missed(&node).try_into().expect("one record");
    assert_eq!((gap.count, gap.last.since_us(START)), (1_000, 30 * DAY - 6 * SECOND), "counted to a thousand");
    // The last hundred, and those of the last five seconds, which are not late.
    assert_eq!(intended(&node).len(), 100 + 6);
}

#[test]
fn a_crash_between_intent_and_message_loses_the_run_and_never_doubles_it() {
    let mut node = node_with_echo();
    let id = add(&mut node, spec("@every 1h", MissedRule::All));
    intend(&mut node);
    node.persist();
    assert!(node.own.pop_front().is_some(), "the message was about to leave");
    let outputs = restart(&mut node);
    assert!(!effects(&outputs).iter().any(|line| line.contains("tick")), "{:?}", effects(&outputs));
    let [fired] = fired(&node).try_into().expect("one run");
    assert_eq!((fired.scheduled, fired.result), (Some(START.after_us(HOUR)), CronResult::Indeterminate));
    let shown = job(&mut node);
    assert_eq!((shown.id, shown.runs, shown.last_result), (id, 1, Some(CronResult::Indeterminate)));
    assert_eq!(shown.next_run, Some(START.after_us(2 * HOUR)));
    assert_eq!(shown.last_run.map(|at| at.since_us(START) / SECOND), Some(3_600), "the time is the chain's");
}

#[test]
fn a_crash_before_the_intent_is_on_disk_is_as_if_nothing_had_been_due() {
    let mut node = node_with_echo();
    add(&mut node, spec("@every 1h", MissedRule::Skip));
    intend(&mut node);
    restart(&mut node);
    assert_eq!(intended(&node), [HOUR], "it is still in time");
    assert_eq!(fired(&node).len(), 1);
}

#[test]
fn jobs_and_their_counts_survive_crashes_and_removed_ones_stay_removed() {
    let mut node = node_with_echo();
    let first = add(&mut node, spec("0 6 * * *", MissedRule::Once));
    let second = add(&mut node, spec("45m", MissedRule::Skip));
    node.pass(2 * HOUR);
    let before = jobs(&mut node);
    restart(&mut node);
    assert_eq!(jobs(&mut node), before);
    let removed = ask(&mut node, Principal::Operator, Syscall::CronRemove { job: second });
    assert_eq!(removed, Ok(Answer::CronRemoved { job: second }));
    let again = ask(&mut node, Principal::Operator, Syscall::CronRemove { job: second });
    assert_eq!(again, Err(Refusal::NoResponder { target: format!("cron job {second}") }));
    restart(&mut node);
    assert_eq!(jobs(&mut node).iter().map(|job| job.id).collect::<Vec<_>>(), [first]);
    node.pass(DAY);
    assert_eq!(intended(&node), [45 * 60 * SECOND, 90 * 60 * SECOND, 6 * HOUR]);
}

#[test]
fn a_clock_that_goes_back_runs_nothing_twice() {
    let mut node = node_with_echo();
    add(&mut node, spec("@every 1h", MissedRule::All));
    node.pass(5 * HOUR);
    node.now = Timestamp(node.now.0 - 2 * HOUR);
    node.run(Input::Woken);
    node.pass(3 * HOUR);
    assert_eq!(intended(&node), [1, 2, 3, 4, 5, 6].map(|hour| hour * HOUR));
    node.now = Timestamp(node.now.0 - 2 * HOUR);
    restart(&mut node);
    node.pass(3 * HOUR);
    assert_eq!(intended(&node), [1, 2, 3, 4, 5, 6, 7].map(|hour| hour * HOUR));
    assert!(missed(&node).is_empty());
}

#[test]
fn a_clock_that_was_wrong_by_days_does_not_silence_a_job() {
    let mut node = node_with_echo();
    add(&mut node, spec("@every 1h", MissedRule::Once));
    node.now = node.now.after_us(10 * DAY + HOUR / 2);
    node.run(Input::Woken);
    node.pass(0);
    assert_eq!(intended(&node), [240 * HOUR], "the jump ahead missed 240, and one was run");
    for crash in [false, true] {
        node.now = START.after_us(if crash { 3 * HOUR } else { 0 } + 1);
        if crash {
            restart(&mut node);
        }
        node.run(Input::Woken);
        node.pass(3 * HOUR);
    }
    assert_eq!(intended(&node), [240, 1, 2, 3, 4, 5, 6].map(|hour| hour * HOUR));
    node.now = START.after_us(239 * HOUR + 1);
    node.run(Input::Woken);
    node.pass(2 * HOUR);
    let at_240 = intended(&node).into_iter().filter(|at| *at == 240 * HOUR).count();
    assert_eq!(at_240, 1, "what ran while the clock was wrong has run");
    assert_eq!(intended(&node).last(), Some(&(241 * HOUR)));
}

#[test]
fn a_night_without_and_a_night_with_two_half_past_twos() {
    let mut node = node_with_echo();
    let berlin =
        |expression: &str| CronSpec { timezone: "Europe/Berlin".to_owned(), ..spec(expression, MissedRule::All) };
    add(&mut node, berlin("30 2 * * *"));
    // 2024-01-01 is day 0; the clock goes forward on day 90 (31 March) and back on day 300 (27 October).
    node.pass(305 * DAY);
    let runs = intended(&node);
    let of_day =
        |day: u64| runs.iter().filter(|at| **at / DAY == day).map(|at| at % DAY / 60 / SECOND).collect::<Vec<_>>();
    assert_eq!(of_day(89), [90], "half past one in UTC");
    assert_eq!(of_day(90), [60], "three o'clock of the new time, right after the gap");
    assert_eq!(of_day(91), [30]);
    assert_eq!(of_day(299), [30]);
    assert_eq!(of_day(300), [30], "once, the first time");
    assert_eq!(of_day(301), [90]);
    assert_eq!(runs.len(), 305);
}

#[test]
fn runs_end_as_they_must_be_told() {
    let mut node = node_with_echo();
    let nobody = CronSpec { target: "nobody".parse().expect("a target"), ..spec("1m", MissedRule::Skip) };
    let id = add(&mut node, nobody);
    node.pass(60 * SECOND);
    let reason = "no responder: nobody".to_owned();
    assert_eq!(job(&mut node).last_result, Some(CronResult::Failed { reason: reason.clone() }));
    let ran = ask(&mut node, Principal::Operator, Syscall::CronRun { job: id });
    assert_eq!(ran, Ok(Answer::CronRan { job: id, message: None, result: CronResult::Failed { reason } }));
    ask(&mut node, Principal::Operator, Syscall::CronRemove { job: id }).expect("it is there");
    let topic = CronSpec { target: "topic:jobs".parse().expect("a target"), ..spec("1m", MissedRule::Skip) };
    let id = add(&mut node, topic);
    let ran = ask(&mut node, Principal::Operator, Syscall::CronRun { job: id });
    assert!(matches!(ran, Ok(Answer::CronRan { message: Some(_), result: CronResult::Delivered, .. })), "{ran:?}");
    let gone = ask(&mut node, Principal::Operator, Syscall::CronRun { job: CronId(1) });
    assert_eq!(gone, Err(Refusal::NoResponder { target: "cron job c1".to_owned() }));
}

#[test]
fn runs_of_one_job_do_not_overlap() {
    let mut node = node_with_echo();
    let id = add(&mut node, spec("1s", MissedRule::Skip));
    node.now = node.now.after_us(SECOND);
    node.give(Input::Woken);
    node.persist();
    let asked = node.own.pop_front().expect("the first run");
    node.now = node.now.after_us(2 * SECOND);
    node.run(Input::Woken);
    assert_eq!(intended(&node), [SECOND], "the first has not ended");
    let run = ask(&mut node, Principal::Operator, Syscall::CronRun { job: id });
    assert_eq!(run, Err(Refusal::Busy { retry_after_us: 50_000 }));
    node.run(asked);
    node.pass(0);
    assert_eq!(intended(&node), [1, 2, 3].map(|second| second * SECOND), "what waited was in time");
}

#[test]
fn a_job_acts_in_the_name_of_its_maker_and_under_its_grants_of_the_moment() {
    let mut node = node_with_echo();
    let by = node.start_agent(granted("maker", &["cron-add:echo", "send:echo"]));
    let spec_of = |target: &str| {
        let target = target.parse().expect("a target");
        Box::new(CronSpec { target, ..spec("1m", MissedRule::Skip) })
    };
    let denied = || Err(Refusal::Denied { rule: "default-closed#4".to_owned() });
    assert_eq!(ask(&mut node, by.clone(), Syscall::CronAdd { spec: spec_of("other") }), denied());
    let made = ask(&mut node, by.clone(), Syscall::CronAdd { spec: spec_of("echo") });
    let Ok(Answer::CronAdded(made)) = made else { panic!("{made:?}") };
    assert_eq!(ask(&mut node, by.clone(), Syscall::CronList), denied());
    assert_eq!(ask(&mut node, by.clone(), Syscall::CronRemove { job: made.id }), denied());
    assert_eq!(ask(&mut node, by.clone(), Syscall::CronRun { job: made.id }), denied());
    let outputs = node.pass(60 * SECOND);
    let from = outputs.iter().find_map(|output| match output {
        Output::Deliver { delivery, .. } => Some(delivery.from.principal.clone()),
        _ => None,
    });
    assert_eq!(from, Some(by.clone()));
    // Its next life has no grant to send: the gate says so at the run, and the chain.
    let stop = Syscall::Stop { agent: AgentRef::Name(name("maker")) };
    let asked = node.asked(2, stop);
    node.run(asked);
    let Principal::Agent { process, .. } = by else { panic!("an agent") };
    node.run(Input::AgentExited { process, reason: weft_protocol::ExitReason::Stopped });
    node.pass(60 * SECOND);
    let reason = "agent/maker, who made the job, does not run".to_owned();
    assert_eq!(job(&mut node).last_result, Some(CronResult::Refused { reason }));
    node.start_agent(granted("maker", &["cron-remove:agent/maker"]));
    node.pass(60 * SECOND);
    let reason = "denied by rule default-closed#4".to_owned();
    assert_eq!(job(&mut node).last_result, Some(CronResult::Refused { reason }));
    let denial =
        node.facts().into_iter().filter(|fact| matches!(fact, Fact::Denied(denied) if denied.action == "send"));
    assert_eq!(denial.count(), 1);
    let by = Principal::Agent { agent: name("maker"), process: node.kernel.agent(&name("maker")).expect("it lives") };
    assert_eq!(ask(&mut node, by, Syscall::CronRemove { job: made.id }), Ok(Answer::CronRemoved { job: made.id }));
}

#[test]
fn what_cannot_be_a_job_is_refused_and_changes_nothing() {
    let mut node = node_with_echo();
    let before = node.kinds().len();
    let mut refused = |spec: CronSpec| {
        let answer = ask(&mut node, Principal::Operator, Syscall::CronAdd { spec: Box::new(spec) });
        answer.expect_err("wrong").to_string()
    };
    let good = || spec("1m", MissedRule::Skip);
    let large = Payload::Text("x".repeat(16 * 1024 + 1));
    assert_eq!(refused(CronSpec { payload: large, ..good() }), "too large: 16385 bytes, at most 16384");
    let broken = Payload::Json("{".to_owned());
    assert!(refused(CronSpec { payload: broken, ..good() }).starts_with("not one JSON value"));
    let signal = Payload::Signal(Box::new(weft_protocol::Signal::Kill));
    assert_eq!(refused(CronSpec { payload: signal, ..good() }), "the message of a cron job is text or JSON");
    assert!(refused(spec("61 * * * *", MissedRule::Skip)).contains("minute `61`"));
    assert_eq!(
        refused(spec("0 0 30 2 *", MissedRule::Skip)),
        "`0 0 30 2 *` names a time that never comes: check day and month"
    );
    assert_eq!(node.kinds().len(), before);
}

#[test]
fn no_agent_and_no_node_keeps_jobs_without_end() {
    let mut node = node_with_echo();
    let by = node.start_agent(granted("maker", &["cron-add:*"]));
    let syscall = || Syscall::CronAdd { spec: Box::new(spec("1h", MissedRule::Skip)) };
    for _ in 0..64 {
        ask(&mut node, by.clone(), syscall()).expect("there is room");
    }
    let refused = ask(&mut node, by, syscall()).expect_err("no room for the agent");
    assert_eq!(
        refused.to_string(),
        "agent/maker has 64 cron jobs, and no agent may have more: take one back first, weft cron rm ID"
    );
    for _ in 64..1_024 {
        add(&mut node, spec("1h", MissedRule::Skip));
    }
    let refused = ask(&mut node, Principal::Operator, syscall()).expect_err("no room at all");
    assert!(refused.to_string().starts_with("this node has 1024 cron jobs"), "{refused}");
}

#[test]
fn nothing_runs_on_the_way_down_and_what_was_under_way_is_told() {
    let mut node = node_with_echo();
    let id = add(&mut node, spec("1m", MissedRule::Skip));
    let asked = node.asked(7, Syscall::CronRun { job: id });
    node.give(asked);
    node.persist();
    let own = node.own.pop_front().expect("a run");
    let down = node.asked(8, Syscall::Shutdown);
    node.run(down);
    node.now = node.now.after_us(SECOND);
    let mut told = effects(&node.run(own));
    told.extend(effects(&node.run(Input::AgentExited {
        process: node.kernel.agent(&name("echo")).expect("it stops"),
        reason: weft_protocol::ExitReason::Stopped,
    })));
    assert!(told.iter().any(|line| line.starts_with("answer 7 Ok(") || line.contains("CronRan")), "{told:?}");
    assert_eq!(intended(&node), Vec::<u64>::new());
    assert_eq!(fired(&node).len(), 1);
}
