//! Giving rights, passing them on no wider than they are held, and taking them back with all that was passed on.

use std::sync::Arc;

use weft_protocol::limits::GRANTS_MAX;
use weft_protocol::{
    AgentName, DeferralId, Fact, Grant, GrantHolder, GrantId, GrantIssued, GrantRef, GrantRevoked, GrantTerms,
    GrantUsed, NodeId, Principal, ProcessId, Refusal, Right, Sender, hash,
};

use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId, Route};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel, Permit};

/// Rule of a delegation that would be wider than what is held.
const GRANT_RULE: &str = "grant#3";

impl Kernel {
    /// Gives an agent a right; the answer follows when that is on disk.
    pub(crate) fn on_grant(
        &mut self,
        ask: AskId,
        by: &Asker,
        agent: AgentName,
        terms: GrantTerms,
        lasts_us: Option<u64>,
        route: Route,
    ) {
        let expires = lasts_us.map(|lasts_us| self.now.after_us(lasts_us)).or(terms.expires);
        let terms = GrantTerms { expires, ..terms };
        if let Err(refusal) = self.give(ask, by, agent, &terms, route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn give(
        &mut self,
        ask: AskId,
        by: &Asker,
        agent: AgentName,
        terms: &GrantTerms,
        route: Route,
    ) -> Result<(), Refusal> {
        let own = self.identity.chain.node;
        let node = match route {
            Route::Local => own,
            Route::Remote(node) => node,
            Route::Nowhere(refusal) => return Err(*refusal),
        };
        let id = self.new_grant_id();
        let grant = self.grant_for(by, id, terms, &agent)?;
        let to = self.holder(node, agent, &grant)?;
        let grant = if node == own { grant } else { Grant { issuer: Some(own), ..grant } };
        if !self.ledger.has_room(self.now) {
            return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        let source = by.sender.principal.to_string();
        let issued = GrantIssued { grant, to, by: by.sender.principal.clone() };
        let seq = self.chain.append(&source, &Fact::GrantIssued(Box::new(issued.clone())), self.now).seq;
        self.ledger.give(own, &issued);
        if let Some(life) = issued.to.process.and_then(|process| self.processes.living_mut(process)) {
            Arc::make_mut(&mut life.grants).push(issued.grant.clone());
        }
        self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::Granted(Box::new(issued))) });
        Ok(())
    }

    /// What an operator gives as it says, and an agent only as part of what it holds.
    pub(crate) fn grant_for(
        &mut self,
        by: &Asker,
        id: GrantId,
        terms: &GrantTerms,
        to: &AgentName,
    ) -> Result<Grant, Refusal> {
        let (grant, approval) = self.weigh_grant(by, id, terms, to)?;
        if let Some(deferral) = approval {
            self.spend_approval(deferral);
        }
        Ok(grant)
    }

    /// The same, with the approval of a person that it needs and does not use up.
    pub(crate) fn weigh_grant(
        &mut self,
        by: &Asker,
        id: GrantId,
        terms: &GrantTerms,
        to: &AgentName,
    ) -> Result<(Grant, Option<DeferralId>), Refusal> {
        let action = by.wants(Action::Grant { to: to.clone(), terms: terms.clone() });
        let held = by.all_grants();
        match self.weigh(&by.sender, &action, &[terms.spec.to_string()], &held, None) {
            Ok(Permit { grant: Some(parent), approval, .. }) => {
                let grant = parent.narrow(by.sender.node, id, terms).ok_or_else(|| wider(terms, &held))?;
                Ok((grant, approval))
            }
            Ok(Permit { grant: None, approval, .. }) => Ok((Grant::root(id, terms.clone()), approval)),
            Err(Refusal::Denied { rule }) if rule == GRANT_RULE => Err(wider(terms, &held)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Who is to hold it: a living agent here, or whoever goes by that name on another node.
    fn holder(&self, node: NodeId, agent: AgentName, grant: &Grant) -> Result<GrantHolder, Refusal> {
        if node != self.identity.chain.node {
            // What another node's agent does there is that node's to permit.
            if !crosses(grant.spec.right) {
                let message = format!(
                    "an agent of another node can be given send, call and rights over agents, not {}",
                    grant.spec.right
                );
                return Err(Refusal::Invalid { message });
            }
            return Ok(GrantHolder { node, agent, process: None });
        }
        let process = self.processes.named(&agent);
        let Some(life) = process.and_then(|process| self.processes.living(process)) else {
            return Err(Refusal::NoResponder { target: agent.to_string() });
        };
        if life.grants.len() >= GRANTS_MAX {
            let message = format!("{agent} holds {GRANTS_MAX} grants, at most so many are possible: revoke some");
            return Err(Refusal::Invalid { message });
        }
        Ok(GrantHolder { node, agent, process })
    }

    /// Unique on this chain: no message number is given twice.
    fn new_grant_id(&mut self) -> GrantId {
        let counter = self.chain.take_message_id().counter;
        GrantId::of(&hash("grant", &[&self.identity.chain.to_bytes(), &counter.to_be_bytes()]))
    }

    /// Takes a right back; the answer follows when that is on disk.
    pub(crate) fn on_revoke(&mut self, ask: AskId, by: &Asker, id: GrantId) {
        match self.revoke_asked(by, id) {
            Ok(seq) => self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::Revoked { grant: id }) }),
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    /// The gate is asked before anybody learns whether such a grant exists.
    fn revoke_asked(&mut self, by: &Asker, id: GrantId) -> Result<u64, Refusal> {
        let found = self.find_grant(id);
        let action = Action::Revoke { grant: id, parents: self.parents_of(id) };
        self.judge(&by.sender, &action, &[id.to_string()], &by.all_grants(), None)?;
        let Some((grant, _)) = found else {
            return Err(Refusal::Invalid { message: format!("no grant {id} stands here: weft cap ls shows all") });
        };
        let revoked = GrantRevoked { grant, by: by.sender.principal.clone() };
        let source = by.sender.principal.to_string();
        let seq = self.chain.append(&source, &Fact::GrantRevoked(revoked), self.now).seq;
        self.ledger.revoke(self.identity.chain.node, grant);
        self.fall(grant);
        Ok(seq)
    }

    /// What a grant that stands here was narrowed from.
    pub(crate) fn parents_of(&self, id: GrantId) -> Vec<GrantId> {
        self.find_grant(id).iter().flat_map(|(_, parents)| parents.iter().map(|one| one.grant)).collect()
    }

    /// Whether a grant of this id stands here, so that it can be taken back.
    #[must_use]
    pub fn has_grant(&self, id: GrantId) -> bool {
        self.find_grant(id).is_some()
    }

    /// A grant of this id that stands, with what it was narrowed from.
    fn find_grant(&self, id: GrantId) -> Option<(GrantRef, Vec<GrantRef>)> {
        let own = self.identity.chain.node;
        let held = self.processes.all_living().flat_map(|life| life.grants.iter());
        let held = held.map(|grant| (grant.reference(own), grant.parents.clone()));
        let crossed = self.ledger.all().map(|one| (one.grant.reference(one.to.node), one.grant.parents.clone()));
        let mut whole = held.chain(crossed.filter(|(one, _)| one.node == own));
        whole.find(|(one, _)| one.grant == id).or_else(|| self.ledger.find(id).map(|one| (one, Vec::new())))
    }

    /// A member recorded that it gave a right to an agent of another node.
    pub(crate) fn on_grant_learned(&mut self, issuer: NodeId, issued: &GrantIssued) {
        if issuer != self.identity.chain.node {
            self.ledger.give(issuer, issued);
        }
    }

    /// A member recorded that it took one of its grants back.
    pub(crate) fn on_revocation_learned(&mut self, issuer: NodeId, grant: GrantRef) {
        if issuer != self.identity.chain.node && grant.node == issuer {
            self.ledger.revoke(issuer, grant);
            self.fall(grant);
        }
    }

    /// What stood on a grant that was taken back falls: held grants, messages that are on their way, and subscriptions.
    fn fall(&mut self, grant: GrantRef) {
        let own = self.identity.chain.node;
        let mut changed = Vec::new();
        for life in self.processes.all_living_mut() {
            let before = life.grants.len();
            Arc::make_mut(&mut life.grants).retain(|held| !held.line(own).any(|one| one == grant));
            if life.grants.len() != before {
                changed.push(life.process);
            }
        }
        self.supervisors.revoke(own, grant);
        let refusal = Refusal::Denied { rule: format!("{GRANT_RULE} revoked {}", grant.grant) };
        for message in self.calls.under(own, grant) {
            self.abandon(&message, &refusal, "revoked");
        }
        changed.into_iter().for_each(|process| self.end_subscriptions(process));
    }

    /// Ends what a process may not subscribe to any more.
    fn end_subscriptions(&mut self, process: ProcessId) {
        let Some(life) = self.processes.living(process) else { return };
        let by = Principal::Agent { agent: life.spec.agent.clone(), process };
        let Ok(asker) = self.asker(&by) else { return };
        for pattern in self.topics.of_process(process) {
            let action = Action::Subscribe { pattern: pattern.clone() };
            // What was permitted once waits for no person again: only the right may have gone.
            if self.has_right(&asker.sender, &action, &[pattern.to_string()], &asker.grants) {
                continue;
            }
            if self.judge(&asker.sender, &action, &[pattern.to_string()], &asker.grants, None).is_err() {
                self.leave_topics(process, &asker, &pattern, "kernel");
            }
        }
        self.follow();
    }

    /// Counts one use of the grant that permitted something, where it has a budget.
    pub(crate) fn use_grant(&mut self, by: &Sender, permit: &Permit) {
        let Some(grant) = &permit.grant else { return };
        for (grant, used) in self.ledger.use_once(by.node, grant) {
            self.chain.append("kernel", &Fact::GrantUsed(GrantUsed { grant, used }), self.now);
        }
    }

    /// The grants of an agent that count for what is on this node, and those that count only towards other nodes: what comes
    /// from another node decides nothing here.
    pub(crate) fn grants_of(&self, agent: &AgentName, held: &Arc<Vec<Grant>>) -> (Arc<Vec<Grant>>, Vec<Grant>) {
        let own = self.identity.chain.node;
        let counts = |grant: &Grant| grant.line(own).all(|one| one.node == own);
        if held.iter().all(counts) && self.ledger.crossed_to(agent).next().is_none() {
            return (Arc::clone(held), Vec::new());
        }
        let all = held.iter().chain(self.ledger.crossed_to(agent)).cloned();
        let (own, foreign) = all.partition(counts);
        (Arc::new(own), foreign)
    }
}

/// Whether a right means something towards another node: what an agent may ask of it.
const fn crosses(right: Right) -> bool {
    match right {
        Right::Send
        | Right::Call
        | Right::Spawn
        | Right::Stop
        | Right::Suspend
        | Right::Resume
        | Right::Restart
        | Right::Inspect => true,
        Right::Publish
        | Right::Subscribe
        | Right::CronAdd
        | Right::CronRemove
        | Right::CronRun
        | Right::CronList
        | Right::Link
        | Right::Monitor
        | Right::Serve => false,
    }
}

/// The refusal that names what was asked and the nearest that is held.
fn wider(terms: &GrantTerms, held: &[Grant]) -> Refusal {
    let same = |grant: &&Grant| grant.spec.right == terms.spec.right;
    let near = |grant: &&Grant| grant.spec.resource.includes(&terms.spec.resource);
    let nearest = held.iter().filter(same).find(near).or_else(|| held.iter().find(same));
    let held =
        nearest.map_or_else(|| format!("no {} at all", terms.spec.right), |grant| format!("{} {grant}", grant.id));
    Refusal::Wider { asked: terms.to_string(), held }
}
