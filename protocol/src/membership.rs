//! How a cluster is born, what makes a node a member of it, and the word that invites one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::capability::{GrantSpec, Role};
use crate::codec::{decode, encode};
use crate::hash::{Digest, hash};
use crate::id::{ClusterId, InviteId, NodeId, NodeName};
use crate::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use crate::record::Head;
use crate::signature::{PublicKeys, Signable};
use crate::time::Timestamp;

/// What a cluster's id is the hash of: its founder, its genesis rules and a nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charter {
    /// The first admin.
    pub founder: PublicKeys,
    /// Canonical bytes of the genesis rules; what they say is the gate's business.
    pub rules: ByteBuf,
    /// Makes two clusters of one founder differ.
    pub nonce: ByteArray<16>,
}

impl Charter {
    /// `H("cluster", founder's Ed25519 key, founder's ML-DSA key, rules, nonce)`.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        let digest = hash(
            "cluster",
            &[self.founder.node().as_bytes(), self.founder.mldsa65(), &self.rules, self.nonce.as_slice()],
        );
        ClusterId::from_bytes(*digest.as_bytes())
    }

    /// `H("rules", rules)`: what two nodes compare before they talk.
    #[must_use]
    pub fn rules_hash(&self) -> Digest {
        hash("rules", &[&self.rules])
    }
}

/// What the first event of every chain says: which keys write it, in which cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// Which algorithms.
    pub suite: u8,
    /// Which cluster.
    pub cluster: ClusterId,
    /// Binds both keys to each other.
    pub keys: PublicKeys,
    /// Hash of the genesis rules.
    pub governance_hash: Digest,
    /// The charter, on the founder's first chain alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charter: Option<Charter>,
    /// Where the node's earlier chain ended, as far as the node knew when it began this one; none on its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Head>,
}

/// That a node is a member, as what, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// The member's keys.
    pub keys: PublicKeys,
    /// The name it goes by.
    pub name: NodeName,
    /// As what.
    pub role: Role,
    /// What its operator may do beyond its role.
    pub grants: Vec<GrantSpec>,
    /// The admin who signs; the founder signs its own.
    pub issuer: NodeId,
    /// When it was issued, by the issuer's clock.
    pub issued: Timestamp,
    /// When it ends; never, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

impl Signable for Certificate {
    const LABEL: &'static str = "certificate";
    const BYTES_MAX: usize = 12 * 1024;
}

/// What a token says. The secret in it is worth one membership per use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Who serves the invite.
    pub inviter: NodeId,
    /// Hash of the inviter's ML-DSA-65 key, so that both its keys are pinned.
    pub inviter_mldsa65_hash: Digest,
    /// The inviter's name, for people.
    pub inviter_name: NodeName,
    /// Multiaddresses that were true when the token was made; at most 16.
    pub addresses: Vec<String>,
    /// 128 random bits.
    pub secret: ByteArray<16>,
    /// As what the joiner is admitted.
    pub role: Role,
    /// When it ends, by the inviter's clock.
    pub expires: Timestamp,
}

/// `H("invite", secret)`: what the inviter's chain holds of the secret.
#[must_use]
pub fn secret_hash(secret: &[u8; 16]) -> Digest {
    hash("invite", &[secret])
}

/// The id of the invite with this secret: the first 8 bytes of [`secret_hash`].
#[must_use]
pub fn invite_id(secret_hash: &Digest) -> InviteId {
    let (first, _) = secret_hash.as_bytes().split_at(8);
    InviteId::from_bytes(first.try_into().expect("BUG: 8 of 32 bytes"))
}

impl Token {
    /// The invite this token belongs to.
    #[must_use]
    pub fn invite(&self) -> InviteId {
        invite_id(&secret_hash(&self.secret))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Token({})", self.invite())
    }
}

/// Why a word is not a token. The word's fault; nothing was dialled or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin with `weft1`.
    #[error("not a weft token: it must begin with weft1")]
    Prefix,
    /// A character is missing or wrong.
    #[error("the token is cut or mistyped: its checksum does not match")]
    Checksum,
    /// The checksum holds but the content does not decode: made by another version.
    #[error("the token's content is not understood by this version")]
    Content,
    /// It is longer than any token.
    #[error("the token is longer than {} characters", 2 * TOKEN_BYTES_MAX)]
    TooLong,
    /// A character that no token has.
    #[error("the token is mistyped: character {place} is none of a token's")]
    Character {
        /// Which, counted from 1.
        place: usize,
    },
    /// Too little of it is there for a checksum.
    #[error("the token is cut: hardly anything follows weft1")]
    Cut,
    /// It names more addresses than anybody dials.
    #[error("the token names {count} addresses, at most {ADDRESSES_MAX} are dialled")]
    Addresses {
        /// How many.
        count: usize,
    },
    /// One of its addresses is longer than addresses are.
    #[error("an address in the token is longer than {ADDRESS_BYTES_MAX} bytes")]
    Address,
}

impl TokenError {
    /// What to do next.
    #[must_use]
    pub const fn next(self) -> &'static str {
        match self {
            Self::Prefix | Self::Checksum | Self::TooLong | Self::Character { .. } | Self::Cut => {
                "copy the token again, whole; weft invite, on a member, makes a new one"
            }
            Self::Content => "install the inviter's version of weft, or weft invite, on a member, makes a new one",
            Self::Addresses { .. } | Self::Address => {
                "weft invite, on a member that listens at fewer places, makes a new one"
            }
        }
    }
}

const TOKEN_PREFIX: &str = "weft1";
const TOKEN_BYTES_MAX: usize = 8 * 1024;

fn checksum(content: &[u8]) -> [u8; 4] {
    let digest = hash("token-checksum", &[content]);
    let (first, _) = digest.as_bytes().split_at(4);
    first.try_into().expect("BUG: 4 of 32 bytes")
}

/// One word without characters that a shell knows: `weft1`, then base58 of content and a checksum of 4 bytes.
impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut content = encode(self);
        content.extend(checksum(&content));
        write!(formatter, "{TOKEN_PREFIX}{}", bs58::encode(content).into_string())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let word = text.trim().strip_prefix(TOKEN_PREFIX).ok_or(TokenError::Prefix)?;
        if word.len() > 2 * TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let bytes = bs58::decode(word).into_vec().map_err(|error| match error {
            bs58::decode::Error::InvalidCharacter { index, .. } | bs58::decode::Error::NonAsciiCharacter { index } => {
                TokenError::Character { place: TOKEN_PREFIX.len() + index + 1 }
            }
            _ => TokenError::Checksum,
        })?;
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Cut)?;
        if *sum != checksum(content) {
            return Err(TokenError::Checksum);
        }
        let token: Self = decode(content, TOKEN_BYTES_MAX).map_err(|_| TokenError::Content)?;
        if token.addresses.len() > ADDRESSES_MAX {
            return Err(TokenError::Addresses { count: token.addresses.len() });
        }
        let long = token.addresses.iter().any(|address| address.len() > ADDRESS_BYTES_MAX);
        if long { Err(TokenError::Address) } else { Ok(token) }
    }
}

/// A name for people, made from the id alone: every node says the same without being told.
#[must_use]
pub fn cluster_name(cluster: &ClusterId) -> String {
    const QUALITIES: [&str; 32] = [
        "quiet", "amber", "brisk", "calm", "clear", "deep", "early", "fair", "fleet", "fresh", "gentle", "glad",
        "golden", "grand", "green", "keen", "kind", "light", "lively", "lucid", "mellow", "merry", "mild", "noble",
        "plain", "proud", "rapid", "solid", "still", "swift", "warm", "wide",
    ];
    const ANIMALS: [&str; 32] = [
        "otter", "badger", "beaver", "bison", "crane", "curlew", "dolphin", "eagle", "falcon", "finch", "fox", "gecko",
        "hare", "heron", "ibex", "jay", "kestrel", "lark", "lynx", "marten", "moose", "newt", "osprey", "owl", "pika",
        "plover", "raven", "robin", "seal", "stoat", "swan", "wren",
    ];
    let bytes = cluster.as_bytes();
    let quality = QUALITIES[usize::from(bytes[0]) % QUALITIES.len()];
    let animal = ANIMALS[usize::from(bytes[1]) % ANIMALS.len()];
    format!("{quality}-{animal}")
}
