//! QUIC, TCP, and both through a member that passes them on; each connection authenticated before anything above the transport hears of it.
//!
//! TLS, which encrypts both unless a node is told to take Noise over TCP as well, negotiates X25519MLKEM768 first: what libp2p's TLS does
//! unless it is told otherwise.

use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, Transport as _};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, quic, relay, tcp, tls, yamux};

use super::fence::ARRIVALS;
use super::gate::Gate;
use super::secured::{Secured, SecuredError, Security, TcpSecurity};
use super::throttle::Throttled;

/// How long an address may take to be connected and encrypted.
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Streams the other side may have open at once on one connection.
pub(super) const STREAMS_MAX: u32 = 64;
/// Bytes that may be on their way on one stream and on one connection of QUIC: one frame, and four.
const QUIC_WINDOWS: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);
/// A QUIC connection on which nothing came for so long is dead, in milliseconds (guess: four pings).
const QUIC_IDLE_MS_MAX: u32 = 5_000;
/// How often a QUIC connection is kept from being idle.
const QUIC_KEEP_ALIVE: Duration = Duration::from_millis(1_500);

/// Connections whose other end holds the key of the peer id, and no more than that.
pub(super) type Connections = Boxed<(PeerId, StreamMuxerBox)>;
/// The same, with what encrypts them.
type Encrypted = Boxed<(PeerId, Security, StreamMuxerBox)>;

/// How streams share a connection that has none by itself.
pub(super) fn streams() -> yamux::Config {
    let mut streams = yamux::Config::default();
    streams.set_max_num_streams(STREAMS_MAX as usize);
    streams
}

/// Encrypted connections over TCP that are not authenticated yet.
///
/// # Errors
/// [`SecuredError`].
fn over_tcp(keys: &Keypair, security: TcpSecurity) -> Result<Encrypted, SecuredError> {
    let secured = Secured::new(keys, security)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .and_then(move |socket, point| Box::pin(secured.secure(socket, point)));
    Ok(TransportTimeout::new(tcp, CONNECT_TIME_MAX).boxed())
}

/// Encrypted connections over TCP to whoever is dialled, not authenticated yet.
///
/// # Errors
/// [`SecuredError`].
pub(super) fn bare_tcp(keys: &Keypair) -> Result<Connections, SecuredError> {
    let tcp = over_tcp(keys, TcpSecurity::Tls)?;
    Ok(tcp.map(|(peer, _, muxer), _| (peer, muxer)).boxed())
}

/// Encrypted connections that are not authenticated yet.
fn encrypted(keys: &Keypair, security: TcpSecurity) -> Result<Encrypted, SecuredError> {
    let mut config = quic::Config::new(keys);
    config.handshake_timeout = CONNECT_TIME_MAX;
    config.max_concurrent_stream_limit = STREAMS_MAX;
    (config.max_stream_data, config.max_connection_data) = QUIC_WINDOWS;
    config.max_idle_timeout = QUIC_IDLE_MS_MAX;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    let quic = Throttled::new(quic::tokio::Transport::new(config), ARRIVALS);
    let quic = quic.map(|(peer, connection), _| (peer, Security::Tls, StreamMuxerBox::new(connection)));

    let quic = TransportTimeout::new(quic, CONNECT_TIME_MAX);
    let either = quic.or_transport(over_tcp(keys, security)?).map(|either, _| match either {
        Either::Left(connection) | Either::Right(connection) => connection,
    });
    Ok(either.boxed())
}

/// Encrypted connections to whoever is dialled, not authenticated yet.
///
/// # Errors
/// [`SecuredError`].
pub(super) fn bare(keys: &Keypair) -> Result<Connections, SecuredError> {
    let both = encrypted(keys, TcpSecurity::Tls)?;
    Ok(both.map(|(peer, _, muxer), _| (peer, muxer)).boxed())
}

/// Connections whose other end is a member, directly or passed on by another member; and what belongs to the latter in the swarm.
///
/// # Errors
/// [`SecuredError`].
pub(super) fn authenticated(
    keys: &Keypair,
    security: TcpSecurity,
    gate: Gate,
) -> Result<(Connections, relay::client::Behaviour), SecuredError> {
    let (relayed, behaviour) = relay::client::new(keys.public().to_peer_id());
    let relayed = relayed
        .upgrade(Version::V1)
        .authenticate(tls::Config::new(keys)?)
        .multiplex(streams())
        .map(|(peer, connection), _| (peer, Security::Tls, StreamMuxerBox::new(connection)));
    let either = TransportTimeout::new(relayed, CONNECT_TIME_MAX).or_transport(encrypted(keys, security)?);
    let either = either.map(|either, _| match either {
        Either::Left(connection) | Either::Right(connection) => connection,
    });
    let authenticate = move |(peer, security, muxer), point| Box::pin(gate.authenticate(peer, security, muxer, point));
    Ok((either.and_then(authenticate).boxed(), behaviour))
}
