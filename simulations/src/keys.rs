//! Keys that follow from a seed, and a signer whose signatures do too, so that two runs of one seed write the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use ml_dsa::{Keypair as _, MlDsa65, SigningKey};
use weft_protocol::{Certificate, KeyPair, PublicKeys, Signable as _, Signer};

use crate::dice::{Dice, Stream};

/// Both keys of one simulated node.
///
/// The shipped [`KeyPair`] signs, with one exception. Certificates are part of events, so their signatures reach leaves,
/// links and roots, and the shipped ML-DSA-65 signer draws 32 bytes of the operating system's entropy for each. Theirs are
/// made by the deterministic variant of FIPS 204 (algorithm 2 with `rnd` of zeros) of another library; the shipped verifier
/// accepts them like any other. All other signatures stand beside what is hashed and may differ from run to run.
pub(crate) struct SeededKeys {
    pair: KeyPair,
    mldsa65: SigningKey<MlDsa65>,
}

/// Made once per process: deriving ML-DSA-65 keys takes milliseconds without optimisation.
static MADE: LazyLock<Mutex<BTreeMap<(u64, u64), Arc<SeededKeys>>>> = LazyLock::new(Mutex::default);

impl SeededKeys {
    /// The keys of node number `index` under `seed`.
    pub(crate) fn derive(seed: u64, index: u64) -> Arc<Self> {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry((seed, index)).or_insert_with(|| Arc::new(Self::new(seed, index))))
    }

    #[expect(deprecated, reason = "the expanded form is what the shipped key pair is loaded from")]
    fn new(seed: u64, index: u64) -> Self {
        let mut dice = Dice::new(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15), Stream::Keys);
        let ed25519_seed = dice.bytes();
        let mldsa65 = SigningKey::<MlDsa65>::from_seed(&dice.bytes::<32>().into());
        let (secret, public) = (mldsa65.expanded_key().to_expanded(), mldsa65.verifying_key().encode());
        let pair = KeyPair::from_parts(&ed25519_seed, &secret, &public);
        Self { pair: pair.expect("BUG: both libraries know the key formats of FIPS 204"), mldsa65 }
    }
}

impl Signer for SeededKeys {
    fn public_keys(&self) -> &PublicKeys {
        self.pair.public_keys()
    }

    fn sign_ed25519_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign_ed25519_bytes(message)
    }

    fn sign_mldsa65_bytes(&self, context: &[u8], message: &[u8]) -> Vec<u8> {
        if !is_certificate(context) {
            return self.pair.sign_mldsa65_bytes(context, message);
        }
        let signature = self.mldsa65.expanded_key().sign_deterministic(message, context);
        signature.expect("BUG: contexts of this program are short").encode().to_vec()
    }
}

/// Whether a signature under this context is one of a certificate.
fn is_certificate(context: &[u8]) -> bool {
    context == format!("weft/{}/mldsa65", Certificate::LABEL).as_bytes()
}

impl fmt::Debug for SeededKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SeededKeys({})", self.pair.public_keys().node())
    }
}

#[cfg(test)]
mod tests {
    use weft_protocol::{MLDSA65_SECRET_KEY_BYTES, hash};

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_keys_and_the_same_signatures_of_certificates() {
        let (one, again) = (SeededKeys::new(7, 0), SeededKeys::new(7, 0));
        let digest = hash("test", &[b"digest"]);
        assert_eq!(one.public_keys(), again.public_keys());
        assert_eq!(one.sign(Certificate::LABEL, &digest), again.sign(Certificate::LABEL, &digest));
        assert_ne!(one.public_keys(), SeededKeys::derive(7, 1).public_keys());
        assert_ne!(one.public_keys(), SeededKeys::derive(8, 0).public_keys());
    }

    #[test]
    fn the_shipped_verifier_accepts_the_signatures_and_the_shipped_signer_the_keys() {
        let keys = SeededKeys::derive(7, 0);
        let digest = hash("test", &[b"digest"]);
        for label in [Certificate::LABEL, "test"] {
            keys.sign(label, &digest).verify(keys.public_keys(), label, &digest).expect("valid");
            keys.pair.sign(label, &digest).verify(keys.public_keys(), label, &digest).expect("valid");
        }
        assert_eq!(keys.pair.secret_parts().1.len(), MLDSA65_SECRET_KEY_BYTES);
        let signature = keys.sign_mldsa65(Certificate::LABEL, &digest);
        assert!(keys.public_keys().verify_mldsa65("other", &digest, &signature).is_err());
    }
}
