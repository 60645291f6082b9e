//! The book of grants: what was given across nodes, what was taken back, and how often what has a budget was used.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::DELEGATION_DEPTH_MAX;
use weft_protocol::{
    AgentName, Effect, Fact, Grant, GrantId, GrantIssued, GrantRef, GrantTerms, NodeId, PlacedFact, Timestamp,
};

/// Most given grants that are held in memory, own and learned; a further own one is refused, a further learned one is not
/// known here, and so not accepted (guess: 16 for each of a thousand members).
const GIVEN_MAX: usize = 16_384;
/// Most revocations that are remembered of one other member. Of a member that revokes more nothing is accepted any more:
/// what was forgotten must not come back to life (guess).
const REVOKED_MAX: usize = 4_096;
/// Most budgets that are counted; a further own grant with one is refused, a further one of others is not accepted (guess).
const COUNTED_MAX: usize = 16_384;

/// Why a grant does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Void {
    /// It, or one that it was narrowed from, was taken back.
    Revoked(GrantRef),
    /// It, or one that it was narrowed from, was used as often as it may be.
    Spent(GrantRef),
    /// Whoever is said to have given it did not, as far as is known here.
    Unknown(GrantRef),
}

impl Void {
    /// As it stands in a rule.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Revoked(grant) => format!("grant#3 revoked {}", grant.grant),
            Self::Spent(grant) => format!("grant#3 used up {}", grant.grant),
            Self::Unknown(grant) => format!("grant#3 unknown {}", grant.grant),
        }
    }
}

/// Invariant: `given` holds grants whose holder is on another node than their giver, and nothing that is revoked; `budgets`
/// what has one and was given here or learned.
#[derive(Debug)]
pub(crate) struct Ledger {
    own: NodeId,
    given: BTreeMap<GrantRef, GrantIssued>,
    /// Those of them that an agent here holds, by its name: looked up with each message, made anew with each change.
    here: BTreeMap<AgentName, Vec<GrantRef>>,
    revoked: BTreeMap<NodeId, BTreeSet<GrantRef>>,
    budgets: BTreeMap<GrantRef, u64>,
    used: BTreeMap<GrantRef, u64>,
}

impl Ledger {
    /// The book as the own chains tell it, the first one first.
    pub(crate) fn of<'a>(own: NodeId, facts: impl Iterator<Item = &'a PlacedFact>) -> Self {
        let mut ledger = Self {
            own,
            given: BTreeMap::new(),
            here: BTreeMap::new(),
            revoked: BTreeMap::new(),
            budgets: BTreeMap::new(),
            used: BTreeMap::new(),
        };
        for placed in facts {
            match &placed.fact {
                Fact::Intent(effect) => {
                    if let Effect::Spawn { grants, .. } = effect.as_ref() {
                        grants.iter().for_each(|grant| ledger.note(grant));
                    }
                }
                Fact::GrantIssued(issued) => ledger.give(own, issued),
                Fact::GrantRevoked(revoked) => ledger.revoke(own, revoked.grant),
                Fact::GrantUsed(used) => drop(ledger.used.insert(used.grant, used.used)),
                _ => {}
            }
        }
        ledger
    }

    /// Remembers the budget of a grant that an agent here holds.
    pub(crate) fn note(&mut self, grant: &Grant) {
        if let Some(uses) = grant.uses {
            self.budgets.insert(grant.reference(self.own), uses);
        }
    }

    /// Whether one more can be given, after those that have ended were forgotten.
    pub(crate) fn has_room(&mut self, now: Timestamp) -> bool {
        if self.given.len() >= GIVEN_MAX {
            self.given.retain(|_, issued| issued.grant.expires.is_none_or(|expires| now < expires));
            self.sort_out();
        }
        self.given.len() < GIVEN_MAX && self.budgets.len() < COUNTED_MAX
    }

    /// A grant that `issuer` recorded as given; what it says of others' grants counts for nothing.
    pub(crate) fn give(&mut self, issuer: NodeId, issued: &GrantIssued) {
        let grant = issued.grant.reference(issuer);
        let fits = self.given.len() < GIVEN_MAX && self.budgets.len() < COUNTED_MAX;
        if grant.node != issuer || !fits || self.is_revoked(issuer, &issued.grant).is_some() {
            return;
        }
        self.budgets.extend(issued.grant.uses.map(|uses| (grant, uses)));
        if issued.to.node != issuer {
            self.given.insert(grant, issued.clone());
            self.sort_out();
        }
    }

    fn sort_out(&mut self) {
        self.here.clear();
        for (grant, issued) in self.given.iter().filter(|(_, issued)| issued.to.node == self.own) {
            self.here.entry(issued.to.agent.clone()).or_default().push(*grant);
        }
    }

    /// `by` took a grant back. Of another node's grant only what that node says counts, and what this node's own operator says
    /// for this node.
    pub(crate) fn revoke(&mut self, by: NodeId, grant: GrantRef) {
        if by != grant.node && by != self.own {
            return;
        }
        let revoked = self.revoked.entry(grant.node).or_default();
        if by == self.own || revoked.len() <= REVOKED_MAX {
            revoked.insert(grant);
        }
        self.given.retain(|_, issued| !issued.grant.line(issued.to.node).any(|one| one == grant));
        self.sort_out();
        self.budgets.remove(&grant);
    }

    fn is_revoked(&self, holder: NodeId, grant: &Grant) -> Option<GrantRef> {
        grant.line(holder).find(|one| {
            let of_issuer = self.revoked.get(&one.node);
            of_issuer.is_some_and(|of| of.contains(one) || one.node != self.own && of.len() > REVOKED_MAX)
        })
    }

    /// Why this grant, held by an agent of `holder`, does not stand; none when it does.
    pub(crate) fn void(&self, holder: NodeId, grant: &Grant) -> Option<Void> {
        let reference = grant.reference(holder);
        if grant.parents.len() > usize::from(DELEGATION_DEPTH_MAX) {
            return Some(Void::Unknown(reference));
        }
        if let Some(revoked) = self.is_revoked(holder, grant) {
            return Some(Void::Revoked(revoked));
        }
        if let Some(unknown) = self.unknown(holder, grant) {
            return Some(Void::Unknown(unknown));
        }
        let spent = grant.line(holder).find(|one| {
            let budget = if *one == reference { grant.uses } else { None };
            let budget = self.budgets.get(one).copied().into_iter().chain(budget).min();
            let used = self.used.get(one).copied();
            let full = used.is_none() && self.used.len() >= COUNTED_MAX;
            budget.is_some_and(|budget| full || used.unwrap_or_default() >= budget)
        });
        spent.map(Void::Spent)
    }

    /// The part of a grant's line that is said to come from somebody who did not give it. What a node gives to its own agents
    /// is its word; whatever crossed from one node to another must be on the giver's chain, given to that node, and no wider
    /// than what was given before.
    fn unknown(&self, holder: NodeId, grant: &Grant) -> Option<GrantRef> {
        let reference = grant.reference(holder);
        let giver = reference.node;
        let crossed = |one: &GrantIssued| one.grant == *grant && one.to.node == holder;
        if giver != holder && !self.given.get(&reference).is_some_and(crossed) {
            return Some(reference);
        }
        let before = grant.parents.iter().rev().find(|one| one.node != giver)?;
        let terms = GrantTerms { spec: grant.spec.clone(), expires: grant.expires, uses: grant.uses };
        let covers = |one: &GrantIssued| one.to.node == giver && one.grant.includes(&terms);
        (!self.given.get(before).is_some_and(covers)).then_some(*before)
    }

    /// Counts one use of a grant and of all that it was narrowed from, where there is a budget; returns the new counts.
    pub(crate) fn use_once(&mut self, holder: NodeId, grant: &Grant) -> Vec<(GrantRef, u64)> {
        let reference = grant.reference(holder);
        let counted = |one: &GrantRef| self.budgets.contains_key(one) || *one == reference && grant.uses.is_some();
        let counted: Vec<GrantRef> = grant.line(holder).filter(counted).collect();
        let count = |one: GrantRef| {
            let used = self.used.entry(one).or_default();
            *used = used.saturating_add(1);
            (one, *used)
        };
        counted.into_iter().map(count).collect()
    }

    /// How often it was used, as far as this node has seen; none when nobody counts.
    pub(crate) fn used(&self, grant: GrantRef) -> Option<u64> {
        self.budgets.contains_key(&grant).then(|| self.used.get(&grant).copied().unwrap_or_default())
    }

    /// What other nodes have given to the agent of this name here.
    pub(crate) fn crossed_to<'a>(&'a self, agent: &'a AgentName) -> impl Iterator<Item = &'a Grant> {
        let here = self.here.get(agent).into_iter().flatten();
        here.filter_map(|grant| self.given.get(grant)).map(|one| &one.grant)
    }

    /// All that crossed from one node to another and stands, own and learned.
    pub(crate) fn all(&self) -> impl Iterator<Item = &GrantIssued> {
        self.given.values()
    }

    /// The grant of this id that this node gave to another, or that another gave to an agent here, or one that such a grant
    /// was narrowed from here.
    pub(crate) fn find(&self, id: GrantId) -> Option<GrantRef> {
        let here = |one: &&GrantIssued| one.to.node == self.own;
        let own = GrantRef { node: self.own, grant: id };
        let parent = self.given.values().any(|one| one.grant.parents.contains(&own));
        let mut crossed = self.given.values().filter(here).map(|one| one.grant.reference(self.own));
        (self.given.contains_key(&own) || parent).then_some(own).or_else(|| crossed.find(|one| one.grant == id))
    }
}
