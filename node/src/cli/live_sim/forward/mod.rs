//! What stands between the nodes of a live simulation: each is told to others at an address where the simulation itself listens,
//! and listens at another one that nobody hears of.
//!
//! `udp` and `tcp` carry what comes, or do not, as [`Rules`] say; `owner`, with `socket_number`, finds out who opened a connection that
//! does not come from where its node listens. All addresses are in one random `/24` network of loopback, so no rights are needed.

mod owner;
mod socket_number;
mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fault::FaultRow;
use super::name::{Party, SimNode};
use super::rules::{Freight, Rules, Verdict};
use owner::Owners;
use socket_number::Kind;

/// The last byte of where a node listens is its number and this: beyond all numbers.
const HIDDEN: u8 = 128;
/// Ports of nodes: below those that Linux gives to whoever asks for any (from 32768 on, ip(7)), since a node that joins has one of those
/// at all addresses, and where another node is to listen there must be none.
const PORTS: std::ops::Range<u64> = 20_000..30_000;
/// How often a pair of free ports is looked for: another program seldom has one of these addresses (guess).
const PORT_TRIES: usize = 16;

/// Where one node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where others find it, over UDP and TCP.
    pub(crate) told: SocketAddr,
    /// Where it listens, over UDP and TCP.
    pub(crate) listens: SocketAddr,
}

impl Place {
    /// Multiaddresses of QUIC and TCP.
    pub(crate) fn multiaddrs(at: SocketAddr) -> [String; 2] {
        let (ip, port) = (at.ip(), at.port());
        [format!("/ip4/{ip}/udp/{port}/quic-v1"), format!("/ip4/{ip}/tcp/{port}")]
    }
}

/// One node's end of everything.
#[derive(Debug)]
struct End {
    place: Place,
    told: Arc<UdpSocket>,
}

/// What all tasks share.
#[derive(Debug)]
struct Between {
    ends: BTreeMap<SimNode, End>,
    /// By where it listens.
    listeners: BTreeMap<IpAddr, SimNode>,
    rules: Mutex<Rules>,
    /// Says that the rules are others now.
    changed: watch::Sender<()>,
    owners: Mutex<Owners>,
}

impl Between {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, from: Party, to: Party, freight: Freight) -> Verdict {
        self.rules().judge(from, to, freight)
    }

    /// The address that whatever this party sends comes from: where others find it, so that it is seen where it says that it is.
    fn seen_at(&self, party: Party) -> IpAddr {
        let end = match party {
            Party::Node(node) => self.ends.get(&node),
            Party::Outside => None,
        };
        end.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |end| end.place.told.ip())
    }

    /// Who sends to a node from this address.
    fn whose(&self, kind: Kind, source: SocketAddr, to: SimNode) -> Party {
        match (self.listener_at(source), self.ends.get(&to)) {
            (Some(node), _) => Party::Node(node),
            (None, Some(end)) => self.owners().find(kind, source, end.place.told),
            (None, None) => Party::Outside,
        }
    }

    /// Whose address this is, where each node listens.
    fn listener_at(&self, address: SocketAddr) -> Option<SimNode> {
        self.listeners.get(&address.ip()).copied()
    }
}

/// The forwarders of all nodes. Dropping them takes in nothing more.
#[derive(Debug)]
pub(crate) struct Forwarders {
    between: Arc<Between>,
    datagrams: Vec<JoinHandle<()>>,
    streams: BTreeMap<SimNode, JoinHandle<()>>,
}

impl Drop for Forwarders {
    fn drop(&mut self) {
        self.datagrams.iter().chain(self.streams.values()).for_each(JoinHandle::abort);
    }
}

impl Forwarders {
    /// Those of so many nodes, in the loopback network `127.NET.0/24`; datagrams are carried from now on.
    ///
    /// # Errors
    /// When no address is free there.
    pub(crate) async fn start(count: u8, network: [u8; 2], seed: u64) -> io::Result<Self> {
        let mut ends = BTreeMap::new();
        let mut ports = ports(seed);
        for node in SimNode::first(count) {
            let ip = |last: u8| IpAddr::V4(Ipv4Addr::new(127, network[0], network[1], last));
            let (told, _free) = both(ip(node.number()), &mut ports).await?;
            let (listens, _free) = both(ip(HIDDEN + node.number()), &mut ports).await?;
            let place = Place { told: told.local_addr()?, listens: listens.local_addr()? };
            ends.insert(node, End { place, told: Arc::new(told) });
        }
        let listeners = ends.iter().map(|(node, end)| (end.place.listens.ip(), *node)).collect();
        let between = Arc::new(Between {
            ends,
            listeners,
            rules: Mutex::new(Rules::new(seed)),
            changed: watch::Sender::new(()),
            owners: Mutex::new(Owners::default()),
        });
        let datagrams =
            SimNode::first(count).map(|node| tokio::spawn(udp::carry(Arc::clone(&between), node))).collect();
        Ok(Self { between, datagrams, streams: BTreeMap::new() })
    }

    /// Where this node is.
    pub(crate) fn place(&self, node: SimNode) -> Option<Place> {
        self.between.ends.get(&node).map(|end| end.place)
    }

    /// The process of a node: what it opens is its own.
    pub(crate) fn runs_as(&self, node: SimNode, pid: u32) {
        self.between.owners().runs_as(node, pid);
    }

    /// Takes TCP connections to this node from now on.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub(crate) async fn open(&mut self, node: SimNode) -> io::Result<()> {
        let Some(place) = self.place(node) else { return Ok(()) };
        if self.streams.contains_key(&node) {
            return Ok(());
        }
        let listener = TcpListener::bind(place.told).await?;
        self.streams.insert(node, tokio::spawn(tcp::carry(Arc::clone(&self.between), node, listener)));
        Ok(())
    }

    /// Nobody listens at this node's address any more: who dials it is refused at once, as when its process is gone.
    pub(crate) async fn close(&mut self, node: SimNode) {
        if let Some(task) = self.streams.remove(&node) {
            task.abort();
            let _cancelled = task.await;
        }
    }

    /// Changes the rules; what waits for that goes on.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Rules) -> T) -> T {
        let result = change(&mut self.between.rules());
        self.between.changed.send_replace(());
        result
    }

    /// Network faults in force.
    pub(crate) fn rows(&self) -> Vec<FaultRow> {
        self.between.rules().rows()
    }
}

/// Ports of [`PORTS`], again and again, each once before any comes twice.
fn ports(seed: u64) -> impl Iterator<Item = u16> {
    let count = PORTS.end - PORTS.start;
    // A step that has no divisor in common with their number.
    let port = move |number: u64| PORTS.start + (seed % count + number * 7_919) % count;
    (0..count).cycle().filter_map(move |number| u16::try_from(port(number)).ok())
}

/// A port of this address that is free over UDP and TCP.
async fn both(ip: IpAddr, ports: &mut impl Iterator<Item = u16>) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in ports.by_ref().take(PORT_TRIES) {
        let both = async {
            let udp = UdpSocket::bind((ip, port)).await?;
            Ok((udp, TcpListener::bind((ip, port)).await?))
        };
        match both.await {
            Ok(both) => return Ok(both),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_a_nodes_port_who_asks_for_any() {
        let any = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("Linux says so");
        let least: u64 = any.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
        assert!(PORTS.end <= least, "{any}");
        let seen: std::collections::BTreeSet<u16> = ports(u64::MAX).take(10_000).collect();
        assert_eq!(seen.len(), 10_000, "each once");
    }

    #[tokio::test]
    async fn what_another_has_is_passed_over() {
        let ip = IpAddr::V4(Ipv4Addr::new(127, 88, 77, 1));
        let mut twice = [20_001_u16, 20_001, 20_002].into_iter();
        let (udp, _tcp) = both(ip, &mut twice).await.expect("free");
        let (other, _tcp) = both(ip, &mut twice).await.expect("the next one");
        assert_ne!(udp.local_addr().expect("bound").port(), other.local_addr().expect("bound").port());
    }
}
