//! The handshake that runs inside the transport, before any other protocol is served: `/weft/auth/1`.
//!
//! ```text
//! dialer → listener   Hello (credential, nonce)
//! listener → dialer   Hello (certificate, nonce), Proof
//! dialer → listener   Proof                              a member
//!                     Proof, Join                        a joiner
//! listener → dialer   Accepted | Admitted | Refused
//! ```
//! Each side's proof is both signatures over both peer ids and both nonces, so it is worth nothing on another connection.

mod refusal;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::codec::encode;
use crate::hash::{Digest, hash};
use crate::id::{ClusterId, InviteId, NodeId, NodeName};
use crate::membership::{Certificate, Charter};
use crate::rotation::KeyRotation;
use crate::signature::{DualSignature, PublicKeys, SignatureError, Signed, Signer};

pub use self::refusal::{AuthRefusal, RotationFault};

/// As what a node asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A member shows its certificate.
    Member(Signed<Certificate>),
    /// A joiner names its invite and the keys it will have.
    Joiner {
        /// Which invite.
        invite: InviteId,
        /// Its keys; the Ed25519 key is its peer id.
        keys: PublicKeys,
    },
}

/// The first frame of both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The dialer's: the version of the wire that it offers, see [`crate::wire`]. The listener's: the same one, which it speaks.
    pub wire: u16,
    /// The program's version, for people.
    pub build: String,
    /// The cluster it belongs to, or wants to join.
    pub cluster: ClusterId,
    /// Hash of the genesis rules; a joiner does not know them yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Digest>,
    /// 32 random bytes.
    pub nonce: ByteArray<32>,
    /// As what.
    pub credential: Credential,
    /// From the keys of a member's certificate to those it has, one after the other; at most
    /// [`ROTATIONS_MAX`](crate::limits::ROTATIONS_MAX).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<KeyRotation>,
}

/// What a joiner sends once it knows that it talks to its inviter.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The token's secret.
    pub secret: ByteArray<16>,
    /// The name it wants.
    pub name: NodeName,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Join({})", self.name)
    }
}

/// What an admitted joiner receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Its certificate.
    pub certificate: Signed<Certificate>,
    /// What the cluster's id is the hash of.
    pub charter: Charter,
    /// The certificates of the members the inviter knows, its own among them; at most 64, the rest comes with the chains.
    pub members: Vec<Signed<Certificate>>,
    /// Rotations of the keys of those who signed them, as far as there is room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<KeyRotation>,
}

/// One frame of the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthFrame {
    /// First.
    Hello(Box<Hello>),
    /// Both signatures over [`statement`].
    Proof(DualSignature),
    /// A joiner's request.
    Join(Join),
    /// A member is let in.
    Accepted,
    /// A joiner is let in.
    Admitted(Box<Admission>),
    /// Nobody is let in; the connection closes.
    Refused(AuthRefusal),
}

/// The label of handshake proofs.
pub const AUTH_LABEL: &str = "auth";

/// What both sides sign: the connection's two ends, both nonces, the cluster, and whose proof it is.
#[must_use]
pub fn statement(cluster: &ClusterId, dialer: (NodeId, &Hello), listener: (NodeId, &Hello), prover: NodeId) -> Digest {
    let (dialer_id, dialer_hello) = dialer;
    let (listener_id, listener_hello) = listener;
    hash(
        AUTH_LABEL,
        &[
            cluster.as_bytes(),
            dialer_id.as_bytes(),
            listener_id.as_bytes(),
            &encode(dialer_hello),
            &encode(listener_hello),
            prover.as_bytes(),
        ],
    )
}

/// The proof of `signer` over a statement.
#[must_use]
pub fn prove(signer: &dyn Signer, statement: &Digest) -> AuthFrame {
    AuthFrame::Proof(signer.sign(AUTH_LABEL, statement))
}

/// Checks a proof.
///
/// # Errors
/// [`SignatureError`] when either signature fails.
pub fn check_proof(proof: &DualSignature, keys: &PublicKeys, statement: &Digest) -> Result<(), SignatureError> {
    proof.verify(keys, AUTH_LABEL, statement)
}
