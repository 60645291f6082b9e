//! Two signatures that stand or fall together: Ed25519 and ML-DSA-65 (FIPS 204), each bound to the other's key.
//!
//! The rest of the program knows only [`Signer`], [`PublicKeys`] and the two verifiers; which library computes ML-DSA-65
//! is decided by the one `use` line below that names it.

use std::fmt;

use ed25519_dalek::Signer as _;
use pqcrypto_mldsa::mldsa65 as provider;
use pqcrypto_traits::sign::{DetachedSignature as _, PublicKey as _, SecretKey as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::Zeroizing;

use crate::codec::{decode, encode};
use crate::error::DecodeError;
use crate::hash::{Digest, hash};
use crate::id::NodeId;

/// Length of an ML-DSA-65 public key in bytes (FIPS 204, table 2).
pub const MLDSA65_PUBLIC_KEY_BYTES: usize = 1_952;
/// Length of an ML-DSA-65 secret key in bytes (FIPS 204, table 2).
pub const MLDSA65_SECRET_KEY_BYTES: usize = 4_032;
/// Length of an ML-DSA-65 signature in bytes (FIPS 204, table 2).
pub const MLDSA65_SIGNATURE_BYTES: usize = 3_309;

/// Why a signature does not count. The signer's fault or a forger's; nothing was changed and a retry cannot help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The Ed25519 key or signature is malformed, or does not verify under the strict rule.
    #[error("the Ed25519 signature does not verify")]
    Ed25519,
    /// The ML-DSA-65 key or signature is malformed, or does not verify.
    #[error("the ML-DSA-65 signature does not verify")]
    MlDsa65,
    /// A place that needs the ML-DSA-65 signature carries none.
    #[error("the ML-DSA-65 signature is missing")]
    MlDsa65Missing,
}

/// Both public keys of one node. The Ed25519 key is the node id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PublicKeysWire", into = "PublicKeysWire")]
pub struct PublicKeys {
    node: NodeId,
    mldsa65: Vec<u8>,
    ed25519_hash: Digest,
    mldsa65_hash: Digest,
}

#[derive(Serialize, Deserialize)]
struct PublicKeysWire {
    ed25519: NodeId,
    mldsa65: ByteBuf,
}

impl PublicKeys {
    /// The pair of these keys; `None` when the ML-DSA-65 key has another length than 1,952 bytes.
    #[must_use]
    pub fn new(node: NodeId, mldsa65: Vec<u8>) -> Option<Self> {
        if mldsa65.len() != MLDSA65_PUBLIC_KEY_BYTES {
            return None;
        }
        let ed25519_hash = hash("ed25519-key", &[node.as_bytes()]);
        let mldsa65_hash = hash("mldsa65-key", &[&mldsa65]);
        Some(Self { node, mldsa65, ed25519_hash, mldsa65_hash })
    }

    /// The node these keys belong to.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The ML-DSA-65 public key, 1,952 bytes.
    #[must_use]
    pub fn mldsa65(&self) -> &[u8] {
        &self.mldsa65
    }

    /// `H("mldsa65-key", key)`: by which tokens and Ed25519 signatures name the ML-DSA-65 key.
    #[must_use]
    pub const fn mldsa65_hash(&self) -> &Digest {
        &self.mldsa65_hash
    }

    /// `H("public-keys", Ed25519 key, ML-DSA-65 key)`: by which a rotation names the pair that it follows.
    #[must_use]
    pub fn digest(&self) -> Digest {
        hash("public-keys", &[self.node.as_bytes(), &self.mldsa65])
    }

    /// What the Ed25519 key signs for `digest`: `"weft/" label "/ed25519" ‖ H(mldsa65 key) ‖ digest`.
    fn ed25519_message(&self, label: &str, digest: &Digest) -> Vec<u8> {
        [b"weft/", label.as_bytes(), b"/ed25519", self.mldsa65_hash.as_bytes(), digest.as_bytes()].concat()
    }

    /// What the ML-DSA-65 key signs for `digest`: `H(ed25519 key) ‖ digest`, under the context `"weft/" label "/mldsa65"`.
    fn mldsa65_message(&self, digest: &Digest) -> Vec<u8> {
        [self.ed25519_hash.as_bytes().as_slice(), digest.as_bytes()].concat()
    }

    /// Checks the Ed25519 signature over `digest` under `label`, strictly (no small-order keys, no malleable form).
    ///
    /// # Errors
    /// [`SignatureError::Ed25519`] when it does not verify.
    pub fn verify_ed25519(&self, label: &str, digest: &Digest, signature: &[u8; 64]) -> Result<(), SignatureError> {
        verify_ed25519(&self.node, &self.ed25519_message(label, digest), signature)
    }

    /// Checks the ML-DSA-65 signature over `digest` under `label`.
    ///
    /// # Errors
    /// [`SignatureError::MlDsa65`] when it does not verify.
    pub fn verify_mldsa65(&self, label: &str, digest: &Digest, signature: &[u8]) -> Result<(), SignatureError> {
        let context = mldsa65_context(label);
        verify_mldsa65(&self.mldsa65, &context, &self.mldsa65_message(digest), signature)
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKeys({})", self.node)
    }
}

impl From<PublicKeys> for PublicKeysWire {
    fn from(keys: PublicKeys) -> Self {
        Self { ed25519: keys.node, mldsa65: ByteBuf::from(keys.mldsa65) }
    }
}

impl TryFrom<PublicKeysWire> for PublicKeys {
    type Error = &'static str;

    fn try_from(wire: PublicKeysWire) -> Result<Self, Self::Error> {
        Self::new(wire.ed25519, wire.mldsa65.into_vec()).ok_or("an ML-DSA-65 public key has 1,952 bytes")
    }
}

fn mldsa65_context(label: &str) -> Vec<u8> {
    [b"weft/", label.as_bytes(), b"/mldsa65"].concat()
}

/// Checks a bare Ed25519 signature strictly: no key or point of small order, no malleable or non-canonical form.
///
/// # Errors
/// [`SignatureError::Ed25519`] for a malformed key and for a signature that does not verify.
pub fn verify_ed25519(key: &NodeId, message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| SignatureError::Ed25519)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    key.verify_strict(message, &signature).map_err(|_| SignatureError::Ed25519)
}

/// Checks a bare ML-DSA-65 signature with a context of at most 255 bytes (FIPS 204, algorithm 3).
///
/// The library as built for processors with AVX2 leaves out the bound on the response, so that one machine would accept what
/// another refuses; it is checked here for all of them.
///
/// # Errors
/// [`SignatureError::MlDsa65`] for a malformed key or signature and for one that does not verify.
pub fn verify_mldsa65(
    public_key: &[u8],
    context: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let refuse = |_| SignatureError::MlDsa65;
    if context.len() > 255 || !has_bounded_response(signature) {
        return Err(SignatureError::MlDsa65);
    }
    let key = provider::PublicKey::from_bytes(public_key).map_err(refuse)?;
    let signature = provider::DetachedSignature::from_bytes(signature).map_err(refuse)?;
    provider::verify_detached_signature_ctx(&signature, message, context, &key).map_err(|_| SignatureError::MlDsa65)
}

/// Whether the response of a signature is shorter than γ₁ − β in the infinity norm (FIPS 204, algorithm 8, line 13). Its 5 × 256
/// coefficients stand behind the 48 bytes of the challenge, 20 bits each: γ₁ minus the coefficient, the low bits first.
fn has_bounded_response(signature: &[u8]) -> bool {
    const GAMMA1: u32 = 1 << 19;
    const BETA: u32 = 196;
    let bounded = |packed: u32| BETA < packed && packed < 2 * GAMMA1 - BETA;
    signature.get(48..48 + 5 * 640).is_some_and(|response| {
        response.chunks_exact(5).all(|pair| {
            let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|place| u32::from(pair[place]));
            bounded(a | b << 8 | (c & 0xf) << 16) && bounded(c >> 4 | d << 4 | e << 12)
        })
    })
}

/// Who can sign for a node. A constructor argument of whatever writes a chain; the simulator derives its keys from a seed.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public half.
    fn public_keys(&self) -> &PublicKeys;

    /// Ed25519 over the bytes as they are.
    fn sign_ed25519_bytes(&self, message: &[u8]) -> [u8; 64];

    /// ML-DSA-65 over the bytes as they are, under `context` of at most 255 bytes.
    fn sign_mldsa65_bytes(&self, context: &[u8], message: &[u8]) -> Vec<u8>;

    /// The Ed25519 half of the dual signature of `digest` under `label`.
    fn sign_ed25519(&self, label: &str, digest: &Digest) -> [u8; 64] {
        self.sign_ed25519_bytes(&self.public_keys().ed25519_message(label, digest))
    }

    /// The ML-DSA-65 half of the dual signature of `digest` under `label`.
    fn sign_mldsa65(&self, label: &str, digest: &Digest) -> Vec<u8> {
        self.sign_mldsa65_bytes(&mldsa65_context(label), &self.public_keys().mldsa65_message(digest))
    }

    /// Both halves.
    fn sign(&self, label: &str, digest: &Digest) -> DualSignature {
        DualSignature {
            ed25519: ByteArray::new(self.sign_ed25519(label, digest)),
            mldsa65: ByteBuf::from(self.sign_mldsa65(label, digest)),
        }
    }
}

/// An Ed25519 and an ML-DSA-65 signature of the same digest; it verifies only if both do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DualSignature {
    /// 64 bytes.
    pub ed25519: ByteArray<64>,
    /// 3,309 bytes.
    pub mldsa65: ByteBuf,
}

impl DualSignature {
    /// Checks both halves over `digest` under `label`.
    ///
    /// # Errors
    /// The half that failed, Ed25519 first.
    pub fn verify(&self, keys: &PublicKeys, label: &str, digest: &Digest) -> Result<(), SignatureError> {
        keys.verify_ed25519(label, digest, &self.ed25519)?;
        keys.verify_mldsa65(label, digest, &self.mldsa65)
    }
}

impl fmt::Debug for DualSignature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DualSignature")
    }
}

/// A type that is signed whole, under a label that no other signed type uses.
pub trait Signable: Serialize + DeserializeOwned {
    /// Separates the signatures of this type from all others.
    const LABEL: &'static str;
    /// Most bytes of one encoded value.
    const BYTES_MAX: usize;
}

/// A value as it arrived with its dual signature: not yet checked, its content out of reach until it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T> {
    bytes: ByteBuf,
    signature: DualSignature,
    #[serde(skip)]
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signed({} bytes)", self.bytes.len())
    }
}

/// Why a signed value was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// The bytes are not the canonical encoding of the type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A signature does not verify.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl<T: Signable> Signed<T> {
    /// Signs `value` with both keys.
    #[must_use]
    pub fn new(value: &T, signer: &dyn Signer) -> Self {
        let bytes = encode(value);
        let signature = signer.sign(T::LABEL, &hash(T::LABEL, &[&bytes]));
        Self { bytes: ByteBuf::from(bytes), signature, kind: std::marker::PhantomData }
    }

    /// The value, checked: canonical bytes, both signatures by `keys`.
    ///
    /// # Errors
    /// [`SignedError`] with the first check that failed.
    pub fn verify(&self, keys: &PublicKeys) -> Result<T, SignedError> {
        let value = self.peek()?;
        self.signature.verify(keys, T::LABEL, &self.digest())?;
        Ok(value)
    }

    /// The value without any check of who signed it: to find out whose keys to ask for, never to act on.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not the canonical encoding of the type.
    pub fn peek(&self) -> Result<T, DecodeError> {
        decode(&self.bytes, T::BYTES_MAX)
    }

    /// `H(LABEL, bytes)`: what is signed and by which records name this value.
    #[must_use]
    pub fn digest(&self) -> Digest {
        hash(T::LABEL, &[&self.bytes])
    }
}

/// The secret keys of one node, held in memory that is wiped when dropped.
pub struct KeyPair {
    ed25519: ed25519_dalek::SigningKey,
    mldsa65: Zeroizing<Vec<u8>>,
    public: PublicKeys,
}

impl KeyPair {
    /// New keys. `ed25519_seed` comes from the caller's entropy; the ML-DSA-65 keys come from the operating system's,
    /// inside the library.
    #[must_use]
    pub fn generate(ed25519_seed: [u8; 32]) -> Self {
        let (public, secret) = provider::keypair();
        Self::from_parts(&ed25519_seed, secret.as_bytes(), public.as_bytes())
            .expect("BUG: the library's own keys have the standard's lengths")
    }

    /// The keys made of a 32-byte Ed25519 seed, a 4,032-byte ML-DSA-65 secret key and its 1,952-byte public key; `None`
    /// for other lengths or an ML-DSA-65 pair whose halves do not belong together.
    #[must_use]
    pub fn from_parts(ed25519_seed: &[u8; 32], mldsa65_secret: &[u8], mldsa65_public: &[u8]) -> Option<Self> {
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(ed25519_seed);
        let node = NodeId::from_bytes(ed25519.verifying_key().to_bytes());
        let public = PublicKeys::new(node, mldsa65_public.to_vec())?;
        provider::SecretKey::from_bytes(mldsa65_secret).ok()?;
        let pair = Self { ed25519, mldsa65: Zeroizing::new(mldsa65_secret.to_vec()), public };
        let probe = hash("key-check", &[mldsa65_public]);
        let signature = pair.sign("key-check", &probe);
        signature.verify(&pair.public, "key-check", &probe).is_ok().then_some(pair)
    }

    /// The Ed25519 seed and the ML-DSA-65 secret key, for the key file and the transport alone.
    #[must_use]
    pub fn secret_parts(&self) -> (Zeroizing<[u8; 32]>, &[u8]) {
        (Zeroizing::new(self.ed25519.to_bytes()), &self.mldsa65)
    }
}

impl Signer for KeyPair {
    fn public_keys(&self) -> &PublicKeys {
        &self.public
    }

    fn sign_ed25519_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.ed25519.sign(message).to_bytes()
    }

    fn sign_mldsa65_bytes(&self, context: &[u8], message: &[u8]) -> Vec<u8> {
        let secret = provider::SecretKey::from_bytes(&self.mldsa65).expect("BUG: checked when the pair was made");
        provider::detached_sign_ctx(message, context, &secret).as_bytes().to_vec()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyPair({})", self.public.node)
    }
}
