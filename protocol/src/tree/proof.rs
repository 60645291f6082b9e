//! That a resource is in a tree of a known root, or is not: checked by whoever has the proof and the root, without the tree.

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::id::ClusterId;
use crate::tree::{ResourceEntry, ResourcePath, branch_hash, child_hash, name_bit, name_key, no_children, node_hash};

/// The other side of one branch on the way from a child to the root of its parent's trie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeSibling {
    /// In which bit of their names' hashes the two sides differ.
    pub bit: u8,
    /// The hash of the other side.
    pub hash: Digest,
}

/// From a node to its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeStep {
    /// The branches between them, the lowest first; at most 256.
    pub siblings: Vec<TreeSibling>,
    /// The hash of the parent's own resource.
    pub parent: Digest,
}

/// The child that stands where a missing one would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNeighbour {
    /// Its name.
    pub name: String,
    /// Its node's hash.
    pub node: Digest,
    /// The branches above it, the lowest first.
    pub siblings: Vec<TreeSibling>,
}

/// What is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeClaim {
    /// The resource is there.
    Present {
        /// The resource.
        resource: ResourceEntry,
        /// The hash over what lies below it.
        children: Digest,
    },
    /// Nothing is there.
    Absent {
        /// Where.
        path: ResourcePath,
        /// How many of its names there are: the first that is missing stands behind them.
        found: u8,
        /// The hash of the last resource that there is.
        above: Digest,
        /// Who stands below it where the missing one would; none when nothing does.
        neighbour: Option<TreeNeighbour>,
    },
}

/// A claim and the way from it to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeProof {
    /// What is proven.
    pub claim: TreeClaim,
    /// One step for each level, the lowest first.
    pub steps: Vec<TreeStep>,
}

/// A proof with the tree that it is about: what `weft tree prove` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeStatement {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// The chains from which the tree was folded, in one hash.
    pub vector_root: Digest,
    /// The root of the tree.
    pub root: Digest,
    /// The proof.
    pub proof: TreeProof,
}

/// Why a proof proves nothing: the fault of whoever made it, or damage on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeProofError {
    /// It does not have one step for each name of its path.
    #[error("the proof does not have one step for each name of its path")]
    Steps,
    /// Its branches are not in their order.
    #[error("the branches of the proof are out of order")]
    Branches,
    /// What it says to be missing is beside the way that it shows.
    #[error("the proof does not lead to where the missing resource would be")]
    Neighbour,
    /// It leads to another root.
    #[error("the proof leads to another root than {root}")]
    Root {
        /// To which it was to lead.
        root: Digest,
    },
}

impl TreeProof {
    /// The path that it is about.
    #[must_use]
    pub const fn path(&self) -> &ResourcePath {
        match &self.claim {
            TreeClaim::Present { resource, .. } => &resource.path,
            TreeClaim::Absent { path, .. } => path,
        }
    }

    /// The root of the tree for which this is true.
    ///
    /// # Errors
    /// [`TreeProofError`] when it is true for none.
    pub fn root(&self) -> Result<Digest, TreeProofError> {
        let names: Vec<&str> = self.path().names().collect();
        let (node, names) = match &self.claim {
            TreeClaim::Present { resource, children } => (node_hash(&resource.hash(), children), names.as_slice()),
            TreeClaim::Absent { found, above, neighbour, .. } => {
                let (found, missing) = names.split_at_checked(usize::from(*found)).ok_or(TreeProofError::Steps)?;
                let missing = missing.first().ok_or(TreeProofError::Steps)?;
                let children = neighbour.as_ref().map_or_else(|| Ok(no_children()), |it| it.children_without(missing));
                (node_hash(above, &children?), found)
            }
        };
        if names.len() != self.steps.len() {
            return Err(TreeProofError::Steps);
        }
        names.iter().rev().zip(&self.steps).try_fold(node, |node, (name, step)| {
            let children = climb(child_hash(name, &node), &name_key(name), &step.siblings)?;
            Ok(node_hash(&step.parent, &children))
        })
    }

    /// Whether it is true for the tree of this root.
    ///
    /// # Errors
    /// [`TreeProofError`] when it is not.
    pub fn check(&self, root: &Digest) -> Result<(), TreeProofError> {
        if self.root()? == *root { Ok(()) } else { Err(TreeProofError::Root { root: *root }) }
    }
}

impl TreeNeighbour {
    /// The hash over all children, of which `missing` is none: whoever looks for it comes to this one.
    fn children_without(&self, missing: &str) -> Result<Digest, TreeProofError> {
        let (own, wanted) = (name_key(&self.name), name_key(missing));
        let mut bits = self.siblings.iter().map(|sibling| sibling.bit);
        if own == wanted || bits.any(|bit| name_bit(&own, bit) != name_bit(&wanted, bit)) {
            return Err(TreeProofError::Neighbour);
        }
        climb(child_hash(&self.name, &self.node), &own, &self.siblings)
    }
}

/// The root of the trie that holds this child.
fn climb(child: Digest, key: &Digest, siblings: &[TreeSibling]) -> Result<Digest, TreeProofError> {
    if !siblings.is_sorted_by(|lower, upper| lower.bit > upper.bit) {
        return Err(TreeProofError::Branches);
    }
    let branch = |below: Digest, sibling: &TreeSibling| match name_bit(key, sibling.bit) {
        false => branch_hash(sibling.bit, &below, &sibling.hash),
        true => branch_hash(sibling.bit, &sibling.hash, &below),
    };
    Ok(siblings.iter().fold(child, branch))
}
