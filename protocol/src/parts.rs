//! An answer that comes in parts: the parts themselves, what the caller has taken of them, and what proves them afterwards.

use serde::{Deserialize, Serialize};

use crate::envelope::Payload;
use crate::hash::{Digest, content_address};
use crate::id::MessageId;

/// One part of the answer to a message, on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyPart {
    /// Which message is being answered.
    pub message: MessageId,
    /// Which part it is, from zero.
    pub number: u32,
    /// What it says.
    pub payload: Payload,
}

/// How many parts whoever called has taken: as many more may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsTaken {
    /// Which message is being answered.
    pub message: MessageId,
    /// So many from the first on; [`PartsTaken::NO_MORE`] when the caller wants none any more.
    pub count: u32,
}

impl PartsTaken {
    /// Nobody reads them any longer: those that are left are not sent.
    pub const NO_MORE: u32 = u32::MAX;
}

/// What stands for all parts of an answer, in its receipt and in the records of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsProof {
    /// How many there were.
    pub count: u32,
    /// BLAKE3 over the digest of those before it and the content address of the last part; of no parts BLAKE3 of nothing.
    pub digest: Digest,
}

impl Default for PartsProof {
    fn default() -> Self {
        Self { count: 0, digest: content_address(&[]) }
    }
}

impl PartsProof {
    /// Takes the next part in.
    pub fn add(&mut self, part: &Payload) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(self.digest.as_bytes());
        bytes[32..].copy_from_slice(part.content_address().as_bytes());
        *self = Self { count: self.count.saturating_add(1), digest: content_address(&bytes) };
    }

    /// This, unless there were no parts.
    #[must_use]
    pub const fn some(self) -> Option<Self> {
        if self.count == 0 { None } else { Some(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(parts: &[&str]) -> PartsProof {
        let mut proof = PartsProof::default();
        parts.iter().for_each(|part| proof.add(&Payload::Text((*part).to_owned())));
        proof
    }

    #[test]
    fn the_same_text_in_other_parts_or_another_order_has_another_proof() {
        assert_eq!(proof(&["a", "b"]), proof(&["a", "b"]));
        let others = [proof(&["b", "a"]), proof(&["ab", ""]), proof(&["a"]), proof(&["a", "b", ""]), proof(&[])];
        assert!(others.iter().all(|other| other.digest != proof(&["a", "b"]).digest), "{others:?}");
        assert_eq!((proof(&[]).some(), proof(&["a"]).some().map(|proof| proof.count)), (None, Some(1)));
    }
}
