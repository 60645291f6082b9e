//! What waits for a person on this node: the fold over the own chain, and what it grows by.

use std::collections::{BTreeMap, VecDeque};

use weft_protocol::limits::{DEFERRALS_MAX, DEFERRALS_PER_AGENT_MAX};
use weft_protocol::{
    Decided, Deferral, DeferralId, Environment, Fact, PersonName, PlacedFact, Principal, Sender, Timestamp,
};

/// Most deferred actions that are over and remembered, so that whoever decides about one learns what became of it (guess).
const ENDED_MAX: usize = 256;

/// Where a deferred action stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeferralState {
    /// Nobody has decided.
    Waiting,
    /// Somebody approved it; it may be repeated once.
    Approved(Decided),
    /// Somebody denied it; until its time is over repeating it is no use.
    Denied(Decided),
}

/// One deferred action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeferralInfo {
    /// By which a person names it.
    pub id: DeferralId,
    /// What was asked, by whom, and the deciding rule.
    pub deferral: Deferral,
    /// When it was asked.
    pub asked: Timestamp,
    /// Where it stands.
    pub state: DeferralState,
}

/// How a deferred action came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeferralEnd {
    Spent,
    Expired,
    Denied(PersonName),
}

/// The table. Bounded: what finds no room in it is denied.
#[derive(Debug, Default)]
pub(crate) struct Deferrals {
    open: BTreeMap<DeferralId, DeferralInfo>,
    ended: VecDeque<(DeferralId, DeferralEnd)>,
}

impl Deferrals {
    /// What the own chain says, and in which environment it was last decided.
    pub(crate) fn of(facts: &[PlacedFact]) -> (Self, Environment) {
        let (mut table, mut environment) = (Self::default(), Environment::default());
        for placed in facts {
            match &placed.fact {
                Fact::Deferred(deferral) => {
                    table.insert(DeferralId(placed.seq), deferral.as_ref().clone(), placed.hlc.to_wall());
                }
                Fact::Approved(decided) => table.decide(decided.clone(), true),
                Fact::DeniedBy(decided) => table.decide(decided.clone(), false),
                Fact::ApprovalSpent(ended) => table.end(ended.deferral, DeferralEnd::Spent),
                Fact::DeferralExpired(ended) => table.end(ended.deferral, DeferralEnd::Expired),
                Fact::Configured(configured) => {
                    let named = configured.changes.iter().rfind(|change| change.key == "environment");
                    environment = named.and_then(|change| change.to.parse().ok()).unwrap_or(environment);
                }
                _ => {}
            }
        }
        (table, environment)
    }

    pub(crate) fn insert(&mut self, id: DeferralId, deferral: Deferral, asked: Timestamp) {
        self.open.insert(id, DeferralInfo { id, deferral, asked, state: DeferralState::Waiting });
    }

    pub(crate) fn decide(&mut self, decided: Decided, approved: bool) {
        if let Some(info) = self.open.get_mut(&decided.deferral) {
            info.state = if approved { DeferralState::Approved(decided) } else { DeferralState::Denied(decided) };
        }
    }

    pub(crate) fn end(&mut self, id: DeferralId, end: DeferralEnd) {
        if self.open.remove(&id).is_some() {
            self.ended.push_back((id, end));
            if self.ended.len() > ENDED_MAX {
                self.ended.pop_front();
            }
        }
    }

    pub(crate) fn get(&self, id: DeferralId) -> Option<&DeferralInfo> {
        self.open.get(&id)
    }

    /// What became of one that is over, as far as that is remembered.
    pub(crate) fn ended(&self, id: DeferralId) -> Option<&DeferralEnd> {
        self.ended.iter().rfind(|(ended, _)| *ended == id).map(|(_, end)| end)
    }

    /// The same thing asked by the same principal before, while its time lasts.
    pub(crate) fn find(&self, by: &Sender, action: &str, resource: &str, now: Timestamp) -> Option<&DeferralInfo> {
        let same = |info: &&DeferralInfo| {
            let deferral = &info.deferral;
            deferral.by == *by && deferral.action == action && deferral.resource == resource && now < deferral.expires
        };
        self.open.values().rfind(same)
    }

    /// Whether one more of this principal may wait.
    pub(crate) fn has_room(&self, by: &Principal) -> bool {
        let own = || self.open.values().filter(|info| info.deferral.by.principal == *by).count();
        self.open.len() < DEFERRALS_MAX
            && match by {
                Principal::Operator => true,
                Principal::Agent { .. } => own() < DEFERRALS_PER_AGENT_MAX,
            }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &DeferralInfo> {
        self.open.values()
    }
}
