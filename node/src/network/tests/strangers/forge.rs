//! What a forger makes: values with signatures of its choice, and signers that hold one key of two.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use weft_protocol::{DualSignature, KeyPair, PublicKeys, Signable, Signed, Signer, decode, encode};

/// A signed value in its parts.
#[derive(Serialize, Deserialize)]
struct Parts {
    bytes: ByteBuf,
    signature: DualSignature,
}

/// The same value with other bytes or another signature.
pub(super) fn altered<T: Signable>(
    signed: &Signed<T>,
    alter: impl FnOnce(&mut Vec<u8>, &mut DualSignature),
) -> Signed<T> {
    let mut parts: Parts = decode(&encode(signed), 1 << 20).unwrap();
    alter(&mut parts.bytes, &mut parts.signature);
    decode(&encode(&parts), 1 << 20).unwrap()
}

/// Signs as `public` with the Ed25519 key of one pair and the ML-DSA-65 key of another.
#[derive(Debug)]
pub(super) struct Mixed {
    pub(super) public: PublicKeys,
    pub(super) ed25519: Arc<KeyPair>,
    pub(super) mldsa65: Arc<KeyPair>,
}

impl Signer for Mixed {
    fn public_keys(&self) -> &PublicKeys {
        &self.public
    }

    fn sign_ed25519_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.ed25519.sign_ed25519_bytes(message)
    }

    fn sign_mldsa65_bytes(&self, context: &[u8], message: &[u8]) -> Vec<u8> {
        self.mldsa65.sign_mldsa65_bytes(context, message)
    }
}

/// Somebody who broke the Ed25519 key of `victim` and holds another ML-DSA-65 key.
pub(super) fn with_ed25519_alone(victim: &Arc<KeyPair>, other: &Arc<KeyPair>) -> Arc<dyn Signer> {
    Arc::new(Mixed { public: victim.public_keys().clone(), ed25519: Arc::clone(victim), mldsa65: Arc::clone(other) })
}

/// Somebody who broke the ML-DSA-65 key of `victim` and holds another Ed25519 key.
pub(super) fn with_mldsa65_alone(victim: &Arc<KeyPair>, other: &Arc<KeyPair>) -> Arc<dyn Signer> {
    Arc::new(Mixed { public: victim.public_keys().clone(), ed25519: Arc::clone(other), mldsa65: Arc::clone(victim) })
}
