//! What stands where: the order of all events, with what changes of who counts made of it.

use std::collections::BTreeMap;

use weft_protocol::{ChainId, Hlc};

use super::epochs::{Epochs, Span};
use crate::order::OrderKey;

/// Where an event stands. Sorts as the order does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// By its own key; or directly after the record of that key, which let its chain count, if it is stamped before that.
    Ordered {
        /// Its own key, or that of the record.
        at: OrderKey,
        /// Its own key when it follows a record.
        late: Option<OrderKey>,
    },
    /// Behind the order: its chain does not count, or no longer.
    Waiting(OrderKey),
}

/// Which stretches of which chains are in the order, and up to where that cannot change any more.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    spans: BTreeMap<ChainId, Vec<Span>>,
    watermark: Hlc,
}

impl Placement {
    pub(super) fn new(epochs: &Epochs, watermark: Hlc) -> Self {
        let mut spans = epochs.spans().clone();
        spans.values_mut().for_each(|spans| spans.sort_by_key(|span| span.opening));
        Self { spans, watermark }
    }

    /// Where the event of this key stands, which the commit of this number holds. Along a chain places rise.
    #[must_use]
    pub fn place(&self, key: OrderKey, commit_no: u64) -> Place {
        let spans = self.spans.get(&key.chain()).map_or(&[][..], Vec::as_slice);
        match spans.iter().find(|span| span.last.is_none_or(|last| commit_no <= last.commit_no)) {
            Some(span) if key < span.opening => Place::Ordered { at: span.opening, late: Some(key) },
            Some(_) => Place::Ordered { at: key, late: None },
            None => Place::Waiting(key),
        }
    }

    /// Whether nothing can come before it any more, and nothing can take it away but proof against its writer.
    #[must_use]
    pub const fn is_stable(&self, place: &Place) -> bool {
        match place {
            Place::Ordered { at, .. } => at.hlc.0 <= self.watermark.0,
            Place::Waiting(_) => false,
        }
    }

    /// W: whatever is in the order at or below this stamp is stable.
    #[must_use]
    pub const fn watermark(&self) -> Hlc {
        self.watermark
    }
}
