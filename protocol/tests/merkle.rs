//! The tree against an independent implementation of the same shape, exhaustively for small sizes, and under mutation.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::{Digest as _, Sha256};
use weft_protocol::{
    Digest, Frontier, Shake, TreeHash, hash, inclusion_root, prove_consistency, prove_inclusion, root,
    verify_consistency,
};

/// The tree of RFC 6962 itself, to compare with.
struct Rfc6962;

impl TreeHash for Rfc6962 {
    fn empty() -> Digest {
        Digest::from_bytes(Sha256::digest([]).into())
    }

    fn node(left: &Digest, right: &Digest) -> Digest {
        let digest = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
        Digest::from_bytes(digest.finalize().into())
    }
}

fn rfc_leaf(content: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::new().chain_update([0]).chain_update(content).finalize().into())
}

const SIZES: u64 = 512;

#[test]
fn roots_and_proofs_equal_an_independent_implementation() {
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut leaves = Vec::new();
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root::<Rfc6962>(), Rfc6962::empty());
    for size in 1..=SIZES {
        let content = size.to_be_bytes().to_vec();
        theirs.push(content.clone());
        let leaf = rfc_leaf(&content);
        leaves.push(leaf);
        frontier.push::<Rfc6962>(leaf);
        let expected: [u8; 32] = (*theirs.root().as_bytes()).into();
        assert_eq!(frontier.root::<Rfc6962>().as_bytes(), &expected, "root of {size}");
        assert_eq!(root::<Rfc6962>(&leaves).as_bytes(), &expected, "root of {size}");
        for index in (0..size).step_by(if size <= 64 { 1 } else { 37 }) {
            let proof = prove_inclusion::<Rfc6962>(&leaves, index).unwrap();
            let path: Vec<u8> = proof.path.iter().flat_map(|digest| *digest.as_bytes()).collect();
            let position = usize::try_from(index).unwrap();
            assert_eq!(path, theirs.prove_inclusion(position).as_bytes(), "inclusion of {index} in {size}");
        }
    }
}

#[test]
fn inclusion_holds_exactly_when_true() {
    let leaves: Vec<Digest> = (0..SIZES).map(|index| hash("test", &[&index.to_be_bytes()])).collect();
    for size in 1..=SIZES {
        let leaves = &leaves[..usize::try_from(size).unwrap()];
        let trusted = root::<Shake>(leaves);
        for index in (0..size).step_by(if size <= 70 { 1 } else { 61 }) {
            let leaf = leaves[usize::try_from(index).unwrap()];
            let proof = prove_inclusion::<Shake>(leaves, index).unwrap();
            assert_eq!(inclusion_root::<Shake>(&leaf, &proof), Some(trusted));
            let other = hash("test", &[b"other"]);
            assert_ne!(inclusion_root::<Shake>(&other, &proof), Some(trusted));
            let moved = weft_protocol::InclusionProof { index: (index + 1) % size, ..proof.clone() };
            assert!(size == 1 || inclusion_root::<Shake>(&leaf, &moved) != Some(trusted), "{index} of {size}");
            for place in 0..proof.path.len() {
                let mut forged = proof.clone();
                let mut bytes = *forged.path[place].as_bytes();
                bytes[place % 32] ^= 1 << (place % 8);
                forged.path[place] = Digest::from_bytes(bytes);
                assert_ne!(inclusion_root::<Shake>(&leaf, &forged), Some(trusted));
            }
            let mut longer = proof.clone();
            longer.path.push(other);
            assert_eq!(inclusion_root::<Shake>(&leaf, &longer), None);
            let mut shorter = proof;
            assert!(shorter.path.pop().is_none() || inclusion_root::<Shake>(&leaf, &shorter).is_none());
        }
    }
    assert_eq!(prove_inclusion::<Shake>(&leaves, SIZES), None);
}

#[test]
fn consistency_holds_exactly_when_true() {
    let leaves: Vec<Digest> = (0..SIZES).map(|index| hash("test", &[&index.to_be_bytes()])).collect();
    let roots: Vec<Digest> = (0..=leaves.len()).map(|size| root::<Shake>(&leaves[..size])).collect();
    let forged = hash("test", &[b"forged"]);
    for new in (1..=70).chain((71..=leaves.len()).step_by(21)) {
        for old in (1..=new).step_by(if new <= 70 { 1 } else { 29 }) {
            let path = prove_consistency::<Shake>(&leaves[..new], old).unwrap();
            let holds = |old_root: &Digest, new_root: &Digest, path: &[Digest]| {
                verify_consistency::<Shake>(old as u64, old_root, new as u64, new_root, path)
            };
            assert!(holds(&roots[old], &roots[new], &path), "{old} of {new}");
            assert!(!holds(&forged, &roots[new], &path), "{old} of {new}: forged old root");
            assert!(!holds(&roots[old], &forged, &path), "{old} of {new}: forged new root");
            for place in 0..path.len() {
                let mut path = path.clone();
                path[place] = forged;
                assert!(!holds(&roots[old], &roots[new], &path), "{old} of {new}: forged path {place}");
            }
            assert!(!holds(&roots[old], &roots[new], &[path.as_slice(), &[forged]].concat()), "{old} of {new}: longer");
        }
    }
}
