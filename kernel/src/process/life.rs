//! One life of one process, and the states it may go through.

use weft_protocol::{AgentSpec, ExitReason, Grant, ProcessId, ResourceLimits, Timestamp};

use super::mailbox::Mailbox;
use crate::capability::Usage;
use crate::event::AskId;
use crate::status::ProcessState;

/// A stop that was asked for.
#[derive(Debug)]
pub(crate) struct Stop {
    /// Place of its intent on the chain.
    pub(crate) intent: u64,
    /// Who waits for it.
    pub(crate) asks: Vec<AskId>,
    /// When it counts as failed.
    pub(crate) deadline: Timestamp,
    /// Whether the node is going down, rather than somebody having asked for this process.
    pub(crate) shutdown: bool,
}

/// Invariant: the state changes by [`Life::enter`] alone.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) process: ProcessId,
    pub(crate) spec: AgentSpec,
    pub(crate) grants: Vec<Grant>,
    /// Its bounds, those of the node included.
    pub(crate) limits: ResourceLimits,
    pub(crate) usage: Usage,
    /// Why it is being ended, when that is for what it used.
    pub(crate) over_limit: Option<ExitReason>,
    pub(crate) restarts: u64,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) pid: Option<u32>,
    /// The intent of its start, until its outcome is recorded, and when it counts as failed.
    pub(crate) spawn: Option<(u64, Timestamp)>,
    pub(crate) spawn_ask: Option<AskId>,
    pub(crate) stop: Option<Stop>,
    pub(crate) mailbox: Mailbox,
    state: ProcessState,
}

impl Life {
    /// A life whose intent is recorded.
    pub(crate) fn new(process: ProcessId, spec: AgentSpec, grants: Vec<Grant>, restarts: u64) -> Self {
        Self {
            process,
            limits: spec.limits.clone(),
            usage: Usage::default(),
            over_limit: None,
            spec,
            grants,
            restarts,
            started_at: None,
            pid: None,
            spawn: None,
            spawn_ask: None,
            stop: None,
            mailbox: Mailbox::default(),
            state: ProcessState::Starting,
        }
    }

    pub(crate) const fn state(&self) -> &ProcessState {
        &self.state
    }

    /// Whether messages are taken for it.
    pub(crate) const fn accepts(&self) -> bool {
        matches!(self.state, ProcessState::Starting | ProcessState::Running)
    }

    /// Goes to the next state if that is legal, and says whether it was.
    pub(crate) fn enter(&mut self, next: ProcessState) -> bool {
        let legal = is_legal(&self.state, &next);
        if legal {
            self.state = next;
        }
        legal
    }
}

const fn is_legal(from: &ProcessState, to: &ProcessState) -> bool {
    match from {
        ProcessState::Starting => !matches!(to, ProcessState::Starting),
        ProcessState::Running => matches!(to, ProcessState::Stopping | ProcessState::Exited(_)),
        ProcessState::Stopping => matches!(to, ProcessState::Exited(_)),
        ProcessState::Exited(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_legal_transitions_happen() {
        let states = [
            ProcessState::Starting,
            ProcessState::Running,
            ProcessState::Stopping,
            ProcessState::Exited(ExitReason::Stopped),
        ];
        let legal = states.iter().flat_map(|from| states.iter().map(move |to| (from, to)));
        let legal = legal.filter(|(from, to)| is_legal(from, to)).map(|(from, to)| format!("{from}>{to}"));
        let expected = [
            "starting>running",
            "starting>stopping",
            "starting>exited",
            "running>stopping",
            "running>exited",
            "stopping>exited",
        ];
        assert_eq!(legal.collect::<Vec<_>>(), expected);
    }
}
