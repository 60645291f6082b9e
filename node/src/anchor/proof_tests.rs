//! Proofs that others made are read and written as they are; what is cut, stretched or flipped is refused or says something else.

use data_encoding::HEXLOWER;

use super::*;

/// Two proofs from the examples of opentimestamps-client: one that block 912,095 attests, one that two calendars promise.
const ATTESTED: &str = include_str!("vectors/attested.hex");
const TWO_CALENDARS: &str = include_str!("vectors/two-calendars.hex");

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.trim().as_bytes()).expect("hex")
}

fn said(proof: &Proof) -> Vec<(Vec<u8>, Attestation)> {
    let mut found = Vec::new();
    proof
        .timestamp
        .visit(&proof.digest, &mut |message, attestation| found.push((message.to_vec(), attestation.clone())));
    found
}

#[test]
fn a_proof_of_the_reference_leads_to_the_merkle_root_that_it_says() {
    let proof = Proof::decode(&bytes(ATTESTED)).expect("a proof");
    let [(mut root, Attestation::Bitcoin(912_095))] = <[_; 1]>::try_from(said(&proof)).expect("one attestation") else {
        panic!("of Bitcoin")
    };
    // Blocks are written with their hashes turned around.
    root.reverse();
    assert_eq!(HEXLOWER.encode(&root), "936131994129988e1932d8c1c6a9780fd42ae4c87204cfb0ac852be1250039ae");
}

#[test]
fn proofs_of_the_reference_are_written_as_they_were() {
    for hex in [ATTESTED, TWO_CALENDARS] {
        assert_eq!(Proof::decode(&bytes(hex)).expect("a proof").encode(), bytes(hex));
    }
    let promised = said(&Proof::decode(&bytes(TWO_CALENDARS)).expect("a proof"));
    assert!(promised.iter().all(|(_, attestation)| matches!(attestation, Attestation::Pending(_))), "{promised:?}");
    assert_eq!(promised.len(), 2);
}

#[test]
fn a_cut_proof_and_one_with_more_behind_it_are_refused() {
    for hex in [ATTESTED, TWO_CALENDARS] {
        let whole = bytes(hex);
        for cut in 0..whole.len() {
            assert!(Proof::decode(&whole[..cut]).is_err(), "cut to {cut}");
        }
        assert_eq!(Proof::decode(&[&whole[..], &[0]].concat()), Err(ProofError::Trailing));
    }
}

#[test]
fn every_flipped_bit_is_refused_or_says_something_else() {
    let whole = bytes(ATTESTED);
    let right = Proof::decode(&whole).expect("a proof");
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(proof) = Proof::decode(&flipped) else { continue };
        assert_eq!(proof.encode(), flipped, "bit {bit}: what is read has one encoding");
        assert!(proof.digest != right.digest || said(&proof) != said(&right), "bit {bit} proves the same");
    }
}

/// A proof whose steps are these bytes.
fn with(steps: &[u8]) -> Result<Proof, ProofError> {
    Proof::decode(&[&MAGIC[..], &[VERSION, SHA256], &[7; 32], steps].concat())
}

fn pending(uri: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    write_bytes(uri, &mut content);
    let mut bytes = [&[ATTESTATION][..], &PENDING].concat();
    write_bytes(&content, &mut bytes);
    bytes
}

#[test]
fn each_bound_is_kept() {
    let end = pending(b"http://a");
    assert!(with(&end).is_ok());
    assert_eq!(with(&pending(b"http://a?b")), Err(ProofError::Address));
    assert_eq!(
        with(&pending(&[b'a'; 1_001])),
        Err(ProofError::TooLong { what: "an address", bytes: 1_001, max: 1_000 })
    );
    assert!(with(&pending(&[b'a'; 1_000])).is_ok());
    // 255 steps and an attestation below them.
    assert!(with(&[vec![SHA256; 255], end.clone()].concat()).is_ok());
    assert_eq!(with(&[vec![SHA256; 256], end.clone()].concat()), Err(ProofError::Depth));
    let append = |count: usize| {
        let mut bytes = vec![APPEND];
        write_bytes(&vec![1; count], &mut bytes);
        bytes
    };
    assert!(with(&[append(4_064), end.clone()].concat()).is_ok());
    let long = ProofError::TooLong { what: "a message", bytes: 4_097, max: 4_096 };
    assert_eq!(with(&[append(4_065), end.clone()].concat()), Err(long));
    assert_eq!(with(&[vec![APPEND, 0], end.clone()].concat()), Err(ProofError::Number), "an operand of nothing");
    assert_eq!(with(&[vec![APPEND, 0x81, 0x00, 7], end.clone()].concat()), Err(ProofError::Number), "1 in two bytes");
    assert_eq!(with(&[0x03]), Err(ProofError::Operation(3)), "RIPEMD-160");
    let huge = [&[ATTESTATION][..], &BITCOIN, &[0xff; 10], &[1]].concat();
    assert_eq!(with(&huge), Err(ProofError::Number), "a length above 64 bits");
    let claims = [&[ATTESTATION][..], &[1; 8], &[0x81, 0x40]].concat();
    assert_eq!(with(&claims), Err(ProofError::TooLong { what: "an attestation", bytes: 8_193, max: 8_192 }));
    assert_eq!(with(&[FORK]), Err(ProofError::Short));
    assert_eq!(
        Proof::decode(&vec![0; PROOF_BYTES_MAX + 1]).map(|_| ()),
        Err(ProofError::TooLong { what: "a proof", bytes: PROOF_BYTES_MAX as u64 + 1, max: PROOF_BYTES_MAX })
    );
}

#[test]
fn what_two_calendars_say_of_one_message_is_one_proof() {
    let digest = [9; 32];
    let of = |operand: u8, uri: &str| Timestamp {
        attestations: Vec::new(),
        steps: vec![(
            Operation::Append(vec![operand]),
            Timestamp { attestations: vec![Attestation::Pending(uri.to_owned())], steps: Vec::new() },
        )],
    };
    let mut timestamp = of(1, "http://a");
    timestamp.merge(of(1, "http://b"));
    timestamp.merge(of(2, "http://c"));
    timestamp.merge(of(2, "http://c"));
    assert_eq!(timestamp.steps.len(), 2);
    let proof = Proof { digest, timestamp };
    assert_eq!(said(&proof).len(), 3);
    assert_eq!(Proof::decode(&proof.encode()), Ok(proof));
}
