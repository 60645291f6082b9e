//! What members say is stable: it stays, whatever happens later, and all of them say the same.

use std::collections::BTreeMap;

use weft_protocol::ChainId;
use weft_replication::{OrderKey, Place, Placement};

use crate::checks::Check;
use crate::mutation::Mutation;
use crate::world::World;

/// How much too early a node with a defect calls something stable, in units of NTP64: two seconds.
const EARLY: u64 = 2 << 32;

/// The longest prefix of the order that anybody has called stable: each event by its chain and place.
#[derive(Debug, Default)]
pub(crate) struct Stability {
    agreed: Vec<(ChainId, u64)>,
}

impl World {
    /// Each running node's stable prefix begins with what was stable before, or is a beginning of it.
    pub(crate) fn judge_stability(&mut self) {
        // What was lost with its disks is nobody's fault, and may have been stable.
        if !self.judge.reference.put_back.is_empty() || self.judge.liar.is_some() {
            return;
        }
        for node in 0..self.nodes.len() {
            let Some(stable) = self.stable_at(node) else { continue };
            let agreed = &mut self.stability.agreed;
            let shared = stable.iter().zip(agreed.iter()).take_while(|(one, other)| one == other).count();
            let holds = shared == stable.len() || shared == agreed.len();
            let (was, is) = (agreed.get(shared).copied(), stable.get(shared).copied());
            if holds && stable.len() > agreed.len() {
                *agreed = stable;
            }
            self.judge.book.check(Check::StableStays, holds, || {
                format!("place {shared} of the order was stable as {was:?}, and is stable at node {node} as {is:?}")
            });
        }
    }

    /// What a running node says is stable, in order; none when it is not running.
    fn stable_at(&self, node: usize) -> Option<Vec<(ChainId, u64)>> {
        let peer = &self.nodes[node].running.as_ref()?.peer;
        let placement = peer.replication().standing().placement();
        let mut places: BTreeMap<Place, (ChainId, u64)> = BTreeMap::new();
        for (chain, events) in self.judge.reference.stamps_held(node) {
            for (seq, (hlc, commit_no)) in (0..).zip(events) {
                let place = placement.place(OrderKey::new(chain, seq, hlc), commit_no);
                let early = self.mutation == Some(Mutation::StableEarly) && is_early(&placement, &place);
                if !placement.is_stable(&place) && !early {
                    break;
                }
                places.insert(place, (chain, seq));
            }
        }
        Some(places.into_values().collect())
    }
}

/// Whether it will be stable in a moment, if nothing comes before it until then.
fn is_early(placement: &Placement, place: &Place) -> bool {
    matches!(place, Place::Ordered { at, .. } if at.hlc.0 <= placement.watermark().0.saturating_add(EARLY))
}
