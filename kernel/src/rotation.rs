//! Another ML-DSA-65 key for this node: judged, recorded by both keys, and in force when that is on disk.

use std::sync::Arc;

use weft_protocol::{Principal, Refusal, Signer};

use crate::action::Action;
use crate::chain::Promise;
use crate::event::Ticket;
use crate::kernel::Kernel;

/// When a rotation that found another one on its way should be asked for again, in microseconds (guess: some disk syncs).
const ROTATION_RETRY_US: u64 = 100_000;

impl Kernel {
    /// The keys of this node give way to those of `next`; whoever asked hears it when the record is on disk, and nothing is signed
    /// by them before.
    pub(crate) fn on_rotation_asked(&mut self, ticket: Ticket, by: &Principal, next: Arc<dyn Signer>) {
        match self.rotate_keys(by, next) {
            Ok(seq) => self.chain.hold(seq, Promise::FactsRecorded { ticket, first_seq: seq }),
            Err(refusal) => self.effects.refuse_facts(ticket, refusal),
        }
    }

    fn rotate_keys(&mut self, by: &Principal, next: Arc<dyn Signer>) -> Result<u64, Refusal> {
        let asker = self.asker(by)?;
        self.judge(&asker.sender, &Action::RotateKeys, &["node".to_owned()], &asker.grants, None)?;
        if self.chain.is_rotating() {
            return Err(Refusal::Busy { retry_after_us: ROTATION_RETRY_US });
        }
        let (old, new) = (self.chain.signer().public_keys(), next.public_keys());
        if new.node() != old.node() || new == old {
            let message = "these are not new keys of this node".to_owned();
            return Err(Refusal::Invalid { message });
        }
        Ok(self.chain.rotate(&by.to_string(), next, self.now))
    }
}
