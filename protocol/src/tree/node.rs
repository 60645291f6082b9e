//! How a resource and its children are hashed together.
//!
//! The children of a node stand in a compressed binary trie over the hashes of their names: a branch names the first bit in which
//! the names below it differ. The shape follows from the names alone, whatever the order in which they came and went, and no
//! writer of names can make it deep without finding hashes that begin alike.

use crate::hash::{Digest, hash};

/// `H("resource-node", resource, children)`: a resource with all that lies below it.
#[must_use]
pub fn node_hash(own: &Digest, children: &Digest) -> Digest {
    hash("resource-node", &[own.as_bytes(), children.as_bytes()])
}

/// `H("resource-children")`: the children of a resource that has none.
#[must_use]
pub fn no_children() -> Digest {
    hash("resource-children", &[])
}

/// `H("resource-child", name, node)`: one child in the trie of its parent.
#[must_use]
pub fn child_hash(name: &str, node: &Digest) -> Digest {
    hash("resource-child", &[name.as_bytes(), node.as_bytes()])
}

/// `H("resource-branch", bit, zero, one)`: the children whose names' hashes agree up to this bit, by what it is.
#[must_use]
pub fn branch_hash(bit: u8, zero: &Digest, one: &Digest) -> Digest {
    hash("resource-branch", &[&[bit], zero.as_bytes(), one.as_bytes()])
}

/// `H("resource-name", name)`: where a name stands in the trie.
#[must_use]
pub fn name_key(name: &str) -> Digest {
    hash("resource-name", &[name.as_bytes()])
}

/// One bit of a key, the highest of its first byte first.
#[must_use]
pub fn name_bit(key: &Digest, bit: u8) -> bool {
    key.as_bytes()[usize::from(bit / 8)] & (0x80 >> (bit % 8)) != 0
}

/// The first bit in which two keys differ; none when they are the same.
#[must_use]
pub fn parting_bit(one: &Digest, other: &Digest) -> Option<u8> {
    let pairs = one.as_bytes().iter().zip(other.as_bytes());
    let (index, difference) = pairs.map(|(one, other)| one ^ other).enumerate().find(|(_, byte)| *byte != 0)?;
    u8::try_from(index * 8 + difference.leading_zeros() as usize).ok()
}
