//! Vouching for what other members want vouched for: as far as it is on our disk, now or when it is.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::WITNESS_PLACES_MAX;
use weft_protocol::{ChainId, NodeId, SyncResponse, Timestamp};

use crate::event::{Output, RequestId};
use crate::replication::Replication;

/// Most sizes of one chain that are waited for; of more the largest are forgotten, and asked for again (guess).
const SIZES_MAX: usize = 8;

/// Chains that are to be vouched for as soon as so many events of them are here. Invariant: only chains that are accepted, so
/// that their number is bounded like that of copies.
pub(crate) type Wishes = BTreeMap<ChainId, BTreeSet<u64>>;

impl Replication {
    /// A member wants us to vouch for these chains as far as that.
    pub(crate) fn on_witness_wanted(
        &mut self,
        request: RequestId,
        from: NodeId,
        places: &[(ChainId, u64)],
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let own = self.own.chain.node;
        for (chain, size) in places.iter().take(WITNESS_PLACES_MAX) {
            let may = chain.node != own && self.accepts(chain) && !self.forks.contains(chain);
            // Events alone are a reason: what is vouched for already, and commits without any, are none.
            if !may || self.witnesses.size_of(&own, chain) >= *size {
                continue;
            }
            let Some(copy) = self.copy_or_new(*chain) else { continue };
            if copy.durable().size() >= *size {
                outputs.push(Output::Anchor { chain: *chain });
                continue;
            }
            self.active.insert(*chain);
            let sizes = self.wishes.entry(*chain).or_default();
            sizes.insert(*size);
            if sizes.len() > SIZES_MAX {
                sizes.pop_last();
            }
            self.say_hello(from, now, outputs);
        }
        let heads = self.own.shown_head().cloned().into_iter().collect();
        outputs.push(Output::Respond { request, content: Box::new(SyncResponse::Heads(heads)) });
    }

    /// More of this chain is on disk: whoever waited for that is answered by our next commit.
    pub(crate) fn vouch_for(&mut self, chain: ChainId, outputs: &mut Vec<Output>) {
        let Some(sizes) = self.wishes.get_mut(&chain) else { return };
        let Some(held) = self.copies.get(&chain).map(|copy| copy.durable().size()) else { return };
        let before = sizes.len();
        sizes.retain(|size| *size > held);
        let reached = sizes.len() < before;
        if sizes.is_empty() {
            self.wishes.remove(&chain);
        }
        if reached && !self.forks.contains(&chain) {
            outputs.push(Output::Anchor { chain });
        }
    }
}
