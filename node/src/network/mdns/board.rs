//! What multicast DNS does and has heard, shared with whoever shows it.

use std::sync::{Arc, Mutex, PoisonError};

use weft_protocol::control::MdnsReport;

/// A handle that outlives the task.
#[derive(Debug, Clone)]
pub(crate) struct MdnsBoard {
    report: Arc<Mutex<MdnsReport>>,
}

impl Default for MdnsBoard {
    fn default() -> Self {
        let report = MdnsReport { state: "off".to_owned(), ..MdnsReport::default() };
        Self { report: Arc::new(Mutex::new(report)) }
    }
}

impl MdnsBoard {
    /// As it is now.
    pub(crate) fn report(&self) -> MdnsReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes something.
    pub(super) fn note(&self, note: impl FnOnce(&mut MdnsReport)) {
        note(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
