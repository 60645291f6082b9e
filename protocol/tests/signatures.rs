//! Both signatures are needed, each bound to the other's key, and three libraries agree on ML-DSA-65.
#![expect(deprecated, reason = "the expanded secret key is the form all three libraries share")]

use aws_lc_rs::signature::{ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey};
use ml_dsa::{ExpandedSigningKey, MlDsa65, Signature, SigningKey, VerifyingKey};
use weft_protocol::{
    Certificate, KeyPair, MLDSA65_SIGNATURE_BYTES, PublicKeys, SignatureError, Signed, Signer, hash, verify_mldsa65,
};

use crate::samples;

#[test]
fn each_half_counts() {
    let (pair, other) = (KeyPair::generate([1; 32]), KeyPair::generate([2; 32]));
    let digest = hash("test", &[b"message"]);
    let good = pair.sign("test", &digest);
    assert_eq!(good.verify(pair.public_keys(), "test", &digest), Ok(()));
    assert_eq!(good.verify(pair.public_keys(), "tesu", &digest), Err(SignatureError::Ed25519));
    assert_eq!(good.verify(other.public_keys(), "test", &digest), Err(SignatureError::Ed25519));
    let mut bad = good.clone();
    bad.ed25519[0] ^= 1;
    assert_eq!(bad.verify(pair.public_keys(), "test", &digest), Err(SignatureError::Ed25519));
    let mut bad = good.clone();
    bad.mldsa65[100] ^= 1;
    assert_eq!(bad.verify(pair.public_keys(), "test", &digest), Err(SignatureError::MlDsa65));
    let mut bad = good;
    bad.mldsa65.truncate(MLDSA65_SIGNATURE_BYTES - 1);
    assert_eq!(bad.verify(pair.public_keys(), "test", &digest), Err(SignatureError::MlDsa65));
}

#[test]
fn halves_of_two_key_pairs_do_not_mix() {
    let (first, second) = (KeyPair::generate([1; 32]), KeyPair::generate([1; 32]));
    assert_eq!(first.public_keys().node(), second.public_keys().node(), "the same Ed25519 key");
    let digest = hash("test", &[b"message"]);
    let signature = first.sign_ed25519("test", &digest);
    let mixed = PublicKeys::new(first.public_keys().node(), second.public_keys().mldsa65().to_vec()).unwrap();
    assert_eq!(mixed.verify_ed25519("test", &digest, &signature), Err(SignatureError::Ed25519));
}

#[test]
fn a_small_order_key_verifies_nothing() {
    let identity = {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes
    };
    let pair = KeyPair::generate([1; 32]);
    let node = weft_protocol::NodeId::from_bytes(identity);
    let keys = PublicKeys::new(node, pair.public_keys().mldsa65().to_vec()).unwrap();
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(keys.verify_ed25519("test", &hash("test", &[]), &signature).is_err());
}

#[test]
fn a_signed_value_shows_its_content_only_to_who_checks() {
    let pair = KeyPair::generate([3; 32]);
    let certificate = samples::certificate(pair.public_keys().clone());
    let signed: Signed<Certificate> = Signed::new(&certificate, &pair);
    assert_eq!(signed.verify(pair.public_keys()), Ok(certificate));
    assert!(signed.verify(KeyPair::generate([4; 32]).public_keys()).is_err());
}

#[test]
fn secret_keys_survive_being_stored_and_do_not_mix() {
    let pair = KeyPair::generate([5; 32]);
    let (seed, secret) = pair.secret_parts();
    let again = KeyPair::from_parts(&seed, secret, pair.public_keys().mldsa65()).unwrap();
    assert_eq!(again.public_keys(), pair.public_keys());
    let other = KeyPair::generate([6; 32]);
    assert!(KeyPair::from_parts(&seed, other.secret_parts().1, pair.public_keys().mldsa65()).is_none());
    assert!(KeyPair::from_parts(&seed, &secret[1..], pair.public_keys().mldsa65()).is_none());
}

/// The shipped library signs with and without a context; the second library verifies both, the third the latter.
#[test]
fn others_accept_what_we_sign() {
    let pair = KeyPair::generate([7; 32]);
    let key = pair.public_keys().mldsa65();
    let second = VerifyingKey::<MlDsa65>::decode(key.try_into().unwrap());
    for (context, message) in [(b"weft/test".as_slice(), b"message".as_slice()), (b"", b""), (b"", b"message")] {
        let signature = pair.sign_mldsa65_bytes(context, message);
        let parsed = Signature::<MlDsa65>::try_from(signature.as_slice()).unwrap();
        assert!(second.verify_with_context(message, context, &parsed));
        assert!(!second.verify_with_context(message, b"weft/other", &parsed));
        if context.is_empty() {
            UnparsedPublicKey::new(&ML_DSA_65, key).verify(message, &signature).unwrap();
        }
    }
}

/// The second library signs with and without a context, the third without; the shipped library verifies them all.
#[test]
fn we_accept_what_others_sign() {
    let seed = [8; 32];
    let second = SigningKey::<MlDsa65>::from_seed(&seed.into());
    let expanded: &ExpandedSigningKey<MlDsa65> = second.expanded_key();
    let key = expanded.verifying_key().encode();
    for context in [b"weft/test".as_slice(), b""] {
        let signature = expanded.sign_deterministic(b"message", context).unwrap().encode();
        assert_eq!(verify_mldsa65(&key, context, b"message", &signature), Ok(()));
        assert_eq!(verify_mldsa65(&key, b"weft/other", b"message", &signature), Err(SignatureError::MlDsa65));
        assert_eq!(verify_mldsa65(&key, context, b"massage", &signature), Err(SignatureError::MlDsa65));
    }
    let third = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seed).unwrap();
    let mut signature = vec![0; MLDSA65_SIGNATURE_BYTES];
    third.sign(b"message", &mut signature).unwrap();
    assert_eq!(verify_mldsa65(&key, b"", b"message", &signature), Ok(()));

    let secret = expanded.to_expanded();
    let pair = KeyPair::from_parts(&seed, &secret, &key).unwrap();
    let signature = pair.sign_mldsa65_bytes(b"", b"message");
    UnparsedPublicKey::new(&ML_DSA_65, &key[..]).verify(b"message", &signature).unwrap();
}

#[test]
fn a_context_longer_than_the_standard_allows_is_refused() {
    let pair = KeyPair::generate([9; 32]);
    let signature = pair.sign_mldsa65_bytes(b"", b"message");
    let long = [0; 256];
    let verified = verify_mldsa65(pair.public_keys().mldsa65(), &long, b"message", &signature);
    assert_eq!(verified, Err(SignatureError::MlDsa65));
}
