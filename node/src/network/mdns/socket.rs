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

/// Opens it, joined at these addresses.
///
/// # Errors
/// [`MdnsError`]; nothing is left open.
pub(super) fn open(places: impl Iterator<Item = Ipv4Addr>) -> Result<UdpSocket, MdnsError> {
    let socket = |error: rustix::io::Errno| MdnsError::Socket(error.into());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let new = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).map_err(socket)?;
    // The system's own responder and other nodes of this machine hear the same.
    sockopt::set_socket_reuseaddr(&new, true).map_err(socket)?;
    sockopt::set_ip_multicast_ttl(&new, TTL).map_err(socket)?;
    sockopt::set_ip_multicast_loop(&new, true).map_err(socket)?;
    bind(&new, &GROUP).map_err(|error| MdnsError::Port(error.into()))?;
    for place in places {
        sockopt::set_ip_add_membership(&new, GROUP.ip(), &place)
            .map_err(|error| MdnsError::Interface { place, error: error.into() })?;
    }
    UdpSocket::from_std(StdSocket::from(new)).map_err(MdnsError::Socket)
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
