//! Agents that come with the program: they act at once, in the event loop's own turn, and what they ask for is asked in
//! their names.

use std::collections::BTreeMap;

use weft_kernel::{Act, Builtin, Delivery};
use weft_peer::{AskId, Input, Question, Reply};
use weft_protocol::{AgentName, BuiltinKind, MessageId, Principal, ProcessId, Publication, Refusal, Timestamp};

use crate::ask::Asker;

/// All of them that run. Invariant: `asks` names questions of agents in `running` alone.
#[derive(Debug)]
pub(super) struct Builtins {
    asker: Asker,
    running: BTreeMap<ProcessId, (AgentName, Builtin)>,
    asks: BTreeMap<AskId, ProcessId>,
    /// Empty between two calls; kept for its room.
    acts: Vec<Act>,
}

impl Builtins {
    /// None runs yet.
    pub(super) const fn new(asker: Asker) -> Self {
        Self { asker, running: BTreeMap::new(), asks: BTreeMap::new(), acts: Vec::new() }
    }

    pub(super) fn start(&mut self, process: ProcessId, agent: AgentName, kind: BuiltinKind) {
        self.running.insert(process, (agent, Builtin::new(kind)));
    }

    pub(super) fn runs(&self, process: ProcessId) -> bool {
        self.running.contains_key(&process)
    }

    /// Ends one; whether there was one.
    pub(super) fn stop(&mut self, process: ProcessId) -> bool {
        self.asks.retain(|_, asker| *asker != process);
        self.running.remove(&process).is_some()
    }

    pub(super) fn stop_all(&mut self) {
        self.running.clear();
        self.asks.clear();
    }

    /// Hands over a message; gives it back when the process is none of these.
    pub(super) fn deliver(
        &mut self,
        process: ProcessId,
        delivery: Delivery,
        now: Timestamp,
        inputs: &mut impl Extend<Input>,
    ) -> Option<Delivery> {
        let Some((agent, builtin)) = self.running.get_mut(&process) else { return Some(delivery) };
        builtin.deliver(delivery, now, &mut self.acts);
        carry_out(&self.asker, &mut self.asks, process, agent, &mut self.acts, inputs);
        None
    }

    /// Hands over a publication; whether the process is one of these.
    pub(super) fn hear(&mut self, process: ProcessId, publication: &Publication, now: Timestamp) -> bool {
        let builtin = self.running.get_mut(&process);
        builtin.map(|(_, builtin)| builtin.hear(publication, now)).is_some()
    }

    pub(super) fn cancel(&mut self, process: ProcessId, message: &MessageId) {
        if let Some((_, builtin)) = self.running.get_mut(&process) {
            builtin.cancel(message);
        }
    }

    /// Hands over an answer; gives it back when none of these asked.
    pub(super) fn answered(
        &mut self,
        ask: AskId,
        answer: Result<Reply, Refusal>,
        now: Timestamp,
        inputs: &mut impl Extend<Input>,
    ) -> Option<Result<Reply, Refusal>> {
        let Some(process) = self.asks.remove(&ask) else { return Some(answer) };
        let (agent, builtin) = self.running.get_mut(&process)?;
        let answer = match answer {
            Ok(Reply::Kernel(answer)) => Ok(answer),
            Ok(other) => {
                tracing::error!(?other, "BUG: the kernel was asked and somebody else answered");
                return None;
            }
            Err(refusal) => Err(refusal),
        };
        builtin.answered(&answer, now, &mut self.acts);
        carry_out(&self.asker, &mut self.asks, process, agent, &mut self.acts, inputs);
        None
    }

    /// When one of them wants to be woken.
    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        self.running.values().filter_map(|(_, builtin)| builtin.next_wakeup()).min()
    }

    pub(super) fn woken(&mut self, now: Timestamp, inputs: &mut impl Extend<Input>) {
        for (process, (agent, builtin)) in &mut self.running {
            builtin.woken(now, &mut self.acts);
            carry_out(&self.asker, &mut self.asks, *process, agent, &mut self.acts, inputs);
        }
    }
}

/// What an agent does, as what happened to the peer.
fn carry_out(
    asker: &Asker,
    asks: &mut BTreeMap<AskId, ProcessId>,
    process: ProcessId,
    agent: &AgentName,
    acts: &mut Vec<Act>,
    inputs: &mut impl Extend<Input>,
) {
    inputs.extend(acts.drain(..).map(|act| match act {
        Act::Answer { message, answer } => Input::AgentAnswered { process, message, answer },
        Act::Ask(syscall) => {
            let ask = asker.next_ask();
            asks.insert(ask, process);
            let by = Principal::Agent { agent: agent.clone(), process };
            Input::Asked { ask, by, question: Question::Kernel(syscall) }
        }
    }));
}
