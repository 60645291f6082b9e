//! Messages of this node that wait for a receipt, whoever asked for them still being there or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_protocol::limits::CALLS_MAX;
use weft_protocol::{Envelope, GrantRef, MessageId, NodeId, ProcessId, Receipt, RecordRef, Timestamp};

use super::record::is_durable;
use super::taking::Taking;
use super::tools::is_tool_call;
use super::witness::Witnesses;
use crate::event::AskId;

/// One message.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who is to be told, once.
    pub(crate) ask: Option<AskId>,
    /// The process that asked, when one did.
    pub(crate) process: Option<ProcessId>,
    /// Where it goes.
    pub(crate) to: NodeId,
    /// Its target as written.
    pub(crate) target: Arc<str>,
    pub(crate) envelope: Envelope,
    pub(crate) asked_at: Timestamp,
    pub(crate) expires: Timestamp,
    /// How often it was transmitted.
    pub(crate) attempts: u32,
    /// When it is transmitted again.
    pub(crate) retry_at: Option<Timestamp>,
    /// Whether nothing is known to be on its way: it was not transmitted, or that failed.
    pub(crate) lost: bool,
    /// Our own record of it, when it is durable.
    pub(crate) sent: Option<RecordRef>,
    /// Whether that is on disk.
    pub(crate) sent_on_disk: bool,
    /// What the receiver said.
    pub(crate) receipt: Option<Receipt>,
    /// Who vouches for its records, when somebody waits for that.
    pub(crate) witnesses: Witnesses,
    /// What has come of its answer, when whoever asked takes parts.
    pub(crate) taking: Option<Box<Taking>>,
}

impl Call {
    pub(crate) const fn is_durable(&self) -> bool {
        is_durable(self.envelope.level.durability)
    }

    /// Whether it calls a tool of a kernel: its steps are events of their own.
    pub(crate) const fn is_tool_call(&self) -> bool {
        is_tool_call(&self.envelope.target, &self.envelope.payload)
    }
}

/// Invariant: `asks` names exactly the calls that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: BTreeMap<MessageId, Box<Call>>,
    asks: BTreeMap<AskId, MessageId>,
}

impl Calls {
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= CALLS_MAX
    }

    pub(crate) fn insert(&mut self, call: Box<Call>) {
        let message = call.envelope.id;
        if let Some(ask) = call.ask {
            self.asks.insert(ask, message);
        }
        self.calls.insert(message, call);
    }

    pub(crate) fn get(&self, message: &MessageId) -> Option<&Call> {
        self.calls.get(message).map(AsRef::as_ref)
    }

    pub(crate) fn get_mut(&mut self, message: &MessageId) -> Option<&mut Call> {
        self.calls.get_mut(message).map(AsMut::as_mut)
    }

    pub(crate) fn remove(&mut self, message: &MessageId) -> Option<Box<Call>> {
        let call = self.calls.remove(message)?;
        if let Some(ask) = call.ask {
            self.asks.remove(&ask);
        }
        Some(call)
    }

    /// The call that this ask waits for.
    pub(crate) fn of_ask(&self, ask: AskId) -> Option<MessageId> {
        self.asks.get(&ask).copied()
    }

    /// Nobody waits for this call any more, but it goes on; returns who did.
    pub(crate) fn release_ask(&mut self, message: &MessageId) -> Option<AskId> {
        let ask = self.calls.get_mut(message)?.ask.take()?;
        self.asks.remove(&ask);
        Some(ask)
    }

    pub(crate) fn of_process(&self, process: ProcessId) -> Vec<MessageId> {
        let own = self.calls.iter().filter(|(_, call)| call.process == Some(process));
        own.map(|(message, _)| *message).collect()
    }

    /// Calls to a node of which nothing is known to be on its way.
    pub(crate) fn lost_to(&self, node: NodeId) -> Vec<MessageId> {
        let lost = self.calls.iter().filter(|(_, call)| call.to == node && call.lost && call.receipt.is_none());
        lost.map(|(message, _)| *message).collect()
    }

    /// Calls that this grant, or one narrowed from it, permitted; `own` is the node of their senders.
    pub(crate) fn under(&self, own: NodeId, grant: GrantRef) -> Vec<MessageId> {
        let stands_on = |call: &Call| {
            let permit = call.envelope.grant.as_ref();
            call.receipt.is_none() && permit.is_some_and(|held| held.line(own).any(|one| one == grant))
        };
        self.calls.iter().filter(|(_, call)| stands_on(call)).map(|(message, _)| *message).collect()
    }

    pub(crate) fn all(&self) -> Vec<MessageId> {
        self.calls.keys().copied().collect()
    }
}
