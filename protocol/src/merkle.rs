//! The history tree of RFC 6962 and RFC 9162 over leaf hashes: roots, inclusion and consistency proofs, pure functions.
//!
//! Two trees have this shape: the chain's own over SHAKE-256 ([`Shake`]) and the tree of one batch of messages over
//! BLAKE3 ([`Blake3`]). Leaves are hashes already; a leaf is told from a node by the label under which it was hashed.

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, content_address, hash};

/// How the inside of a tree is hashed.
pub trait TreeHash {
    /// The root of the tree without leaves.
    fn empty() -> Digest;
    /// The parent of two neighbours.
    fn node(left: &Digest, right: &Digest) -> Digest;
}

/// The chain's tree: domain-separated SHAKE-256.
#[derive(Debug, Clone, Copy)]
pub struct Shake;

impl TreeHash for Shake {
    fn empty() -> Digest {
        hash("tree-empty", &[])
    }

    fn node(left: &Digest, right: &Digest) -> Digest {
        hash("tree-node", &[&[0x01], left.as_bytes(), right.as_bytes()])
    }
}

/// The tree of one batch of messages: leaves are BLAKE3 behind the prefix byte of RFC 6962, nodes are BLAKE3 under a key,
/// so that both children fill one block.
#[derive(Debug, Clone, Copy)]
pub struct Blake3;

/// The key of nodes: `BLAKE3("weft/ipc-batch-node")`.
const NODE_KEY: [u8; 32] = [
    0x80, 0x4c, 0x4c, 0x82, 0xd0, 0x2a, 0x73, 0x0a, 0xc0, 0x4f, 0xe1, 0xe9, 0xdd, 0x72, 0x89, 0xf8, 0x98, 0xc9, 0x0a,
    0x52, 0x0f, 0x99, 0xa4, 0x0f, 0xb2, 0x53, 0x8a, 0xdd, 0x80, 0x67, 0xa2, 0x0b,
];

impl Blake3 {
    /// The hash of one leaf: `BLAKE3(0 ‖ bytes)`.
    #[must_use]
    pub fn leaf(bytes: &[u8]) -> Digest {
        // In one piece a short input costs half as much as in two.
        let mut whole = [0; 256];
        match whole.get_mut(1..=bytes.len()) {
            Some(behind) => {
                behind.copy_from_slice(bytes);
                content_address(&whole[..=bytes.len()])
            }
            None => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&[0]).update(bytes);
                Digest::from_bytes(*hasher.finalize().as_bytes())
            }
        }
    }
}

impl TreeHash for Blake3 {
    fn empty() -> Digest {
        Digest::from_bytes(*blake3::hash(b"").as_bytes())
    }

    fn node(left: &Digest, right: &Digest) -> Digest {
        let mut both = [0; 64];
        both[..32].copy_from_slice(left.as_bytes());
        both[32..].copy_from_slice(right.as_bytes());
        Digest::from_bytes(*blake3::keyed_hash(&NODE_KEY, &both).as_bytes())
    }
}

/// The compact form of a growing tree: the roots of its complete subtrees, at most 64.
/// Invariant: one peak for each set bit of the size, largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The tree of so many leaves with these complete subtrees, largest first; none when their number does not fit.
    #[must_use]
    pub fn of(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Appends one leaf: amortised one hash.
    pub fn push<H: TreeHash>(&mut self, leaf: Digest) {
        let mut root = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("BUG: one peak for each set bit");
            root = H::node(&left, &root);
        }
        self.peaks.push(root);
        self.size += 1;
    }

    /// The root over all leaves so far: at most 63 hashes.
    #[must_use]
    pub fn root<H: TreeHash>(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else { return H::empty() };
        peaks.fold(*smallest, |right, left| H::node(left, &right))
    }
}

/// The root over these leaves.
#[must_use]
pub fn root<H: TreeHash>(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => H::empty(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            H::node(&root::<H>(left), &root::<H>(right))
        }
    }
}

/// The largest power of two smaller than `size`, for `size` of at least 2.
const fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

/// The sibling hashes from one leaf up to the root (RFC 9162, section 2.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    /// Which leaf, from zero.
    pub index: u64,
    /// Size of the tree the root belongs to.
    pub size: u64,
    /// Siblings, the leaf's own first; at most 63.
    pub path: Vec<Digest>,
}

/// Proves that `leaves[index]` is in the tree over `leaves`; `None` when it is not among them.
#[must_use]
pub fn prove_inclusion<H: TreeHash>(leaves: &[Digest], index: u64) -> Option<InclusionProof> {
    let position = usize::try_from(index).ok().filter(|position| *position < leaves.len())?;
    let mut path = Vec::new();
    collect_inclusion::<H>(leaves, position, &mut path);
    Some(InclusionProof { index, size: leaves.len() as u64, path })
}

fn collect_inclusion<H: TreeHash>(leaves: &[Digest], position: usize, path: &mut Vec<Digest>) {
    if leaves.len() <= 1 {
        return;
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    if position < middle {
        collect_inclusion::<H>(left, position, path);
        path.push(root::<H>(right));
    } else {
        collect_inclusion::<H>(right, position - middle, path);
        path.push(root::<H>(left));
    }
}

/// The root that `leaf` and the proof lead to; `None` when the proof has the wrong length for its index and size.
/// The statement is true exactly when this equals a trusted root (RFC 9162, section 2.1.3.2).
#[must_use]
pub fn inclusion_root<H: TreeHash>(leaf: &Digest, proof: &InclusionProof) -> Option<Digest> {
    if proof.index >= proof.size {
        return None;
    }
    let (mut index, mut last) = (proof.index, proof.size - 1);
    let mut root = *leaf;
    for sibling in &proof.path {
        if last == 0 {
            return None;
        }
        if index & 1 == 1 || index == last {
            root = H::node(sibling, &root);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            root = H::node(&root, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// Proves that the tree over the first `old` leaves is a prefix of the tree over all; `None` unless `0 < old ≤ size`.
#[must_use]
pub fn prove_consistency<H: TreeHash>(leaves: &[Digest], old: usize) -> Option<Vec<Digest>> {
    if old == 0 || old > leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    collect_consistency::<H>(leaves, old, true, &mut path);
    Some(path)
}

fn collect_consistency<H: TreeHash>(leaves: &[Digest], old: usize, whole: bool, path: &mut Vec<Digest>) {
    if old == leaves.len() {
        if !whole {
            path.push(root::<H>(leaves));
        }
        return;
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    if old <= middle {
        collect_consistency::<H>(left, old, whole, path);
        path.push(root::<H>(right));
    } else {
        collect_consistency::<H>(right, old - middle, false, path);
        path.push(root::<H>(left));
    }
}

/// Whether `path` proves that the tree of size `new` with `new_root` extends the one of size `old` with `old_root`
/// (RFC 9162, section 2.1.4.2).
#[must_use]
pub fn verify_consistency<H: TreeHash>(
    old: u64,
    old_root: &Digest,
    new: u64,
    new_root: &Digest,
    path: &[Digest],
) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    let (mut index, mut last) = (old - 1, new - 1);
    while index & 1 == 1 {
        index >>= 1;
        last >>= 1;
    }
    let (start, rest) = if old.is_power_of_two() {
        (old_root, path)
    } else {
        let Some((first, rest)) = path.split_first() else { return false };
        (first, rest)
    };
    let (mut old_side, mut new_side) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            old_side = H::node(sibling, &old_side);
            new_side = H::node(sibling, &new_side);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            new_side = H::node(&new_side, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && old_side == *old_root && new_side == *new_root
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_key_of_nodes_is_the_hash_of_its_name() {
        assert_eq!(super::NODE_KEY, *blake3::hash(b"weft/ipc-batch-node").as_bytes());
    }
}
