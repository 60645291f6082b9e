//! What each kind of event changes among the resources.

#![deny(clippy::wildcard_enum_match_arm)]

use weft_protocol::{
    AgentName, Effect, EffectOutcome, EffectResult, Environment, Fact, Health, HealthSubject, PlacedFact, Principal,
    ProcessExited, ProcessId, ResourceKind, ResourcePath, ServiceEntry, TopicPattern,
};

use crate::order::OrderKey;
use crate::tree::chain::{ChainFold, Intended};
use crate::tree::names;

const STATE: &str = "state";
const PROCESS: &str = "process";

impl ChainFold {
    /// Takes the next event of the chain that says something; one that was taken already changes nothing.
    pub(super) fn apply(&mut self, placed: &PlacedFact) {
        if placed.seq < self.next_seq {
            return;
        }
        self.next_seq = placed.seq + 1;
        let at = OrderKey::new(self.chain, placed.seq, placed.hlc);
        let node = self.chain.node;
        let own = names::node(&node);
        match &placed.fact {
            Fact::Genesis(_) => {
                let incarnation = self.chain.incarnation.to_string();
                self.make(at, &own, ResourceKind::Node, [("incarnation", incarnation), (STATE, "new".into())]);
            }
            Fact::Boot(boot) => {
                self.say(at, &own, "name", boot.name.as_str());
                self.say(at, &own, "version", &boot.version);
                self.say(at, &own, STATE, "starting");
                if let Some(environment) = boot.environment {
                    self.lives_in(at, environment);
                }
            }
            Fact::Booted(_) => self.say(at, &own, STATE, "running"),
            Fact::Shutdown(_) => self.say(at, &own, STATE, "stopped"),
            Fact::Configured(configured) => {
                let settings = names::settings(&node);
                self.ensure(at, &settings, ResourceKind::Custom("settings".into()));
                for change in &configured.changes {
                    self.say(at, &settings, &change.key, &change.to);
                    if let Some(environment) = change.to.parse().ok().filter(|_| change.key == "environment") {
                        self.lives_in(at, environment);
                    }
                }
            }
            Fact::Intent(effect) => self.intended(at, effect),
            Fact::Outcome(outcome) => self.came_out(at, outcome),
            Fact::Exited(exited) => self.exited(at, exited),
            Fact::RestartPlanned(planned) => {
                for agent in &planned.agents {
                    let path = names::agent(agent, &node);
                    self.revive(&path);
                    self.say(at, &path, STATE, "restarting");
                }
            }
            Fact::GaveUp(gave_up) => {
                for agent in &gave_up.agents {
                    let path = names::agent(agent, &node);
                    self.say(at, &path, STATE, "given-up");
                    self.end(at.seq, &path);
                }
            }
            Fact::Admitted(admitted) => {
                if let Ok(certificate) = admitted.certificate.peek() {
                    let said = [
                        ("issuer", certificate.issuer.to_string()),
                        ("name", certificate.name.to_string()),
                        ("role", certificate.role.to_string()),
                        (STATE, "admitted".into()),
                    ];
                    self.make(at, &names::peer(&certificate.keys.node()), ResourceKind::Node, said);
                }
            }
            Fact::ForkSeen(seen) => self.say(at, &names::peer(&seen.chain.node), STATE, "forked"),
            Fact::CronAdded(job) => {
                let path = names::job(weft_protocol::CronId(at.seq), &node);
                let said = [
                    ("by", job.by.to_string()),
                    ("expression", job.expression.clone()),
                    ("target", job.target.to_string()),
                    ("timezone", job.timezone.clone()),
                ];
                self.make(at, &path, ResourceKind::Job, said);
            }
            Fact::CronRemoved(removed) => self.remove(at, &names::job(removed.job, &node)),
            Fact::HealthChanged(changed) => self.health(at, &changed.subject, &changed.now),
            Fact::ContractRegistered(registered) => {
                let (contract, hash) = (&registered.contract, registered.hash.to_string());
                let path = names::contract(&contract.service, &node, &contract.version);
                let said = [("by", registered.by.to_string()), ("hash", hash)];
                self.make(at, &path, ResourceKind::Custom("contract".into()), said);
            }
            Fact::ServiceRegistered(entry) => self.serves(at, entry),
            Fact::ServiceEnded(ended) => self.remove(at, &names::service(&ended.name, &node)),
            Fact::TopicSubscribed(subscribed) => self.listens(at, &subscribed.by, &subscribed.pattern),
            Fact::TopicUnsubscribed(left) => {
                if let Principal::Agent { agent, .. } = &left.by {
                    let path = names::subscription(&left.pattern, agent, &node);
                    if let Some(all) = self.subscriptions.get_mut(agent) {
                        all.remove(&path);
                    }
                    self.remove(at, &path);
                }
            }
            Fact::ResourceScored(scored) => self.observe(at, &scored.path, scored.seen, scored.weight),
            // What is no resource: messages, what the gates and people decided, rights and rules, bonds, what was measured once,
            // runs of a job, the supervision above an agent, repairs, snapshots, what was pruned, with which keys a node writes, and what
            // this version does not know.
            Fact::Message(_)
            | Fact::Batch(_)
            | Fact::Denied(_)
            | Fact::InviteIssued(_)
            | Fact::InviteBurnt(_)
            | Fact::InviteRevoked(_)
            | Fact::Repaired(_)
            | Fact::ResourceWarned(_)
            | Fact::ResourceExceeded(_)
            | Fact::CronFired(_)
            | Fact::CronMissed(_)
            | Fact::Escalated(_)
            | Fact::DeadLettered(_)
            | Fact::DeadLetterRetried(_)
            | Fact::DeadLetterRemoved(_)
            | Fact::GrantIssued(_)
            | Fact::GrantRevoked(_)
            | Fact::GrantUsed(_)
            | Fact::Linked(_)
            | Fact::Unlinked(_)
            | Fact::Monitored(_)
            | Fact::Demonitored(_)
            | Fact::BondFired(_)
            | Fact::TailReturned(_)
            | Fact::Deferred(_)
            | Fact::Approved(_)
            | Fact::DeniedBy(_)
            | Fact::ApprovalSpent(_)
            | Fact::DeferralExpired(_)
            | Fact::Warned(_)
            | Fact::Amendment(_)
            | Fact::Endorsed(_)
            | Fact::Anchored(_)
            | Fact::EpochAsked(_)
            | Fact::EpochPromised(_)
            | Fact::EpochProposed(_)
            | Fact::EpochEndorsed(_)
            | Fact::MemberChangeWanted(_)
            | Fact::Snapshot(_)
            | Fact::Pruned(_)
            | Fact::KeyRotated(_)
            | Fact::FailoverDeclared(_)
            | Fact::FenceGranted(_)
            | Fact::FenceHeld(_)
            | Fact::FenceReleased(_)
            | Fact::Opaque { .. } => {}
        }
    }

    fn intended(&mut self, at: OrderKey, effect: &Effect) {
        let node = self.chain.node;
        match effect {
            Effect::Spawn { process, spec, by, .. } => {
                let path = names::agent(&spec.agent, &node);
                let said = [
                    ("backend", spec.backend.to_string()),
                    ("by", by.to_string()),
                    (PROCESS, process.to_string()),
                    ("restart", spec.restart.to_string()),
                    (STATE, "starting".into()),
                ];
                self.make(at, &path, ResourceKind::Agent, said);
                if let Some(membership) = &spec.group {
                    self.say(at, &path, "group", membership.group.as_str());
                }
                self.intend(at.seq, Intended { path, done: "running", start: true });
            }
            Effect::Stop { process, agent, .. } | Effect::Terminate { process, agent, .. } => {
                self.say_of(at, agent, *process, STATE, "stopping");
            }
            Effect::Restart { process, agent, .. } => {
                self.say_of(at, agent, *process, STATE, "restarting");
            }
            Effect::Suspend { process, agent, .. } => {
                if let Some(path) = self.living(agent, *process) {
                    self.intend(at.seq, Intended { path, done: "suspended", start: false });
                }
            }
            Effect::Resume { process, agent, .. } => {
                if let Some(path) = self.living(agent, *process) {
                    self.intend(at.seq, Intended { path, done: "running", start: false });
                }
            }
            Effect::Fire { .. } => {}
        }
    }

    fn came_out(&mut self, at: OrderKey, outcome: &EffectOutcome) {
        let Some(Intended { path, done, start }) = self.intents.remove(&outcome.intent) else { return };
        match (&outcome.result, start) {
            (EffectResult::Done, _) => self.say(at, &path, STATE, done),
            (EffectResult::Failed { reason }, true) => {
                self.say(at, &path, STATE, "failed");
                self.say(at, &path, "end", reason);
                self.end(at.seq, &path);
            }
            (EffectResult::Indeterminate, true) => {
                self.say(at, &path, STATE, "indeterminate");
                self.end(at.seq, &path);
            }
            // It stays as it was.
            (EffectResult::Failed { .. } | EffectResult::Indeterminate, false) => {}
        }
    }

    fn exited(&mut self, at: OrderKey, exited: &ProcessExited) {
        let ProcessExited { process, agent, reason } = exited;
        for path in self.subscriptions.remove(agent).unwrap_or_default() {
            self.remove(at, &path);
        }
        let Some(path) = self.living(agent, *process) else { return };
        self.say(at, &path, STATE, "exited");
        self.say(at, &path, "end", &reason.to_string());
        self.end(at.seq, &path);
    }

    /// The node stands in one environment and in no other.
    fn lives_in(&mut self, at: OrderKey, environment: Environment) {
        let node = self.chain.node;
        for other in Environment::ALL.into_iter().filter(|other| *other != environment) {
            self.remove(at, &names::in_environment(other, &node));
        }
        self.make(at, &names::in_environment(environment, &node), ResourceKind::Node, []);
    }

    fn health(&mut self, at: OrderKey, subject: &HealthSubject, health: &Health) {
        match subject {
            HealthSubject::Node { check } => {
                let path = names::check(check, &self.chain.node);
                self.ensure(at, &path, ResourceKind::Service);
                self.say(at, &path, "health", health.name());
            }
            HealthSubject::Process { process, agent, probe } => {
                self.say_of(at, agent, *process, &probe.to_string(), health.name());
            }
        }
    }

    fn serves(&mut self, at: OrderKey, entry: &ServiceEntry) {
        let path = names::service(&entry.name, &self.chain.node);
        let said = [
            ("agent", entry.endpoint.agent().to_string()),
            ("audit", entry.audit_level.to_string()),
            ("owner", entry.owner.to_string()),
        ];
        self.make(at, &path, ResourceKind::Service, said);
        if let Some(contract) = &entry.contract {
            self.say(at, &path, "contract", contract.version.as_str());
        }
    }

    fn listens(&mut self, at: OrderKey, by: &Principal, pattern: &TopicPattern) {
        let Principal::Agent { agent, process } = by else { return };
        let path = names::subscription(pattern, agent, &self.chain.node);
        self.make(at, &path, ResourceKind::Custom("subscription".into()), [(PROCESS, process.to_string())]);
        self.subscriptions.entry(agent.clone()).or_default().insert(path);
    }

    /// The agent whose last process is this one, as far as this chain tells: it may go on with one of an earlier incarnation.
    fn living(&self, agent: &AgentName, process: ProcessId) -> Option<ResourcePath> {
        let path = names::agent(agent, &self.chain.node);
        self.said(&path, PROCESS).is_none_or(|said| said == process.to_string()).then_some(path)
    }

    fn say_of(&mut self, at: OrderKey, agent: &AgentName, process: ProcessId, key: &str, value: &str) {
        if let Some(path) = self.living(agent, process) {
            self.say(at, &path, key, value);
        }
    }
}
