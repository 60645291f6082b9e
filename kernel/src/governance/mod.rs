//! Rules that change: proposed and endorsed by admins on their chains, in force when more than half of them want it.

mod fold;

pub use fold::{AdminTerm, Proposal, ProposalState};
pub(crate) use fold::{Amendments, apply};

use weft_protocol::{
    Amendment, Branch, Digest, Endorsement, Fact, Hlc, NodeId, PlacedFact, Refusal, RuleChange, RuleSet,
};

use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId};
use crate::kernel::{Asker, Kernel};

/// What was said about rules, and those the cluster was founded on.
#[derive(Debug)]
pub(crate) struct Governance {
    genesis: RuleSet,
    amendments: Amendments,
}

impl Governance {
    pub(crate) fn of<'a>(genesis: RuleSet, own: NodeId, facts: impl Iterator<Item = &'a PlacedFact>) -> Self {
        let mut governance = Self { genesis, amendments: Amendments::default() };
        facts.for_each(|placed| governance.said(own, placed.hlc, &placed.fact));
        governance
    }

    fn said(&mut self, node: NodeId, hlc: Hlc, fact: &Fact) {
        match fact {
            Fact::Amendment(amendment) => self.amendments.proposed(node, hlc, amendment.as_ref().clone()),
            Fact::Endorsed(endorsement) => self.amendments.endorsed(node, hlc, endorsement),
            _ => {}
        }
    }
}

impl Kernel {
    /// The amendments of the rules in force that were proposed, each as it stands.
    #[must_use]
    pub fn amendments(&self) -> Vec<ProposalState> {
        self.rules_changing.amendments.open(self.gates.governance().rules())
    }

    /// Proposes an amendment; the answer follows when that is on disk.
    pub(crate) fn on_amend(&mut self, ask: AskId, by: &Asker, branch: Branch, change: RuleChange) {
        match self.amend(by, branch, change) {
            Ok((seq, digest)) => self.answer_amended(ask, seq, digest),
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    fn amend(&mut self, by: &Asker, branch: Branch, change: RuleChange) -> Result<(u64, Digest), Refusal> {
        let action = Action::Amend { rule: change.rule().clone() };
        self.judge(&by.sender, &action, &[change.rule().to_string()], &by.grants, None)?;
        let rules = self.gates.governance().rules();
        let version = rules.version + 1;
        let amendment = Amendment { version, branch, change, by: by.sender.principal.clone() };
        apply(rules, &amendment).map_err(|message| Refusal::Invalid { message })?;
        let digest = amendment.digest(self.identity.chain.node);
        self.check_voice(version, &digest)?;
        let seq = self.say(by, &Fact::Amendment(Box::new(amendment)));
        Ok((seq, digest))
    }

    /// Endorses what another admin proposed; the answer follows when that is on disk.
    pub(crate) fn on_endorse(&mut self, ask: AskId, by: &Asker, amendment: Digest) {
        match self.endorse(by, amendment) {
            Ok(seq) => self.answer_amended(ask, seq, amendment),
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    fn endorse(&mut self, by: &Asker, amendment: Digest) -> Result<u64, Refusal> {
        let found = self.amendments().into_iter().find(|state| state.proposal.digest == amendment);
        let rule = found.as_ref().map(|state| state.proposal.amendment.change.rule().clone());
        let resource = rule.as_ref().map_or_else(|| amendment.to_string(), ToString::to_string);
        self.judge(&by.sender, &Action::Endorse { rule }, &[resource], &by.grants, None)?;
        let Some(state) = found else {
            return Err(Refusal::Invalid { message: "no such amendment is proposed: weft gate amendments".to_owned() });
        };
        if let Some(message) = state.refused {
            return Err(Refusal::Invalid { message });
        }
        let version = state.proposal.amendment.version;
        self.check_voice(version, &amendment)?;
        let endorsement = Endorsement { amendment, version, by: by.sender.principal.clone() };
        Ok(self.say(by, &Fact::Endorsed(endorsement)))
    }

    /// Whether this node has a say about rules, and has not said this.
    fn check_voice(&self, version: u32, digest: &Digest) -> Result<(), Refusal> {
        let own = self.identity.chain.node;
        if !self.rules_changing.amendments.is_admin(own, self.now) {
            return Err(Refusal::Denied { rule: "member-role#2".to_owned() });
        }
        match self.rules_changing.amendments.wanted_since(own, version, digest) {
            None => Ok(()),
            Some(_) => Err(Refusal::Invalid { message: "this node wants that amendment already".to_owned() }),
        }
    }

    fn say(&mut self, by: &Asker, fact: &Fact) -> u64 {
        let placed = self.chain.append(&by.sender.principal.to_string(), fact, self.now);
        self.rules_changing.said(self.identity.chain.node, placed.hlc, fact);
        placed.seq
    }

    fn answer_amended(&mut self, ask: AskId, seq: u64, digest: Digest) {
        let open = self.amendments();
        let state = open.into_iter().find(|state| state.proposal.digest == digest);
        self.refold_rules();
        let version = self.gates.governance().rules().version;
        let answer = state.map(|state| Answer::Amended { state: Box::new(state), version }).ok_or(Refusal::Damaged);
        self.chain.hold(seq, Promise::Answer { ask, answer });
    }

    /// A member said something about rules; that is on its verified chain.
    pub(crate) fn on_rules_said(&mut self, node: NodeId, hlc: Hlc, fact: &Fact) {
        if node != self.identity.chain.node {
            self.rules_changing.said(node, hlc, fact);
            self.refold_rules();
        }
    }

    /// Who may propose and endorse, and when.
    pub(crate) fn on_admins(&mut self, admins: Vec<AdminTerm>) {
        self.rules_changing.amendments.admins_are(admins);
        self.refold_rules();
    }

    fn refold_rules(&mut self) {
        let rules = self.rules_changing.amendments.in_force(&self.rules_changing.genesis);
        if rules != *self.gates.governance().rules() {
            self.gates.amend(rules);
        }
    }
}
