//! Domain-separated SHAKE-256 for everything that is signed or chained, BLAKE3 for addresses of content.

use sha3::digest::{ExtendableOutput, Update, XofReader};

use crate::id::bytes_id;

bytes_id! {
    /// A hash of 32 bytes. Text form: 64 hexadecimal digits.
    Digest, 32, "64 hexadecimal digits"
}

/// `SHAKE-256("weft/" ‖ label ‖ 0 ‖ len64(x1) ‖ x1 ‖ …)`, 32 bytes: no two labels and no two splits of the parts collide.
#[must_use]
pub fn hash(label: &str, parts: &[&[u8]]) -> Digest {
    let mut hasher = sha3::Shake256::default();
    hasher.update(b"weft/");
    hasher.update(label.as_bytes());
    hasher.update(&[0]);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut output = [0; 32];
    hasher.finalize_xof().read(&mut output);
    Digest::from_bytes(output)
}

/// The BLAKE3 address of `content`: the name of a body that is stored apart from the record that mentions it.
#[must_use]
pub fn content_address(content: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(content).as_bytes())
}

/// The same of content that stands in parts.
#[must_use]
pub fn content_address_of(parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}
