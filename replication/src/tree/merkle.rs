//! The Merkle tree over resources: one change hashes one path again, however many stand beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_protocol::{
    Digest, ResourceEntry, ResourceKind, ResourcePath, TreeClaim, TreeNeighbour, TreeProof, TreeSibling, TreeStep,
    branch_hash, child_hash, name_bit, name_key, no_children, node_hash, parting_bit,
};

/// Invariant: every hash in it is that of what stands below; whatever does not stand for itself has something below it, the root
/// apart.
#[derive(Debug)]
pub(super) struct MerkleTree {
    root: Node,
    size: usize,
    hashes: u64,
}

#[derive(Debug)]
struct Node {
    entry: ResourceEntry,
    /// Whether it stays when nothing is below it.
    stands: bool,
    own: Digest,
    children: BTreeMap<Arc<str>, Self>,
    trie: Trie,
    hash: Digest,
}

/// The children of a node by the hashes of their names: see `weft_protocol::tree`.
#[derive(Debug, Default)]
enum Trie {
    #[default]
    Empty,
    Leaf(Leaf),
    Branch {
        bit: u8,
        hash: Digest,
        /// Where the bit is zero, where it is one.
        sides: Box<[Self; 2]>,
    },
}

/// One child of a node.
#[derive(Debug)]
struct Leaf {
    name: Arc<str>,
    key: Digest,
    hash: Digest,
}

impl Default for MerkleTree {
    fn default() -> Self {
        Self { root: Node::new(ResourceEntry::new(ResourcePath::root(), ResourceKind::Namespace)), size: 1, hashes: 2 }
    }
}

impl MerkleTree {
    pub(super) const fn root(&self) -> Digest {
        self.root.hash
    }

    pub(super) const fn len(&self) -> usize {
        self.size
    }

    pub(super) const fn hashes(&self) -> u64 {
        self.hashes
    }

    pub(super) fn get(&self, path: &ResourcePath) -> Option<&ResourceEntry> {
        self.node(path).map(|node| &node.entry)
    }

    pub(super) fn children(&self, path: &ResourcePath) -> impl Iterator<Item = (&ResourceEntry, usize)> {
        let children = self.node(path).into_iter().flat_map(|node| node.children.values());
        children.map(|child| (&child.entry, child.children.len()))
    }

    fn node(&self, path: &ResourcePath) -> Option<&Node> {
        path.names().try_fold(&self.root, |node, name| node.children.get(name))
    }

    /// Sets one resource. What is above it and is not there yet is what `implied` says; one that does not stand for itself is
    /// there only while something is below it.
    pub(super) fn put(&mut self, entry: ResourceEntry, stands: bool, implied: &dyn Fn(&ResourcePath) -> ResourceEntry) {
        let path = entry.path.clone();
        if !stands && self.node(&path).is_none() {
            return;
        }
        let names: Vec<&str> = path.names().collect();
        let mut put = Put { entry: Some(entry), stands, implied, added: 0, removed: 0, hashes: 0 };
        put.below(&mut self.root, &names);
        self.size = self.size + put.added - put.removed;
        self.hashes += put.hashes;
    }

    pub(super) fn prove(&self, path: &ResourcePath) -> TreeProof {
        let names: Vec<&str> = path.names().collect();
        let mut way = vec![&self.root];
        for name in &names {
            let Some(child) = way.last().and_then(|node| node.children.get(*name)) else { break };
            way.push(child);
        }
        let found = way.len() - 1;
        let node = way[found];
        let claim = match names.get(found) {
            None => TreeClaim::Present { resource: node.entry.clone(), children: node.trie.hash() },
            Some(missing) => TreeClaim::Absent {
                path: path.clone(),
                found: u8::try_from(found).expect("BUG: a path deeper than its bound"),
                above: node.own,
                neighbour: node.neighbour(missing),
            },
        };
        let step = |(node, name): (&&Node, &&str)| TreeStep {
            siblings: node.trie.siblings(&name_key(name)),
            parent: node.own,
        };
        TreeProof { claim, steps: way.iter().zip(&names).take(found).rev().map(step).collect() }
    }
}

/// One change on its way down and up again.
struct Put<'a> {
    entry: Option<ResourceEntry>,
    stands: bool,
    implied: &'a dyn Fn(&ResourcePath) -> ResourceEntry,
    added: usize,
    removed: usize,
    hashes: u64,
}

impl Put<'_> {
    fn below(&mut self, node: &mut Node, names: &[&str]) {
        let Some((name, rest)) = names.split_first() else {
            if let Some(entry) = self.entry.take() {
                node.stands = self.stands;
                if node.entry != entry {
                    node.own = entry.hash();
                    node.entry = entry;
                    self.hashes += 1;
                }
            }
            return self.close(node);
        };
        if !node.children.contains_key(*name) {
            let path = node.entry.path.child(name).expect("BUG: a name of a path");
            let entry = match rest {
                [] => self.entry.clone().unwrap_or_else(|| (self.implied)(&path)),
                _ => (self.implied)(&path),
            };
            node.children.insert((*name).into(), Node::new(entry));
            self.hashes += 2;
            self.added += 1;
        }
        let child = node.children.get_mut(*name).expect("BUG: put there above");
        self.below(child, rest);
        let (key, hash) = (name_key(name), child_hash(name, &child.hash));
        self.hashes += 2;
        if child.stands || !child.children.is_empty() {
            let (name, _) = node.children.get_key_value(*name).expect("BUG: put there above");
            node.trie.set(Leaf { name: Arc::clone(name), key, hash }, &mut self.hashes);
        } else {
            node.children.remove(*name);
            node.trie.remove(&key, &mut self.hashes);
            self.removed += 1;
        }
        self.close(node);
    }

    fn close(&mut self, node: &mut Node) {
        node.hash = node_hash(&node.own, &node.trie.hash());
        self.hashes += 1;
    }
}

impl Node {
    fn new(entry: ResourceEntry) -> Self {
        let own = entry.hash();
        let hash = node_hash(&own, &no_children());
        Self { entry, stands: false, own, children: BTreeMap::new(), trie: Trie::Empty, hash }
    }

    /// The child that stands where this name would.
    fn neighbour(&self, missing: &str) -> Option<TreeNeighbour> {
        let near = self.trie.near(&name_key(missing))?;
        let node = self.children.get(&near.name)?;
        Some(TreeNeighbour { name: near.name.to_string(), node: node.hash, siblings: self.trie.siblings(&near.key) })
    }
}

impl Trie {
    fn hash(&self) -> Digest {
        match self {
            Self::Empty => no_children(),
            Self::Leaf(leaf) => leaf.hash,
            Self::Branch { hash, .. } => *hash,
        }
    }

    /// The leaf to which the bits of this key lead.
    fn near(&self, key: &Digest) -> Option<&Leaf> {
        match self {
            Self::Empty => None,
            Self::Leaf(leaf) => Some(leaf),
            Self::Branch { bit, sides, .. } => sides[usize::from(name_bit(key, *bit))].near(key),
        }
    }

    /// Puts a leaf in its place.
    fn set(&mut self, leaf: Leaf, hashes: &mut u64) {
        match self.near(&leaf.key).map(|near| parting_bit(&near.key, &leaf.key)) {
            None => *self = Self::Leaf(leaf),
            Some(parting) => self.place(leaf, parting, hashes),
        }
    }

    /// `parting` is the first bit in which it differs from what is there; none when it is there.
    fn place(&mut self, leaf: Leaf, parting: Option<u8>, hashes: &mut u64) {
        if let Self::Branch { bit, sides, hash } = self
            && parting.is_none_or(|parting| *bit < parting)
        {
            sides[usize::from(name_bit(&leaf.key, *bit))].place(leaf, parting, hashes);
            *hash = branch_hash(*bit, &sides[0].hash(), &sides[1].hash());
            *hashes += 1;
            return;
        }
        let Some(bit) = parting else {
            *self = Self::Leaf(leaf);
            return;
        };
        let (one, leaf, old) = (name_bit(&leaf.key, bit), Self::Leaf(leaf), std::mem::take(self));
        let sides = if one { [old, leaf] } else { [leaf, old] };
        let hash = branch_hash(bit, &sides[0].hash(), &sides[1].hash());
        *hashes += 1;
        *self = Self::Branch { bit, hash, sides: Box::new(sides) };
    }

    fn remove(&mut self, key: &Digest, hashes: &mut u64) {
        match self {
            Self::Empty => {}
            Self::Leaf(leaf) => {
                if leaf.key == *key {
                    *self = Self::Empty;
                }
            }
            Self::Branch { bit, sides, hash } => {
                let side = usize::from(name_bit(key, *bit));
                sides[side].remove(key, hashes);
                if matches!(sides[side], Self::Empty) {
                    *self = std::mem::take(&mut sides[1 - side]);
                } else {
                    *hash = branch_hash(*bit, &sides[0].hash(), &sides[1].hash());
                    *hashes += 1;
                }
            }
        }
    }

    /// The other sides on the way to this key, the lowest first.
    fn siblings(&self, key: &Digest) -> Vec<TreeSibling> {
        let (mut siblings, mut at) = (Vec::new(), self);
        while let Self::Branch { bit, sides, .. } = at {
            let side = usize::from(name_bit(key, *bit));
            siblings.push(TreeSibling { bit: *bit, hash: sides[1 - side].hash() });
            at = &sides[side];
        }
        siblings.reverse();
        siblings
    }
}
