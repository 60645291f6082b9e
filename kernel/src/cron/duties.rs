//! What the kernel does about jobs: the gate before each request, the record before each message, the answer after it.

use std::collections::BTreeMap;

use weft_protocol::limits::{
    CRON_JOBS_MAX, CRON_JOBS_PER_AGENT_MAX, CRON_PAYLOAD_BYTES_MAX, DEADLINE_DEFAULT_US, ENVELOPE_BYTES_MAX,
};
use weft_protocol::{
    CronAdded, CronFired, CronId, CronRemoved, CronResult, Delivery, Digest, Durability, Effect, Fact, Level,
    MessageId, Payload, Principal, Refusal, Timestamp,
};

use super::crontab::{Crontab, Input, Output};
use super::history::History;
use super::job::{CronSpec, Job};
use super::schedule::Schedule;
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId};
use crate::ipc::check_payload;
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::status::NodeState;
use crate::syscall::Syscall;

/// One run that is on its way.
#[derive(Debug)]
pub(crate) struct Firing {
    job: CronId,
    /// Place and leaf of its intent.
    intent: (u64, Digest),
    scheduled: Option<Timestamp>,
    /// Who asked for it and waits.
    ask: Option<AskId>,
}

/// The runs that are on their way, each under the number of the kernel's own question that sends its message. At most one
/// of each job.
pub(crate) type Firings = BTreeMap<AskId, Firing>;

impl Kernel {
    /// Continues with the jobs of earlier runs; what those left open is closed by the truth.
    pub(crate) fn restore_crontab(&mut self, history: History) {
        let (mut jobs, closed, inherited) = history.close();
        for fired in closed {
            self.chain.append("kernel", &Fact::CronFired(fired), self.now);
        }
        for added in inherited {
            let added = CronAdded { added: self.now, ..added };
            let id = CronId(self.chain.append("kernel", &Fact::CronAdded(Box::new(added.clone())), self.now).seq);
            jobs.insert(id, Job::new(id, added));
        }
        self.crontab = Crontab::restored(jobs, self.now);
    }

    /// Makes a job; the answer follows when it is on the chain.
    pub(crate) fn on_cron_add(&mut self, ask: AskId, by: &Asker, spec: CronSpec) {
        match self.cron_add(by, spec) {
            Ok(id) => {
                let job = self.crontab.show(id).map(Box::new);
                let answer = job.map(Answer::CronAdded).ok_or(Refusal::Damaged);
                self.chain.hold(id.0, Promise::Answer { ask, answer });
            }
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    fn cron_add(&mut self, by: &Asker, spec: CronSpec) -> Result<CronId, Refusal> {
        let target = spec.target.to_string();
        let resources = match &spec.target.node {
            None => self.local_resources(&target, &spec.target.local),
            Some(_) => [target.clone()].into(),
        };
        let permit = self.judge(&by.sender, &Action::CronAdd { target }, &resources, &by.grants, None)?;
        self.use_grant(&by.sender, &permit);
        check_content(&spec.payload)?;
        let by = by.sender.principal.clone();
        self.check_room_for_job(&by)?;
        let invalid = |message| Refusal::Invalid { message };
        let expression = spec.expression.trim();
        let schedule = Schedule::parse(expression, &spec.timezone, self.now).map_err(invalid)?;
        if schedule.next(self.now).is_none() {
            return Err(invalid(format!("`{expression}` names a time that never comes: check day and month")));
        }
        let CronSpec { expression: _, timezone, target, payload, missed } = spec;
        let expression = expression.to_owned();
        let added = CronAdded { expression, timezone, target, payload, missed, by, added: self.now };
        let seq = self.chain.append(&added.by.to_string(), &Fact::CronAdded(Box::new(added.clone())), self.now).seq;
        let id = CronId(seq);
        self.tell_crontab(Input::Added { id, added: Box::new(added) });
        Ok(id)
    }

    fn check_room_for_job(&self, by: &Principal) -> Result<(), Refusal> {
        let full =
            |what: String| Err(Refusal::Invalid { message: format!("{what}: take one back first, weft cron rm ID") });
        if self.crontab.len() >= CRON_JOBS_MAX {
            return full(format!("this node has {CRON_JOBS_MAX} cron jobs, and no more are kept"));
        }
        if self.crontab.count_of(by) >= CRON_JOBS_PER_AGENT_MAX {
            return full(format!("{by} has {CRON_JOBS_PER_AGENT_MAX} cron jobs, and no agent may have more"));
        }
        Ok(())
    }

    /// Takes a job back; the answer follows when that is on the chain. A run that is on its way ends by itself.
    pub(crate) fn on_cron_remove(&mut self, ask: AskId, by: &Asker, job: CronId) {
        if let Err(refusal) = self.find_job(by, &Action::CronRemove { job }, job) {
            return self.effects.answer(ask, Err(refusal));
        }
        let by = by.sender.principal.clone();
        let source = by.to_string();
        let seq = self.chain.append(&source, &Fact::CronRemoved(CronRemoved { job, by }), self.now).seq;
        self.tell_crontab(Input::Removed { id: job });
        self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::CronRemoved { job }) });
    }

    /// Lets a job run now, in the name of who made it; the answer follows when its end is on the chain.
    pub(crate) fn on_cron_run(&mut self, ask: AskId, by: &Asker, job: CronId) {
        let found = self.find_job(by, &Action::CronRun { job }, job);
        let running = self.crontab.get(job).is_some_and(Job::is_running);
        match found {
            Ok(()) if running => self.effects.answer(ask, Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US })),
            Ok(()) => self.begin_run(job, None, &by.sender.principal.clone(), Some(ask)),
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    /// Tells all jobs.
    pub(crate) fn on_cron_list(&mut self, ask: AskId, by: &Asker) {
        let judged = self.judge(&by.sender, &Action::CronList, &["jobs".to_owned()], &by.grants, None);
        let answer = judged.map(|_| Answer::CronJobs(self.crontab.all()));
        self.effects.answer(ask, answer);
    }

    /// The gate is asked before anybody learns whether there is such a job.
    fn find_job(&mut self, by: &Asker, action: &Action, id: CronId) -> Result<(), Refusal> {
        let maker = self.crontab.get(id).map(|job| job.added().by.to_string());
        let resources = std::iter::once(id.to_string()).chain(maker.clone()).collect::<Vec<_>>();
        let permit = self.judge(&by.sender, action, &resources, &by.grants, None)?;
        self.use_grant(&by.sender, &permit);
        maker.map(|_| ()).ok_or_else(|| Refusal::NoResponder { target: format!("cron job {id}") })
    }

    /// Whether jobs run at all: not before the node does, not on its way down, not while the disk is far behind.
    fn may_run_jobs(&self) -> bool {
        self.state == NodeState::Running && !self.ending && !self.chain.is_backlogged()
    }

    /// When a job wants to be looked at.
    pub(crate) fn next_job(&self) -> Option<Timestamp> {
        self.crontab.next_wakeup().filter(|_| self.may_run_jobs())
    }

    /// Whether jobs are due.
    pub(crate) fn jobs_are_due(&self) -> bool {
        self.may_run_jobs() && self.crontab.is_due(self.now)
    }

    /// Runs what is due, and records what was missed.
    pub(crate) fn run_jobs(&mut self) {
        let mut outputs = Vec::new();
        self.crontab.handle(Input::Woken, self.now, &mut outputs);
        for output in outputs {
            match output {
                Output::Run { id, scheduled } => {
                    if let Some(by) = self.crontab.get(id).map(|job| job.added().by.clone()) {
                        self.begin_run(id, Some(scheduled), &by, None);
                    }
                }
                Output::Miss(missed) => drop(self.chain.append("kernel", &Fact::CronMissed(missed), self.now)),
            }
        }
    }

    /// Records the intent of a run; the message leaves when that is on disk.
    fn begin_run(&mut self, job: CronId, scheduled: Option<Timestamp>, by: &Principal, ask: Option<AskId>) {
        let effect = Fact::Intent(Box::new(Effect::Fire { job, scheduled, by: by.clone() }));
        let placed = self.chain.append(&by.to_string(), &effect, self.now);
        let own = self.next_own_ask();
        self.firings.insert(own, Firing { job, intent: (placed.seq, placed.leaf), scheduled, ask });
        self.tell_crontab(Input::Began { id: job, scheduled, at: placed.hlc.to_wall() });
        self.chain.hold(placed.seq, Promise::RunIntended { own });
    }

    /// The intent of a run is on disk: its message may leave.
    pub(crate) fn on_run_intended(&mut self, own: AskId) {
        let Some(firing) = self.firings.get(&own) else { return };
        let leaf = firing.intent.1;
        let Some(added) = self.crontab.get(firing.job).map(|job| job.added().clone()) else {
            return self.end_run(own, None, refused("it was taken back before its message left"));
        };
        match self.name_of(&added.by) {
            Some(by) => self.effects.ask(own, by, message_of(added, leaf)),
            None => self.end_run(own, None, refused(&format!("{}, who made the job, does not run", added.by))),
        }
    }

    /// In whose name a job's message is sent: an agent's present life has its name and its grants.
    fn name_of(&self, by: &Principal) -> Option<Principal> {
        match by {
            Principal::Operator => Some(Principal::Operator),
            Principal::Agent { agent, .. } => {
                let process = self.processes.named(agent)?;
                Some(Principal::Agent { agent: agent.clone(), process })
            }
        }
    }

    /// A question of the kernel itself was answered: the message of a run arrived, or did not.
    pub(crate) fn on_own_answer(&mut self, own: AskId, answer: Result<Answer, Refusal>) {
        match answer {
            Ok(Answer::Sent(report)) => self.end_run(own, Some(report.id), CronResult::Delivered),
            Ok(Answer::Published { id, .. }) => self.end_run(own, Some(id), CronResult::Delivered),
            Ok(other) => {
                let reason = format!("BUG: the message was answered with {other:?}");
                self.end_run(own, None, CronResult::Failed { reason });
            }
            Err(refusal) => self.end_run(own, None, result_of(&refusal)),
        }
    }

    /// Records how a run ended. On the way down nothing is recorded any more, and the next start calls it indeterminate.
    fn end_run(&mut self, own: AskId, message: Option<MessageId>, result: CronResult) {
        let Some(Firing { job, intent: (intent, _), scheduled, ask }) = self.firings.remove(&own) else { return };
        if self.ending || self.state == NodeState::Damaged {
            if let Some(ask) = ask {
                self.effects.answer(ask, Err(Refusal::Deadline { maybe_executed: true }));
            }
            return;
        }
        let fired = CronFired { job, intent, scheduled, message, result: result.clone() };
        let seq = self.chain.append("kernel", &Fact::CronFired(fired), self.now).seq;
        self.tell_crontab(Input::Ended { id: job, result: result.clone() });
        if let Some(ask) = ask {
            let answer = Ok(Answer::CronRan { job, message, result });
            self.chain.hold(seq, Promise::Answer { ask, answer });
        }
    }

    /// Whoever waits for a run is told that nothing is promised any more.
    pub(crate) fn damage_firings(&mut self) {
        for firing in std::mem::take(&mut self.firings).into_values() {
            if let Some(ask) = firing.ask {
                self.effects.answer(ask, Err(Refusal::Damaged));
            }
        }
    }

    /// What only changes the table, and asks for nothing.
    fn tell_crontab(&mut self, input: Input) {
        self.crontab.handle(input, self.now, &mut Vec::new());
    }
}

fn message_of(added: CronAdded, intent: Digest) -> Syscall {
    Syscall::Send {
        target: added.target,
        payload: added.payload,
        wants_reply: false,
        level: Level { delivery: Delivery::Received, durability: Durability::None },
        deadline_us: DEADLINE_DEFAULT_US,
        trace: None,
        cause: vec![intent],
        idempotent: false,
        parts: false,
    }
}

fn check_content(payload: &Payload) -> Result<(), Refusal> {
    match payload {
        Payload::Text(_) | Payload::Json(_) if payload.size() > CRON_PAYLOAD_BYTES_MAX => {
            Err(Refusal::TooLarge { size: payload.size() as u64, max: CRON_PAYLOAD_BYTES_MAX as u64 })
        }
        Payload::Text(_) | Payload::Json(_) => check_payload(payload, ENVELOPE_BYTES_MAX),
        Payload::Binary(_) | Payload::ToolCall { .. } | Payload::ToolResult { .. } | Payload::Signal(_) => {
            Err(Refusal::Invalid { message: "the message of a cron job is text or JSON".to_owned() })
        }
    }
}

fn refused(reason: &str) -> CronResult {
    CronResult::Refused { reason: reason.to_owned() }
}

/// Whether somebody said no, or the message just did not arrive.
fn result_of(refusal: &Refusal) -> CronResult {
    let reason = refusal.to_string();
    match refusal {
        Refusal::Denied { .. }
        | Refusal::Deferred { .. }
        | Refusal::TooLarge { .. }
        | Refusal::Quarantined
        | Refusal::Unsupported { .. }
        | Refusal::PeerTooOld { .. }
        | Refusal::Gone { .. }
        | Refusal::LimitReached { .. }
        | Refusal::Wider { .. }
        | Refusal::OutOfScope { .. }
        | Refusal::Unenforceable { .. }
        | Refusal::ContractViolated { .. }
        | Refusal::BackendNotAvailable { .. }
        | Refusal::Invalid { .. } => CronResult::Refused { reason },
        Refusal::Busy { .. }
        | Refusal::NoResponder { .. }
        | Refusal::Ambiguous { .. }
        | Refusal::Deadline { .. }
        | Refusal::Expired
        | Refusal::AgentFailed { .. }
        | Refusal::NoWitness
        | Refusal::NoMajority { .. }
        | Refusal::NotWitnessed { .. }
        | Refusal::Cancelled { .. }
        | Refusal::BrokenOff { .. }
        | Refusal::Damaged
        | Refusal::ShuttingDown
        | Refusal::Unreachable { .. }
        | Refusal::Restarting { .. } => CronResult::Failed { reason },
    }
}
