//! The first records of a run: who writes the chain, that the node started, and what became of what ran before.

use weft_protocol::{
    Boot, EffectOutcome, EffectResult, Environment, ExitReason, Fact, Genesis, OutboxEntry, Principal, ProcessExited,
    PublicKeys, Recovered, SUITE,
};

use crate::action::Action;
use crate::bonds::BondHistory;
use crate::chain::Promise;
use crate::ipc::{Call, Witnesses};
use crate::kernel::Kernel;
use crate::process::{History, Past};
use crate::service::{Held, Waiting};
use crate::supervisor::Rest;
use crate::timers::Timer;

impl Kernel {
    /// Appends what every start records; the node runs when that is on disk.
    pub(crate) fn boot(
        &mut self,
        keys: &PublicKeys,
        history: &History,
        jobs: crate::cron::History,
        bonds: BondHistory,
        environment: Environment,
        recovered: &Recovered,
    ) {
        if self.chain.durable().size() == 0 {
            self.found(keys);
        }
        let counter = Some(self.chain.next_counter()).filter(|counter| *counter > 0);
        let (version, name) = (self.identity.build.clone(), self.identity.name.clone());
        let boot = Boot { version, name, counter, environment: Some(environment) };
        let seq = self.chain.append("kernel", &Fact::Boot(boot), self.now).seq;
        self.chain.hold(seq, Promise::Booted);
        self.restore_deferrals(environment);
        self.close_history(history);
        self.restore_crontab(jobs);
        self.end_services_of_agents();
        self.spawn_again(history);
        self.spawn_configured();
        self.restore_bonds(bonds);
        recovered.outbox.iter().for_each(|entry| self.resume(entry));
    }

    fn found(&mut self, keys: &PublicKeys) {
        let genesis = Genesis {
            suite: SUITE,
            cluster: self.identity.cluster,
            keys: keys.clone(),
            governance_hash: self.identity.governance_hash,
            charter: self.identity.charter.clone(),
            previous: self.identity.previous.clone(),
        };
        self.chain.append("kernel", &Fact::Genesis(Box::new(genesis)), self.now);
        for fact in std::mem::take(&mut self.identity.founding) {
            self.chain.append("operator", &fact, self.now);
        }
    }

    /// What an earlier run left open is closed by the truth: nobody can tell, or the node went down with it.
    fn close_history(&mut self, history: &History) {
        for intent in history.open_intents() {
            let outcome = EffectOutcome { intent, result: EffectResult::Indeterminate };
            self.chain.append("kernel", &Fact::Outcome(outcome), self.now);
        }
        for (process, agent) in history.cut_off() {
            let exited = ProcessExited { process, agent: agent.clone(), reason: ExitReason::NodeStopped };
            self.chain.append("kernel", &Fact::Exited(exited), self.now);
        }
    }

    /// Agents that nobody stopped live again as their policies want it, with the grants they had; whoever was given up stays
    /// given up, and what was spent of a budget stays spent.
    fn spawn_again(&mut self, history: &History) {
        for spent in history.spent() {
            self.supervisors.restore_spent(spent.group.clone(), &spent.agent, spent.number, spent.at);
        }
        for Past { process, spec, grants, by, restarts, ended, failed, .. } in history.failed() {
            let exit = ended.clone().unwrap_or(ExitReason::NodeStopped);
            let rest = Rest { spec: spec.clone(), grants: grants.clone(), by: by.clone(), exit };
            self.supervisors.restore_failed(*process, *restarts, failed.clone().unwrap_or_default(), rest);
        }
        for past in history.respawns() {
            self.start_with_node(Waiting::Again(past.clone()));
        }
    }

    /// The configured agents live too; one that the gate denies or that is not well formed is on the chain as denied, or
    /// not there.
    fn spawn_configured(&mut self) {
        let Ok(operator) = self.asker(&Principal::Operator) else { return };
        for spec in std::mem::take(&mut self.config.boot_agents) {
            let action = Action::SpawnConfigured { agent: spec.agent.clone() };
            let free = self.processes.named(&spec.agent).is_none() && !self.is_waiting(&spec.agent);
            if free && self.judge(&operator.sender, &action, &[spec.agent.to_string()], &[], None).is_ok() {
                self.start_with_node(Waiting::Configured(spec));
            }
            self.chain.end_asking();
        }
    }

    /// Starts an agent as soon as what it needs is served; one that waits for itself is on the chain as failed.
    fn start_with_node(&mut self, waiting: Waiting) {
        match self.hold_for_needs(waiting) {
            Held::Ready(ready) => self.start_now(ready),
            Held::Waits => {}
            Held::Refused(refused, refusal) => self.give_up_start(refused, &refusal.to_string(), refusal.clone()),
        }
    }

    /// A durable message that was not acknowledged before the restart is sent on, or given up when its time is over.
    fn resume(&mut self, entry: &OutboxEntry) {
        let id = entry.envelope.id;
        let call = Call {
            ask: None,
            process: None,
            to: entry.to,
            target: format!("{}@{}", entry.envelope.target, entry.to).into(),
            // Whoever asked is gone.
            envelope: weft_protocol::Envelope { parts: false, ..entry.envelope.clone() },
            asked_at: self.now,
            expires: entry.expires,
            attempts: 0,
            retry_at: None,
            lost: true,
            sent: None,
            sent_on_disk: true,
            receipt: None,
            witnesses: Witnesses::default(),
            taking: None,
        };
        self.timers.set(call.expires, Timer::CallDeadline(id));
        self.calls.insert(Box::new(call));
        self.retry_at(&id, self.now);
    }
}
