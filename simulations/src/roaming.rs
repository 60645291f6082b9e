//! The agent that outlives its node: where it runs at each instant of virtual time, of which two places are one too many.

use std::collections::BTreeSet;

use weft_peer::{Question, Reply};
use weft_protocol::{
    AgentSpec, Backend, BuiltinKind, Failover, FailoverDeclared, Principal, ProcessId, Refusal, RestartPolicy,
};

use crate::checks::Check;
use crate::faults::Fault;
use crate::reference::Asked;
use crate::world::World;

/// Who runs it: from the order to start it until its process is gone, or its machine.
#[derive(Debug, Default)]
pub(crate) struct Roaming {
    running: BTreeSet<(usize, ProcessId)>,
    last: Option<usize>,
}

impl Roaming {
    pub(crate) fn ended(&mut self, node: usize, process: ProcessId) {
        self.running.remove(&(node, process));
    }

    /// A machine takes its processes with it.
    pub(crate) fn down(&mut self, node: usize) {
        self.running.retain(|(on, _)| *on != node);
    }
}

impl World {
    /// Declares the agent.
    pub(crate) fn roam(&mut self, node: usize) {
        let agent = "roamer".parse().expect("BUG: a name of letters");
        let spec = AgentSpec {
            restart: RestartPolicy::Permanent,
            failover: Some(Failover::default()),
            ..AgentSpec::new(agent, Backend::Builtin(BuiltinKind::Counter))
        };
        let declared = Box::new(FailoverDeclared { spec, by: Principal::Operator, first: None });
        self.ask(node, Question::Failover { declared }, Asked::Other);
    }

    /// Lets a node hand over; it goes down when that is answered.
    pub(crate) fn leave(&mut self, node: usize) {
        self.ask(node, Question::Drain, Asked::Other);
    }

    pub(crate) fn look_if_drained(&mut self, node: usize, answer: &Result<Reply, Refusal>) {
        if let Ok(Reply::Drained { .. }) = answer {
            let transition = crate::transition::Transition::Shutdown { node };
            self.after(0, crate::world::Event::Happen(transition));
        }
    }

    /// It starts on a node: nobody else may run it then.
    pub(crate) fn began_roaming(&mut self, node: usize, process: ProcessId) {
        let others: Vec<usize> = self.roaming.running.iter().map(|(on, _)| *on).filter(|on| *on != node).collect();
        self.judge.book.check(Check::OneNodeRunsIt, others.is_empty(), || {
            format!("node {node} starts the agent while {others:?} run it")
        });
        self.roaming.running.insert((node, process));
        if self.roaming.last.replace(node).is_some_and(|last| last != node) {
            self.faults.count(Fault::RanElsewhere);
        }
    }
}
