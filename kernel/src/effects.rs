//! The outputs of one input, as verbs: all that may leave at once. What waits for a record is not among them.

use weft_protocol::{
    AgentName, ChainId, CommitGroup, DeferralId, Envelope, Hlc, MessageId, NodeId, PartsTaken, Payload, Principal,
    ProcessId, Publication, Receipt, Refusal, ReplyPart, Resource, Sender, ServiceAdvert, Signal, SignedTick,
    TopicPattern,
};

use crate::chain::Order;
use crate::event::{Answer, AskId, Delivery, Output, Ticket};
use crate::health::ProbeTarget;
use crate::syscall::Syscall;
use crate::topic::{Cursor, Gather, GatherId};

/// Outputs in the order in which they were said.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    outputs: Vec<Output>,
    /// Answers to the kernel's own questions.
    own: Vec<(AskId, Result<Answer, Refusal>)>,
    /// Refusals that name a deferred action whose record may not be on disk yet.
    deferred: Vec<(Told, Refusal, DeferralId)>,
}

/// Who is told that something is deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Asker(AskId),
    Facts(Ticket),
}

impl Effects {
    pub(crate) fn answer(&mut self, ask: AskId, answer: Result<Answer, Refusal>) {
        match answer {
            answer if ask.is_own() => self.own.push((ask, answer)),
            Err(Refusal::Deferred { rule, deferral, expires }) => {
                self.deferred.push((Told::Asker(ask), Refusal::Deferred { rule, deferral, expires }, deferral));
            }
            answer => self.outputs.push(Output::Answer { ask, answer }),
        }
    }

    pub(crate) fn ticked(&mut self, tick: Option<Box<SignedTick>>) {
        self.outputs.push(Output::Ticked { tick });
    }

    pub(crate) fn leave_lease(&mut self, agent: AgentName, fence: u64, refusal: Refusal) {
        self.outputs.push(Output::LeaseUnused { agent, fence, refusal });
    }

    /// Refusals that wait for the record of what they name.
    pub(crate) fn take_deferred(&mut self) -> Vec<(Told, Refusal, DeferralId)> {
        std::mem::take(&mut self.deferred)
    }

    /// The record is on disk: whoever asked is told.
    pub(crate) fn tell_deferred(&mut self, told: Told, refusal: Refusal) {
        self.outputs.push(match told {
            Told::Asker(ask) => Output::Answer { ask, answer: Err(refusal) },
            Told::Facts(ticket) => Output::FactsRefused { ticket, refusal },
        });
    }

    /// The kernel itself asks, in somebody's name; the answer is among [`Self::take_own_answers`].
    pub(crate) fn ask(&mut self, ask: AskId, by: Principal, syscall: Syscall) {
        self.outputs.push(Output::Ask { ask, by, syscall: Box::new(syscall) });
    }

    /// What the kernel's own questions were answered since the last time.
    pub(crate) fn take_own_answers(&mut self) -> Vec<(AskId, Result<Answer, Refusal>)> {
        std::mem::take(&mut self.own)
    }

    pub(crate) fn transmit(&mut self, to: NodeId, envelope: Envelope) {
        self.outputs.push(Output::Transmit { to, envelope: Box::new(envelope) });
    }

    pub(crate) fn acknowledge(&mut self, to: NodeId, receipt: Receipt) {
        self.outputs.push(Output::Acknowledge { to, receipt: Box::new(receipt) });
    }

    pub(crate) fn cancel(&mut self, to: NodeId, message: MessageId) {
        self.outputs.push(Output::Cancel { to, message });
    }

    pub(crate) fn answer_part(&mut self, ask: AskId, number: u32, payload: Payload) {
        self.outputs.push(Output::AnswerPart { ask, number, payload });
    }

    pub(crate) fn send_part(&mut self, to: NodeId, part: ReplyPart) {
        self.outputs.push(Output::SendPart { to, part: Box::new(part) });
    }

    pub(crate) fn say_taken(&mut self, to: NodeId, taken: PartsTaken) {
        self.outputs.push(Output::SayPartsTaken { to, taken });
    }

    pub(crate) fn seek_witnesses(
        &mut self,
        message: MessageId,
        places: Vec<(ChainId, u64)>,
        except: [NodeId; 2],
        members: u8,
    ) {
        self.outputs.push(Output::SeekWitnesses { message, places, except, members });
    }

    pub(crate) fn seek_no_witnesses(&mut self, message: MessageId) {
        self.outputs.push(Output::SeekNoWitnesses { message });
    }

    pub(crate) fn publish(&mut self, publication: Publication) {
        self.outputs.push(Output::Publish(Box::new(publication)));
    }

    pub(crate) fn follow(&mut self, subscriptions: Vec<(TopicPattern, u32)>, since: Hlc) {
        self.outputs.push(Output::Follow { subscriptions, since });
    }

    pub(crate) fn gather(&mut self, gather: GatherId, pattern: TopicPattern, what: Gather) {
        self.outputs.push(Output::Gather { gather, pattern, what });
    }

    pub(crate) fn advertise(&mut self, agents: Vec<(AgentName, ProcessId)>) {
        self.outputs.push(Output::Advertise { agents });
    }

    /// The chain let go of it: the log with this publication is on disk.
    pub(crate) fn notify(&mut self, ask: AskId, cursor: Cursor, publication: Box<Publication>) {
        self.outputs.push(Output::Notify { ask, cursor, publication });
    }

    pub(crate) fn advertise_services(&mut self, services: Vec<ServiceAdvert>) {
        self.outputs.push(Output::AdvertiseServices { services });
    }

    pub(crate) fn deliver(&mut self, process: ProcessId, delivery: Box<Delivery>) {
        self.outputs.push(Output::Deliver { process, delivery });
    }

    pub(crate) fn deliver_publication(&mut self, process: ProcessId, publication: &Publication) {
        self.outputs.push(Output::DeliverPublication { process, publication: Box::new(publication.clone()) });
    }

    pub(crate) fn signal(&mut self, process: ProcessId, signal: Signal, from: Option<Sender>) {
        self.outputs.push(Output::Signal { process, signal: Box::new(signal), from });
    }

    pub(crate) fn cancel_delivery(&mut self, process: ProcessId, message: MessageId) {
        self.outputs.push(Output::CancelDelivery { process, message });
    }

    pub(crate) fn warn(&mut self, process: ProcessId, resource: Resource, measured: u64, limit: u64) {
        self.outputs.push(Output::Warn { process, resource, measured, limit });
    }

    pub(crate) fn probe(&mut self, number: u64, target: ProbeTarget) {
        self.outputs.push(Output::Probe { number, target });
    }

    pub(crate) fn refuse_facts(&mut self, ticket: Ticket, refusal: Refusal) {
        match refusal {
            Refusal::Deferred { deferral, .. } => self.deferred.push((Told::Facts(ticket), refusal, deferral)),
            refusal => self.outputs.push(Output::FactsRefused { ticket, refusal }),
        }
    }

    /// The chain let go of it: the facts are on disk.
    pub(crate) fn confirm_facts(&mut self, ticket: Ticket, first_seq: u64) {
        self.outputs.push(Output::FactsRecorded { ticket, first_seq });
    }

    /// The chain let go of it: the intent is on disk.
    pub(crate) fn carry_out(&mut self, order: Order) {
        self.outputs.push(order.into_output());
    }

    /// The chain let go of it: the commit is on disk.
    pub(crate) fn announce(&mut self, group: CommitGroup) {
        self.outputs.push(Output::Announce(Box::new(group)));
    }

    pub(crate) fn halt(&mut self) {
        self.outputs.push(Output::Halt);
    }

    pub(crate) fn drain_into(&mut self, outputs: &mut Vec<Output>) {
        outputs.append(&mut self.outputs);
    }
}
