//! Vectors that others published, and signatures recorded here: what verifies, what does not, and that libraries agree.
#![expect(deprecated, reason = "the expanded secret key is the form all three libraries share")]

use std::path::Path;

use aws_lc_rs::signature::{ED25519, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use ml_dsa::{MlDsa65, Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::{
    COMMIT_LABEL, Digest, DualSignature, KeyPair, MLDSA65_SIGNATURE_BYTES, NodeId, PublicKeys, Signer, decode, encode,
    hash, verify_ed25519, verify_mldsa65,
};

/// A file of vectors, in the form of Wycheproof.
#[derive(Deserialize)]
struct Vectors {
    #[serde(rename = "testGroups")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "publicKey")]
    key: String,
    #[serde(rename = "privateSeed")]
    seed: Option<String>,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "tcId")]
    id: u64,
    comment: String,
    flags: Vec<String>,
    msg: String,
    #[serde(default)]
    ctx: String,
    sig: String,
    result: String,
}

impl Case {
    fn is_valid(&self) -> bool {
        assert!(["valid", "invalid"].contains(&self.result.as_str()), "case {}", self.id);
        self.result == "valid"
    }
}

fn vectors(name: &str) -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

/// Whether the shipped check accepts; a key or signature of another length cannot even be given to it.
fn accepts_ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (key.try_into(), signature.try_into()) else { return false };
    verify_ed25519(&NodeId::from_bytes(key), message, signature).is_ok()
}

#[test]
fn ed25519_follows_the_vectors_of_wycheproof() {
    let (mut valid, mut invalid) = (0, 0);
    for group in vectors("ed25519_verify.json").groups {
        let key = bytes(&group.key);
        for case in group.tests {
            let (message, signature) = (bytes(&case.msg), bytes(&case.sig));
            let what = format!("case {} {:?}: {}", case.id, case.flags, case.comment);
            assert_eq!(accepts_ed25519(&key, &message, &signature), case.is_valid(), "{what}");
            let second = UnparsedPublicKey::new(&ED25519, &key).verify(&message, &signature);
            assert_eq!(second.is_ok(), case.is_valid(), "the second library, {what}");
            *(if case.is_valid() { &mut valid } else { &mut invalid }) += 1;
        }
    }
    assert_eq!((valid, invalid), (88, 63));
}

/// Libraries differ in these; ours must be the strict verdict, or two members could disagree about one chain.
#[test]
fn ed25519_is_strict_about_small_orders_and_forms() {
    let cases = vectors("ed25519_speccheck.json").groups.into_iter().flat_map(|group| {
        let key = bytes(&group.key);
        group.tests.into_iter().map(move |case| (key.clone(), case))
    });
    let mut seen = 0;
    for (key, case) in cases {
        let accepted = accepts_ed25519(&key, &bytes(&case.msg), &bytes(&case.sig));
        assert_eq!(accepted, case.is_valid(), "case {}: {}", case.id, case.comment);
        seen += 1;
    }
    assert_eq!(seen, 12);
}

/// A hint where the low part is zero, which no honest signer makes: the shipped library refuses it on processors with AVX2 and
/// accepts it on others. ARCHITECTURE.md names this among what is not there yet.
const DEVIATES: u64 = 161;

#[test]
fn mldsa65_follows_the_vectors_of_wycheproof() {
    let (mut valid, mut invalid, mut signed) = (0, 0, 0);
    for group in vectors("mldsa_65_verify.json").groups {
        let key = bytes(&group.key);
        let seed: Option<[u8; 32]> = group.seed.map(|seed| bytes(&seed).try_into().unwrap());
        let pair = seed.map(|seed| SigningKey::<MlDsa65>::from_seed(&seed.into()));
        for case in group.tests {
            let (context, message, signature) = (bytes(&case.ctx), bytes(&case.msg), bytes(&case.sig));
            let what = format!("case {} {:?}: {}", case.id, case.flags, case.comment);
            let verified = verify_mldsa65(&key, &context, &message, &signature);
            if case.id != DEVIATES {
                assert_eq!(verified.is_ok(), case.is_valid(), "{what}");
            }
            assert_eq!(second_accepts(&key, &context, &message, &signature), case.is_valid(), "the second, {what}");
            if context.is_empty() {
                let third = UnparsedPublicKey::new(&ML_DSA_65, &key).verify(&message, &signature);
                assert_eq!(third.is_ok(), case.is_valid(), "the third, {what}");
            }
            // Whoever has the seed signs to the very same bytes, when nothing random enters.
            if let (Some(pair), true) = (&pair, case.is_valid()) {
                let again = pair.expanded_key().sign_deterministic(&message, &context).unwrap().encode();
                assert_eq!(again.as_slice(), signature, "{what}");
                signed += 1;
            }
            *(if case.is_valid() { &mut valid } else { &mut invalid }) += 1;
        }
    }
    assert_eq!((valid, invalid), (22, 38));
    assert!(signed >= 15, "{signed} cases were signed again");
}

fn second_accepts(key: &[u8], context: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (key.try_into(), Signature::<MlDsa65>::try_from(signature)) else { return false };
    VerifyingKey::<MlDsa65>::decode(key).verify_with_context(message, context, &signature)
}

/// Both signatures of one digest, and bare ones, as they were once made.
#[derive(Serialize, Deserialize)]
struct Recorded {
    keys: PublicKeys,
    digest: Digest,
    /// ML-DSA-65 by the second library without randomness.
    repeatable: DualSignature,
    /// By the shipped library, which draws randomness.
    random: DualSignature,
    /// ML-DSA-65 of the digest alone with no context, in the same two ways: all that the third library knows.
    bare: [ByteBuf; 2],
}

const ED25519_SEED: [u8; 32] = [0x51; 32];
const MLDSA65_SEED: [u8; 32] = [0x52; 32];

/// The keys of the two seeds in the hands of the shipped library, and the second library's own pair.
fn recorded_keys() -> (KeyPair, SigningKey<MlDsa65>) {
    let second = SigningKey::<MlDsa65>::from_seed(&MLDSA65_SEED.into());
    let expanded = second.expanded_key();
    let public = expanded.verifying_key().encode();
    (KeyPair::from_parts(&ED25519_SEED, &expanded.to_expanded(), &public).unwrap(), second)
}

/// The signer that draws no randomness.
#[derive(Debug)]
struct Repeatable(KeyPair, Box<SigningKey<MlDsa65>>);

impl Signer for Repeatable {
    fn public_keys(&self) -> &PublicKeys {
        self.0.public_keys()
    }

    fn sign_ed25519_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign_ed25519_bytes(message)
    }

    fn sign_mldsa65_bytes(&self, context: &[u8], message: &[u8]) -> Vec<u8> {
        self.1.expanded_key().sign_deterministic(message, context).unwrap().encode().to_vec()
    }
}

fn record() -> Recorded {
    let (pair, second) = recorded_keys();
    let digest = hash("golden", &[b"what both keys sign"]);
    let random = pair.sign(COMMIT_LABEL, &digest);
    let random_bare = pair.sign_mldsa65_bytes(b"", digest.as_bytes());
    let keys = pair.public_keys().clone();
    let repeatable = Repeatable(pair, Box::new(second));
    let bare = [repeatable.sign_mldsa65_bytes(b"", digest.as_bytes()), random_bare].map(ByteBuf::from);
    Recorded { keys, digest, repeatable: repeatable.sign(COMMIT_LABEL, &digest), random, bare }
}

/// To record anew: `WEFT_RECORD_GOLDEN=1`, and a line in `golden/VERSIONS.md`.
#[test]
fn recorded_signatures_verify_in_every_library() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/dual-signatures.v1.hex");
    if std::env::vars().any(|(name, _)| name == "WEFT_RECORD_GOLDEN") && !path.exists() {
        std::fs::write(&path, format!("{}\n", HEXLOWER.encode(&encode(&record())))).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let recorded: Recorded = decode(&bytes(text.trim()), 32 * 1024).unwrap();
    let Recorded { keys, digest, repeatable, random, bare } = &recorded;

    // The same seeds give the same keys and, without randomness, the same signatures; also in the third library.
    let now = record();
    assert_eq!((keys, digest, repeatable), (&now.keys, &now.digest, &now.repeatable));
    assert_eq!(bare[0], now.bare[0]);
    let third = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &MLDSA65_SEED).unwrap();
    assert_eq!(aws_lc_rs::signature::KeyPair::public_key(&third).as_ref(), keys.mldsa65());

    // What each says of what the other made, under the framing that chains use.
    for signature in [repeatable, random] {
        assert_eq!(signature.verify(keys, COMMIT_LABEL, digest), Ok(()));
        assert!(signature.verify(keys, "another", digest).is_err());
        let ed25519_hash = hash("ed25519-key", &[keys.node().as_bytes()]);
        let message = [ed25519_hash.as_bytes().as_slice(), digest.as_bytes()].concat();
        assert!(second_accepts(keys.mldsa65(), b"weft/commit/mldsa65", &message, &signature.mldsa65));
        let message = [b"weft/commit/ed25519", keys.mldsa65_hash().as_bytes().as_slice(), digest.as_bytes()].concat();
        let node = keys.node();
        let second = UnparsedPublicKey::new(&ED25519, node.as_bytes());
        second.verify(&message, signature.ed25519.as_slice()).unwrap();
    }
    for signature in bare {
        assert_eq!(signature.len(), MLDSA65_SIGNATURE_BYTES);
        assert_eq!(verify_mldsa65(keys.mldsa65(), b"", digest.as_bytes(), signature), Ok(()));
        assert!(second_accepts(keys.mldsa65(), b"", digest.as_bytes(), signature));
        UnparsedPublicKey::new(&ML_DSA_65, keys.mldsa65()).verify(digest.as_bytes(), signature).unwrap();
        // One bit anywhere is one too many, for all three alike.
        for place in (0..signature.len()).step_by(97) {
            let mut changed = signature.to_vec();
            changed[place] ^= 1 << (place % 8);
            assert!(verify_mldsa65(keys.mldsa65(), b"", digest.as_bytes(), &changed).is_err(), "byte {place}");
            assert!(!second_accepts(keys.mldsa65(), b"", digest.as_bytes(), &changed), "byte {place}");
            let third = UnparsedPublicKey::new(&ML_DSA_65, keys.mldsa65()).verify(digest.as_bytes(), &changed);
            assert!(third.is_err(), "byte {place}");
        }
    }
    let dual = DualSignature { ed25519: ByteArray::new([0; 64]), mldsa65: random.mldsa65.clone() };
    assert!(dual.verify(keys, COMMIT_LABEL, digest).is_err());
}
