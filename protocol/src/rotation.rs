//! How the ML-DSA-65 key of a node gives way to a new one: both keys of the old pair say so, both of the new pair agree.

use serde::{Deserialize, Serialize};

use crate::error::DecodeError;
use crate::hash::Digest;
use crate::id::ChainId;
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
