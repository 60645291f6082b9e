//! Receiving: what arrives is checked by this node alone, let into a mailbox once, and answered in every case.

use std::sync::Arc;

use weft_protocol::limits::DEADLINE_US_MAX;
use weft_protocol::{
    Delivery, Envelope, Hlc, LocalTarget, MessageId, NodeId, Outcome, Payload, ProcessId, Receipt, RecordRef, Refusal,
    Role, Sender, Stage, StampVerdict, Timestamp,
};

use super::Bound;
use super::deed::Deed;
use super::incoming::Incoming;
use super::record::{Step, is_durable};
use super::signal::life_signal;
use super::tools::is_tool_call;
use super::window::Seen;
use crate::action::Action;
use crate::capability::refuses;
use crate::chain::Promise;
use crate::event::Delivery as Delivered;
use crate::kernel::{BUSY_RETRY_US, Kernel};
use crate::process::Found;
use crate::timers::Timer;

impl Kernel {
    /// A message of another node.
    pub(crate) fn on_envelope(&mut self, from: NodeId, role: Role, envelope: Envelope) {
        if envelope.id.chain.node != from || envelope.from.node != from {
            let message = "the message claims to come from another node".to_owned();
            return self.refuse(from, envelope.id, Refusal::Invalid { message });
        }
        match self.windows.look(&envelope.id) {
            Seen::Never => {
                if let Err(refusal) = self.accept_remote(from, role, &envelope) {
                    self.record_refused(from, &envelope, &refusal);
                    self.refuse(from, envelope.id, refusal);
                }
            }
            Seen::Before => self.answer_again(from, &envelope),
            Seen::Expired => self.refuse(from, envelope.id, Refusal::Expired),
        }
    }

    fn accept_remote(&mut self, from: NodeId, role: Role, envelope: &Envelope) -> Result<(), Refusal> {
        if self.chain.observe(envelope.hlc, self.now) == StampVerdict::Refused {
            let message = "the sender's clock is more than 60 s ahead".to_owned();
            return Err(Refusal::Invalid { message });
        }
        if envelope.deadline_us == 0 {
            return Err(Refusal::Deadline { maybe_executed: false });
        }
        let grants = envelope.grant.as_slice();
        let permit = match Deed::of(&envelope.target, &envelope.payload)? {
            Some(deed) => self.judge_foreign(&deed, &envelope.from, role, grants, envelope.id)?,
            None => {
                let target = envelope.target.to_string();
                let resources = self.local_resources(&target, &envelope.target);
                let action = Action::Receive { role, target, wants_reply: envelope.wants_reply };
                let permit = self.judge(&envelope.from, &action, &resources, grants, Some(envelope.id))?;
                self.judge_signal(&envelope.payload, &envelope.from, &envelope.target, grants, envelope.id)?;
                permit
            }
        };
        super::validate::check_message(&envelope.payload, &envelope.cause)?;
        let expires = self.now.after_us(envelope.deadline_us.min(DEADLINE_US_MAX));
        let rule = permit.text();
        let place = self.find_place(from, Some(role), envelope, expires, &rule)?;
        if !is_tool_call(&envelope.target, &envelope.payload) {
            self.use_grant(&envelope.from, &permit);
        }
        self.windows.mark(&envelope.id, self.now);
        if let Some((process, bound)) = place {
            self.admit(from, envelope.clone(), process, expires, &rule, bound);
        }
        Ok(())
    }

    /// Whose mailbox a permitted message goes to, when there is room; a broadcast and a question to the kernel are done with at
    /// once. `role` is the sending node's, none for this one.
    fn find_place(
        &mut self,
        from: NodeId,
        role: Option<Role>,
        envelope: &Envelope,
        expires: Timestamp,
        rule: &str,
    ) -> Result<Option<(ProcessId, Bound)>, Refusal> {
        if life_signal(&envelope.payload).is_some() {
            // What changes a process's life needs no room in its mailbox, and names the process or its agent.
            return self.resolve_signal(&envelope.target).map(|process| Some((process, Bound::default())));
        }
        match &envelope.target {
            LocalTarget::Broadcast => self.receive_broadcast(from, role, envelope, rule, expires).map(|()| None),
            LocalTarget::Kernel => self.receive_for_kernel(from, role, envelope, rule).map(|()| None),
            LocalTarget::Process(_)
            | LocalTarget::Agent(_)
            | LocalTarget::Topic(_)
            | LocalTarget::Service(_)
            | LocalTarget::ServiceMethod { .. } => self.find_mailbox(envelope).map(Some),
        }
    }

    /// Whose mailbox a message for one process goes to, when there is room, and what its service holds it to.
    pub(super) fn find_mailbox(&self, envelope: &Envelope) -> Result<(ProcessId, Bound), Refusal> {
        let process = self.resolve(&envelope.target)?;
        let bound = self.services.bind(&envelope.target)?;
        if let Some(method) = &bound.method {
            method.check_input(&envelope.payload)?;
        }
        self.check_room(process, &envelope.from, envelope.payload.size())?;
        Ok((process, bound))
    }

    /// A message of this node to one of its own processes; the gate has permitted it as it was sent.
    pub(super) fn accept_local(&mut self, envelope: Envelope, expires: Timestamp, rule: &str) {
        let (own, id) = (self.identity.chain.node, envelope.id);
        let durable = is_durable(envelope.level.durability);
        let rule = if durable { "local" } else { rule };
        match self.find_place(own, None, &envelope, expires, rule) {
            Ok(Some((process, bound))) => self.admit(own, envelope, process, expires, rule, bound),
            Ok(None) => {}
            Err(refusal) => {
                // Of a durable one the sender's side records what became of it.
                if !durable || self.services.audits_in_full(&envelope.target) {
                    self.record_refused(own, &envelope, &refusal);
                }
                self.refuse(own, id, refusal);
            }
        }
    }

    pub(super) fn resolve(&self, target: &LocalTarget) -> Result<ProcessId, Refusal> {
        let nobody = || Refusal::NoResponder { target: target.to_string() };
        let accepting =
            |process: &ProcessId| self.processes.living(*process).is_some_and(crate::process::Life::accepts);
        match target {
            LocalTarget::Agent(agent) => {
                let found = self.processes.named(agent).filter(accepting);
                found.ok_or_else(|| self.restarting(agent).unwrap_or_else(nobody))
            }
            LocalTarget::Process(process) => match self.processes.find(*process) {
                Found::Living if accepting(process) => Ok(*process),
                Found::Living | Found::Gone => Err(Refusal::Gone { process: *process }),
                Found::Never => Err(nobody()),
            },
            LocalTarget::Service(service) | LocalTarget::ServiceMethod { service, .. } => {
                let Some(info) = self.service(service) else { return Err(nobody()) };
                info.process.ok_or_else(|| self.restarting(info.entry.endpoint.agent()).unwrap_or_else(nobody))
            }
            // Let in before anybody is looked for.
            LocalTarget::Broadcast | LocalTarget::Kernel => Err(nobody()),
            LocalTarget::Topic(_) => {
                Err(Refusal::Unsupported { what: "a topic as the target of a message".to_owned() })
            }
        }
    }

    pub(super) fn check_room(&self, process: ProcessId, from: &Sender, size: usize) -> Result<(), Refusal> {
        let busy = Refusal::Busy { retry_after_us: BUSY_RETRY_US };
        let Some(life) = self.processes.living(process) else { return Err(busy) };
        if let Some(refusal) = refuses(life, self.identity.chain.node, from) {
            return Err(refusal);
        }
        if life.mailbox.has_room(size) { Ok(()) } else { Err(busy) }
    }

    /// Lets a message into a mailbox. Its process may have a plain one at once, a durable one when its record is on disk.
    pub(super) fn admit(
        &mut self,
        from: NodeId,
        envelope: Envelope,
        process: ProcessId,
        expires: Timestamp,
        rule: &str,
        bound: Bound,
    ) {
        let (id, received) = (envelope.id, envelope.level.delivery != Delivery::Executed);
        let (signal, by) = (life_signal(&envelope.payload), envelope.from.clone());
        let target = envelope.target.text();
        let (hlc, record) = self.let_in(from, target, Box::new(envelope), process, expires, rule, bound);
        let seq = record.as_ref().map(|record| record.seq);
        if received {
            self.give_receipt(from, Receipt { message: id, hlc, outcome: Outcome::Received, record, parts: None });
        }
        if let Some(signal) = signal {
            return self.act_on_signal(id, process, &by, signal);
        }
        match seq {
            Some(seq) => self.chain.hold(seq, Promise::ReceivedRecorded { message: id }),
            None => self.deliver(process),
        }
    }

    /// Records a message as received and puts it into the mailbox; returns what its receipt will say.
    #[expect(clippy::too_many_arguments, reason = "all of one message, each named")]
    pub(super) fn let_in(
        &mut self,
        from: NodeId,
        target: Arc<str>,
        envelope: Box<Envelope>,
        process: ProcessId,
        expires: Timestamp,
        rule: &str,
        bound: Bound,
    ) -> (Hlc, Option<RecordRef>) {
        let (id, size, level) = (envelope.id, envelope.payload.size(), envelope.level);
        let signal = life_signal(&envelope.payload);
        let step = Step {
            stage: Stage::Received,
            message: id,
            trace: envelope.trace,
            from: &envelope.from,
            target: &target,
            peer: from,
            rule,
            body: Some(&envelope.payload),
            durability: level.durability,
            cause: &envelope.cause,
            parts: None,
        };
        let (hlc, record) = self.record_audited(&step, bound.in_full);
        let mut incoming = Box::new(Incoming::new(from, target, envelope, process, expires, bound));
        incoming.deliverable = record.is_none();
        match (signal, self.processes.living_mut(process)) {
            // It is acted on at once, wherever in the mailbox it would be.
            (Some(_), _) => incoming.delivery = None,
            (None, Some(life)) => life.mailbox.push(id, size),
            (None, None) => {}
        }
        match level.delivery {
            Delivery::Executed => self.timers.set(expires, Timer::IncomingDeadline(id)),
            // Once a receipt says that it is in the mailbox it stays there.
            Delivery::Routed | Delivery::Received => incoming.expires = None,
        }
        self.inbox.insert(id, incoming);
        (hlc, record)
    }

    /// The record of a durable message is on disk: its process may have it.
    pub(crate) fn on_received_recorded(&mut self, message: &MessageId) {
        let Some(incoming) = self.inbox.get_mut(message) else { return };
        incoming.deliverable = true;
        let process = incoming.process;
        self.deliver(process);
    }

    /// Hands a running process what it has room for, in order.
    pub(crate) fn deliver(&mut self, process: ProcessId) {
        let in_flight_max = self.config.in_flight_max;
        loop {
            let Some(life) = self.processes.living_mut(process) else { return };
            if *life.state() != crate::status::ProcessState::Running {
                return;
            }
            let Some(message) = life.mailbox.next(in_flight_max) else { return };
            let Some(incoming) = self.inbox.get_mut(&message).filter(|incoming| incoming.deliverable) else { return };
            life.mailbox.begin();
            let Some(delivery) = incoming.delivery.take() else { continue };
            match *delivery {
                Delivered { payload: Payload::Signal(signal), from, .. } => {
                    self.deliver_signal(&message, process, *signal, from);
                }
                delivery => self.effects.deliver(process, Box::new(delivery)),
            }
        }
    }

    /// A second copy: while the first is being worked on there is nothing to say.
    fn answer_again(&mut self, from: NodeId, envelope: &Envelope) {
        self.stream_again(from, &envelope.id, envelope.parts);
        let open = self.inbox.get(&envelope.id).is_some_and(Incoming::is_awaited);
        if open || self.tool_runs.works_on(&envelope.id) || self.receipts.is_held(&envelope.id) {
            return;
        }
        match self.receipts.again(&envelope.id, envelope.level) {
            Some(receipt) => self.effects.acknowledge(from, receipt),
            None => self.refuse(from, envelope.id, Refusal::Expired),
        }
    }

    /// Says no to a message that was not let in; the same message may come again.
    pub(crate) fn refuse(&mut self, to: NodeId, message: MessageId, refusal: Refusal) {
        let hlc = self.chain.stamp_refusal(self.now);
        let receipt = Receipt { message, hlc, outcome: Outcome::Refused(refusal), record: None, parts: None };
        if to == self.identity.chain.node {
            self.on_receipt(to, receipt);
        } else {
            self.effects.acknowledge(to, receipt);
        }
    }

    pub(super) fn record_refused(&mut self, from: NodeId, envelope: &Envelope, refusal: &Refusal) {
        // A denial has an event of its own, and so has a deferral.
        if matches!(refusal, Refusal::Denied { .. } | Refusal::Deferred { .. }) {
            return;
        }
        if let Refusal::OutOfScope { scope, .. } = refusal {
            let (rule, target) = (format!("ipc scope {scope}"), envelope.target.to_string());
            self.deny(&envelope.from, "receive", &target, &rule, Some(envelope.id));
            return;
        }
        let step = Step {
            stage: Stage::Refused,
            message: envelope.id,
            trace: envelope.trace,
            from: &envelope.from,
            target: &envelope.target.to_string(),
            peer: from,
            rule: refusal.code(),
            body: Some(&envelope.payload),
            durability: weft_protocol::Durability::None,
            cause: &[],
            parts: None,
        };
        self.record_audited(&step, self.services.audits_in_full(&envelope.target));
    }
}
