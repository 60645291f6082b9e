//! Sending: the gate, the record, the way to the receiver, and trying again until it answered or the time is over.

use std::sync::Arc;

use rand_chacha::rand_core::Rng as _;
use weft_protocol::limits::{DEADLINE_US_MAX, HOPS_MAX};
use weft_protocol::{
    Delivery, Digest, Envelope, Level, LocalTarget, MessageId, NodeId, OutboxEntry, Payload, Refusal, Resource, Sender,
    Stage, Target, Timestamp, TraceId,
};

use super::call::Call;
use super::record::{Step, is_durable};
use super::signal::life_signal;
use super::tools::is_tool_call;
use super::witness::Witnesses;
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId, Route, SendReport};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::timers::Timer;

/// First wait before a message is sent once more, in microseconds: ten round trips of a bad link (guess).
const RETRY_US: u64 = 500_000;
/// The wait doubles up to this, in microseconds.
const RETRY_US_MAX: u64 = 5_000_000;

/// What a `Syscall::Send` says.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) target: Target,
    pub(crate) payload: Payload,
    pub(crate) wants_reply: bool,
    pub(crate) level: Level,
    pub(crate) deadline_us: u64,
    pub(crate) trace: Option<TraceId>,
    pub(crate) cause: Vec<Digest>,
    /// Whether whoever asks takes parts of the answer.
    pub(crate) parts: bool,
}

/// A message that may leave; nothing of it is recorded yet.
struct Permitted {
    to: NodeId,
    /// Its target as written.
    written: Arc<str>,
    /// Too large to be moved from hand to hand.
    envelope: Box<Envelope>,
    expires: Timestamp,
    rule: String,
}

/// Whether a message to this node is done with for its sender when it is in a mailbox, and needs no record of its own.
const fn is_put_in_a_mailbox(envelope: &Envelope) -> bool {
    let waits = match envelope.level.delivery {
        Delivery::Routed | Delivery::Received => is_durable(envelope.level.durability),
        Delivery::Executed => true,
    };
    let has_mailbox = match envelope.target {
        LocalTarget::Process(_) | LocalTarget::Agent(_) => true,
        LocalTarget::Service(_) | LocalTarget::ServiceMethod { .. } => true,
        LocalTarget::Topic(_) | LocalTarget::Broadcast | LocalTarget::Kernel => false,
    };
    !waits && has_mailbox && life_signal(&envelope.payload).is_none()
}

/// Parts are for whoever waits for an answer.
fn check_parts(message: &Message) -> Result<(), Refusal> {
    let waits = message.wants_reply && message.level.delivery == Delivery::Executed;
    if message.parts && !waits {
        let message = "parts of an answer are for a call that waits for it: receipt executed".to_owned();
        return Err(Refusal::Invalid { message });
    }
    Ok(())
}

impl Kernel {
    /// Judges a message, records it and sends it on its way; whoever asked is answered now or later, once.
    pub(crate) fn on_send(&mut self, ask: AskId, by: &Asker, message: Message, route: Route) {
        if let LocalTarget::Topic(topic) = &message.target.local {
            let topic = topic.clone();
            return self.on_send_to_topic(ask, by, topic, message);
        }
        if let Err(refusal) = self.send(ask, by, message, route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn send(&mut self, ask: AskId, by: &Asker, message: Message, route: Route) -> Result<(), Refusal> {
        let permitted = self.permit(by, message, route)?;
        if permitted.to == self.identity.chain.node && is_put_in_a_mailbox(&permitted.envelope) {
            return self.put(ask, permitted);
        }
        let (call, rule, unreachable) = self.call_of(ask, by, permitted)?;
        self.start_call(call, &rule, unreachable);
        Ok(())
    }

    /// Judges a message and makes the call that carries it, with the rule that permitted it and whether its node cannot be
    /// reached; nothing of it is recorded yet.
    pub(super) fn prepare(
        &mut self,
        ask: AskId,
        by: &Asker,
        message: Message,
        route: Route,
    ) -> Result<(Box<Call>, String, bool), Refusal> {
        let permitted = self.permit(by, message, route)?;
        self.call_of(ask, by, permitted)
    }

    fn permit(&mut self, by: &Asker, message: Message, route: Route) -> Result<Permitted, Refusal> {
        let written = message.target.text();
        let id = self.chain.take_message_id();
        let own = self.identity.chain.node;
        let resources = match &route {
            Route::Remote(node) if *node != own => Arc::from([written.to_string()]),
            Route::Local | Route::Remote(_) => self.local_resources(&written, &message.target.local),
            Route::Nowhere(_) => Arc::from([written.to_string()]),
        };
        // What another node gave counts towards other nodes alone.
        let grants = match &route {
            Route::Remote(node) if *node != own => Arc::new(by.all_grants()),
            Route::Local | Route::Remote(_) | Route::Nowhere(_) => Arc::clone(&by.grants),
        };
        let action =
            if message.wants_reply { Action::Call { target: written } } else { Action::Send { target: written } };
        let permit = self.judge(&by.sender, &action, &resources, &grants, Some(id))?;
        let (Action::Call { target: written } | Action::Send { target: written }) = action else {
            unreachable!("BUG: it was one of both a moment ago")
        };
        if let Some(reach) = &by.reach {
            match &route {
                Route::Local => self.check_reach(by, reach, &message.target.local, own, id)?,
                Route::Remote(node) => self.check_reach(by, reach, &message.target.local, *node, id)?,
                Route::Nowhere(_) => {}
            }
        }
        let permit = if matches!(route, Route::Local) || matches!(route, Route::Remote(node) if node == own) {
            self.judge_signal(&message.payload, &by.sender, &message.target.local, &by.grants, id)?;
            permit
        } else {
            // The gate of another node judges it there once more, by the grant that it carries.
            self.judge_deed(by, &message, &grants, id)?.unwrap_or(permit)
        };
        self.spend(by, Resource::Messages)?;
        if is_tool_call(&message.target.local, &message.payload) {
            self.spend(by, Resource::ToolCalls)?;
        }
        super::validate::check_message(&message.payload, &message.cause)?;
        check_parts(&message)?;
        if message.target.local == LocalTarget::Broadcast {
            super::broadcast::check_broadcast(message.wants_reply, message.level)?;
        }
        let to = match route {
            Route::Local => own,
            Route::Remote(node) => node,
            Route::Nowhere(refusal) => {
                self.record_nowhere(id, by, &written, &message, &refusal);
                return Err(*refusal);
            }
        };
        self.check_witnesses(message.level, to)?;
        if message.deadline_us == 0 {
            return Err(Refusal::Deadline { maybe_executed: false });
        }
        if self.calls.is_full() {
            return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        self.use_grant(&by.sender, &permit);
        let expires = self.now.after_us(message.deadline_us.min(DEADLINE_US_MAX));
        let rule = permit.text();
        let envelope = Box::new(Envelope {
            id,
            hlc: weft_protocol::Hlc(0),
            trace: message.trace.unwrap_or_else(|| self.new_traces.of(&id)),
            from: by.sender.clone(),
            target: message.target.local,
            payload: message.payload,
            wants_reply: message.wants_reply,
            level: message.level,
            deadline_us: expires.since_us(self.now),
            hops: HOPS_MAX,
            grant: permit.grant,
            cause: message.cause,
            parts: message.parts,
        });
        Ok(Permitted { to, written, envelope, expires, rule })
    }

    fn call_of(&mut self, ask: AskId, by: &Asker, permitted: Permitted) -> Result<(Box<Call>, String, bool), Refusal> {
        let Permitted { to, written, envelope, expires, rule } = permitted;
        let unreachable = self.reachable.get(&to) == Some(&false);
        let taking = envelope.parts.then(Box::default);
        let call = Box::new(Call {
            ask: Some(ask),
            process: by.process(),
            to,
            target: written,
            envelope: *envelope,
            asked_at: self.now,
            expires,
            attempts: 0,
            retry_at: None,
            lost: true,
            sent: None,
            sent_on_disk: false,
            receipt: None,
            witnesses: Witnesses::default(),
            taking,
        });
        if unreachable && !call.is_durable() {
            let refusal = Refusal::Unreachable { node: to.to_string() };
            self.record_call(&call, Stage::Refused, refusal.code());
            return Err(refusal);
        }
        Ok((call, rule, unreachable))
    }

    /// Puts a permitted message of this node into a mailbox of this node, and says at once whether it is there.
    fn put(&mut self, ask: AskId, permitted: Permitted) -> Result<(), Refusal> {
        let Permitted { written, envelope, expires, rule, .. } = permitted;
        let own = self.identity.chain.node;
        let (id, trace, level) = (envelope.id, envelope.trace, envelope.level);
        let (process, bound) = match self.find_mailbox(&envelope) {
            Ok(found) => found,
            Err(refusal) => {
                self.record_refused(own, &envelope, &refusal);
                return Err(refusal);
            }
        };
        let target = if written.contains('@') { envelope.target.text() } else { written };
        self.let_in(own, target, envelope, process, expires, &rule, bound);
        let report = SendReport {
            id,
            trace,
            node: own,
            level,
            reply: None,
            delivered: None,
            latency_us: 0,
            record: None,
            remote_record: None,
            witnesses: Vec::new(),
            parts: None,
        };
        self.effects.answer(ask, Ok(Answer::Sent(Box::new(report))));
        self.deliver(process);
        Ok(())
    }

    /// Records a permitted message and hands it to its receiver.
    pub(super) fn start_call(&mut self, mut call: Box<Call>, rule: &str, unreachable: bool) {
        self.record_start(&mut call, rule);
        let id = call.envelope.id;
        let local = (call.to == self.identity.chain.node).then(|| (call.envelope.clone(), call.expires));
        self.calls.insert(call);
        self.depart(&id, local, rule, unreachable);
    }

    /// Hands a recorded message to its receiver: on this node, or on its way to another.
    pub(super) fn depart(
        &mut self,
        id: &MessageId,
        local: Option<(Envelope, Timestamp)>,
        rule: &str,
        unreachable: bool,
    ) {
        let is_early = |call: &Call| call.envelope.level.delivery == Delivery::Routed && !call.is_durable();
        let early = self.calls.get(id).is_some_and(is_early);
        match local {
            Some((envelope, expires)) => self.accept_local(envelope, expires, rule),
            None if unreachable => self.retry_later(id),
            None => self.transmit(id),
        }
        if early {
            self.answer_routed(id);
        }
    }

    /// Records that a permitted message leaves, and keeps it when it is durable.
    pub(super) fn record_start(&mut self, call: &mut Call, rule: &str) {
        let (id, to) = (call.envelope.id, call.to);
        let local = to == self.identity.chain.node;
        // Of a plain message to its own node *received* says it all, under the rule that permitted it.
        let (hlc, record) = if local && !call.is_durable() {
            (self.chain.tick(self.now), None)
        } else {
            self.record_call(call, Stage::Sent, rule)
        };
        call.envelope.hlc = hlc;
        if let Some(record) = record {
            self.chain.hold(record.seq, Promise::SentRecorded { message: id });
            if !local {
                self.chain.keep(OutboxEntry { to, envelope: call.envelope.clone(), expires: call.expires });
            }
            call.sent = Some(record);
        }
        self.timers.set(call.expires, Timer::CallDeadline(id));
    }

    /// Sends a message once more, with the time that is left.
    pub(crate) fn transmit(&mut self, id: &MessageId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(id).filter(|call| call.receipt.is_none()) else { return };
        call.envelope.deadline_us = call.expires.since_us(now);
        call.attempts = call.attempts.saturating_add(1);
        call.lost = false;
        let (to, envelope) = (call.to, call.envelope.clone());
        let again = call.attempts > 1;
        self.effects.transmit(to, envelope);
        if again {
            // What was said of them before may be lost.
            self.tell_taken(id);
        }
        self.retry_later(id);
    }

    /// Sets the time at which a message without a receipt is sent once more.
    pub(crate) fn retry_later(&mut self, id: &MessageId) {
        let attempts = self.calls.get(id).map_or(0, |call| call.attempts);
        let wait_us = (RETRY_US << attempts.saturating_sub(1).min(8)).min(RETRY_US_MAX);
        let jittered_us = wait_us / 2 + self.random.next_u64() % (wait_us / 2 + 1);
        self.retry_at(id, self.now.after_us(jittered_us));
    }

    pub(crate) fn retry_at(&mut self, id: &MessageId, at: Timestamp) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if let Some(before) = call.retry_at.replace(at) {
            self.timers.clear(before, Timer::CallRetry(*id));
        }
        self.timers.set(at, Timer::CallRetry(*id));
    }

    /// A message did not reach its node: nothing is on its way until the next attempt.
    pub(crate) fn on_transmit_failed(&mut self, to: NodeId, id: &MessageId) {
        self.on_part_lost(to, id);
        let waiting = |call: &&mut Call| call.to == to && call.receipt.is_none();
        if let Some(call) = self.calls.get_mut(id).filter(waiting) {
            call.lost = true;
            self.retry_later(id);
        }
    }

    /// What waits for a node that came back is sent at once.
    pub(crate) fn on_reachability_changed(&mut self, node: NodeId, reachable: bool) {
        self.reachable.insert(node, reachable);
        if reachable {
            self.calls.lost_to(node).iter().for_each(|id| self.transmit(id));
            self.send_parts_to(node);
        }
    }

    /// A message of ours is on the chain before and after it travels.
    pub(super) fn record_call(
        &mut self,
        call: &Call,
        stage: Stage,
        rule: &str,
    ) -> (weft_protocol::Hlc, Option<weft_protocol::RecordRef>) {
        let step = Step {
            stage,
            message: call.envelope.id,
            trace: call.envelope.trace,
            from: &call.envelope.from,
            target: &call.target,
            peer: call.to,
            rule,
            body: Some(&call.envelope.payload),
            durability: call.envelope.level.durability,
            cause: &call.envelope.cause,
            parts: None,
        };
        self.record_audited(&step, call.is_tool_call())
    }

    fn record_nowhere(&mut self, id: MessageId, by: &Asker, written: &str, message: &Message, refusal: &Refusal) {
        self.record_step(&Step {
            stage: Stage::Refused,
            message: id,
            trace: message.trace.unwrap_or_else(|| id.new_trace()),
            from: &by.sender,
            target: written,
            peer: self.identity.chain.node,
            rule: refusal.code(),
            body: Some(&message.payload),
            durability: message.level.durability,
            cause: &message.cause,
            parts: None,
        });
    }

    /// Every text under which something on this node may be named in a grant.
    pub(crate) fn local_resources(&self, written: &str, target: &LocalTarget) -> Arc<[String]> {
        if let LocalTarget::Agent(agent) = target
            && let Some(life) = self.processes.named(agent).and_then(|process| self.processes.living(process))
            && life.names.first().is_some_and(|name| name == written)
        {
            return Arc::clone(&life.names);
        }
        self.names_of(written, &target.to_string())
    }

    /// The same for a target without its node; `written` comes first.
    pub(crate) fn names_of(&self, written: &str, target: &str) -> Arc<[String]> {
        let named = [&self.own_names.0, &self.own_names.1].map(|name| format!("{target}@{name}"));
        let others = std::iter::once(target.to_owned()).chain(named).filter(|text| text != written);
        std::iter::once(written.to_owned()).chain(others).collect()
    }

    /// Every text under which somebody of this node goes here; of a process its agent's too.
    pub(crate) fn resources_of(&self, local: &LocalTarget) -> Vec<String> {
        let mut resources = self.local_resources(&local.to_string(), local).to_vec();
        if let LocalTarget::Process(process) = local
            && let Some(life) = self.processes.living(*process)
        {
            let agent = LocalTarget::Agent(life.spec.agent.clone());
            resources.extend(self.local_resources(&agent.to_string(), &agent).iter().cloned());
        }
        resources
    }

    /// The sender of what this node itself does.
    pub(crate) const fn own_sender(&self, principal: weft_protocol::Principal) -> Sender {
        Sender { node: self.identity.chain.node, principal }
    }
}
