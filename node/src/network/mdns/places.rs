//! The addresses of this machine at which others on a LAN can reach the node, by interface.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use libp2p::Multiaddr;
use weft_discovery::Path;

use super::seeking::ADDRESSES_TAKEN_MAX;
use crate::network::address;

/// Interfaces that take part (guess: wire, radio, and what containers add); the operating system allows twenty groups in a socket.
const PLACES_MAX: usize = 8;

/// Where the node listens that is not this machine alone: IPv4, each with its multiaddresses, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places(BTreeMap<Ipv4Addr, Vec<String>>);

impl Places {
    /// Those among these.
    pub(super) fn of<'a>(listened: impl Iterator<Item = &'a Multiaddr>) -> Self {
        let mut places: BTreeMap<Ipv4Addr, Vec<String>> = BTreeMap::new();
        for address in address::parse_all(&address::advertised(listened)) {
            let Some(IpAddr::V4(ip)) = address::ip(&address) else { continue };
            if ip.is_loopback() || address::transport_name(&address) == Path::RELAY {
                continue;
            }
            if places.len() < PLACES_MAX || places.contains_key(&ip) {
                places.entry(ip).or_default().push(address.to_string());
            }
        }
        places.values_mut().for_each(|addresses| addresses.truncate(ADDRESSES_TAKEN_MAX));
        Self(places)
    }

    /// Whether there is none: the node is for this machine alone.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this machine has that address.
    pub(super) fn has(&self, ip: Ipv4Addr) -> bool {
        self.0.contains_key(&ip)
    }

    /// Each with the multiaddresses that others on its interface can dial.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &[String])> {
        self.0.iter().map(|(ip, addresses)| (*ip, addresses.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn places(listened: &[&str]) -> Vec<(String, Vec<String>)> {
        let listened: Vec<Multiaddr> = listened.iter().map(|address| address.parse().unwrap()).collect();
        let places = Places::of(listened.iter());
        places.iter().map(|(ip, addresses)| (ip.to_string(), addresses.to_vec())).collect()
    }

    #[test]
    fn a_node_for_this_machine_alone_has_no_place_on_a_lan() {
        assert!(
            places(&["/ip4/127.0.0.1/udp/4001/quic-v1", "/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/4001"]).is_empty()
        );
        assert!(Places::of([].into_iter()).is_empty());
    }

    #[test]
    fn each_interface_says_its_own_addresses_alone() {
        let listened = [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/10.0.0.7/tcp/4001",
            "/ip4/10.0.0.7/udp/4001/quic-v1",
            "/ip4/192.168.1.7/tcp/4001",
            "/ip6/2001:db8::7/tcp/4001",
            "/ip4/9.9.9.9/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
        ];
        let expected = [
            ("10.0.0.7", vec!["/ip4/10.0.0.7/udp/4001/quic-v1", "/ip4/10.0.0.7/tcp/4001"]),
            ("192.168.1.7", vec!["/ip4/192.168.1.7/tcp/4001"]),
        ];
        let expected = expected
            .map(|(ip, addresses)| (ip.to_owned(), addresses.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(places(&listened), expected);
    }
}
