//! What each action does to the world: a number for each dimension it touches.

use weft_protocol::{Dimension, EffectVector, ParseError, Thousandths};

use crate::action::ActionKind;

/// More of it in one dimension than the program says: an operator's own judgement. Text form: `spawn.risk=0.6`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaisedEffect {
    /// Of which action.
    pub action: ActionKind,
    /// In which dimension.
    pub dimension: Dimension,
    /// At least so much.
    pub least: Thousandths,
}

impl std::fmt::Display for RaisedEffect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}={}", self.action.name(), self.dimension, self.least)
    }
}

impl std::str::FromStr for RaisedEffect {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "an effect (action.dimension=0.6, as spawn.risk=0.6)");
        let (what, least) = text.split_once('=').ok_or_else(refuse)?;
        let (action, dimension) = what.split_once('.').ok_or_else(refuse)?;
        let action = ActionKind::ALL.iter().find(|kind| kind.name() == action);
        let action = *action.ok_or_else(|| ParseError::new(text, "an effect of an action that there is"))?;
        Ok(Self { action, dimension: dimension.parse()?, least: least.parse()? })
    }
}

/// What reaches a node from another one is riskier by this much: the reference system's weight of `ipc.cross_node`.
const ABROAD: u16 = 200;

/// The effects of an action, from here or from another node. Where the reference system names a number for the same thing it
/// is that one (spawn .5, stop .4, suspend .3, resume .2, cron .4 and .3, cluster.join .8, cluster.leave .6); the rest are guesses
/// beside them.
pub(super) fn effects(kind: ActionKind, abroad: bool) -> EffectVector {
    let mut effects = EffectVector::of(match kind {
        ActionKind::Send | ActionKind::Call => &[("risk", 50)],
        // From abroad by nature.
        ActionKind::Receive | ActionKind::ReceivePublication => &[("risk", 50)],
        ActionKind::Deliver => &[("risk", 50)],
        ActionKind::Publish => &[("risk", 100)],
        ActionKind::Subscribe => &[("privacy", 100)],
        ActionKind::SubscribeWildcard => &[("privacy", 400)],
        ActionKind::ReadDeadLetters => &[("privacy", 300)],
        ActionKind::RetryDeadLetter => &[("risk", 100)],
        ActionKind::DropDeadLetter => &[("risk", 100), ("fairness", 200)],
        ActionKind::Spawn => &[("risk", 500), ("novelty", 200)],
        ActionKind::SpawnConfigured => &[("risk", 200)],
        ActionKind::Stop => &[("risk", 400), ("fairness", 200)],
        ActionKind::Restart => &[("risk", 400)],
        ActionKind::Suspend => &[("risk", 300), ("fairness", 200)],
        ActionKind::Resume => &[("risk", 200)],
        ActionKind::CronAdd => &[("risk", 200), ("novelty", 200)],
        ActionKind::CronRemove => &[("risk", 200), ("fairness", 100)],
        ActionKind::CronRun => &[("risk", 100)],
        ActionKind::CronList => &[("privacy", 50)],
        ActionKind::Grant => &[("risk", 300), ("security", 500)],
        ActionKind::Revoke => &[("risk", 100), ("fairness", 200), ("security", 100)],
        ActionKind::Invite => &[("risk", 500), ("security", 300)],
        ActionKind::RevokeInvite => &[("risk", 100)],
        ActionKind::Admit => &[("risk", 800)],
        ActionKind::Configure => &[("risk", 200), ("novelty", 300), ("security", 300)],
        ActionKind::ConfigureGates => &[("risk", 200), ("novelty", 300), ("security", 600)],
        // A hash of the chain leaves, or a file that says how long it is.
        ActionKind::Anchor => &[("privacy", 100)],
        // It says what is on the chain anyway.
        ActionKind::Snapshot => &[("risk", 50)],
        // What it deletes nobody can bring back.
        ActionKind::Prune => &[("risk", 300), ("fairness", 200)],
        ActionKind::Amend => &[("risk", 300), ("novelty", 200), ("security", 500)],
        ActionKind::Endorse => &[("risk", 300), ("security", 300)],
        ActionKind::ChangeMember => &[("risk", 500), ("security", 400)],
        ActionKind::RotateKeys => &[("risk", 300), ("security", 500)],
        ActionKind::Score => &[("risk", 50), ("fairness", 300)],
        ActionKind::Shutdown => &[("risk", 600)],
        ActionKind::RegisterService => &[("risk", 200), ("novelty", 200)],
        ActionKind::UnregisterService => &[("risk", 200)],
        ActionKind::Inspect => &[("privacy", 100)],
        ActionKind::Link | ActionKind::Unlink => &[("risk", 100)],
        ActionKind::Monitor | ActionKind::Demonitor => &[("privacy", 50)],
        // The truth about what happened, and a person's own word, do nothing themselves.
        ActionKind::RecordFork
        | ActionKind::RecordRepair
        | ActionKind::RecordTail
        | ActionKind::RecordBoot
        // That an agent is started under a fence is judged as its start.
        | ActionKind::GrantFence
        | ActionKind::HoldFence
        | ActionKind::Vote
        | ActionKind::Approve
        | ActionKind::DenyDeferred => &[],
    });
    if abroad {
        effects.add("risk".parse().expect("BUG: a dimension"), Thousandths(ABROAD));
    }
    effects
}
