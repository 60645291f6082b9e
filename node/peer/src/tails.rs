//! What was lost of this node's earlier chains and came back from members: said on the present chain, once for each return.

use std::collections::BTreeMap;

use weft_kernel::Action;
use weft_protocol::{ChainId, Fact, Head, NodeId, Principal, Recovered, TailReturned};

use crate::peer::{FactsOwner, Peer};

/// How many commits of each earlier chain have their place in the order: those that its successor names as its end, or that
/// were said to have returned.
#[derive(Debug, Default)]
pub(crate) struct Tails(BTreeMap<ChainId, u64>);

impl Tails {
    /// As the chains of this node tell it; a chain that is about to begin will name `previous`.
    pub(crate) fn of(own: NodeId, recovered: &Recovered, previous: Option<&Head>) -> Self {
        let mut tails = Self::default();
        previous.into_iter().for_each(|head| tails.note(head));
        for placed in recovered.chains_of(own).into_iter().flat_map(|chain| &chain.facts) {
            match &placed.fact {
                Fact::Genesis(genesis) => genesis.previous.iter().for_each(|head| tails.note(head)),
                Fact::TailReturned(returned) => tails.note(&returned.head),
                _ => {}
            }
        }
        tails
    }

    fn note(&mut self, head: &Head) {
        let known = self.0.entry(head.chain).or_default();
        *known = (*known).max(head.commit_no + 1);
    }

    /// Whether this end of a chain is further than what was said; it is said now.
    fn is_news(&mut self, head: &Head) -> bool {
        let news = self.0.get(&head.chain).is_none_or(|known| *known <= head.commit_no);
        self.note(head);
        news
    }
}

impl Peer {
    /// Records what is on disk of earlier chains beyond what was said of them, unless more of it is on its way.
    pub(crate) fn record_tails(&mut self) {
        if self.start.is_open() {
            return;
        }
        let earlier = self.replication.earlier_chains().filter(|(_, missing)| *missing == 0).map(|(head, _)| head);
        for head in earlier.collect::<Vec<_>>() {
            if self.tails.is_news(&head) {
                let fact = Fact::TailReturned(TailReturned { chain: head.chain, head });
                self.record(FactsOwner::Peer, Principal::Operator, Action::RecordTail, vec![fact]);
            }
        }
    }
}
