//! What encrypts a connection over TCP and divides it into streams: TLS; Noise as well, if so configured, for whoever dials this node
//! and speaks no TLS.
//!
//! A node that dials offers TLS alone. Which of the two is spoken is agreed on in the clear, so a dialer that offered both could be
//! brought by anybody on the way to do without TLS's post-quantum key exchange.

use std::io;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo as _, Version};
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tls, yamux};
use multistream_select::{Negotiated, NegotiationError, dialer_select_proto, listener_select_proto};

use super::gate::acts_as;
use super::transport::streams;

/// What a node takes from others that come by TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TcpSecurity {
    /// TLS alone.
    #[default]
    Tls,
    /// TLS, or Noise of those that offer no TLS.
    TlsOrNoise,
}

impl TcpSecurity {
    /// All, each under its name in the configuration.
    pub(crate) const ALL: [Self; 2] = [Self::Tls, Self::TlsOrNoise];

    /// Its name in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::TlsOrNoise => "tls+noise",
        }
    }
}

/// What encrypts one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Security {
    /// TLS 1.3, of QUIC or over TCP, with a post-quantum key exchange.
    Tls,
    /// Noise XX, whose key exchange is X25519 alone.
    Noise,
}

/// Why a connection could not be encrypted.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecureError {
    /// The other side speaks nothing that is spoken here.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] tls::UpgradeError),
    /// Noise failed.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// The connection broke.
    #[error(transparent)]
    Lost(#[from] io::Error),
}

/// How connections over TCP are encrypted.
#[derive(Clone)]
pub(super) struct Secured {
    tls: tls::Config,
    noise: Option<noise::Config>,
}

/// What is encrypted, by whom it is and what by, and the streams on it.
type Streams = (PeerId, Security, StreamMuxerBox);

impl Secured {
    /// With the node's keys.
    ///
    /// # Errors
    /// When no certificate of TLS can be made of them, or they cannot sign for Noise.
    pub(super) fn new(keys: &Keypair, security: TcpSecurity) -> Result<Self, SecuredError> {
        let noise = match security {
            TcpSecurity::Tls => None,
            TcpSecurity::TlsOrNoise => Some(noise::Config::new(keys)?),
        };
        Ok(Self { tls: tls::Config::new(keys)?, noise })
    }

    /// Encrypts a connection.
    ///
    /// # Errors
    /// [`SecureError`]; the connection is closed then.
    pub(super) async fn secure<S>(self, socket: S, point: ConnectedPoint) -> Result<Streams, SecureError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match acts_as(&point) {
            Endpoint::Dialer => self.encrypt_dialled(socket).await,
            Endpoint::Listener => self.encrypt_accepted(socket).await,
        }
    }

    async fn encrypt_dialled<S>(self, socket: S) -> Result<Streams, SecureError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (name, socket) = dialer_select_proto(socket, self.tls.protocol_info(), Version::V1Lazy).await?;
        let (peer, encrypted) = self.tls.upgrade_outbound(socket, name).await?;
        let (name, encrypted) = dialer_select_proto(encrypted, streams().protocol_info(), Version::V1Lazy).await?;
        let muxer = streams().upgrade_outbound(encrypted, name).await?;
        Ok((peer, Security::Tls, StreamMuxerBox::new(muxer)))
    }

    async fn encrypt_accepted<S>(self, socket: S) -> Result<Streams, SecureError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let spoken: Vec<&str> =
            self.tls.protocol_info().chain(self.noise.iter().flat_map(noise::Config::protocol_info)).collect();
        let (name, socket) = listener_select_proto(socket, spoken).await?;
        match self.noise {
            Some(noise) if noise.protocol_info().any(|noise| noise == name) => {
                let (peer, encrypted) = noise.upgrade_inbound(socket, name).await?;
                Ok((peer, Security::Noise, divided(encrypted).await?))
            }
            Some(_) | None => {
                let (peer, encrypted) = self.tls.upgrade_inbound(socket, name).await?;
                Ok((peer, Security::Tls, divided(encrypted).await?))
            }
        }
    }
}

/// The streams of an encrypted connection that somebody else opened.
async fn divided<E>(encrypted: E) -> Result<StreamMuxerBox, SecureError>
where
    E: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    yamux::Muxer<Negotiated<E>>: StreamMuxer<Substream: Send, Error: Send + Sync> + Send,
{
    let (name, encrypted) = listener_select_proto(encrypted, streams().protocol_info()).await?;
    Ok(StreamMuxerBox::new(streams().upgrade_inbound(encrypted, name).await?))
}

/// Why a node's keys encrypt nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecuredError {
    /// No certificate of TLS.
    #[error(transparent)]
    Tls(#[from] tls::certificate::GenError),
    /// No signature for Noise.
    #[error(transparent)]
    Noise(#[from] noise::Error),
}
