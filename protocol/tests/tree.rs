//! Resources as values: paths within bounds, scores that blend alike everywhere, proofs that hold only when true.

use proptest::prelude::*;
use weft_protocol::{
    Millionths, Observation, ResourceKind, ResourcePath, Scoring, TreeClaim, TreeProof, TreeProofError, TreeStatement,
    decode, encode, limits::TREE_PROOF_BYTES_MAX, name_bit, name_key, parting_bit,
};

use crate::samples::{absent, present, resource};

#[test]
fn a_path_is_the_root_or_up_to_eight_names() {
    for good in ["/", "/agents", "/agents/words@12D3KooW", "/topics/builds.*", "/topics/>", "/a/b/c/d/e/f/g/h"] {
        let path: ResourcePath = good.parse().unwrap();
        assert_eq!(path.as_str(), good);
        assert_eq!(path.names().count(), path.depth());
    }
    let long = format!("/{}", "a".repeat(161));
    for bad in ["", "agents", "//", "/agents/", "/a//b", "/a b", "/a/../b", "/ä", "/a/b/c/d/e/f/g/h/i", &long] {
        assert!(bad.parse::<ResourcePath>().is_err(), "{bad}");
    }
}

#[test]
fn a_path_knows_what_is_above_and_below() {
    let path: ResourcePath = "/agents/words".parse().unwrap();
    let above = path.parent().unwrap();
    assert_eq!((above.as_str(), path.name()), ("/agents", Some("words")));
    assert_eq!(above.child("words"), Ok(path.clone()));
    assert_eq!(above.parent(), Some(ResourcePath::root()));
    assert_eq!(ResourcePath::root().parent(), None);
    assert!(path.is_within(&above) && path.is_within(&path) && path.is_within(&ResourcePath::root()));
    assert!(!above.is_within(&path) && !"/agentsx".parse::<ResourcePath>().unwrap().is_within(&above));
}

#[test]
fn a_kind_has_one_word() {
    assert_eq!("agent".parse(), Ok(ResourceKind::Agent));
    assert_eq!("printer".parse(), Ok(ResourceKind::Custom("printer".into())));
    assert!("Agent".parse::<ResourceKind>().is_err());
}

#[test]
fn a_score_blends_as_the_formula_says() {
    let weight = "0.3".parse().unwrap();
    let seen =
        Observation { reliability: Some(Millionths::ONE), velocity: Some(Millionths::ZERO), ..Observation::default() };
    let scores = Scoring::default().blend(&seen, weight);
    assert_eq!(scores.reliability.to_string(), "0.65");
    assert_eq!(scores.velocity.to_string(), "0.35");
    assert_eq!(scores.trust, Millionths::HALF, "what nobody saw stays");
    let again = scores.blend(&seen, weight);
    assert_eq!(again.reliability.to_string(), "0.755");
}

#[test]
fn every_part_of_a_resource_is_hashed() {
    let hash = resource().hash();
    let mut changed = vec![resource(); 5];
    changed[0].path = "/agents/word@shere".parse().unwrap();
    changed[1].kind = ResourceKind::Service;
    changed[2].metadata.insert("stat".into(), "erunning".into());
    changed[3].metadata = [("stat".to_owned(), "erunning".to_owned())].into();
    changed[4].scoring.reward = Millionths::ZERO;
    for other in changed {
        assert_ne!(other.hash(), hash, "{other:?}");
    }
}

#[test]
fn a_proof_leads_to_one_root_and_its_bytes_are_its_own() {
    for proof in [present(), absent()] {
        let root = proof.root().unwrap();
        assert_eq!(proof.check(&root), Ok(()));
        assert_eq!(decode::<TreeProof>(&encode(&proof), TREE_PROOF_BYTES_MAX), Ok(proof));
    }
}

#[test]
fn a_proof_of_another_shape_proves_nothing() {
    let mut short = present();
    short.steps.pop();
    assert_eq!(short.root(), Err(TreeProofError::Steps));
    let mut crossed = present();
    crossed.steps[1].siblings.reverse();
    assert_eq!(crossed.root(), Err(TreeProofError::Branches));
    let mut whole = absent();
    if let TreeClaim::Absent { found, .. } = &mut whole.claim {
        *found = 2;
    }
    assert_eq!(whole.root(), Err(TreeProofError::Steps));
}

#[test]
fn nothing_is_missing_where_it_stands() {
    let mut itself = absent();
    if let TreeClaim::Absent { path, .. } = &mut itself.claim {
        *path = "/agents/words@here".parse().unwrap();
    }
    assert_eq!(itself.root(), Err(TreeProofError::Neighbour));
}

proptest! {
    #[test]
    fn any_changed_bit_of_a_proof_fails(bit in 0_usize..16 * 1024) {
        for proof in [present(), absent()] {
            let root = proof.root().unwrap();
            let mut bytes = encode(&proof);
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(changed) = decode::<TreeProof>(&bytes, TREE_PROOF_BYTES_MAX) {
                // Where one name is missing others are too: that is another claim, and a true one.
                let other = matches!(proof.claim, TreeClaim::Absent { .. }) && changed.path() != proof.path();
                prop_assert!(other || changed.check(&root).is_err(), "bit {bit} of {proof:?}");
            }
        }
    }

    #[test]
    fn no_bytes_break_the_reader_of_proofs(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(statement) = decode::<TreeStatement>(&bytes, TREE_PROOF_BYTES_MAX) {
            let _ = statement.proof.root();
        }
    }

    #[test]
    fn a_blend_lies_between_what_it_blends(old in 0_u32..=1_000_000, new in 0_u32..=1_000_000, weight in 0_u32..=1_000_000) {
        let [old, new, weight] = [old, new, weight].map(|part| Millionths::try_from(part).unwrap());
        let blended = old.blend(new, weight);
        prop_assert!(old.min(new) <= blended && blended <= old.max(new));
        prop_assert_eq!(blended.to_string().parse(), Ok(blended));
    }

    #[test]
    fn names_part_at_the_first_bit_that_differs(one in "[a-z]{1,8}", other in "[a-z]{1,8}") {
        let (one, other) = (name_key(&one), name_key(&other));
        match parting_bit(&one, &other) {
            None => prop_assert_eq!(one, other),
            Some(bit) => {
                prop_assert_ne!(name_bit(&one, bit), name_bit(&other, bit));
                prop_assert!((0..bit).all(|bit| name_bit(&one, bit) == name_bit(&other, bit)));
            }
        }
    }
}
