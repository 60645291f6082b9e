//! Where a member is that does not answer where it was: Kademlia among members, whose answers are hints and never truth.
//!
//! Every connection is a member's, so only members speak it. A member enters the table with the addresses that it says it
//! listens at, and leaves it when it is cut off; whom members name beside each other is dialled only when this node knows it as a
//! member (`fence`). It holds no records but those of providers (`providers`): a member's signed advert says what it serves, and this
//! only whom to ask.

use std::time::Duration;

use libp2p::kad::{
    self, BucketInserts, Caching, GetClosestPeersError, GetClosestPeersOk, Mode, PeerInfo, QueryId, QueryResult,
    StoreInserts, store::MemoryStore,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use weft_peer::Input;
use weft_protocol::limits::ADDRESSES_MAX;
use weft_protocol::{ClusterId, NodeId};

use super::providers::{RECORD_TTL, store};
use crate::identity::{node_id, peer_id};

/// How long one lookup may take.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one member may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// Lookups under way at once; a further one is not begun, and asked for again by whoever misses the member (guess).
const LOOKUPS_MAX: usize = 16;
/// Most bytes of one message: twenty members with sixteen addresses each fit.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The table of members and their addresses.
pub(super) type Table = kad::Behaviour<MemoryStore>;

/// The table of one cluster, spoken of with its members alone.
pub(super) fn table(local: PeerId, cluster: ClusterId) -> Table {
    let protocol = StreamProtocol::try_from_owned(format!("/weft/{cluster}/kad/1"));
    let mut config = kad::Config::new(protocol.expect("BUG: it begins with a slash"));
    config
        .set_query_timeout(LOOKUP_TIME_MAX)
        .set_substreams_timeout(ANSWER_TIME_MAX)
        .set_max_packet_size(MESSAGE_BYTES_MAX)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_caching(Caching::Disabled)
        .set_provider_record_ttl(Some(RECORD_TTL))
        // Nothing is stored that could be replicated, providers say again themselves that they are, and members that are missing
        // are dialled by their own clock.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(None);
    let mut table = kad::Behaviour::with_config(local, store(local), config);
    table.set_mode(Some(Mode::Server));
    table
}

/// A member says where it listens; where it was before is of no use.
///
/// With few members in its table libp2p looks for its own key and for one of each distance whenever one more has come, which asks
/// everybody each time. Nobody enters the table but by its own word, so that brings nothing: it is begun here, and ends before anybody
/// is asked.
pub(super) fn enter(table: &mut Table, peer: PeerId, addresses: Vec<Multiaddr>) {
    table.remove_peer(&peer);
    for address in addresses {
        table.add_address(&peer, address);
    }
    if let Ok(query) = table.bootstrap() {
        end(table, query);
    }
}

fn end(table: &mut Table, query: QueryId) {
    if let Some(mut query) = table.query_mut(&query) {
        query.finish();
    }
}

/// The lookups that are under way.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    sought: Vec<(QueryId, NodeId)>,
}

impl Lookups {
    /// Asks members where this one is. What they say is told when it is known; nothing, when nobody knows.
    pub(super) fn begin(&mut self, table: &mut Table, node: NodeId) {
        if self.sought.len() < LOOKUPS_MAX && !self.sought.iter().any(|(_, sought)| *sought == node) {
            self.sought.push((table.get_closest_peers(peer_id(node)), node));
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.sought.len()
    }

    /// What became of one of them.
    pub(super) fn happened(&mut self, table: &mut Table, event: kad::Event) -> Option<Input> {
        let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event else {
            tracing::trace!(?event, "the table of members changed");
            return None;
        };
        if matches!(result, QueryResult::Bootstrap(_)) {
            end(table, id);
            return None;
        }
        let place = self.sought.iter().position(|(query, _)| *query == id)?;
        let (_, node) = if step.last { self.sought.swap_remove(place) } else { self.sought[place] };
        let QueryResult::GetClosestPeers(
            Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. }),
        ) = result
        else {
            return None;
        };
        let addresses = addresses_of(node, &peers);
        tracing::debug!(%node, ?addresses, "members were asked where a member is");
        (!addresses.is_empty()).then_some(Input::AddressesFound { node, addresses })
    }
}

fn addresses_of(node: NodeId, peers: &[PeerInfo]) -> Vec<String> {
    let named = peers.iter().filter(|peer| node_id(&peer.peer_id) == Some(node));
    named.flat_map(|peer| &peer.addrs).take(ADDRESSES_MAX).map(Multiaddr::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use libp2p::swarm::{NetworkBehaviour as _, ToSwarm};
    use weft_protocol::hash;

    use super::*;

    #[test]
    fn nobody_is_asked_because_a_member_has_come() {
        let cluster = ClusterId::from_bytes(*hash("cluster", &[]).as_bytes());
        let mut table = table(PeerId::random(), cluster);
        let (mut lookups, mut progressed) = (Lookups::default(), 0);
        for port in 1..=8 {
            let address = format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address");
            enter(&mut table, PeerId::random(), vec![address]);
            while let Poll::Ready(event) = table.poll(&mut Context::from_waker(Waker::noop())) {
                match event {
                    ToSwarm::GenerateEvent(event @ kad::Event::OutboundQueryProgressed { .. }) => {
                        progressed += 1;
                        assert!(lookups.happened(&mut table, event).is_none());
                    }
                    ToSwarm::GenerateEvent(_) | ToSwarm::NewExternalAddrOfPeer { .. } => {}
                    other => panic!("somebody is asked: {other:?}"),
                }
            }
            assert_eq!(table.iter_queries().count(), 0, "it is over");
        }
        assert!(progressed >= 8, "libp2p looks for its own key at each");
    }
}
