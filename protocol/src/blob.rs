//! Bodies too large for a frame: named by their BLAKE3 hash, fetched in chunks that are each proven against that name alone.
//!
//! BLAKE3 is a tree itself. Cut at multiples of [`BLOB_CHUNK_BYTES`], a power of two, the chunks are subtrees of it, and the
//! chaining values beside the way from a chunk up to the root prove the chunk. So a receiver holds nothing unproven, may ask
//! anybody, and knows after each chunk whether it was told the truth. (BLAKE3 paper, section 2.1 and 6.4.)

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::envelope::{Envelope, Payload, Receipt};
use crate::hash::{Digest, content_address};
use crate::limits::BLOB_CHUNK_BYTES;

/// The name of a body and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// BLAKE3 of the canonical encoding of the payload: the hash by which records name it.
    pub address: Digest,
    /// Bytes of that encoding.
    pub bytes: u64,
}

impl BlobRef {
    /// How many chunks it has; an empty body has one.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        let chunks = self.bytes.div_ceil(BLOB_CHUNK_BYTES);
        if chunks == 0 { 1 } else { chunks }
    }

    /// Bytes of one of its chunks: all are of one size but the last.
    const fn chunk_bytes(&self, chunk: u64) -> u64 {
        let left = self.bytes.saturating_sub(chunk.saturating_mul(BLOB_CHUNK_BYTES));
        if left < BLOB_CHUNK_BYTES { left } else { BLOB_CHUNK_BYTES }
    }
}

/// A message whose payload is fetched by its receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeEnvelope {
    /// The message; its payload is an empty text that stands for the body.
    pub envelope: Envelope,
    /// The body.
    pub body: BlobRef,
}

/// A receipt whose reply is fetched by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeReceipt {
    /// The receipt, without its reply.
    pub receipt: Receipt,
    /// The reply.
    pub body: BlobRef,
}

/// A request of `/weft/blob/1`: one chunk of a body that the asked node has named to the asking one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRequest {
    /// Which body.
    pub address: Digest,
    /// Which chunk, from zero.
    pub chunk: u64,
}

/// Its response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlobResponse {
    /// The chunk with its proof.
    Chunk(BlobChunk),
    /// No such body is kept for the asking node, or it has no such chunk.
    Unknown,
    /// The asking node asks for more than it may.
    Busy {
        /// When it may ask again, in microseconds.
        retry_after_us: u64,
    },
}

/// One chunk, provable against the name of its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobChunk {
    /// Its bytes.
    pub content: ByteBuf,
    /// Chaining values of the neighbouring subtrees, the chunk's own neighbour first.
    pub path: Vec<Digest>,
}

impl BlobChunk {
    /// Whether this is that chunk of the body.
    #[must_use]
    pub fn proves(&self, body: &BlobRef, chunk: u64) -> bool {
        if chunk >= body.chunks() || self.content.len() as u64 != body.chunk_bytes(chunk) {
            return false;
        }
        if body.chunks() == 1 {
            return self.path.is_empty() && content_address(&self.content) == body.address;
        }
        let sides = sides(body.bytes, chunk);
        if sides.len() != self.path.len() {
            return false;
        }
        let start = chunk * BLOB_CHUNK_BYTES;
        let mut value = chaining_value(&self.content, start);
        for (number, (side, sibling)) in sides.iter().zip(&self.path).enumerate() {
            let sibling = *sibling.as_bytes();
            let (left, right) = match side {
                Side::Left => (&value, &sibling),
                Side::Right => (&sibling, &value),
            };
            if number + 1 == sides.len() {
                let root = merge_subtrees_root(left, right, Mode::Hash);
                return Digest::from_bytes(*root.as_bytes()) == body.address;
            }
            value = merge_subtrees_non_root(left, right, Mode::Hash);
        }
        false
    }
}

/// A body that is served: its bytes, and the chaining value of each chunk, computed once.
#[derive(Debug, Clone)]
pub struct Blob {
    content: Vec<u8>,
    name: BlobRef,
    chunks: Vec<ChainingValue>,
}

impl Blob {
    /// The body of a payload.
    #[must_use]
    pub fn of(payload: &Payload) -> Self {
        Self::new(crate::codec::encode(payload))
    }

    /// The body with these bytes.
    #[must_use]
    pub fn new(content: Vec<u8>) -> Self {
        let name = BlobRef { address: content_address(&content), bytes: content.len() as u64 };
        let pieces = content.chunks(BLOB_CHUNK_BYTES as usize).zip(0_u64..);
        let chunks = pieces.map(|(piece, number)| chaining_value(piece, number * BLOB_CHUNK_BYTES)).collect();
        Self { content, name, chunks }
    }

    /// By which it is asked for.
    #[must_use]
    pub const fn name(&self) -> BlobRef {
        self.name
    }

    /// One chunk with its proof; `None` when it has no such chunk.
    #[must_use]
    pub fn chunk(&self, chunk: u64) -> Option<BlobChunk> {
        if chunk >= self.name.chunks() {
            return None;
        }
        let start = usize::try_from(chunk * BLOB_CHUNK_BYTES).ok()?;
        let end = start + usize::try_from(self.name.chunk_bytes(chunk)).ok()?;
        let content = ByteBuf::from(self.content.get(start..end)?);
        let mut path = Vec::new();
        let (mut first, mut bytes, mut wanted) = (0_usize, self.name.bytes, chunk);
        while bytes > BLOB_CHUNK_BYTES {
            let left = left_subtree_len(bytes);
            let left_chunks = left / BLOB_CHUNK_BYTES;
            let middle = first + usize::try_from(left_chunks).ok()?;
            if wanted < left_chunks {
                path.push(self.subtree(middle, bytes - left));
                bytes = left;
            } else {
                path.push(self.subtree(first, left));
                (first, bytes, wanted) = (middle, bytes - left, wanted - left_chunks);
            }
        }
        path.reverse();
        Some(BlobChunk { content, path })
    }

    /// The chaining value over the chunks from `first` on, `bytes` bytes of them.
    fn subtree(&self, first: usize, bytes: u64) -> Digest {
        Digest::from_bytes(self.subtree_value(first, bytes))
    }

    fn subtree_value(&self, first: usize, bytes: u64) -> ChainingValue {
        if bytes <= BLOB_CHUNK_BYTES {
            return self.chunks[first];
        }
        let left = left_subtree_len(bytes);
        let middle = first + usize::try_from(left / BLOB_CHUNK_BYTES).unwrap_or(usize::MAX);
        merge_subtrees_non_root(&self.subtree_value(first, left), &self.subtree_value(middle, bytes - left), Mode::Hash)
    }
}

/// On which side of its parent a subtree is.
enum Side {
    Left,
    Right,
}

/// The sides on the way from a chunk up to the root, the chunk's own first.
fn sides(mut bytes: u64, mut chunk: u64) -> Vec<Side> {
    let mut sides = Vec::new();
    while bytes > BLOB_CHUNK_BYTES {
        let left = left_subtree_len(bytes);
        let left_chunks = left / BLOB_CHUNK_BYTES;
        if chunk < left_chunks {
            sides.push(Side::Left);
            bytes = left;
        } else {
            sides.push(Side::Right);
            (bytes, chunk) = (bytes - left, chunk - left_chunks);
        }
    }
    sides.reverse();
    sides
}

/// Of a subtree that is not the whole body and begins at `start`.
fn chaining_value(content: &[u8], start: u64) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(start);
    hasher.update(content);
    hasher.finalize_non_root()
}
