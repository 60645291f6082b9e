//! Bytes and values: canonical CBOR, walked and bounded before anything is decoded.
//!
//! Accepted is the deterministic subset of RFC 8949 section 4.2 without floats, tags and indefinite lengths, nested at
//! most 16 deep. Each value has exactly one encoding: what was decoded is encoded again and compared byte by byte.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DecodeError;
use crate::limits::DEPTH_MAX;

/// The one canonical encoding of `value`.
///
/// # Panics
/// Only for a type whose serializer itself fails; none of this crate's does.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    ciborium::into_writer(value, &mut bytes).expect("BUG: a protocol type failed to serialize into memory");
    bytes
}

/// Canonical CBOR while it is written by hand, where it is written a million times: byte for byte what [`encode`] writes.
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn head(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let (short, width) = match argument {
            0..=23 => (bytes[7], 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.0.push(major << 5 | short);
        self.0.extend_from_slice(&bytes[8 - width..]);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.head(0, number);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(2, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Bytes that are encoded already.
    pub(crate) fn append(&mut self, encoded: &[u8]) {
        self.0.extend_from_slice(encoded);
    }

    pub(crate) fn none(&mut self) {
        self.0.push(0xf6);
    }
}

/// Canonical CBOR while it is read by hand, where it is read a hundred thousand times a second: it takes less than [`decode`]
/// does, never more, and what it does not take is for [`decode`] to judge.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The argument of an item of this major type, in its shortest form.
    pub(crate) fn head(&mut self, major: u8) -> Option<u64> {
        let (initial, _) = self.0.split_first()?;
        let mut offset = 1;
        let argument = read_argument(self.0, &mut offset, initial & 0x1f).ok()?;
        self.0 = self.0.get(offset..)?;
        (initial >> 5 == major).then_some(argument)
    }

    fn string(&mut self, major: u8) -> Option<&'a [u8]> {
        let length = usize::try_from(self.head(major)?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.head(0)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        self.string(2)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string(3)?).ok()
    }

    /// The next item is exactly this text.
    pub(crate) fn expect(&mut self, text: &str) -> Option<()> {
        (self.string(3)? == text.as_bytes()).then_some(())
    }

    pub(crate) const fn end(&self) -> Option<()> {
        if self.0.is_empty() { Some(()) } else { None }
    }
}

/// Decodes the one canonical encoding of a `T` of at most `bytes_max` bytes.
///
/// # Errors
/// [`DecodeError`] for anything else: too large, malformed, of another type, not canonical, or followed by more bytes.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLarge { size: bytes.len(), max: bytes_max });
    }
    walk(bytes)?;
    let value: T = ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH_MAX * 4)
        .map_err(|error| DecodeError::Unexpected { reason: error.to_string() })?;
    let again = encode(&value);
    if again != bytes {
        let offset = again.iter().zip(bytes).position(|(left, right)| left != right);
        return Err(DecodeError::NotCanonical { offset: offset.unwrap_or(again.len().min(bytes.len())) });
    }
    Ok(value)
}

/// Checks that `bytes` are exactly one well-formed item of the accepted subset, allocating nothing that they claim.
fn walk(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut open: [u64; DEPTH_MAX] = [0; DEPTH_MAX];
    let mut depth = 0;
    let mut offset = 0;
    loop {
        let start = offset;
        let refuse = |reason| DecodeError::Malformed { offset: start, reason };
        let initial = *bytes.get(offset).ok_or(refuse("the input ends inside an item"))?;
        offset += 1;
        let (major, short) = (initial >> 5, initial & 0x1f);
        let argument = read_argument(bytes, &mut offset, short).map_err(refuse)?;
        let left = (bytes.len() - offset) as u64;
        let mut children = 0;
        match major {
            0 | 1 => {}
            2 | 3 => {
                if argument > left {
                    return Err(refuse("a string claims more bytes than are left"));
                }
                offset += usize::try_from(argument).map_err(|_| refuse("a length beyond this machine"))?;
            }
            4 => children = argument,
            5 => children = argument.checked_mul(2).ok_or(refuse("a map of impossible size"))?,
            7 if short == 20 || short == 21 || short == 22 => {}
            _ => return Err(refuse("tags, floats and other simple values are not accepted")),
        }
        if children > left {
            return Err(refuse("a list claims more items than bytes are left"));
        }
        if children > 0 {
            *open.get_mut(depth).ok_or(refuse("nested too deep"))? = children;
            depth += 1;
            continue;
        }
        while depth > 0 {
            open[depth - 1] -= 1;
            if open[depth - 1] > 0 {
                break;
            }
            depth -= 1;
        }
        if depth == 0 {
            break;
        }
    }
    if offset == bytes.len() {
        return Ok(());
    }
    Err(DecodeError::Malformed { offset, reason: "bytes follow the value" })
}

/// The argument of an initial byte, which must be in its shortest form.
fn read_argument(bytes: &[u8], offset: &mut usize, short: u8) -> Result<u64, &'static str> {
    let (width, least) = match short {
        0..=23 => return Ok(u64::from(short)),
        24 => (1, 24),
        25 => (2, 0x100),
        26 => (4, 0x1_0000),
        27 => (8, 0x1_0000_0000),
        _ => return Err("indefinite lengths are not accepted"),
    };
    let end = *offset + width;
    let field = bytes.get(*offset..end).ok_or("the input ends inside a length")?;
    *offset = end;
    let argument = field.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    if argument < least { Err("an integer is not in its shortest form") } else { Ok(argument) }
}
