//! The socket of multicast DNS: bound to the group, so that nothing reaches it that was sent to this machine alone, and joined on
//! every interface at which the node listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdSocket};

use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UdpSocket;

/// Where everybody is heard on a link (RFC 6762, 3).
pub(super) const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5_353);
/// With which packets leave (RFC 6762, 11).
const TTL: u32 = 255;

/// Why there is no multicast DNS here. The node goes on, and members are found by whoever knows them.
#[derive(Debug, thiserror::Error)]
pub(super) enum MdnsError {
    /// Another program holds the port and shares it with nobody.
    #[error("UDP port 5353 cannot be shared ({0}); end the program that holds it alone: ss -ulpn sport = :5353")]
    Port(io::Error),
    /// The operating system gives no such socket.
    #[error("there is no socket for multicast ({0}); may this process open sockets?")]
    Socket(io::Error),
    /// An interface takes no part in multicast.
    #[error("{place} takes no part in multicast ({error}); ip link shows whether the interface has MULTICAST")]
    Interface {
        /// Its address.
        place: Ipv4Addr,
        /// What the operating system said.
        error: io::Error,
    },
}

/// An open socket, and what it could not join.
#[derive(Debug)]
pub(super) struct Opened {
    /// Joined at one address at least.
    pub(super) socket: UdpSocket,
    /// The first of the addresses whose interface takes no part, as that of a tunnel may not.
    pub(super) refused: Option<MdnsError>,
}

/// Opens it, joined at those of these addresses that can be joined.
///
/// # Errors
/// [`MdnsError`] when that is none; nothing is left open.
pub(super) fn open(places: impl Iterator<Item = Ipv4Addr>) -> Result<Opened, MdnsError> {
    let socket = |error: rustix::io::Errno| MdnsError::Socket(error.into());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let new = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).map_err(socket)?;
    // The system's own responder and other nodes of this machine hear the same.
    sockopt::set_socket_reuseaddr(&new, true).map_err(socket)?;
    sockopt::set_ip_multicast_ttl(&new, TTL).map_err(socket)?;
    sockopt::set_ip_multicast_loop(&new, true).map_err(socket)?;
    bind(&new, &GROUP).map_err(|error| MdnsError::Port(error.into()))?;
    let (mut joined, mut refused) = (0_usize, None);
    for place in places {
        match sockopt::set_ip_add_membership(&new, GROUP.ip(), &place) {
            Ok(()) => joined += 1,
            Err(error) => {
                refused.get_or_insert(MdnsError::Interface { place, error: error.into() });
            }
        }
    }
    match refused {
        Some(error) if joined == 0 => Err(error),
        refused => {
            let socket = UdpSocket::from_std(StdSocket::from(new)).map_err(MdnsError::Socket)?;
            Ok(Opened { socket, refused })
        }
    }
}

/// Sends a packet to the group, out of the interface with this address.
///
/// # Errors
/// [`MdnsError::Interface`].
pub(super) async fn send(socket: &UdpSocket, place: Ipv4Addr, packet: &[u8]) -> Result<(), MdnsError> {
    let refused = |error: io::Error| MdnsError::Interface { place, error };
    sockopt::set_ip_multicast_if(socket, &place).map_err(|error| refused(error.into()))?;
    socket.send_to(packet, GROUP).await.map(|_bytes| ()).map_err(refused)
}
