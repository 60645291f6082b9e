//! Actions that wait for a person: deferred with a record, approved or denied by name, repeated once, or over with their time.

mod table;

pub(crate) use table::{DeferralEnd, Deferrals};
pub use table::{DeferralInfo, DeferralState};

use weft_protocol::limits::WHY_BYTES_MAX;
use weft_protocol::{
    Configured, Decided, Deferral, DeferralEnded, DeferralId, Environment, Fact, MessageId, PersonName, Refusal,
    Sender, SettingChange,
};

use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId};
use crate::kernel::{Asker, Kernel};
use crate::timers::Timer;

impl Kernel {
    /// What waits for a person, or for its repetition, the oldest first.
    pub fn deferrals(&self) -> impl Iterator<Item = &DeferralInfo> {
        self.deferrals.all().filter(|info| self.now < info.deferral.expires)
    }

    /// The approval under which something may happen that a rule defers; without one it is recorded as deferred, and has not
    /// happened.
    pub(crate) fn approval(
        &mut self,
        by: &Sender,
        action: &Action,
        resource: &str,
        rule: &str,
        message: Option<MessageId>,
    ) -> Result<DeferralId, Refusal> {
        if let Some(info) = self.deferrals.find(by, action.name(), resource, self.now) {
            let (id, expires) = (info.id, info.deferral.expires);
            return match &info.state {
                DeferralState::Approved(_) => Ok(id),
                DeferralState::Waiting => Err(Refusal::Deferred { rule: rule.to_owned(), deferral: id, expires }),
                DeferralState::Denied(decided) => {
                    let rule = format!("{rule} denied by {} as {id}", decided.name);
                    Err(self.deny(by, action.name(), resource, &rule, message))
                }
            };
        }
        if !self.deferrals.has_room(&by.principal) {
            let rule = format!("{rule} too many wait for a person");
            return Err(self.deny(by, action.name(), resource, &rule, message));
        }
        let expires = self.now.after_us(self.config.approval_us);
        let (name, resource) = (action.name().to_owned(), resource.to_owned());
        let deferral = Deferral { by: by.clone(), action: name, resource, rule: rule.to_owned(), expires, message };
        let placed = self.chain.append("kernel", &Fact::Deferred(Box::new(deferral.clone())), self.now);
        let id = DeferralId(placed.seq);
        self.deferrals.insert(id, deferral, self.now);
        self.timers.set(expires, Timer::Deferral(id));
        Err(Refusal::Deferred { rule: rule.to_owned(), deferral: id, expires })
    }

    /// What was approved happens now, and not once more.
    pub(crate) fn spend_approval(&mut self, id: DeferralId) {
        let Some(expires) = self.deferrals.get(id).map(|info| info.deferral.expires) else { return };
        self.chain.append("kernel", &Fact::ApprovalSpent(DeferralEnded { deferral: id }), self.now);
        self.deferrals.end(id, DeferralEnd::Spent);
        self.timers.clear(expires, Timer::Deferral(id));
    }

    /// A person decided; the answer follows when that is on disk.
    pub(crate) fn on_decide(
        &mut self,
        ask: AskId,
        by: &Asker,
        deferral: DeferralId,
        approve: bool,
        name: PersonName,
        why: Option<String>,
    ) {
        match self.decide(by, Decided { deferral, name: name.clone(), why }, approve) {
            Ok(seq) => {
                let answer = Ok(Answer::Decided { deferral, approved: approve, name });
                self.chain.hold(seq, Promise::Answer { ask, answer });
            }
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    /// The gate is asked before anybody learns what waits.
    fn decide(&mut self, by: &Asker, decided: Decided, approve: bool) -> Result<u64, Refusal> {
        let deferral = decided.deferral;
        let action = if approve { Action::Approve { deferral } } else { Action::DenyDeferred { deferral } };
        self.judge(&by.sender, &action, &[deferral.to_string()], &by.grants, None)?;
        let invalid = |message: String| Err(Refusal::Invalid { message });
        if decided.why.as_ref().is_some_and(|why| why.len() > WHY_BYTES_MAX || why.chars().any(char::is_control)) {
            return invalid(format!("a reason is one line of at most {WHY_BYTES_MAX} bytes"));
        }
        if !approve && decided.why.as_ref().is_none_or(|why| why.trim().is_empty()) {
            return invalid("who denies says why".to_owned());
        }
        let info = self.deferrals.get(deferral).filter(|info| self.now < info.deferral.expires);
        match info.map(|info| &info.state) {
            Some(DeferralState::Waiting) => {}
            Some(DeferralState::Approved(by)) => return invalid(format!("{deferral} was approved by {}", by.name)),
            Some(DeferralState::Denied(by)) => return invalid(format!("{deferral} was denied by {}", by.name)),
            None => return invalid(self.why_over(deferral)),
        }
        let fact = if approve { Fact::Approved(decided.clone()) } else { Fact::DeniedBy(decided.clone()) };
        let seq = self.chain.append("operator", &fact, self.now).seq;
        self.deferrals.decide(decided, approve);
        Ok(seq)
    }

    /// Why nothing can be decided about it.
    fn why_over(&self, id: DeferralId) -> String {
        let expired = || format!("the time of {id} is over: whoever asked may ask again");
        match self.deferrals.ended(id) {
            Some(DeferralEnd::Spent) => format!("{id} was approved and has happened"),
            Some(DeferralEnd::Denied(name)) => format!("{id} was denied by {name}"),
            Some(DeferralEnd::Expired) => expired(),
            None if self.deferrals.get(id).is_some() => expired(),
            None => format!("nothing waits as {id}: weft gate pending lists what does"),
        }
    }

    /// The time of a deferred action is over.
    pub(crate) fn on_deferral_overdue(&mut self, id: DeferralId) {
        let Some(info) = self.deferrals.get(id) else { return };
        let end = match &info.state {
            DeferralState::Denied(decided) => DeferralEnd::Denied(decided.name.clone()),
            DeferralState::Waiting | DeferralState::Approved(_) => {
                self.chain.append("kernel", &Fact::DeferralExpired(DeferralEnded { deferral: id }), self.now);
                DeferralEnd::Expired
            }
        };
        self.deferrals.end(id, end);
    }

    /// What waited before the start waits on; an environment that another one was configured for since is on the chain.
    pub(crate) fn restore_deferrals(&mut self, before: Environment) {
        for info in self.deferrals.all() {
            self.timers.set(info.deferral.expires, Timer::Deferral(info.id));
        }
        let now = self.config.environment;
        if before != now {
            let key = "environment".to_owned();
            let change = SettingChange { key, from: before.to_string(), to: now.to_string() };
            self.chain.append("kernel", &Fact::Configured(Configured { changes: vec![change] }), self.now);
        }
    }

    /// A refusal that names a deferred action waits until the record of that is on disk.
    pub(crate) fn hold_deferred(&mut self) {
        for (told, refusal, DeferralId(seq)) in self.effects.take_deferred() {
            if seq < self.chain.durable().size() {
                self.effects.tell_deferred(told, refusal);
            } else {
                self.chain.hold(seq, Promise::Deferred { told, refusal });
            }
        }
    }
}
