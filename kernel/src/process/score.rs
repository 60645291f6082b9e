//! How good a process was, as its node saw it: recorded once, beside its end.

use weft_protocol::{AgentName, ExitReason, Fact, Millionths, Observation, ResourcePath, ResourceScored};

use crate::kernel::Kernel;

/// How much one life counts, in millionths: the reference system's 0.3.
const WEIGHT: u32 = 300_000;

impl Kernel {
    /// Records what the end of a process says of its agent, if it says anything: whether it failed, and which part of the messages
    /// that it was handed it executed.
    pub(super) fn score_life(&mut self, agent: &AgentName, reason: &ExitReason, handled: (u64, u64)) {
        let (handed, executed) = handled;
        let performance = (handed > 0).then(|| Millionths::ratio(executed, handed));
        let seen = Observation { reliability: reliability(reason), performance, ..Observation::default() };
        if seen.is_empty() {
            return;
        }
        let path = ResourcePath::of_agent(agent, &self.identity.chain.node);
        let weight = Millionths::try_from(WEIGHT).unwrap_or(Millionths::ONE);
        let scored = ResourceScored { path, seen, weight, by: None };
        self.chain.append("kernel", &Fact::ResourceScored(Box::new(scored)), self.now);
    }
}

/// Whether it did what was expected of it; nothing where somebody else ended it for reasons of their own.
const fn reliability(reason: &ExitReason) -> Option<Millionths> {
    match reason {
        ExitReason::Exited { code: 0 } | ExitReason::Stopped => Some(Millionths::ONE),
        ExitReason::Exited { .. }
        | ExitReason::Killed { .. }
        | ExitReason::StartFailed { .. }
        | ExitReason::Misbehaved { .. }
        | ExitReason::OverLimit { .. } => Some(Millionths::ZERO),
        ExitReason::NodeStopped | ExitReason::Terminated { .. } | ExitReason::Unenforceable { .. } => None,
    }
}
