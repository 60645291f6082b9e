//! What a tick says of its own chain stands alone, and evidence is read as what it is made of.

use weft_protocol::limits::{EVIDENCE_BYTES_MAX, TICK_HEADS_MAX};
use weft_protocol::{
    ChainId, ClusterId, CommitRef, Digest, Evidence, Hlc, Incarnation, KeyPair, SignedTick, Signer as _, Statement,
    StatementBody, Tick, decode, encode,
};

fn tick(keys: &KeyPair, heads: usize) -> Tick {
    let chain = ChainId { node: keys.public_keys().node(), incarnation: Incarnation(u64::MAX) };
    let last = CommitRef { chain, commit_no: u64::MAX, commit_hash: Digest::from_bytes([7; 32]) };
    let cluster = ClusterId::from_bytes([9; 32]);
    Tick { cluster, last, hlc: Hlc(u64::MAX), horizon: Hlc(5), heads: vec![last; heads] }
}

#[test]
fn a_claim_is_signed_by_the_signature_of_its_tick() {
    let (keys, other) = (KeyPair::generate([1; 32]), KeyPair::generate([2; 32]));
    let tick = tick(&keys, TICK_HEADS_MAX);
    let signed = SignedTick::new(&tick, &keys);
    assert_eq!(signed.verify(keys.public_keys()).as_ref(), Ok(&tick));
    let claim = signed.claim(&tick);
    assert_eq!(claim.verify(keys.public_keys()), Ok(tick.claim()));
    assert!(claim.verify(other.public_keys()).is_err() && signed.verify(other.public_keys()).is_err());
    let size = encode(&claim).len();
    assert!(size < 512, "{size} bytes, however much the tick names");
    for bent in [
        Tick { heads: vec![tick.last], ..tick.clone() },
        Tick { horizon: Hlc(6), ..tick.clone() },
        Tick { hlc: Hlc(1), ..tick.clone() },
    ] {
        assert!(signed.claim(&bent).verify(keys.public_keys()).is_err(), "{:?}", bent.claim());
    }
}

#[test]
fn statements_are_told_apart_by_their_fields() {
    let keys = KeyPair::generate([1; 32]);
    let tick = tick(&keys, 1);
    let claim = SignedTick::new(&tick, &keys).claim(&tick);
    let other = Tick { hlc: Hlc(8), ..tick.clone() };
    let second = SignedTick::new(&other, &keys).claim(&other);
    let evidence = Evidence { first: claim.into(), second: second.into(), rotations: Vec::new() };
    let read: Evidence = decode(&encode(&evidence), EVIDENCE_BYTES_MAX).unwrap();
    assert_eq!(read, evidence);
    assert_eq!(read.first.decode(), Ok(StatementBody::Tick(tick.claim())));
    assert_ne!(read.first.hash(), read.second.hash());
    assert!(matches!(read.second, Statement::Tick(_)));
    assert_eq!(read.chain(), Some(tick.last.chain));
}
