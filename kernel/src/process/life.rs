//! One life of one process, and the states it may go through.

use std::sync::Arc;

use weft_protocol::{AgentSpec, ExitReason, Grant, ProcessId, ResourceLimits, Sender, Timestamp};

use super::mailbox::Mailbox;
use crate::capability::Usage;
use crate::event::AskId;
use crate::status::ProcessState;

/// Why a process is being ended, and with that what follows for its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody wants it to stop: it is not started again.
    Asked,
    /// The node is going down.
    NodeStops,
    /// Somebody wants it to be started again at once.
    Again,
    /// The node wants it.
    Terminated {
        /// How its end will be recorded.
        exit: ExitReason,
        /// Whether that is a failure that its supervisor has not dealt with yet.
        fails: bool,
    },
}

/// A stop that is under way.
#[derive(Debug)]
pub(crate) struct Stop {
    /// Places of its intents on the chain: one, and one more when it was hastened or somebody else's wish prevailed.
    pub(crate) intents: Vec<u64>,
    /// Who waits for the end.
    pub(crate) asks: Vec<AskId>,
    /// Who waits for the next life.
    pub(crate) again_asks: Vec<AskId>,
    /// When it counts as failed.
    pub(crate) deadline: Timestamp,
    /// Whether the process was given no time to finish.
    pub(crate) at_once: bool,
    /// Whether the process was still there at the deadline: the next request is a new order.
    pub(crate) overdue: bool,
    pub(crate) cause: Cause,
}

/// A suspension or resumption that is under way.
#[derive(Debug)]
pub(crate) struct Pause {
    /// Place of its intent on the chain.
    pub(crate) intent: u64,
    /// Who waits for it.
    pub(crate) asks: Vec<AskId>,
    /// Whether the process is to go on.
    pub(crate) resume: bool,
}

/// Invariant: the state changes by [`Life::enter`] alone.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) process: ProcessId,
    pub(crate) spec: AgentSpec,
    /// Every text under which a grant may name it here, its plain name first.
    pub(crate) names: Arc<[String]>,
    pub(crate) grants: Arc<Vec<Grant>>,
    /// Its bounds, those of the node included.
    pub(crate) limits: ResourceLimits,
    pub(crate) usage: Usage,
    /// Who asked for its first life.
    pub(crate) by: Sender,
    pub(crate) restarts: u64,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) pid: Option<u32>,
    /// The intent of its start, until its outcome is recorded, and when it counts as failed.
    pub(crate) spawn: Option<(u64, Timestamp)>,
    pub(crate) spawn_asks: Vec<AskId>,
    pub(crate) stop: Option<Stop>,
    pub(crate) pause: Option<Pause>,
    /// On whose behalf it stands still as soon as it runs, as its life before the node restarted did.
    pub(crate) stands_still: Option<Sender>,
    pub(crate) mailbox: Mailbox,
    /// How many messages it was handed and is done with, and how many of these it executed.
    pub(crate) handled: (u64, u64),
    state: ProcessState,
}

impl Life {
    /// A life whose intent is recorded.
    pub(crate) fn new(
        process: ProcessId,
        spec: AgentSpec,
        names: Arc<[String]>,
        grants: Vec<Grant>,
        by: Sender,
        restarts: u64,
    ) -> Self {
        Self {
            process,
            limits: spec.limits.clone(),
            usage: Usage::default(),
            spec,
            names,
            grants: Arc::new(grants),
            by,
            restarts,
            started_at: None,
            pid: None,
            spawn: None,
            spawn_asks: Vec::new(),
            stop: None,
            pause: None,
            stands_still: None,
            mailbox: Mailbox::default(),
            handled: (0, 0),
            state: ProcessState::Starting,
        }
    }

    pub(crate) const fn state(&self) -> &ProcessState {
        &self.state
    }

    /// Whether messages are taken for it.
    pub(crate) const fn accepts(&self) -> bool {
        matches!(self.state, ProcessState::Starting | ProcessState::Running | ProcessState::Suspended)
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
        ProcessState::Starting => {
            matches!(to, ProcessState::Running | ProcessState::Stopping | ProcessState::Exited(_))
        }
        ProcessState::Running => {
            matches!(to, ProcessState::Suspended | ProcessState::Stopping | ProcessState::Exited(_))
        }
        ProcessState::Suspended => {
            matches!(to, ProcessState::Running | ProcessState::Stopping | ProcessState::Exited(_))
        }
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
            ProcessState::Suspended,
            ProcessState::Stopping,
            ProcessState::Exited(ExitReason::Stopped),
        ];
        let legal = states.iter().flat_map(|from| states.iter().map(move |to| (from, to)));
        let legal = legal.filter(|(from, to)| is_legal(from, to)).map(|(from, to)| format!("{from}>{to}"));
        let expected = [
            "starting>running",
            "starting>stopping",
            "starting>exited",
            "running>suspended",
            "running>stopping",
            "running>exited",
            "suspended>running",
            "suspended>stopping",
            "suspended>exited",
            "stopping>exited",
        ];
        assert_eq!(legal.collect::<Vec<_>>(), expected);
    }
}
