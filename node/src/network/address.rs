//! What a multiaddress says, for people and for other members.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use weft_discovery::Path;
use weft_protocol::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};

/// `quic`, `tcp`, or `relay` when another member passes the connection on.
pub(super) fn transport_name(address: &Multiaddr) -> &'static str {
    if address.iter().any(|part| matches!(part, Protocol::P2pCircuit)) {
        return Path::RELAY;
    }
    if address.iter().any(|part| matches!(part, Protocol::QuicV1)) { "quic" } else { "tcp" }
}

/// The addresses among these that another node can use, best first: QUIC before TCP, other machines' before this one's,
/// those through others last.
pub(super) fn advertised<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Vec<String> {
    let mut known: Vec<(bool, usize, String)> = addresses
        .into_iter()
        .filter_map(|address| {
            let ip = ip(address)?;
            let usable = !ip.is_unspecified() && !is_link_local(ip);
            let text = address.to_string();
            let rank = ["quic", "tcp", Path::RELAY].iter().position(|name| *name == transport_name(address))?;
            (usable && text.len() <= ADDRESS_BYTES_MAX).then(|| (ip.is_loopback(), rank, text))
        })
        .collect();
    known.sort();
    known.dedup();
    known.truncate(ADDRESSES_MAX);
    known.into_iter().map(|(.., text)| text).collect()
}

/// Why nobody could dial this address.
pub(super) fn why_not_dialled(address: &Multiaddr) -> Option<&'static str> {
    let Some(ip) = ip(address) else { return Some("it names no IP address") };
    if ip.is_unspecified() || is_link_local(ip) {
        return Some("it names no one machine");
    }
    if address.to_string().len() > ADDRESS_BYTES_MAX {
        return Some("it is too long");
    }
    if transport_name(address) == Path::RELAY {
        return Some("it leads through another member");
    }
    let parts: Vec<Protocol<'_>> = address.iter().skip(1).collect();
    match parts.as_slice() {
        [Protocol::Udp(0), Protocol::QuicV1] | [Protocol::Tcp(0)] => Some("it names no port"),
        [Protocol::Udp(_), Protocol::QuicV1] | [Protocol::Tcp(_)] => None,
        _ => Some("it is neither of QUIC nor of TCP alone"),
    }
}

/// The addresses that parse, at most [`ADDRESSES_MAX`].
pub(super) fn parse_all(addresses: &[String]) -> Vec<Multiaddr> {
    addresses
        .iter()
        .filter(|address| address.len() <= ADDRESS_BYTES_MAX)
        .filter_map(|address| address.parse().ok())
        .take(ADDRESSES_MAX)
        .collect()
}

/// `configured` with the port that was given to it.
pub(super) fn with_port_of(configured: &Multiaddr, bound: &Multiaddr) -> Multiaddr {
    let port = bound.iter().find_map(|part| match part {
        Protocol::Udp(port) | Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let replaced = configured.iter().map(|part| match (part, port) {
        (Protocol::Udp(_), Some(port)) => Protocol::Udp(port),
        (Protocol::Tcp(_), Some(port)) => Protocol::Tcp(port),
        (other, _) => other,
    });
    replaced.collect()
}

/// The IP address in it.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })
}

/// Such an address means something only together with an interface of the machine that uses it.
const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_others_can_use_comes_best_first() {
        let addresses: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/127.0.0.1/udp/4001/quic-v1",
            "/ip6/fe80::1/udp/4001/quic-v1",
            "/ip4/192.168.1.7/tcp/4001",
            "/ip4/192.168.1.7/udp/4001/quic-v1",
            "/ip4/0.0.0.0/udp/4001/quic-v1",
            "/dns/example.org/tcp/1",
        ]
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
        assert_eq!(
            advertised(&addresses),
            [
                "/ip4/192.168.1.7/udp/4001/quic-v1",
                "/ip4/192.168.1.7/tcp/4001",
                "/ip4/127.0.0.1/udp/4001/quic-v1",
                "/ip4/127.0.0.1/tcp/4001",
            ]
        );
    }

    #[test]
    fn what_nobody_could_dial_is_not_announced() {
        let why = |address: &str| why_not_dialled(&address.parse().unwrap());
        assert_eq!(why("/ip4/203.0.113.7/udp/4001/quic-v1"), None);
        assert_eq!(why("/ip6/2001:db8::1/tcp/4001"), None);
        assert_eq!(why("/dns/example.org/tcp/1"), Some("it names no IP address"));
        assert_eq!(why("/ip4/0.0.0.0/tcp/4001"), Some("it names no one machine"));
        assert_eq!(why("/ip6/fe80::1/tcp/4001"), Some("it names no one machine"));
        assert_eq!(why("/ip4/203.0.113.7/tcp/0"), Some("it names no port"));
        assert_eq!(why("/ip4/203.0.113.7/udp/4001"), Some("it is neither of QUIC nor of TCP alone"));
        assert_eq!(why("/ip4/203.0.113.7/tcp/4001/ws"), Some("it is neither of QUIC nor of TCP alone"));
        assert_eq!(why("/ip4/203.0.113.7/tcp/4001/p2p-circuit"), Some("it leads through another member"));
    }

    #[test]
    fn a_chosen_port_replaces_zero() {
        let configured: Multiaddr = "/ip4/0.0.0.0/udp/0/quic-v1".parse().unwrap();
        let bound: Multiaddr = "/ip4/127.0.0.1/udp/4321/quic-v1".parse().unwrap();
        assert_eq!(with_port_of(&configured, &bound).to_string(), "/ip4/0.0.0.0/udp/4321/quic-v1");
    }
}
