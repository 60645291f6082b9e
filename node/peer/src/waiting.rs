//! Messages whose agent nobody has advertised yet, while the directory is not complete.

use std::collections::BTreeMap;

use weft_kernel::Syscall;
use weft_protocol::{Principal, Timestamp};

use crate::config::{PARKED_MAX, PARKED_US_MAX};
use crate::event::AskId;

/// One question that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    /// Who asked.
    pub(crate) by: Principal,
    /// What.
    pub(crate) syscall: Box<Syscall>,
    /// Until when it may wait.
    pub(crate) until: Timestamp,
}

/// At most 1,024 questions, by ask.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    parked: BTreeMap<AskId, Parked>,
}

impl Waiting {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.parked.len() < PARKED_MAX
    }

    /// Parks a question for at most a second and never past its own deadline.
    pub(crate) fn park(&mut self, ask: AskId, by: Principal, syscall: Box<Syscall>, deadline_us: u64, now: Timestamp) {
        let until = now.after_us(deadline_us.min(PARKED_US_MAX));
        self.parked.insert(ask, Parked { by, syscall, until });
    }

    /// Forgets a question whose asker is gone; whether it was here.
    pub(crate) fn withdraw(&mut self, ask: AskId) -> bool {
        self.parked.remove(&ask).is_some()
    }

    /// All questions, to be routed again.
    pub(crate) fn take_all(&mut self) -> BTreeMap<AskId, Parked> {
        std::mem::take(&mut self.parked)
    }

    /// Puts a question back that still has no route.
    pub(crate) fn put_back(&mut self, ask: AskId, parked: Parked) {
        self.parked.insert(ask, parked);
    }

    /// When the first one has waited long enough.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.parked.values().map(|parked| parked.until).min()
    }
}
