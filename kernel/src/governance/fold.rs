//! Which rules are in force: a pure fold over what admins proposed and endorsed, the same on every member that holds the same.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::RULES_MAX;
use weft_protocol::{Amendment, Digest, Endorsement, Hlc, NodeId, RuleChange, RuleSet, Timestamp};

/// Most proposals of one member that are looked at for one version (guess): nobody needs to change its mind oftener.
const PROPOSALS_PER_ADMIN_MAX: usize = 8;

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
    /// The admins that want it, its proposer among them.
    pub support: BTreeSet<NodeId>,
    /// How many admins there were before it; more than half of them must want it.
    pub admins: usize,
    /// Why it can never count, when it cannot.
    pub refused: Option<String>,
}

impl ProposalState {
    /// Whether more than half want it.
    #[must_use]
    pub fn has_quorum(&self) -> bool {
        self.support.len() * 2 > self.admins
    }
}

/// What members said about rules. Only what was said is kept; what follows from it is computed.
#[derive(Debug, Default)]
pub(crate) struct Amendments {
    admins: Vec<AdminTerm>,
    proposals: BTreeMap<u32, BTreeMap<(Hlc, NodeId), Proposal>>,
    /// By version and admin: the first that it wanted on its chain counts.
    wanted: BTreeMap<(u32, NodeId), (Hlc, Digest)>,
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
        let of_version = self.proposals.entry(version).or_default();
        if of_version.values().filter(|one| one.proposer == proposer).count() < PROPOSALS_PER_ADMIN_MAX {
            of_version.insert((hlc, proposer), Proposal { digest, proposer, hlc, amendment });
        }
        self.wants(proposer, hlc, version, digest);
    }

    pub(crate) fn endorsed(&mut self, by: NodeId, hlc: Hlc, endorsement: &Endorsement) {
        self.wants(by, hlc, endorsement.version, endorsement.amendment);
    }

    /// An admin wants one amendment of each version: two of which it wanted both could both have a majority.
    fn wants(&mut self, node: NodeId, hlc: Hlc, version: u32, digest: Digest) {
        let first = self.wanted.entry((version, node)).or_insert((hlc, digest));
        if hlc < first.0 {
            *first = (hlc, digest);
        }
    }

    /// What an admin wants of a version already.
    pub(crate) fn wanted_by(&self, node: NodeId, version: u32) -> Option<Digest> {
        self.wanted.get(&(version, node)).map(|(_, digest)| *digest)
    }

    /// The proposals for the version after this, each as it stands, in the order of their stamps.
    pub(crate) fn open(&self, rules: &RuleSet) -> Vec<ProposalState> {
        let of_version = self.proposals.get(&(rules.version + 1));
        of_version.into_iter().flat_map(BTreeMap::values).map(|proposal| self.state_of(proposal, rules)).collect()
    }

    fn state_of(&self, proposal: &Proposal, rules: &RuleSet) -> ProposalState {
        let at = proposal.hlc.to_wall();
        let active = self.admins.iter().filter(|term| term.covers(at)).map(|term| term.node).collect::<BTreeSet<_>>();
        let wants = |node: &&NodeId| self.wanted_by(**node, proposal.amendment.version) == Some(proposal.digest);
        let support = active.iter().filter(wants).copied().collect();
        let refused = if active.contains(&proposal.proposer) {
            apply(rules, &proposal.amendment).err()
        } else {
            Some("its proposer was no admin".to_owned())
        };
        ProposalState { proposal: proposal.clone(), support, admins: active.len(), refused }
    }

    /// The rules in force: the genesis with every amendment that more than half of its admins want, version by version. Of two
    /// with a quorum the earlier one counts.
    pub(crate) fn in_force(&self, genesis: &RuleSet) -> RuleSet {
        let mut rules = genesis.clone();
        loop {
            let open = self.open(&rules);
            let next = open.iter().find(|state| state.refused.is_none() && state.has_quorum());
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
    for branch in old.map(|place| rules.rules[place].branch).into_iter().chain(amendment.change.new_rule().map(|new| new.branch)) {
        if branch != amendment.branch {
            return Err(format!("{id} is of the {branch} branch, which alone changes it, not the {}", amendment.branch));
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
