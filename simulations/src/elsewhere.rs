//! What of agents that were started from another node must be true: where they live, what both chains say, what comes back.

use weft_kernel::{Answer, Syscall};
use weft_peer::{AskId, Question, Reply};
use weft_protocol::control::{SpawnReport, SpawnRequest};
use weft_protocol::{
    Delivery, Durability, Effect, Fact, Level, LocalTarget, MessageId, NodeId, NodeRef, Payload, ProcessId, Refusal,
    Stage, Target,
};

use crate::checks::Check;
use crate::faults::Fault;
use crate::outside::agent_name;
use crate::reference::{Ask, Asked};
use crate::transition::AgentKind;
use crate::world::World;

/// How long a start elsewhere may take, in microseconds (guess: many round trips and commits).
const SPAWN_US_MAX: u64 = 5_000_000;

/// A guest that was started and told of.
#[derive(Debug, Clone, Copy)]
struct Guest {
    by: usize,
    on: usize,
    process: ProcessId,
    /// The run of its node in which it was started.
    run: u64,
}

/// A start that a node denied somebody of another one.
#[derive(Debug)]
struct DeniedStart {
    by: usize,
    on: usize,
    rule: String,
}

/// What was told of guests.
#[derive(Debug, Default)]
pub(crate) struct GuestBook {
    guests: Vec<Guest>,
    denied: Vec<DeniedStart>,
}

impl GuestBook {
    /// Somebody stops the guest of a node.
    pub(crate) fn forget(&mut self, on: usize) {
        self.guests.retain(|guest| guest.on != on);
    }

    fn on(&self, on: usize) -> Option<&Guest> {
        self.guests.iter().find(|guest| guest.on == on)
    }
}

impl World {
    /// Starts the guest on another node.
    pub(crate) fn spawn_on(&mut self, node: usize, on: usize) {
        let request = SpawnRequest {
            agent: AgentKind::Guest.name().to_owned(),
            builtin: Some("counter".to_owned()),
            restart: Some("permanent".to_owned()),
            ..SpawnRequest::default()
        };
        let args = serde_json::to_string(&request).expect("BUG: a request that is no JSON");
        let syscall = Syscall::Send {
            target: Target { node: Some(NodeRef::Name(self.nodes[on].name.clone())), local: LocalTarget::Kernel },
            payload: Payload::ToolCall { name: "agent.spawn".to_owned(), args },
            wants_reply: true,
            level: Level { delivery: Delivery::Executed, durability: Durability::None },
            deadline_us: SPAWN_US_MAX,
            trace: None,
            cause: Vec::new(),
            idempotent: false,
            parts: false,
        };
        self.ask(node, Question::Kernel(Box::new(syscall)), Asked::SpawnOn { on });
    }

    /// The run of a node with a guest and the connection to it, when the guest can answer.
    pub(crate) fn steady_guest(&self, node: usize, on: usize) -> Option<(u64, u64)> {
        let there = self.connected(node, on)?;
        self.guests.on(on)?;
        self.nodes[on].running.as_ref()?.peer.kernel().agent(&agent_name(AgentKind::Guest))?;
        Some(there)
    }

    /// An answer leaves: when it is about a guest, what it says must be so.
    pub(crate) fn judge_guest(&mut self, node: usize, ask: AskId, answer: &Result<Reply, Refusal>) {
        match self.judge.reference.asks.get(&ask).cloned() {
            Some(Ask { what: Asked::SpawnOn { on }, .. }) => self.judge_spawn_on(node, on, answer),
            Some(Ask { what: Asked::Guest { on, steady }, .. }) => self.judge_call(node, on, steady, answer),
            _ => {}
        }
    }

    fn judge_spawn_on(&mut self, by: usize, on: usize, answer: &Result<Reply, Refusal>) {
        let report = match answer {
            Err(Refusal::Denied { rule }) => {
                self.faults.count(Fault::DeniedElsewhere);
                return self.guests.denied.push(DeniedStart { by, on, rule: rule.clone() });
            }
            Ok(Reply::Kernel(Answer::Sent(report))) => match &report.reply {
                Some(Payload::Json(text)) => serde_json::from_str::<SpawnReport>(text).ok(),
                _ => None,
            },
            Ok(_) | Err(_) => return,
        };
        let process = report.as_ref().and_then(|report| report.process.parse::<ProcessId>().ok());
        let from = self.nodes[by].id();
        let kept =
            process.is_some_and(|process| self.judge.reference.holds_fact(on, |fact| is_start(fact, process, from)));
        self.judge.book.check(Check::ElsewhereIsKept, kept, || {
            format!(
                "node {by} was told that the guest of node {on} runs ({report:?}), and that node's disk does not say so"
            )
        });
        if let Some(process) = process {
            self.faults.count(Fault::SpawnedElsewhere);
            self.guests.guests.push(Guest { by, on, process, run: self.nodes[on].run });
        }
    }

    fn judge_call(&mut self, node: usize, on: usize, steady: Option<(u64, u64)>, answer: &Result<Reply, Refusal>) {
        let stayed = steady.is_some() && self.connected(node, on) == steady;
        let typed = match answer {
            Ok(_) => true,
            Err(refusal) => matches!(
                refusal,
                Refusal::NoResponder { .. }
                    | Refusal::Unreachable { .. }
                    | Refusal::Deadline { .. }
                    | Refusal::Gone { .. }
                    | Refusal::Restarting { .. }
                    | Refusal::ShuttingDown
            ),
        };
        self.judge.book.check(Check::ElsewhereIsKept, typed && (answer.is_ok() || !stayed), || {
            format!("a call of node {node} to the guest of node {on} ended with {answer:?}; it was there all the time: {stayed}")
        });
        let returned = self.guests.on(on).is_some_and(|guest| guest.run < self.nodes[on].run);
        match answer {
            Ok(_) if returned => self.faults.count(Fault::AnsweredAgain),
            Err(_) if self.nodes[on].running.is_none() => self.faults.count(Fault::FailedElsewhere),
            Ok(_) | Err(_) => {}
        }
    }

    /// When everything is quiet: guests live on their nodes alone, those whose node was away as their next life, and whoever
    /// started them knows it; each denial is on both chains.
    pub(crate) fn judge_guests(&mut self) {
        for guest in self.guests.guests.clone() {
            let wrong = self.wrong_with(&guest);
            self.judge
                .book
                .check(Check::ElsewhereIsKept, wrong.is_none(), || format!("{guest:?}: {}", wrong.unwrap_or_default()));
        }
        for number in 0..self.guests.denied.len() {
            let DeniedStart { by, on, rule } = &self.guests.denied[number];
            let (by, on, rule) = (*by, *on, rule.clone());
            let same = self.guests.denied.iter().filter(|other| (other.by, other.on, &other.rule) == (by, on, &rule));
            let told = same.count();
            let recorded = self.denied_messages(by, on, &rule);
            self.judge.book.check(Check::DenialsAreOnBoth, recorded >= told, || {
                format!("node {on} denied {told} starts of node {by} by {rule}, and {recorded} are on both chains")
            });
        }
    }

    fn wrong_with(&self, guest: &Guest) -> Option<String> {
        let name = agent_name(AgentKind::Guest);
        let id = self.nodes[guest.on].id();
        let (here, there) = (self.nodes[guest.by].running.as_ref()?, self.nodes[guest.on].running.as_ref()?);
        let Some(process) = there.peer.kernel().agent(&name) else {
            return Some("it does not live on its node".to_owned());
        };
        let returned = guest.run < self.nodes[guest.on].run;
        let next = process.index == guest.process.index && process.generation > guest.process.generation;
        if returned != next && (returned || process != guest.process) {
            return Some(format!("its node went away: {returned}, and it is {process}"));
        }
        if here.peer.kernel().processes().iter().any(|process| process.agent == name) {
            return Some("whoever started it has a process of it too".to_owned());
        }
        let seen = here.peer.discovery().agents_of(&id);
        let known = seen.iter().any(|(agent, seen)| (agent, *seen) == (&name, process));
        (!known).then(|| format!("it is {process}, and whoever started it knows {seen:?}"))
    }

    /// How many starts are on the chain of `on` as denied by this rule, and on the chain of `by` as acknowledged so.
    fn denied_messages(&self, by: usize, on: usize, rule: &str) -> usize {
        let (from, peer) = (self.nodes[by].id(), self.nodes[on].id());
        let denied = self.judge.reference.facts(on).filter_map(|fact| match fact {
            Fact::Denied(denial) if denial.by.node == from && denial.rule == rule && denial.action == "spawn" => {
                denial.message
            }
            _ => None,
        });
        let known = |message: &MessageId| {
            let steps = self.judge.reference.message_steps(by, message);
            steps.iter().any(|step| step.stage == Stage::Acknowledged && step.peer == peer && step.rule == "denied")
        };
        denied.filter(|message| known(message)).count()
    }
}

/// Whether a fact is the intent to start this process for somebody of that node.
fn is_start(fact: &Fact, started: ProcessId, by: NodeId) -> bool {
    match fact {
        Fact::Intent(effect) => matches!(&**effect, Effect::Spawn { process, from: Some(from), .. }
            if *process == started && *from == by),
        _ => false,
    }
}
