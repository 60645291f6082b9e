//! Bodies too large for a frame: kept for the member they are sent to, fetched from the member that sends them.

mod fetches;
mod offers;

use weft_protocol::Timestamp;

pub(crate) use fetches::{Arrived, FetchKey, Fetches, Wanted, key};
pub(crate) use offers::Offers;

/// Both directions. Invariant: what is kept and what is fetched each stay within their bound.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    pub(crate) offers: Offers,
    pub(crate) fetches: Fetches,
}

impl Blobs {
    /// Lets go of what nobody asks for any more.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.offers.expire(now);
        self.fetches.expire(now);
    }

    /// When the next one is let go of.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.offers.next_wakeup().into_iter().chain(self.fetches.next_wakeup()).min()
    }
}

#[cfg(test)]
mod tests;
