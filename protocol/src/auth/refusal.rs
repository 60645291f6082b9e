//! Why a connection was closed before it began: one case for each cause, each with what the refused side does next.

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::id::{ClusterId, NodeId, NodeName};
use crate::rotation::RotationError;
use crate::signature::SignatureError;

/// Why a connection was closed before it began. Nothing was changed on either side. Whose fault it is, the cause says;
/// whether to try again, [`retry`](Self::retry); what to do, [`next`](Self::next).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum AuthRefusal {
    /// Another version of the wire. A dialer that also speaks what the refusing side does comes back with that.
    #[error("wire version {theirs} is not {ours}")]
    WireVersion {
        /// A listener's newest; of a dialer the one that it offered.
        ours: u16,
        /// The one that the refused side named.
        theirs: u16,
    },
    /// Another cluster.
    #[error("this node belongs to cluster {ours}, not {theirs}")]
    WrongCluster {
        /// The refusing side's.
        ours: ClusterId,
        /// The refused side's.
        theirs: ClusterId,
    },
    /// The same cluster id with other genesis rules: one of the two is not what it claims.
    #[error("genesis rules {ours} are not {theirs}")]
    WrongRules {
        /// The refusing side's.
        ours: Digest,
        /// The refused side's.
        theirs: Digest,
    },
    /// A member was to be expected, and somebody without a certificate answered.
    #[error("not a member: no certificate for this peer")]
    NotAMember,
    /// A certificate by somebody this node does not know (yet).
    #[error("the certificate's issuer is not a known admin")]
    UnknownIssuer,
    /// The certificate's time is over.
    #[error("the certificate has expired")]
    CertificateExpired,
    /// The node is cut off until an admin readmits it.
    #[error("quarantined")]
    Quarantined,
    /// The Ed25519 signature of the proof does not verify: made for another connection, or by other keys.
    #[error("the proof does not verify")]
    BadProof,
    /// No such invite here.
    #[error("this node has issued no such invite")]
    UnknownInvite,
    /// The invite's time is over.
    #[error("the invite has expired")]
    InviteExpired,
    /// Every use of the invite is spent on other nodes.
    #[error("the invite is used up")]
    InviteUsedUp,
    /// The inviter took it back.
    #[error("the invite was revoked")]
    InviteRevoked,
    /// Another member has that name.
    #[error("the name {name} is taken")]
    NameTaken {
        /// The name asked for.
        name: NodeName,
    },
    /// A frame that has no place where it came.
    #[error("the handshake was not completed in time and order")]
    Protocol,
    /// The node cannot decide now.
    #[error("the node is not ready to admit anyone")]
    NotReady,
    /// It is a member no longer, for ever.
    #[error("evicted from the cluster")]
    Evicted,
    /// The keys it shows gave way to others, which it does not show.
    #[error("these keys were replaced by others")]
    KeysReplaced,
    /// What came first is not the name of this protocol.
    #[error("another protocol than /weft/auth/1 is spoken there")]
    OtherProtocol,
    /// A frame that is longer than this side reads.
    #[error("a frame of the handshake is longer than {max} bytes")]
    FrameTooLarge {
        /// What is allowed, in bytes.
        max: u64,
    },
    /// A frame that is not the canonical encoding of any.
    #[error("a frame of the handshake cannot be read")]
    UnreadableFrame,
    /// A member's hello without the hash of the genesis rules.
    #[error("a member's hello names no genesis rules")]
    NoRules,
    /// A certificate that is not the canonical encoding of one.
    #[error("the certificate cannot be read")]
    UnreadableCertificate,
    /// A certificate of somebody else than the peer of this connection.
    #[error("the certificate is that of node {of}")]
    ForeignCertificate {
        /// Whose it is.
        of: NodeId,
    },
    /// A joiner names keys of somebody else than the peer of this connection.
    #[error("the keys are those of node {of}")]
    ForeignKeys {
        /// Whose they are.
        of: NodeId,
    },
    /// The peer holds the key of the very node that refuses it.
    #[error("this is the refusing node's own key")]
    OwnKey,
    /// The node is known with another ML-DSA-65 key, and nothing shows how it gave way to this one.
    #[error("this node is bound to another ML-DSA-65 key")]
    OtherKeys,
    /// The certificate's issuer is a member, and no admin.
    #[error("the certificate's issuer is no admin")]
    IssuerNoAdmin,
    /// The certificate was issued after its issuer's time as an admin was over.
    #[error("the certificate's issuer was no admin any more when it was issued")]
    IssuerExpired,
    /// The certificate's issuer is cut off.
    #[error("the certificate's issuer is cut off")]
    IssuerCutOff,
    /// The Ed25519 signature of the certificate is not its issuer's.
    #[error("the certificate is not signed by its issuer")]
    ForgedCertificate,
    /// Of the certificate's two signatures only the Ed25519 one is its issuer's.
    #[error("the certificate is signed with one of two algorithms: its ML-DSA-65 signature does not verify")]
    HalfCertificate,
    /// Of the proof's two signatures only the Ed25519 one verifies.
    #[error("the proof is signed with one of two algorithms: its ML-DSA-65 signature does not verify")]
    HalfProof,
    /// More rotations of keys than anybody may have.
    #[error("more rotations of keys are shown than a node may have")]
    TooManyRotations,
    /// A rotation that does not lead from the certificate's keys to others.
    #[error("a rotation of keys does not count: {fault}")]
    BadRotation {
        /// What is wrong with it.
        fault: RotationFault,
    },
    /// The invite is known, and its secret is another.
    #[error("the secret is not that of the invite")]
    WrongSecret,
    /// A member answers that is not the inviter of the token.
    #[error("the node there is a member, and not the token's inviter")]
    NotTheInviter,
    /// The inviter shows another ML-DSA-65 key than the token pins, and no rotation to it.
    #[error("the inviter's ML-DSA-65 key is not the one that the token names")]
    NotTheInvitersKey,
    /// The certificate that was given is for other keys than those of the joiner.
    #[error("the certificate that was given is not for these keys")]
    AdmissionOfAnother,
    /// More certificates came with an admission than are read.
    #[error("more certificates came with the admission than are read")]
    AdmissionTooLarge,
}

/// What is wrong with a rotation of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum RotationFault {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// It does not follow the keys before it.
    #[error("it does not follow the keys before it")]
    OtherKeys,
    /// The new keys are no new ML-DSA-65 key of the same node.
    #[error("the new keys are not a new ML-DSA-65 key of the same node")]
    NotNew,
    /// It was made for the chain of another node.
    #[error("it was made for another chain")]
    OtherChain,
    /// The old Ed25519 key did not sign it.
    #[error("the old Ed25519 key did not sign it")]
    OldEd25519,
    /// The old ML-DSA-65 key did not sign it.
    #[error("the old ML-DSA-65 key did not sign it")]
    OldMlDsa65,
    /// The new pair's Ed25519 key did not agree.
    #[error("the Ed25519 key did not agree to the new one")]
    NewEd25519,
    /// The new ML-DSA-65 key did not agree.
    #[error("the new ML-DSA-65 key did not agree")]
    NewMlDsa65,
    /// It is out of place on its chain, which no handshake can see.
    #[error("it is out of place on its chain")]
    OutOfPlace,
}

impl From<&RotationError> for RotationFault {
    fn from(error: &RotationError) -> Self {
        match error {
            RotationError::Decode(_) => Self::Unreadable,
            RotationError::OtherChain => Self::OtherChain,
            RotationError::OtherKeys => Self::OtherKeys,
            RotationError::NotNew => Self::NotNew,
            RotationError::Old(SignatureError::Ed25519) => Self::OldEd25519,
            RotationError::Old(SignatureError::MlDsa65 | SignatureError::MlDsa65Missing) => Self::OldMlDsa65,
            RotationError::New(SignatureError::Ed25519) => Self::NewEd25519,
            RotationError::New(SignatureError::MlDsa65 | SignatureError::MlDsa65Missing) => Self::NewMlDsa65,
            RotationError::NotLast | RotationError::NotSealed | RotationError::TooMany => Self::OutOfPlace,
        }
    }
}

impl AuthRefusal {
    /// That a proof does not count, by which of its two signatures failed.
    #[must_use]
    pub const fn of_proof(error: SignatureError) -> Self {
        match error {
            SignatureError::Ed25519 => Self::BadProof,
            SignatureError::MlDsa65 | SignatureError::MlDsa65Missing => Self::HalfProof,
        }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WireVersion { .. } => "wire-version",
            Self::WrongCluster { .. } => "wrong-cluster",
            Self::WrongRules { .. } => "wrong-rules",
            Self::NotAMember => "not-a-member",
            Self::UnknownIssuer => "unknown-issuer",
            Self::CertificateExpired => "certificate-expired",
            Self::Quarantined => "quarantined",
            Self::BadProof => "bad-proof",
            Self::UnknownInvite => "unknown-invite",
            Self::InviteExpired => "invite-expired",
            Self::InviteUsedUp => "invite-used-up",
            Self::InviteRevoked => "invite-revoked",
            Self::NameTaken { .. } => "name-taken",
            Self::Protocol => "protocol",
            Self::NotReady => "not-ready",
            Self::Evicted => "evicted",
            Self::KeysReplaced => "keys-replaced",
            Self::OtherProtocol => "other-protocol",
            Self::FrameTooLarge { .. } => "frame-too-large",
            Self::UnreadableFrame => "unreadable-frame",
            Self::NoRules => "no-rules",
            Self::UnreadableCertificate => "unreadable-certificate",
            Self::ForeignCertificate { .. } => "foreign-certificate",
            Self::ForeignKeys { .. } => "foreign-keys",
            Self::OwnKey => "own-key",
            Self::OtherKeys => "other-keys",
            Self::IssuerNoAdmin => "issuer-no-admin",
            Self::IssuerExpired => "issuer-expired",
            Self::IssuerCutOff => "issuer-cut-off",
            Self::ForgedCertificate => "forged-certificate",
            Self::HalfCertificate => "half-certificate",
            Self::HalfProof => "half-proof",
            Self::TooManyRotations => "too-many-rotations",
            Self::BadRotation { .. } => "bad-rotation",
            Self::WrongSecret => "wrong-secret",
            Self::NotTheInviter => "not-the-inviter",
            Self::NotTheInvitersKey => "not-the-inviters-key",
            Self::AdmissionOfAnother => "admission-of-another",
            Self::AdmissionTooLarge => "admission-too-large",
        }
    }

    /// Whether the same attempt may succeed later.
    #[must_use]
    pub const fn retry(&self) -> bool {
        match self {
            Self::UnknownIssuer | Self::IssuerNoAdmin | Self::Protocol | Self::NotReady => true,
            Self::WireVersion { .. }
            | Self::WrongCluster { .. }
            | Self::WrongRules { .. }
            | Self::NotAMember
            | Self::CertificateExpired
            | Self::Quarantined
            | Self::BadProof
            | Self::UnknownInvite
            | Self::InviteExpired
            | Self::InviteUsedUp
            | Self::InviteRevoked
            | Self::NameTaken { .. }
            | Self::Evicted
            | Self::KeysReplaced
            | Self::OtherProtocol
            | Self::FrameTooLarge { .. }
            | Self::UnreadableFrame
            | Self::NoRules
            | Self::UnreadableCertificate
            | Self::ForeignCertificate { .. }
            | Self::ForeignKeys { .. }
            | Self::OwnKey
            | Self::OtherKeys
            | Self::IssuerExpired
            | Self::IssuerCutOff
            | Self::ForgedCertificate
            | Self::HalfCertificate
            | Self::HalfProof
            | Self::TooManyRotations
            | Self::BadRotation { .. }
            | Self::WrongSecret
            | Self::NotTheInviter
            | Self::NotTheInvitersKey
            | Self::AdmissionOfAnother
            | Self::AdmissionTooLarge => false,
        }
    }

    /// What whoever was refused does next, as a command where there is one.
    #[must_use]
    pub const fn next(&self) -> &'static str {
        match self {
            Self::WireVersion { .. } => {
                "install the newer of both versions of weft on both machines; weft config show network.wire_version_max, on each, says whether one holds back"
            }
            Self::WrongCluster { .. } => "weft join TOKEN --name other, with a token of that cluster",
            Self::WrongRules { .. } | Self::NoRules => {
                "weft gate rules, on both nodes, says which of the two is not of this cluster"
            }
            Self::NotAMember => "weft invite, on an admin of that cluster, then weft join TOKEN",
            Self::UnknownIssuer | Self::IssuerNoAdmin => {
                "wait until that node has heard of the issuer (weft members, there), or weft invite, on an admin"
            }
            Self::CertificateExpired => "weft invite, on an admin, then weft join TOKEN: same node, new certificate",
            Self::Quarantined => {
                "weft chain evidence, on a member, says why; an admin may take it back with weft members readmit"
            }
            Self::BadProof | Self::HalfProof => {
                "weft doctor, on the refused node: its keys are not those it shows, or somebody sits in between"
            }
            Self::UnknownInvite | Self::InviteExpired | Self::InviteUsedUp | Self::InviteRevoked => {
                "weft invite, on the inviter, for a new token"
            }
            Self::NameTaken { .. } => "weft join TOKEN --name another",
            Self::Protocol | Self::NotReady => "weft join TOKEN again",
            Self::Evicted => "weft up --name other: a node that was evicted comes back under new keys alone",
            Self::KeysReplaced => "restore the newest keys of the node: these were rotated away",
            Self::OtherProtocol | Self::FrameTooLarge { .. } | Self::UnreadableFrame => {
                "speak /weft/auth/1: weft join TOKEN does"
            }
            Self::UnreadableCertificate | Self::ForgedCertificate | Self::HalfCertificate => {
                "weft invite, on an admin, then weft join TOKEN: this certificate is worth nothing"
            }
            Self::ForeignCertificate { .. } | Self::ForeignKeys { .. } => {
                "use the home in which these keys were made; a certificate is worth nothing without them"
            }
            Self::OwnKey => "give each machine a home of its own: two run with the same keys",
            Self::OtherKeys => "restore the node's keys from its home, or weft join TOKEN --name other with new ones",
            Self::IssuerExpired | Self::IssuerCutOff => "weft invite, on another admin, then weft join TOKEN",
            Self::TooManyRotations => "weft join TOKEN --name other: a node's keys rotate at most eight times",
            Self::BadRotation { .. } => "weft doctor, on the refused node: its key files and its chain differ",
            Self::WrongSecret => "copy the token again, whole, or weft invite, on the inviter, for a new one",
            Self::NotTheInviter | Self::NotTheInvitersKey | Self::AdmissionOfAnother | Self::AdmissionTooLarge => {
                "weft invite, on the inviter, for a new token: trust nothing that answers at its addresses"
            }
        }
    }
}
