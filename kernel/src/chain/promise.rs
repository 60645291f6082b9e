//! What waits for a record: held beside its group of events, let go when that group is on disk, and not a moment earlier.

use weft_protocol::{AgentSpec, MessageId, NodeId, ProcessId, Publication, Receipt, Refusal, Signal};

use crate::effects::Told;
use crate::event::{Answer, AskId, Output, Ticket};
use crate::topic::{Cursor, GatherId};

/// That the intent of an effect stands on the chain. Only the chain makes one, and only with one can a process be started
/// or stopped.
#[derive(Debug)]
pub(crate) struct IntentHandle {
    seq: u64,
}

impl IntentHandle {
    pub(super) const fn new(seq: u64) -> Self {
        Self { seq }
    }

    /// The intent's place on the chain.
    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }

    /// The order to start a process; it waits for the intent.
    pub(crate) fn start(self, process: ProcessId, spec: AgentSpec) -> (u64, Promise) {
        (self.seq, Promise::Order(Order(Output::Start { process, spec: Box::new(spec) })))
    }

    /// The order to let a process stand still; it waits for the intent.
    pub(crate) const fn suspend(self, process: ProcessId) -> (u64, Promise) {
        (self.seq, Promise::Order(Order(Output::Suspend { process })))
    }

    /// The order to let a process go on; it waits for the intent.
    pub(crate) const fn resume(self, process: ProcessId) -> (u64, Promise) {
        (self.seq, Promise::Order(Order(Output::Resume { process })))
    }

    /// The order to stop a process; it waits for the intent.
    pub(crate) const fn stop(self, process: ProcessId, grace_us: u64) -> (u64, Promise) {
        (self.seq, Promise::Order(Order(Output::Stop { process, grace_us })))
    }
}

/// An effect on the world whose intent is on disk once this is in somebody's hands.
/// Invariant: made by [`IntentHandle`] alone, let go by the chain alone.
#[derive(Debug)]
pub(crate) struct Order(Output);

impl Order {
    /// The output that carries it out.
    pub(crate) fn into_output(self) -> Output {
        self.0
    }
}

/// What is let go when its record is on disk.
#[derive(Debug)]
pub(crate) enum Promise {
    /// Tell whoever asked that a person must approve it.
    Deferred { told: Told, refusal: Refusal },
    /// Change the world.
    Order(Order),
    /// Answer whoever asked.
    Answer { ask: AskId, answer: Result<Answer, Refusal> },
    /// Give a receipt that names a record.
    Receipt { to: NodeId, receipt: Box<Receipt> },
    /// The sender's own record of this message is on disk.
    SentRecorded { message: MessageId },
    /// The record of this received message is on disk: it may be handed to its process.
    ReceivedRecorded { message: MessageId },
    /// The intent of what this signal asked for is on disk.
    Signalled { message: MessageId },
    /// Tell the other machine that its facts are on disk.
    FactsRecorded { ticket: Ticket, first_seq: u64 },
    /// The intent of a cron job's run is on disk: its message may leave.
    RunIntended { own: AskId },
    /// Hand a publication to an operator's subscription.
    Notify { ask: AskId, cursor: Cursor, publication: Box<Publication> },
    /// That a dead letter is sent once more is on disk: it may leave, under the rule that permitted it.
    RetryRecorded { message: MessageId, rule: String },
    /// That an agent subscribed is on disk: what it may have missed can be gathered.
    SubscriptionRecorded { gather: GatherId },
    /// Tell a process what happened.
    Tell { process: ProcessId, signal: Box<Signal> },
    /// The records of this start are on disk.
    Booted,
    /// The last record of this run is on disk.
    Halted,
}
