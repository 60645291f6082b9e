//! The tree of resources as values: paths, kinds, scores, hashes, and proofs that are checked without the tree.
//!
//! Which resources there are is folded from events elsewhere. Here is only what one of them is and how it is hashed: a resource
//! over its own path, kind, metadata and scoring; a node over its resource and its children; the children over a compressed
//! binary trie of their hashed names, so that one child more costs as many hashes as the trie is deep.

mod node;
mod path;
mod proof;
mod resource;
mod scoring;

pub use node::{branch_hash, child_hash, name_bit, name_key, no_children, node_hash, parting_bit};
pub use path::ResourcePath;
pub use proof::{TreeClaim, TreeNeighbour, TreeProof, TreeProofError, TreeSibling, TreeStatement, TreeStep};
pub use resource::{ResourceEntry, ResourceKind, ResourceScored};
pub use scoring::{Millionths, Observation, Scoring};
