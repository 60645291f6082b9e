//! How a node that is no member yet becomes one: it dials every address of its token at once and asks to be admitted, with
//! nothing else running.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use tokio::sync::Mutex;
use tokio::time::Instant;
use weft_discovery::{Handshake, HandshakeOutcome};
use weft_protocol::limits::ADMISSION_FRAME_BYTES_MAX;
use weft_protocol::{Admission, AuthRefusal, KeyPair, NodeId, NodeName, Token, WireVersions};

use super::authenticate::{AuthFailure, Bounds, Side, exchange};
use super::links::Run;
use super::offers::Offer;
use super::translate::{innermost, transport_failure};
use super::transport::Connections;
use super::{address, transport};
use crate::identity::{node_id, random, transport_keys};

/// What became of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Which.
    pub(crate) address: String,
    /// How long it took.
    pub(crate) took: Duration,
    /// Nothing went wrong, or what did.
    pub(crate) result: Result<(), AttemptFailure>,
}

/// Why an address did not lead to an admission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttemptFailure {
    /// Nobody answered, or not in time.
    #[error("{0}")]
    NotReached(String),
    /// Somebody else answered.
    #[error("another node answers there: {found}")]
    OtherNode {
        /// Who.
        found: String,
    },
    /// The inviter speaks an older version of the wire than it was offered, and is asked again in that one.
    #[error("an older version of the wire is spoken there")]
    OlderWire,
    /// The inviter answered, and refused.
    #[error("refused: {0}")]
    Refused(AuthRefusal),
    /// What answered is not what the token says.
    #[error("what answers there is not what the token says: {0}")]
    NotBelieved(AuthRefusal),
}

/// Why nobody was joined. Nothing was changed here; whether the same token may be used again is said by each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinError {
    /// No address of the token was reached. The token is not spent: try again when the inviter runs and can be reached.
    #[error("the inviter was not reached at any of {} addresses{}; check that it runs, then try again", attempts.len(), Listed(attempts))]
    NotReached {
        /// What became of each address.
        attempts: Vec<Attempt>,
    },
    /// Other nodes answered at the token's addresses: the inviter has moved, or somebody sits in between.
    #[error(
        "{found} answers at {address}, not the inviter {expected}; ask for a new token if the inviter has new keys or addresses"
    )]
    OtherNode {
        /// Where.
        address: String,
        /// Who should have.
        expected: NodeId,
        /// Who did.
        found: String,
    },
    /// The inviter refused.
    #[error("the inviter refused: {0}")]
    Refused(AuthRefusal),
    /// The node that answered holds the inviter's key, but is not what the token says. No secret was told to it, or what it
    /// gave is no membership.
    #[error("the node at {address} is not what the token says: {refusal}; ask the inviter for a new token")]
    NotBelieved {
        /// Where.
        address: String,
        /// What did not fit.
        refusal: AuthRefusal,
    },
    /// This machine cannot begin.
    #[error("the transport cannot start: {0}")]
    Transport(String),
}

/// Asks the inviter of `token` to admit the holder of `keys` under `name`; the admission, every signature of it checked, and
/// the address that led to it. Each address's fate is reported as soon as it is known.
///
/// # Errors
/// [`JoinError`], as soon as it is certain.
pub(crate) async fn join(
    keys: &Arc<KeyPair>,
    token: &Token,
    name: &NodeName,
    wire: WireVersions,
    mut report: impl FnMut(&Attempt),
) -> Result<(Admission, String), JoinError> {
    let unable = |error: &(dyn std::error::Error + 'static)| JoinError::Transport(innermost(error));
    let transport = transport::bare(&transport_keys(keys)).map_err(|error| unable(&error))?;
    let run = Run::from_be_bytes(random().map_err(|error| unable(&error))?);
    let asking = Asking {
        keys,
        token,
        name,
        wire,
        run,
        transport: std::sync::Mutex::new(transport),
        turn: Mutex::new(wire.newest()),
    };
    let mut dials = FuturesUnordered::new();
    for address in address::parse_all(&token.addresses) {
        let asking = &asking;
        dials.push(async move {
            let begun = Instant::now();
            let result = asking.at(&address).await;
            (address, begun.elapsed(), result)
        });
    }

    let mut attempts = Vec::new();
    while let Some((address, took, result)) = dials.next().await {
        let address = Multiaddr::to_string(&address);
        let failure = result.as_ref().err().cloned();
        let attempt = Attempt { address: address.clone(), took, result: failure.clone().map_or(Ok(()), Err) };
        report(&attempt);
        attempts.push(attempt);
        match result {
            Ok(admission) => return Ok((admission, address)),
            Err(AttemptFailure::Refused(refusal)) => return Err(JoinError::Refused(refusal)),
            Err(AttemptFailure::NotBelieved(refusal)) => return Err(JoinError::NotBelieved { address, refusal }),
            Err(AttemptFailure::NotReached(_) | AttemptFailure::OlderWire | AttemptFailure::OtherNode { .. }) => {}
        }
    }
    let other_node = attempts.iter().find_map(|attempt| match &attempt.result {
        Err(AttemptFailure::OtherNode { found }) => Some((attempt.address.clone(), found.clone())),
        Err(_) | Ok(()) => None,
    });
    match other_node {
        Some((address, found)) => Err(JoinError::OtherNode { address, expected: token.inviter, found }),
        None => Err(JoinError::NotReached { attempts }),
    }
}

/// What every dial of one join shares.
struct Asking<'a> {
    keys: &'a Arc<KeyPair>,
    token: &'a Token,
    name: &'a NodeName,
    wire: WireVersions,
    run: Run,
    transport: std::sync::Mutex<Connections>,
    /// One after the other: an inviter that is asked by several connections at once would answer each. Which version of the wire
    /// it is offered.
    turn: Mutex<u16>,
}

impl Asking<'_> {
    /// Asks at one address, and once more in an older version of the wire when the inviter speaks no other.
    async fn at(&self, address: &Multiaddr) -> Result<Admission, AttemptFailure> {
        match self.attempt(address).await {
            Err(AttemptFailure::OlderWire) => self.attempt(address).await,
            result => result,
        }
    }

    async fn attempt(&self, address: &Multiaddr) -> Result<Admission, AttemptFailure> {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = self.transport.lock().unwrap_or_else(PoisonError::into_inner).dial(address.clone(), options);
        let connected = dial.map_err(|error| AttemptFailure::NotReached(transport_failure(&error)))?.await;
        let (peer, mut muxer) = connected.map_err(|error| AttemptFailure::NotReached(innermost(&error)))?;
        let found = node_id(&peer).filter(|node| *node == self.token.inviter);
        let inviter = found.ok_or_else(|| AttemptFailure::OtherNode { found: peer.to_string() })?;
        let mut offered = self.turn.lock().await;
        let nonce = random().map_err(|error: getrandom::Error| AttemptFailure::NotReached(error.to_string()))?;
        let build = env!("CARGO_PKG_VERSION").to_owned();
        let (token, keys) = (self.token.clone(), Arc::clone(self.keys));
        let handshake = Handshake::dialer_joiner(token, keys, self.name.clone(), build, nonce, inviter);
        let nobody_asks_us = async |_, _, _| Err(AuthRefusal::Protocol);
        let offer = Offer { wire: *offered, run: None };
        let bounds = Bounds { frame_bytes_max: ADMISSION_FRAME_BYTES_MAX, may_be_watched: false };
        let handshake = handshake.offering(offer.wire);
        let talk = exchange(&mut muxer, Side::Dialer, handshake, self.run, Some(offer), bounds, nobody_asks_us).await;
        match talk {
            Err(AuthFailure::OlderWire { theirs, .. }) => match self.wire.after_refusal(offer.wire, theirs) {
                // Every version is offered once: below the newest there is only what the inviter named.
                Some(next) if offer.wire == self.wire.newest() => {
                    *offered = next;
                    Err(AttemptFailure::OlderWire)
                }
                Some(_) | None => {
                    Err(AttemptFailure::Refused(AuthRefusal::WireVersion { ours: theirs, theirs: offer.wire }))
                }
            },
            talk => admission(talk.map(|(outcome, _)| outcome)),
        }
    }
}

fn admission(talk: Result<HandshakeOutcome, AuthFailure>) -> Result<Admission, AttemptFailure> {
    match talk {
        Ok(HandshakeOutcome::Admitted(admission)) => Ok(*admission),
        Ok(HandshakeOutcome::Member { .. }) => Err(AttemptFailure::NotBelieved(AuthRefusal::Protocol)),
        Err(AuthFailure::RefusedUs(refusal)) => Err(AttemptFailure::Refused(refusal)),
        Err(AuthFailure::RefusedThem(refusal)) => Err(AttemptFailure::NotBelieved(refusal)),
        Err(other) => Err(AttemptFailure::NotReached(other.to_string())),
    }
}

/// Each attempt with its reason.
struct Listed<'a>(&'a [Attempt]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, attempt) in self.0.iter().enumerate() {
            let separator = if number == 0 { " (" } else { "; " };
            let reason = attempt.result.as_ref().err().map(ToString::to_string).unwrap_or_default();
            write!(formatter, "{separator}{}: {reason}", attempt.address)?;
        }
        formatter.write_str(if self.0.is_empty() { "" } else { ")" })
    }
}
