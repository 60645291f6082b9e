//! Which rules are in force: a pure fold over what admins proposed and endorsed, the same on every member that holds the same.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::RULES_MAX;
use weft_protocol::{Amendment, Digest, Endorsement, Hlc, NodeId, RuleChange, RuleSet, Timestamp};

/// Most proposals of one member that are looked at for one version (guess): nobody needs to change its mind oftener.
const PROPOSALS_PER_ADMIN_MAX: usize = 8;
/// Most amendments to one version that one admin wants (guess).
const WANTED_PER_ADMIN_MAX: usize = 32;
/// Most versions of which anything is kept, and so most that are ever in force (guess: three a day for a year). What is said about
/// later ones counts for nothing.
const VERSIONS_MAX: u32 = 1_024;

/// When a member may propose and endorse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminTerm {
    /// Which member.
    pub node: NodeId,
    /// From when on it is an admin, by the stamp of its certificate.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl AdminTerm {
    fn covers(&self, at: Timestamp) -> bool {
        self.since <= at && at < self.until
    }
}

/// One proposal, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// By which it is endorsed.
    pub digest: Digest,
    /// Who proposed it.
    pub proposer: NodeId,
    /// When, by its chain.
    pub hlc: Hlc,
    /// What.
    pub amendment: Amendment,
}

/// Where a proposal stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalState {
    /// Which.
    pub proposal: Proposal,
    /// The admins that want it, its proposer among them, and since when.
    pub support: BTreeMap<NodeId, Hlc>,
    /// How many admins there were before it; more than half of them must want it.
    pub admins: usize,
    /// Why it can never count, when it cannot.
    pub refused: Option<String>,
}

impl ProposalState {
    /// Whether more than half want it.
    #[must_use]
    pub fn has_quorum(&self) -> bool {
        self.quorum_at().is_some()
    }

    /// Since when more than half want it.
    fn quorum_at(&self) -> Option<Hlc> {
        let mut since = self.support.values().copied().collect::<Vec<_>>();
        since.sort_unstable();
        since.get(self.admins / 2).copied()
    }
}

/// What members said about rules. Only what was said is kept; what follows from it is computed.
#[derive(Debug, Default)]
pub(crate) struct Amendments {
    admins: Vec<AdminTerm>,
    proposals: BTreeMap<u32, BTreeMap<(Hlc, NodeId), Proposal>>,
    /// What each admin wants of each version, and since when.
    wanted: BTreeMap<(u32, NodeId), BTreeMap<Digest, Hlc>>,
}

impl Amendments {
    pub(crate) fn admins_are(&mut self, admins: Vec<AdminTerm>) {
        self.admins = admins;
    }

    pub(crate) fn is_admin(&self, node: NodeId, at: Timestamp) -> bool {
        self.admins.iter().any(|term| term.node == node && term.covers(at))
    }

    pub(crate) fn proposed(&mut self, proposer: NodeId, hlc: Hlc, amendment: Amendment) {
        let (digest, version) = (amendment.digest(proposer), amendment.version);
        if version > VERSIONS_MAX {
            return;
        }
        let of_version = self.proposals.entry(version).or_default();
        if of_version.values().filter(|one| one.proposer == proposer).count() < PROPOSALS_PER_ADMIN_MAX {
            of_version.insert((hlc, proposer), Proposal { digest, proposer, hlc, amendment });
        }
        self.wants(proposer, hlc, version, digest);
    }

    pub(crate) fn endorsed(&mut self, by: NodeId, hlc: Hlc, endorsement: &Endorsement) {
        if endorsement.version <= VERSIONS_MAX {
            self.wants(by, hlc, endorsement.version, endorsement.amendment);
        }
    }

    /// Of a version an admin may want several: which of them counts is said by who was complete first. With one voice each, two
    /// admins with a proposal each would stay where they are for ever.
    fn wants(&mut self, node: NodeId, hlc: Hlc, version: u32, digest: Digest) {
        let wanted = self.wanted.entry((version, node)).or_default();
        if wanted.len() < WANTED_PER_ADMIN_MAX || wanted.contains_key(&digest) {
            let since = wanted.entry(digest).or_insert(hlc);
            *since = hlc.min(*since);
        }
    }

    /// Since when an admin wants this.
    pub(crate) fn wanted_since(&self, node: NodeId, version: u32, digest: &Digest) -> Option<Hlc> {
        self.wanted.get(&(version, node))?.get(digest).copied()
    }

    /// The proposals for the version after this, each as it stands, in the order of their stamps.
    pub(crate) fn open(&self, rules: &RuleSet) -> Vec<ProposalState> {
        let of_version = self.proposals.get(&(rules.version + 1));
        of_version.into_iter().flat_map(BTreeMap::values).map(|proposal| self.state_of(proposal, rules)).collect()
    }

    fn state_of(&self, proposal: &Proposal, rules: &RuleSet) -> ProposalState {
        let at = proposal.hlc.to_wall();
        let active = self.admins.iter().filter(|term| term.covers(at)).map(|term| term.node).collect::<BTreeSet<_>>();
        let version = proposal.amendment.version;
        let since = |node: &NodeId| Some((*node, self.wanted_since(*node, version, &proposal.digest)?));
        let support = active.iter().filter_map(since).collect();
        let refused = if active.contains(&proposal.proposer) {
            apply(rules, &proposal.amendment).err()
        } else {
            Some("its proposer was no admin".to_owned())
        };
        ProposalState { proposal: proposal.clone(), support, admins: active.len(), refused }
    }

    /// The rules in force: the genesis with every amendment that more than half of its admins want, version by version. Of two
    /// with a quorum that counts which had it first.
    pub(crate) fn in_force(&self, genesis: &RuleSet) -> RuleSet {
        let mut rules = genesis.clone();
        loop {
            let open = self.open(&rules);
            let counts = open.iter().filter(|state| state.refused.is_none() && state.has_quorum());
            let next = counts.min_by_key(|state| (state.quorum_at(), state.proposal.hlc, state.proposal.proposer));
            match next.and_then(|state| apply(&rules, &state.proposal.amendment).ok()) {
                Some(amended) => rules = amended,
                None => return rules,
            }
        }
    }
}

/// The rules with an amendment.
///
/// # Errors
/// Why it does not fit them, in words: nothing is changed.
pub(crate) fn apply(rules: &RuleSet, amendment: &Amendment) -> Result<RuleSet, String> {
    let id = amendment.change.rule();
    if amendment.version != rules.version + 1 {
        return Err(format!("it is for version {}, and {} is in force", amendment.version, rules.version));
    }
    if rules.capability.iter().any(|own| own == id.as_str()) {
        return Err(format!("{id} is about roles and grants, and those rules are never changed"));
    }
    let old = rules.rules.iter().position(|rule| rule.id == *id);
    for branch in
        old.map(|place| rules.rules[place].branch).into_iter().chain(amendment.change.new_rule().map(|new| new.branch))
    {
        if branch != amendment.branch {
            return Err(format!(
                "{id} is of the {branch} branch, which alone changes it, not the {}",
                amendment.branch
            ));
        }
    }
    if let Some(rule) = amendment.change.new_rule() {
        rule.check().map_err(|error| error.to_string())?;
    }
    let mut amended = rules.clone();
    amended.version += 1;
    match (&amendment.change, old) {
        (RuleChange::Add(_), Some(_)) => return Err(format!("there is a rule {id} already: replace it")),
        (RuleChange::Add(_), None) if rules.rules.len() >= RULES_MAX => {
            return Err(format!("there are {RULES_MAX} rules, and no more are kept: retire one first"));
        }
        (RuleChange::Add(rule), None) => amended.rules.push(rule.clone()),
        (RuleChange::Replace(rule), Some(place)) => amended.rules[place] = rule.clone(),
        (RuleChange::Retire(_), Some(place)) => drop(amended.rules.remove(place)),
        (RuleChange::Replace(_) | RuleChange::Retire(_), None) => return Err(format!("there is no rule {id}")),
    }
    Ok(amended)
}
