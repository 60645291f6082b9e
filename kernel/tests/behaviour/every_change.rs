//! Every request and every input: whether it only reads, or changes something and then leaves an event, on disk before it is
//! answered; and what was refused leaves the refusal and nothing else.
//!
//! The two tables name each variant once; a new one does not compile here before it is classed, and its class is tried out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_kernel::{
    Action, AgentRef, Answer, AskId, CronSpec, Input, KernelConfig, Measured, Output, ProbeAnswer, Registration, Route,
    Start, Syscall, Ticket,
};
use weft_protocol::{
    AgentSpec, AuditLevel, Backend, Branch, CronId, DeferralId, Environment, ExitReason, Fact, GrantIssued, GrantRef,
    GrantTerms, InviteId, InviteRevoked, MessageId, MissedRule, PartsTaken, Principal, ProbeCheck, ProbeKind,
    ProbeSpec, ProbeTiming, ProcessExited, ProcessId, Refusal, ReplyPart, ResourceLimits, RestartPolicy, Role, Target,
    Watched,
};

use crate::node::{Node, acknowledged, echo, echoed, effects, granted, message, name, text, transmitted};
use crate::pair::Pair;

const SECOND: u64 = 1_000_000;

/// What something does to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing that another request could tell.
    Reads,
    /// Something: these kinds are on disk before it is answered.
    Changes(&'static [&'static str]),
    /// Something that may be lost in a crash, as whoever asks for no durability knows: these kinds are on disk a moment later.
    Passes(&'static [&'static str]),
}
use Class::{Changes, Passes, Reads};

/// Names each variant of an enum once, with its class.
macro_rules! classes {
    ($table:ident, $name_of:ident: $of:ident { $($variant:ident => $class:expr),* $(,)? }) => {
        const $table: &[(&str, Class)] = &[$((stringify!($variant), $class)),*];

        const fn $name_of(of: &$of) -> &'static str {
            match of {
                $($of::$variant { .. } => stringify!($variant),)*
            }
        }
    };
}

classes! { SYSCALLS, name_of_syscall: Syscall {
    Send => Passes(&["ipc.batch"]),
    Publish => Passes(&["ipc.batch"]),
    // What stands for all parts is in the record of the answer.
    Stream => Reads,
    // Of an agent. An operator's lasts as long as the request that reads it.
    Subscribe => Changes(&["topic.subscribed"]),
    Unsubscribe => Changes(&["topic.unsubscribed"]),
    ListDeadLetters => Reads,
    RetryDeadLetter => Changes(&["ipc.dead-letter-retried", "ipc.message"]),
    DropDeadLetter => Changes(&["ipc.dead-letter-removed"]),
    // There is no tool: nothing is ever done.
    CallTool => Reads,
    Spawn => Changes(&["effect.intent", "effect.outcome"]),
    Stop => Changes(&["effect.intent", "effect.outcome", "process.exited"]),
    CronAdd => Changes(&["cron.added"]),
    CronRemove => Changes(&["cron.removed"]),
    CronRun => Changes(&["effect.intent", "cron.fired"]),
    CronList => Reads,
    Suspend => Changes(&["effect.intent", "effect.outcome"]),
    Resume => Changes(&["effect.intent", "effect.outcome"]),
    Restart => Changes(&["effect.intent", "process.exited", "effect.outcome"]),
    Grant => Changes(&["grant.issued"]),
    Revoke => Changes(&["grant.revoked"]),
    Shutdown => Changes(&["node.shutdown"]),
    RegisterService => Changes(&["service.registered"]),
    UnregisterService => Changes(&["service.ended"]),
    Link => Changes(&["bond.linked"]),
    Unlink => Changes(&["bond.unlinked"]),
    Monitor => Changes(&["bond.monitored"]),
    Demonitor => Changes(&["bond.demonitored"]),
    Decide => Changes(&["gate.approved"]),
    Amend => Changes(&["governance.amendment"]),
    Endorse => Changes(&["governance.endorsed"]),
} }

classes! { INPUTS, name_of_input: Input {
    // As its syscall says.
    Asked => Passes(&["ipc.batch"]),
    Withdrawn => Passes(&["ipc.batch"]),
    EnvelopeArrived => Passes(&["ipc.batch"]),
    ReceiptArrived => Passes(&["ipc.batch"]),
    CancelArrived => Passes(&["ipc.batch"]),
    // The record of the answer stands for its parts.
    PartArrived => Reads,
    PartsTakenArrived => Reads,
    PartsTaken => Reads,
    // What is known of the way to another node.
    TransmitFailed => Reads,
    ReachabilityChanged => Reads,
    PublicationArrived => Passes(&["ipc.batch"]),
    // The end of a question of the kernel's own.
    Gathered => Reads,
    AgentStarted => Passes(&["effect.outcome"]),
    AgentSuspended => Passes(&["effect.outcome"]),
    AgentResumed => Passes(&["effect.outcome"]),
    AgentExited => Passes(&["process.exited"]),
    ResourcesMeasured => Passes(&["resource.exceeded", "effect.intent"]),
    AgentAnswered => Passes(&["ipc.batch"]),
    ProbeAnswered => Passes(&["health.changed"]),
    FactsGiven => Changes(&["invite.revoked"]),
    RotationAsked => Changes(&["keys.rotated"]),
    // These two stand on the chain of the member that gave the right, of which this node holds a verified copy.
    GrantLearned => Reads,
    RevocationLearned => Reads,
    ExitLearned => Passes(&["bond.fired"]),
    NodeLost => Passes(&["bond.fired"]),
    LeaseGained => Passes(&["effect.intent", "effect.outcome"]),
    LeaseLost => Passes(&["effect.intent", "process.exited"]),
    // The change is on the chain before it is told, by `FactsGiven`.
    Configured => Reads,
    // What was held was appended before; a node that is not held hears nothing new.
    Released => Reads,
    // It stands on the chain of the member that said it.
    RulesSaid => Reads,
    AdminsKnown => Reads,
    // What is known of other nodes.
    ServicesElsewhere => Reads,
    // What is vouched for stands in the next commit that has events.
    HeadStored => Reads,
    // What a wanted commit says stands in its header; a receipt that others vouch for changes nothing here.
    AnchorWanted => Reads,
    Witnessed => Reads,
    MembersKnown => Reads,
    ChainForked => Reads,
    // Words of the clock, and what is not vouched for.
    TickAsked => Reads,
    Withheld => Reads,
    // The disk and the clock. What was due is recorded as what it is.
    Persisted => Reads,
    PersistFailed => Reads,
    Woken => Passes(&["effect.intent", "cron.fired"]),
} }

/// What became of one input.
#[derive(Debug, Default)]
struct Told {
    answer: Option<Result<Answer, Refusal>>,
    /// The kinds that were new on disk when it was answered.
    before: Vec<String>,
    /// Those that were when nothing was written any more.
    in_the_end: Vec<String>,
}

/// Gives one input, does what the kernel orders, and lets the disk finish only when nothing else is left to do.
fn tell(node: &mut Node, input: Input) -> Told {
    let (known, mut told) = (node.kinds().len(), Told::default());
    let mut queue = VecDeque::from([input]);
    loop {
        let outputs = if let Some(input) = queue.pop_front().or_else(|| node.own.pop_front()) {
            node.give(input)
        } else if node.writing.is_some() {
            node.persist()
        } else {
            told.in_the_end = node.kinds().split_off(known);
            return told;
        };
        for output in outputs {
            match output {
                Output::Answer { ask: AskId(1), answer } => {
                    told.answer = Some(answer);
                    told.before = node.kinds().split_off(known);
                }
                Output::FactsRecorded { .. } => told.before = node.kinds().split_off(known),
                output => queue.extend(obey(output)),
            }
        }
    }
}

/// What the world does for an output.
fn obey(output: Output) -> Option<Input> {
    match output {
        Output::Gather { gather, .. } => Some(Input::Gathered { gather }),
        Output::Start { process, .. } => Some(Input::AgentStarted { process, pid: None }),
        Output::Stop { process, .. } => Some(Input::AgentExited { process, reason: ExitReason::Stopped }),
        Output::Suspend { process } => Some(Input::AgentSuspended { process }),
        Output::Resume { process } => Some(Input::AgentResumed { process }),
        Output::Deliver { process, delivery } => Some(echoed(process, *delivery)),
        _ => None,
    }
}

fn asked(by: &Principal, syscall: Syscall) -> Input {
    Input::Asked { ask: AskId(1), by: by.clone(), syscall: Box::new(syscall), route: Route::Local }
}

/// A node with `echo`, which may do everything that can be granted, `poor`, which may nothing, a job, a dead letter and a
/// service.
struct World {
    node: Node,
    echo: Principal,
    poor: Principal,
    job: CronId,
    letter: MessageId,
}

impl World {
    fn new() -> Self {
        let mut node = Node::new("alpha");
        let asker = node.start_agent(granted("echo", &["subscribe:jobs", "send:*"]));
        let poor = node.start_agent(AgentSpec { restart: RestartPolicy::Permanent, ..echo("poor") });
        let lost = asked(&Principal::Operator, message("nobody", "kept", "received+durable"));
        node.run(lost);
        let letter = node.disk.dead_letters.keys().next().copied().expect("a dead letter");
        // Retried, it goes to whoever has the name by then.
        node.start_agent(echo("nobody"));
        let job = match tell(&mut node, asked(&Principal::Operator, cron_add("echo"))).answer {
            Some(Ok(Answer::CronAdded(job))) => job.id,
            other => panic!("{other:?}"),
        };
        tell(&mut node, asked(&Principal::Operator, register("words", "echo")));
        Self { node, echo: asker, poor, job, letter }
    }

    fn operator(&mut self, syscall: Syscall) -> Told {
        tell(&mut self.node, asked(&Principal::Operator, syscall))
    }
}

fn agent(agent: &str) -> AgentRef {
    AgentRef::Name(name(agent))
}

fn cron_add(target: &str) -> Syscall {
    let spec = CronSpec {
        expression: "0 0 * * *".to_owned(),
        timezone: "UTC".to_owned(),
        target: target.parse().expect("a target"),
        payload: text("tick"),
        missed: MissedRule::Skip,
    };
    Syscall::CronAdd { spec: Box::new(spec) }
}

fn register(service: &str, agent: &str) -> Syscall {
    let service = service.parse().expect("a name");
    let agent = Some(name(agent));
    let registration = Registration { service, agent, contract: None, audit_level: AuditLevel::GateOnly };
    Syscall::RegisterService(Box::new(registration))
}

fn grant(to: &str) -> Syscall {
    let terms = GrantTerms { spec: "send:echo".parse().expect("a grant"), expires: None, uses: None };
    Syscall::Grant { to: to.parse().expect("a target"), terms, lasts_us: None }
}

fn target(text: &str) -> Target {
    text.parse().expect("a target")
}

fn link(with: &str) -> Syscall {
    Syscall::Link { agent: Some(agent("echo")), with: target(with) }
}

fn monitor(of: &str) -> Syscall {
    Syscall::Monitor { watcher: Some(agent("echo")), target: target(of), seen: None }
}

/// A process of alpha, which `echo` of beta monitors.
fn monitored(alpha: &Node, beta: &mut Node) -> Watched {
    let watched = Watched { node: alpha.id(), agent: name("far"), process: ProcessId { index: 3, generation: 0 } };
    let (watcher, seen) = (Some(agent("echo")), Some(watched.clone()));
    let syscall = Box::new(Syscall::Monitor { watcher, target: target("far@alpha"), seen });
    let route = Route::Remote(alpha.id());
    beta.run(Input::Asked { ask: AskId(5), by: Principal::Operator, syscall, route });
    watched
}

fn subscribe(pattern: &str) -> Syscall {
    Syscall::Subscribe { pattern: pattern.parse().expect("a pattern"), start: Start::Now }
}

fn unsubscribe(pattern: &str) -> Syscall {
    Syscall::Unsubscribe { pattern: pattern.parse().expect("a pattern") }
}

/// One request that does what it is for, by whom, and one that is refused for another reason than the gate's.
type Tried = (Principal, Syscall, Option<Syscall>);

/// How each request is tried; what must have happened before it has happened.
fn try_out(world: &mut World, which: &str) -> Tried {
    let operator = Principal::Operator;
    let (asker, job, letter) = (world.echo.clone(), world.job, world.letter);
    let no_letter = MessageId { counter: letter.counter + 1_000, ..letter };
    match which {
        "Send" => {
            let refused = message("echo", &"x".repeat(2 << 20), "received");
            (operator, message("echo", "hi", "executed"), Some(refused))
        }
        "Publish" => {
            let publish = |words: String| {
                let (topic, payload) = ("jobs".parse().expect("a topic"), weft_protocol::Payload::Text(words));
                Syscall::Publish { topic, payload, trace: None }
            };
            (operator, publish("hi".to_owned()), Some(publish("x".repeat(1 << 20))))
        }
        "Subscribe" => (asker, subscribe("jobs"), None),
        "Unsubscribe" => {
            tell(&mut world.node, asked(&asker, subscribe("jobs")));
            (asker, unsubscribe("jobs"), Some(unsubscribe("jobs")))
        }
        "ListDeadLetters" => (operator, Syscall::ListDeadLetters, None),
        "RetryDeadLetter" => {
            let retry = |message| Syscall::RetryDeadLetter { message, deadline_us: SECOND };
            (operator, retry(letter), Some(retry(no_letter)))
        }
        "DropDeadLetter" => {
            let drop = |message| Syscall::DropDeadLetter { message };
            (operator, drop(letter), Some(drop(no_letter)))
        }
        "CallTool" => (asker, Syscall::CallTool { name: "fs.read".to_owned() }, None),
        "Spawn" => {
            let spawn = |spec: AgentSpec| Syscall::Spawn { spec: Box::new(spec) };
            let backend =
                Backend::Command { command: vec![String::new()], environment: BTreeMap::new(), trusted: false };
            let wrong = AgentSpec { backend, ..echo("third") };
            (operator, spawn(echo("third")), Some(spawn(wrong)))
        }
        "Stop" => {
            let stop = |name| Syscall::Stop { agent: agent(name) };
            (operator, stop("echo"), Some(stop("ghost")))
        }
        "CronAdd" => (operator, cron_add("echo"), Some(never_due())),
        "CronRemove" => {
            let remove = |job| Syscall::CronRemove { job };
            (operator, remove(job), Some(remove(CronId(9_999))))
        }
        "CronRun" => {
            let run = |job| Syscall::CronRun { job };
            (operator, run(job), Some(run(CronId(9_999))))
        }
        "CronList" => (operator, Syscall::CronList, None),
        "Suspend" => {
            let suspend = |name| Syscall::Suspend { agent: agent(name) };
            (operator, suspend("echo"), Some(suspend("ghost")))
        }
        "Resume" => {
            world.operator(Syscall::Suspend { agent: agent("echo") });
            let resume = |name| Syscall::Resume { agent: agent(name) };
            (operator, resume("echo"), Some(resume("ghost")))
        }
        "Restart" => {
            let restart = |name| Syscall::Restart { agent: agent(name) };
            (operator, restart("echo"), Some(restart("ghost")))
        }
        "Grant" => (operator, grant("poor"), Some(grant("ghost"))),
        "Revoke" => {
            let held = world.node.kernel.grants().first().map(|held| held.grant.id).expect("echo holds one");
            let revoke = |grant| Syscall::Revoke { grant };
            let unknown = weft_protocol::GrantId::of(&weft_protocol::hash("no grant", &[]));
            (operator, revoke(held), Some(revoke(unknown)))
        }
        "Shutdown" => (operator, Syscall::Shutdown, None),
        "RegisterService" => (operator, register("sums", "echo"), Some(register("words", "poor"))),
        "UnregisterService" => {
            let unregister = |service: &str| Syscall::UnregisterService { service: service.parse().expect("a name") };
            (operator, unregister("words"), Some(unregister("nothing")))
        }
        "Link" => (operator, link("nobody"), Some(link("echo"))),
        "Unlink" => {
            world.operator(link("nobody"));
            let unlink = |with: &str| Syscall::Unlink { agent: Some(agent("echo")), with: target(with) };
            (operator, unlink("nobody"), Some(unlink("poor")))
        }
        "Monitor" => (operator, monitor("nobody"), Some(monitor("ghost"))),
        "Demonitor" => {
            world.operator(monitor("nobody"));
            let demonitor = |of: &str| Syscall::Demonitor { watcher: Some(agent("echo")), target: target(of) };
            (operator, demonitor("nobody"), Some(demonitor("poor")))
        }
        "Amend" => {
            world.node.run(crate::amendments::admins(&[world.node.id()]));
            let amend = |branch| Syscall::Amend { branch, change: Box::new(crate::amendments::retire("GOV-007")) };
            (operator, amend(Branch::Judicial), Some(amend(Branch::Executive)))
        }
        "Endorse" => {
            let (input, amendment) = crate::amendments::proposed_elsewhere(&world.node);
            world.node.run(crate::amendments::admins(&[world.node.id(), crate::amendments::OTHER]));
            world.node.run(input);
            let endorse = |amendment| Syscall::Endorse { amendment };
            (operator, endorse(amendment), Some(endorse(weft_protocol::hash("no amendment", &[]))))
        }
        "Decide" => {
            let strict = KernelConfig { environment: Environment::Production, ..crate::node::at_once() };
            for config in [strict, crate::node::at_once()] {
                let spawn = Syscall::Spawn { spec: Box::new(echo("third")) };
                world.node.run(Input::Configured { config: Box::new(config.clone()) });
                if config.environment == Environment::Production {
                    world.operator(spawn);
                }
            }
            let waits = world.node.kernel.deferrals().next().expect("it is deferred").id;
            let decide = |deferral| {
                let name = "Ada".parse().expect("a person");
                Syscall::Decide { deferral, approve: true, name, why: None }
            };
            (operator, decide(waits), Some(decide(DeferralId(9_999))))
        }
        "Stream" => {
            let call = world.node.asked(5, crate::node::in_parts(message("echo", "hi", "executed")));
            let message = delivered(&world.node.run(call));
            let stream = |message| Syscall::Stream { message, part: text("hi") };
            (world.echo.clone(), stream(message), Some(stream(MessageId { counter: 999, ..message })))
        }
        other => panic!("{other} is classed, but nobody tries it: add how"),
    }
}

/// The message that a process is handed.
fn delivered(outputs: &[Output]) -> MessageId {
    let handed = outputs.iter().find_map(|output| match output {
        Output::Deliver { delivery, .. } => Some(delivery.message),
        _ => None,
    });
    handed.expect("it is handed over")
}

/// The thirtieth of February.
fn never_due() -> Syscall {
    match cron_add("echo") {
        Syscall::CronAdd { spec } => {
            let spec = CronSpec { expression: "0 0 30 2 *".to_owned(), ..*spec };
            Syscall::CronAdd { spec: Box::new(spec) }
        }
        other => other,
    }
}

fn holds_all(found: &[String], wanted: &[&str]) -> bool {
    wanted.iter().all(|kind| found.iter().any(|found| found == kind))
}

#[test]
fn every_request_that_changes_something_leaves_its_events_before_it_is_answered() {
    let mut wrong = Vec::new();
    for (which, class) in SYSCALLS {
        let mut world = World::new();
        let (by, syscall, _) = try_out(&mut world, which);
        assert_eq!(name_of_syscall(&syscall), *which, "it is tried by itself");
        let told = tell(&mut world.node, asked(&by, syscall));
        let done = matches!(told.answer, Some(Ok(_)));
        let as_classed = match class {
            Reads => (done || *which == "CallTool") && told.in_the_end.is_empty(),
            Changes(kinds) => done && holds_all(&told.before, kinds),
            Passes(kinds) => done && holds_all(&told.in_the_end, kinds),
        };
        if !as_classed {
            wrong.push(format!("{which} is to be {class:?}, but: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_refused_leaves_the_refusal_alone() {
    let mut wrong = Vec::new();
    for (which, _) in SYSCALLS {
        let mut world = World::new();
        let (_, syscall, refused) = try_out(&mut world, which);
        // Giving up a subscription needs no permission, nor does answering whoever asked; a tool call is counted before anything
        // is judged.
        if !matches!(*which, "Unsubscribe" | "CallTool" | "Stream") {
            let told = tell(&mut world.node, asked(&world.poor.clone(), syscall));
            let denied = matches!(told.answer, Some(Err(Refusal::Denied { .. } | Refusal::Wider { .. })));
            if !denied || told.in_the_end != ["gate.denied"] {
                wrong.push(format!("{which} by an agent without any right: {told:?}"));
            }
        }
        let Some(refused) = refused else { continue };
        let told = world.operator(refused);
        if !matches!(told.answer, Some(Err(_))) || !told.in_the_end.is_empty() {
            wrong.push(format!("{which} with something wrong: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The node that is given the input, and the input.
fn input_for(which: &str) -> (Node, Input) {
    let mut pair = Pair::new();
    pair.agents_answer = false;
    let [alpha, mut beta] = pair.nodes;
    let (from, role) = (alpha.id(), Role::Worker);
    let process = ProcessId { index: 0, generation: 0 };
    match which {
        "Asked" => {
            let input = beta.asked(1, message("echo", "hi", "executed"));
            (beta, input)
        }
        "Withdrawn" => {
            let call = beta.asked(5, message("echo", "hi", "executed"));
            beta.run(call);
            (beta, Input::Withdrawn { ask: AskId(5) })
        }
        "EnvelopeArrived" => {
            let envelope = Box::new(sent_by(alpha, &beta).1);
            (beta, Input::EnvelopeArrived { from, role, envelope })
        }
        "ReceiptArrived" => {
            let to = beta.id();
            let (alpha, envelope) = sent_by(alpha, &beta);
            beta.run(Input::EnvelopeArrived { from, role, envelope: Box::new(envelope.clone()) });
            let answer = Ok(Some(text("hi")));
            let message = envelope.id;
            let receipt = acknowledged(&beta.run(Input::AgentAnswered { process, message, answer }));
            (alpha, Input::ReceiptArrived { from: to, receipt: Box::new(receipt) })
        }
        "CancelArrived" => {
            let envelope = sent_by(alpha, &beta).1;
            let message = envelope.id;
            beta.run(Input::EnvelopeArrived { from, role, envelope: Box::new(envelope) });
            (beta, Input::CancelArrived { from, message })
        }
        "PartArrived" => {
            let to = beta.id();
            let (alpha, envelope) = sent_by(alpha, &beta);
            let part = Box::new(ReplyPart { message: envelope.id, number: 0, payload: text("hi") });
            (alpha, Input::PartArrived { from: to, part })
        }
        "PartsTakenArrived" => {
            let envelope = sent_by(alpha, &beta).1;
            let taken = PartsTaken { message: envelope.id, count: 1 };
            beta.run(Input::EnvelopeArrived { from, role, envelope: Box::new(envelope) });
            (beta, Input::PartsTakenArrived { from, taken })
        }
        "PartsTaken" => {
            let call = beta.asked(5, crate::node::in_parts(message("echo", "hi", "executed")));
            beta.run(call);
            (beta, Input::PartsTaken { ask: AskId(5), count: 1 })
        }
        "TransmitFailed" => {
            let to = beta.id();
            let (alpha, envelope) = sent_by(alpha, &beta);
            (alpha, Input::TransmitFailed { to, message: envelope.id })
        }
        "ReachabilityChanged" => (beta, Input::ReachabilityChanged { node: from, reachable: false }),
        "PublicationArrived" => {
            let listen = beta.asked(5, subscribe("jobs"));
            beta.run(listen);
            let mut alpha = alpha;
            let topic = "jobs".parse().expect("a topic");
            let publish = alpha.asked(5, Syscall::Publish { topic, payload: text("hi"), trace: None });
            let published = alpha.run(publish).into_iter().find_map(|output| match output {
                Output::Publish(publication) => Some(publication),
                _ => None,
            });
            let publication = published.expect("it is published");
            (beta, Input::PublicationArrived { from, role, publication, fetched: false })
        }
        "Gathered" => {
            let listen = beta.asked(5, subscribe("jobs"));
            let outputs = beta.give(listen);
            let gather = outputs.into_iter().find_map(|output| match output {
                Output::Gather { gather, .. } => Some(gather),
                _ => None,
            });
            (beta, Input::Gathered { gather: gather.expect("members are asked") })
        }
        "AgentStarted" => {
            let spawn = beta.asked(5, Syscall::Spawn { spec: Box::new(echo("second")) });
            beta.run(spawn);
            (beta, Input::AgentStarted { process: ProcessId { index: 1, generation: 0 }, pid: None })
        }
        "AgentSuspended" => {
            let suspend = beta.asked(5, Syscall::Suspend { agent: agent("echo") });
            beta.run(suspend);
            (beta, Input::AgentSuspended { process })
        }
        "AgentResumed" => {
            for syscall in [Syscall::Suspend { agent: agent("echo") }, Syscall::Resume { agent: agent("echo") }] {
                let asked = beta.asked(5, syscall);
                beta.run(asked);
                beta.run(Input::AgentSuspended { process });
            }
            let resume = beta.asked(5, Syscall::Resume { agent: agent("echo") });
            beta.run(resume);
            (beta, Input::AgentResumed { process })
        }
        "AgentExited" => (beta, Input::AgentExited { process, reason: ExitReason::Exited { code: 1 } }),
        "ResourcesMeasured" => {
            let backend =
                Backend::Command { command: vec!["program".to_owned()], environment: BTreeMap::new(), trusted: false };
            let limits = ResourceLimits { memory_bytes: Some(1_000), ..ResourceLimits::default() };
            beta.start_agent(AgentSpec { backend, limits, ..echo("hungry") });
            let measured = Measured { memory_bytes: Some(2_000), ..Measured::default() };
            (beta, Input::ResourcesMeasured { process: ProcessId { index: 1, generation: 0 }, measured })
        }
        "AgentAnswered" => {
            let call = beta.asked(5, message("echo", "hi", "executed"));
            let outputs = beta.run(call);
            let message = outputs.iter().find_map(|output| match output {
                Output::Deliver { delivery, .. } => Some(delivery.message),
                _ => None,
            });
            let message = message.expect("it is delivered");
            (beta, Input::AgentAnswered { process, message, answer: Ok(None) })
        }
        "ProbeAnswered" => {
            let timing = ProbeTiming { interval_us: 2 * SECOND, timeout_us: SECOND, failures: 3, successes: 1 };
            let probe = ProbeSpec { kind: ProbeKind::Liveness, check: ProbeCheck::Message, timing };
            let spawn =
                beta.asked(5, Syscall::Spawn { spec: Box::new(AgentSpec { probes: vec![probe], ..echo("probed") }) });
            beta.run(spawn);
            let outputs = beta.run(Input::AgentStarted { process: ProcessId { index: 1, generation: 0 }, pid: None });
            let number = outputs.iter().find_map(|output| match output {
                Output::Probe { number, .. } => Some(*number),
                _ => None,
            });
            (beta, Input::ProbeAnswered { number: number.expect("it is probed"), answer: ProbeAnswer::Healthy })
        }
        "FactsGiven" => {
            let facts = vec![Fact::InviteRevoked(InviteRevoked { invite: InviteId::from_bytes([1; 8]) })];
            let (ticket, by, action) = (Ticket(5), Principal::Operator, Action::RevokeInvite);
            (beta, Input::FactsGiven { ticket, by, action, facts })
        }
        "RotationAsked" => {
            let next = std::sync::Arc::new(weft_protocol::KeyPair::generate(
                *weft_protocol::hash("test-key", &[b"beta"]).as_bytes(),
            ));
            (beta, Input::RotationAsked { ticket: Ticket(5), by: Principal::Operator, next })
        }
        "GrantLearned" => {
            let issued = issued_by(alpha, &beta).1;
            (beta, Input::GrantLearned { issuer: from, issued: Box::new(issued) })
        }
        "RevocationLearned" => {
            let issued = issued_by(alpha, &beta).1;
            let grant = GrantRef { node: from, grant: issued.grant.id };
            beta.run(Input::GrantLearned { issuer: from, issued: Box::new(issued) });
            (beta, Input::RevocationLearned { issuer: from, grant })
        }
        "ExitLearned" => {
            let Watched { node, agent, process } = monitored(&alpha, &mut beta);
            let exited = Box::new(ProcessExited { process, agent, reason: ExitReason::Exited { code: 1 } });
            (beta, Input::ExitLearned { node, exited })
        }
        "NodeLost" => {
            let node = monitored(&alpha, &mut beta).node;
            (beta, Input::NodeLost { node })
        }
        "LeaseGained" => {
            let input = crate::failover::gained(beta.id(), "leased", None);
            (beta, input)
        }
        "LeaseLost" => {
            let input = crate::failover::gained(beta.id(), "leased", None);
            beta.run(input);
            (beta, Input::LeaseLost { agent: name("leased"), reason: "lost".into(), at_once: true })
        }
        "Released" => (beta, Input::Released),
        "Configured" => (beta, Input::Configured { config: Box::new(crate::node::at_once()) }),
        "RulesSaid" => {
            let input = crate::amendments::proposed_elsewhere(&beta).0;
            (beta, input)
        }
        "AdminsKnown" => {
            let input = crate::amendments::admins(&[beta.id()]);
            (beta, input)
        }
        "ServicesElsewhere" => {
            (beta, Input::ServicesElsewhere { services: BTreeSet::from(["sum".parse().expect("a name")]) })
        }
        "HeadStored" => {
            let hlc = weft_protocol::Hlc::from_wall(beta.now.after_us(1));
            let head = alpha.kernel.chain_state().head().expect("a chain");
            (beta, Input::HeadStored { head: Box::new(head), hlc })
        }
        "AnchorWanted" => (beta, Input::AnchorWanted { chain: alpha.kernel.chain_state().chain() }),
        "Witnessed" => {
            let message = MessageId { chain: beta.chain(), counter: 0 };
            (beta, Input::Witnessed { message, vouching: vec![alpha.id()] })
        }
        "MembersKnown" => {
            let members = BTreeSet::from([alpha.id(), beta.id()]);
            (beta, Input::MembersKnown { members })
        }
        "ChainForked" => (beta, Input::ChainForked { chain: alpha.kernel.chain_state().chain() }),
        "TickAsked" => (beta, Input::TickAsked { heads: Vec::new(), horizon: weft_protocol::Hlc(u64::MAX) }),
        "Withheld" => (beta, Input::Withheld { ends: [(alpha.kernel.chain_state().chain(), 0)].into() }),
        "Persisted" => (beta, Input::Persisted),
        "PersistFailed" => (beta, Input::PersistFailed),
        "Woken" => {
            let spec = match cron_add("echo") {
                Syscall::CronAdd { spec } => CronSpec { expression: "* * * * *".to_owned(), ..*spec },
                other => panic!("{other:?}"),
            };
            let add = beta.asked(5, Syscall::CronAdd { spec: Box::new(spec) });
            beta.run(add);
            beta.now = beta.now.after_us(60 * SECOND);
            (beta, Input::Woken)
        }
        other => panic!("{other} is classed, but nobody tries it: add how"),
    }
}

/// A call that alpha sends to beta.
fn sent_by(mut alpha: Node, beta: &Node) -> (Node, weft_protocol::Envelope) {
    let route = Route::Remote(beta.id());
    let syscall = Box::new(crate::node::in_parts(message("echo@beta", "hi", "executed")));
    let outputs = alpha.run(Input::Asked { ask: AskId(1), by: Principal::Operator, syscall, route });
    let envelope = transmitted(&outputs);
    (alpha, envelope)
}

/// A right that alpha gives to an agent of beta.
fn issued_by(mut alpha: Node, beta: &Node) -> (Node, GrantIssued) {
    let (syscall, route) = (Box::new(grant("echo@beta")), Route::Remote(beta.id()));
    let outputs = alpha.run(Input::Asked { ask: AskId(1), by: Principal::Operator, syscall, route });
    let issued = outputs.iter().find_map(|output| match output {
        Output::Answer { answer: Ok(Answer::Granted(issued)), .. } => Some((**issued).clone()),
        _ => None,
    });
    let issued = issued.unwrap_or_else(|| panic!("{:?}", effects(&outputs)));
    (alpha, issued)
}

#[test]
fn every_input_that_changes_something_leaves_its_events() {
    let mut wrong = Vec::new();
    for (which, class) in INPUTS {
        let (mut node, input) = input_for(which);
        assert_eq!(name_of_input(&input), *which, "it is tried by itself");
        let told = tell(&mut node, input);
        let as_classed = match class {
            Reads => told.in_the_end.is_empty(),
            Changes(kinds) => holds_all(&told.before, kinds),
            Passes(kinds) => holds_all(&told.in_the_end, kinds),
        };
        if !as_classed {
            wrong.push(format!("{which} is to be {class:?}, but: {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_agents_subscription_is_on_disk_before_it_is_answered_and_again_only_when_it_is_new() {
    let mut world = World::new();
    let echo = world.echo.clone();
    let mut kinds = |syscall| tell(&mut world.node, asked(&echo, syscall)).in_the_end;
    assert_eq!(kinds(subscribe("jobs")), ["topic.subscribed"]);
    assert_eq!(kinds(subscribe("jobs")), Vec::<String>::new(), "it begins anew, and nobody else can tell");
    assert_eq!(kinds(unsubscribe("jobs")), ["topic.unsubscribed"]);
    assert_eq!(kinds(unsubscribe("jobs")), Vec::<String>::new());
    assert_eq!(kinds(subscribe("jobs")), ["topic.subscribed"]);
    let held = world.node.kernel.grants();
    let grant = held.iter().find(|held| held.grant.spec.to_string() == "subscribe:jobs").expect("held").grant.id;
    let told = world.operator(Syscall::Revoke { grant });
    assert_eq!(told.in_the_end, ["grant.revoked", "gate.denied", "topic.unsubscribed"], "with the right it ends");
    let told = world.operator(subscribe("jobs"));
    assert_eq!(told.in_the_end, Vec::<String>::new(), "an operator's lasts as long as its request");
}
