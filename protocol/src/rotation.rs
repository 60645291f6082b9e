//! How the ML-DSA-65 key of a node gives way to a new one: both keys of the old pair say so, both of the new pair agree.

use serde::{Deserialize, Serialize};

use crate::error::DecodeError;
use crate::hash::Digest;
use crate::id::ChainId;
use crate::limits::ROTATIONS_MAX;
use crate::signature::{DualSignature, PublicKeys, Signable, Signed, SignedError, Signer};

/// The label under which the new pair agrees.
const ACCEPTED_LABEL: &str = "key-rotation-accepted";

/// What a rotation says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The chain it stands on; it is worth nothing on another one of the same node.
    pub chain: ChainId,
    /// [`PublicKeys::digest`] of the keys that write the chain up to here, this record among it.
    pub old: Digest,
    /// The keys that write all that follows: the same Ed25519 key with another ML-DSA-65 key.
    pub new: PublicKeys,
}

impl Signable for Rotation {
    const LABEL: &'static str = "key-rotation";
    /// A public key of 1,952 bytes, two ids and a hash.
    const BYTES_MAX: usize = 4 * 1024;
}

/// A rotation as it stands on the chain: about 9 KiB that prove it to whoever holds the old keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// Signed by both keys of the old pair.
    pub rotation: Signed<Rotation>,
    /// Both keys of the new pair over the same, so that nobody names a key that it does not hold.
    pub accepted: DualSignature,
}

/// Why a rotation does not count. The fault of whoever made it; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// The bytes are not a rotation.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It stands in the middle of a group: what follows it would be signed by keys that are no longer the chain's.
    #[error("it is not the last event of its group")]
    NotLast,
    /// Its commit carries one signature: the old ML-DSA-65 key would not have signed what comes before it.
    #[error("its commit is no checkpoint")]
    NotSealed,
    /// It was made for another chain.
    #[error("it was made for another chain")]
    OtherChain,
    /// It does not follow the keys that write the chain.
    #[error("it does not follow these keys")]
    OtherKeys,
    /// The new keys are another node's, or the old ones again.
    #[error("the new keys are not a new ML-DSA-65 key of the same node")]
    NotNew,
    /// The chain was handed over as often as one may be: everybody who follows it keeps all its keys.
    #[error("a chain is handed over at most {ROTATIONS_MAX} times")]
    TooMany,
    /// The old pair did not sign it.
    #[error("the old keys did not sign it: {0}")]
    Old(crate::signature::SignatureError),
    /// The new pair did not agree.
    #[error("the new keys did not sign it: {0}")]
    New(crate::signature::SignatureError),
}

impl KeyRotation {
    /// The kind under which it stands on the chain.
    pub const KIND: &'static str = "keys.rotated";

    /// The keys of `old` give way to those of `new`, which are of the same node, on this chain.
    #[must_use]
    pub fn new(chain: ChainId, old: &dyn Signer, new: &dyn Signer) -> Self {
        let rotation = Rotation { chain, old: old.public_keys().digest(), new: new.public_keys().clone() };
        let rotation = Signed::new(&rotation, old);
        let accepted = new.sign(ACCEPTED_LABEL, &rotation.digest());
        Self { rotation, accepted }
    }

    /// What it says, checked: it follows these keys, and all four signatures are good.
    ///
    /// # Errors
    /// [`RotationError`] with the first check that failed.
    pub fn verify(&self, old: &PublicKeys) -> Result<Rotation, RotationError> {
        let rotation = self.rotation.peek()?;
        if rotation.old != old.digest() {
            return Err(RotationError::OtherKeys);
        }
        let node = old.node();
        if rotation.new.node() != node || rotation.new == *old {
            return Err(RotationError::NotNew);
        }
        if rotation.chain.node != node {
            return Err(RotationError::OtherChain);
        }
        self.rotation.verify(old).map_err(|error| match error {
            SignedError::Decode(error) => RotationError::Decode(error),
            SignedError::Signature(error) => RotationError::Old(error),
        })?;
        self.accepted.verify(&rotation.new, ACCEPTED_LABEL, &self.rotation.digest()).map_err(RotationError::New)?;
        Ok(rotation)
    }
}

/// All keys that a node is known to have or to have had. Invariant: each but the first follows from one before it by a rotation
/// whose four signatures were checked; at most one more than [`ROTATIONS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberKeys {
    keys: Vec<PublicKeys>,
    rotations: Vec<KeyRotation>,
    /// [`PublicKeys::digest`] of those that gave way to others.
    replaced: Vec<Digest>,
}

impl MemberKeys {
    /// Those of a node whose certificate names these.
    #[must_use]
    pub fn new(certified: PublicKeys) -> Self {
        Self { keys: vec![certified], rotations: Vec::new(), replaced: Vec::new() }
    }

    /// All of them, those of the certificate first and the newest last.
    #[must_use]
    pub fn all(&self) -> &[PublicKeys] {
        &self.keys
    }

    /// What led to them, in the order in which it was learned.
    #[must_use]
    pub fn rotations(&self) -> &[KeyRotation] {
        &self.rotations
    }

    /// Whether these gave way to others.
    #[must_use]
    pub fn is_replaced(&self, keys: &PublicKeys) -> bool {
        self.replaced.contains(&keys.digest())
    }

    /// Learns of a rotation that follows one of these keys; whether that is news. Of a node that shows more than
    /// [`ROTATIONS_MAX`] no further one is learned.
    pub fn learn(&mut self, rotation: &KeyRotation) -> bool {
        let Ok(claimed) = rotation.rotation.peek() else { return false };
        if self.rotations.len() >= ROTATIONS_MAX || self.keys.contains(&claimed.new) {
            return false;
        }
        let old = self.keys.iter().find(|keys| keys.digest() == claimed.old);
        if old.is_none_or(|old| rotation.verify(old).is_err()) {
            return false;
        }
        self.keys.push(claimed.new);
        self.rotations.push(rotation.clone());
        self.replaced.push(claimed.old);
        true
    }

    /// The rotations that lead from those of the certificate to these, in order; none when nothing does.
    #[must_use]
    pub fn path_to(&self, keys: &PublicKeys) -> Option<Vec<KeyRotation>> {
        let mut path = Vec::new();
        let mut last = keys.clone();
        while last != self.keys[0] {
            let place = self.keys.iter().position(|keys| *keys == last)?.checked_sub(1)?;
            path.push(self.rotations[place].clone());
            last = self.keys.iter().find(|keys| keys.digest() == self.replaced[place])?.clone();
        }
        path.reverse();
        Some(path)
    }

    /// The rotation that made these the node's; none of those of the certificate.
    #[must_use]
    pub fn rotation_to(&self, keys: &PublicKeys) -> Option<&KeyRotation> {
        let place = self.keys.iter().position(|known| known == keys)?.checked_sub(1)?;
        self.rotations.get(place)
    }
}

/// All keys to which these rotations lead, one after the other: the first are `keys`, the last those of today.
///
/// # Errors
/// [`RotationError`] of the first that does not follow those before it.
pub fn follow_rotations(keys: &PublicKeys, rotations: &[KeyRotation]) -> Result<Vec<PublicKeys>, RotationError> {
    let mut all = vec![keys.clone()];
    let mut last = keys.clone();
    for rotation in rotations {
        last = rotation.verify(&last)?.new;
        all.push(last.clone());
    }
    Ok(all)
}
