//! Proofs of OpenTimestamps: from a hash, by steps anybody can repeat, to what a calendar or a block of Bitcoin attests.
//!
//! The format is that of python-opentimestamps 0.4 with its bounds. Of its operations the three that calendars use are understood;
//! a proof with another one is refused, as nothing could be said of what comes after it.

use sha2::{Digest as _, Sha256};

use super::calendar::{Calendar, CalendarError};

/// Begins every file.
const MAGIC: &[u8; 31] = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94";
const VERSION: u8 = 1;
const SHA256: u8 = 0x08;
const APPEND: u8 = 0xf0;
const PREPEND: u8 = 0xf1;
const ATTESTATION: u8 = 0x00;
/// One more branch follows.
const FORK: u8 = 0xff;
const PENDING: [u8; 8] = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];
const BITCOIN: [u8; 8] = [0x05, 0x88, 0x96, 0x0d, 0x73, 0xd7, 0x19, 0x01];
/// Longest message between two steps, and longest operand, in bytes.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Longest attestation, in bytes.
const ATTESTATION_BYTES_MAX: usize = 8_192;
/// Longest address of a calendar, in bytes.
const URI_BYTES_MAX: usize = 1_000;
/// Deepest nesting of steps.
const DEPTH_MAX: usize = 256;
/// Most promises of one calendar that are followed up (guess: they make one).
const PROMISES_MAX: usize = 4;
/// Largest proof file, in bytes: a hundred of those that Bitcoin attests (guess).
pub(crate) const PROOF_BYTES_MAX: usize = 256 * 1_024;

/// Why bytes are no proof: the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofError {
    /// It ends in the middle.
    #[error("it ends too early")]
    Short,
    /// It is another kind of file.
    #[error("it is no OpenTimestamps proof")]
    Magic,
    /// It is of a version that is not understood.
    #[error("it is of version {0}, and version 1 is understood")]
    Version(u8),
    /// It is not about a SHA-256 hash.
    #[error("it is not about a SHA-256 hash")]
    NotSha256,
    /// It has an operation that is not understood.
    #[error("operation {0:#04x} is not understood")]
    Operation(u8),
    /// Something in it is longer than it may be.
    #[error("{what} of {bytes} bytes, at most {max} are accepted")]
    TooLong {
        /// What.
        what: &'static str,
        /// How long it claims to be.
        bytes: u64,
        /// How long it may be.
        max: usize,
    },
    /// A number is not written in the shortest way, or is too large.
    #[error("a number is not written as it must be")]
    Number,
    /// It nests deeper than it may.
    #[error("it nests deeper than {DEPTH_MAX} steps")]
    Depth,
    /// The address of a calendar holds characters that none has.
    #[error("the address of a calendar is none")]
    Address,
    /// Something follows after its end, or inside an attestation after its content.
    #[error("bytes follow where it should end")]
    Trailing,
}

/// One step from a message to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Its hash.
    Sha256,
    /// These bytes behind it.
    Append(Vec<u8>),
    /// These bytes before it.
    Prepend(Vec<u8>),
}

impl Operation {
    fn apply(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Append(bytes) => [message, bytes].concat(),
            Self::Prepend(bytes) => [bytes, message].concat(),
        }
    }
}

/// Who says that a message was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attestation {
    /// This calendar promises that it will be in a block.
    Pending(String),
    /// It is the Merkle root of the block of Bitcoin at this height.
    Bitcoin(u64),
    /// Somebody who is not understood.
    Unknown([u8; 8], Vec<u8>),
}

/// What is said of one message, and of those that follow from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Timestamp {
    pub(crate) attestations: Vec<Attestation>,
    pub(crate) steps: Vec<(Operation, Self)>,
}

/// The file that belongs to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    /// SHA-256 of that file.
    pub(crate) digest: [u8; 32],
    pub(crate) timestamp: Timestamp,
}

impl Proof {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`ProofError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        bounded("a proof", bytes.len() as u64, PROOF_BYTES_MAX)?;
        let mut reader = Reader(bytes);
        if reader.take(MAGIC.len()).ok() != Some(MAGIC) {
            return Err(ProofError::Magic);
        }
        match reader.byte()? {
            VERSION => {}
            version => return Err(ProofError::Version(version)),
        }
        if reader.byte()? != SHA256 {
            return Err(ProofError::NotSha256);
        }
        let digest = reader.take(32)?.try_into().map_err(|_| ProofError::Short)?;
        let timestamp = reader.timestamp(32, DEPTH_MAX)?;
        if reader.0.is_empty() { Ok(Self { digest, timestamp }) } else { Err(ProofError::Trailing) }
    }

    /// The file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[VERSION, SHA256], &self.digest].concat();
        self.timestamp.write(&mut bytes);
        bytes
    }
}

impl Timestamp {
    /// Reads what a calendar says of a message of so many bytes.
    ///
    /// # Errors
    /// [`ProofError`].
    pub(crate) fn decode(bytes: &[u8], message_bytes: usize) -> Result<Self, ProofError> {
        let mut reader = Reader(bytes);
        let timestamp = reader.timestamp(message_bytes, DEPTH_MAX)?;
        if reader.0.is_empty() { Ok(timestamp) } else { Err(ProofError::Trailing) }
    }

    /// The same without the beginning of a file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// Gives `look` every attestation with the message that it is about, when this one is about `message`.
    pub(crate) fn visit(&self, message: &[u8], look: &mut dyn FnMut(&[u8], &Attestation)) {
        self.attestations.iter().for_each(|attestation| look(message, attestation));
        for (operation, next) in &self.steps {
            next.visit(&operation.apply(message), look);
        }
    }

    /// Takes everything that the other one says of the same message.
    pub(crate) fn merge(&mut self, other: Self) {
        for attestation in other.attestations {
            if !self.attestations.contains(&attestation) {
                self.attestations.push(attestation);
            }
        }
        for (operation, next) in other.steps {
            match self.steps.iter_mut().find(|(held, _)| *held == operation) {
                Some((_, held)) => held.merge(next),
                None => self.steps.push((operation, next)),
            }
        }
    }

    /// Replaces every promise by what the calendar says that became of it; whether there is something new.
    ///
    /// # Errors
    /// [`CalendarError`]; what was heard before that is kept.
    pub(crate) async fn upgraded(&mut self, calendar: &Calendar, message: &[u8]) -> Result<bool, CalendarError> {
        let mut promises = Vec::new();
        self.visit(message, &mut |message, attestation| {
            if matches!(attestation, Attestation::Pending(_)) && promises.len() < PROMISES_MAX {
                promises.push(message.to_vec());
            }
        });
        let mut changed = false;
        for commitment in promises {
            if let Some(said) = calendar.upgrade(&commitment).await? {
                changed |= self.take_up(message, &commitment, &said);
            }
        }
        Ok(changed)
    }

    /// Puts what is said of `commitment` in the place of the promise about it; whether it was there.
    fn take_up(&mut self, message: &[u8], commitment: &[u8], said: &Self) -> bool {
        let mut taken = false;
        if message == commitment && self.attestations.iter().any(|it| matches!(it, Attestation::Pending(_))) {
            self.attestations.retain(|attestation| !matches!(attestation, Attestation::Pending(_)));
            self.merge(said.clone());
            return true;
        }
        for (operation, next) in &mut self.steps {
            taken |= next.take_up(&operation.apply(message), commitment, said);
        }
        taken
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let mut left = self.attestations.len() + self.steps.len();
        let mut fork = |bytes: &mut Vec<u8>| {
            left -= 1;
            if left > 0 {
                bytes.push(FORK);
            }
        };
        for attestation in &self.attestations {
            fork(bytes);
            bytes.push(ATTESTATION);
            write_attestation(attestation, bytes);
        }
        for (operation, next) in &self.steps {
            fork(bytes);
            match operation {
                Operation::Sha256 => bytes.push(SHA256),
                Operation::Append(operand) => {
                    bytes.push(APPEND);
                    write_bytes(operand, bytes);
                }
                Operation::Prepend(operand) => {
                    bytes.push(PREPEND);
                    write_bytes(operand, bytes);
                }
            }
            next.write(bytes);
        }
    }
}

fn write_attestation(attestation: &Attestation, bytes: &mut Vec<u8>) {
    let mut content = Vec::new();
    let tag = match attestation {
        Attestation::Pending(uri) => {
            write_bytes(uri.as_bytes(), &mut content);
            PENDING
        }
        Attestation::Bitcoin(height) => {
            write_number(*height, &mut content);
            BITCOIN
        }
        Attestation::Unknown(tag, payload) => {
            content.extend_from_slice(payload);
            *tag
        }
    };
    bytes.extend_from_slice(&tag);
    write_bytes(&content, bytes);
}

fn write_bytes(content: &[u8], bytes: &mut Vec<u8>) {
    write_number(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

fn write_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

const fn bounded(what: &'static str, bytes: u64, max: usize) -> Result<(), ProofError> {
    if bytes > max as u64 { Err(ProofError::TooLong { what, bytes, max }) } else { Ok(()) }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ProofError> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(ProofError::Short)?;
        self.0 = left;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ProofError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, ProofError> {
        let mut number: u64 = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift >= 64 || part << shift >> shift != part {
                return Err(ProofError::Number);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(ProofError::Number) } else { Ok(number) };
            }
        }
        Err(ProofError::Number)
    }

    fn bytes(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], ProofError> {
        let count = self.number()?;
        bounded(what, count, max)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// What is said of a message of so many bytes; the message itself is not needed.
    fn timestamp(&mut self, message_bytes: usize, depth: usize) -> Result<Timestamp, ProofError> {
        let depth = depth.checked_sub(1).ok_or(ProofError::Depth)?;
        let mut timestamp = Timestamp::default();
        loop {
            let (more, tag) = match self.byte()? {
                FORK => (true, self.byte()?),
                tag => (false, tag),
            };
            match tag {
                ATTESTATION => timestamp.attestations.push(self.attestation()?),
                tag => {
                    let operation = self.operation(tag)?;
                    let next_bytes = match &operation {
                        Operation::Sha256 => 32,
                        Operation::Append(operand) | Operation::Prepend(operand) => message_bytes + operand.len(),
                    };
                    bounded("a message", next_bytes as u64, MESSAGE_BYTES_MAX)?;
                    let next = self.timestamp(next_bytes, depth)?;
                    timestamp.steps.push((operation, next));
                }
            }
            if !more {
                return Ok(timestamp);
            }
        }
    }

    fn operation(&mut self, tag: u8) -> Result<Operation, ProofError> {
        let operand = |reader: &mut Self| match reader.bytes("an operand", MESSAGE_BYTES_MAX)? {
            [] => Err(ProofError::Number),
            operand => Ok(operand.to_vec()),
        };
        match tag {
            SHA256 => Ok(Operation::Sha256),
            APPEND => Ok(Operation::Append(operand(self)?)),
            PREPEND => Ok(Operation::Prepend(operand(self)?)),
            tag => Err(ProofError::Operation(tag)),
        }
    }

    fn attestation(&mut self) -> Result<Attestation, ProofError> {
        let tag: [u8; 8] = self.take(8)?.try_into().map_err(|_| ProofError::Short)?;
        let mut content = Reader(self.bytes("an attestation", ATTESTATION_BYTES_MAX)?);
        let attestation = match tag {
            PENDING => {
                let uri = content.bytes("an address", URI_BYTES_MAX)?;
                let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(byte);
                if !uri.iter().all(allowed) {
                    return Err(ProofError::Address);
                }
                Attestation::Pending(String::from_utf8_lossy(uri).into_owned())
            }
            BITCOIN => Attestation::Bitcoin(content.number()?),
            tag => Attestation::Unknown(tag, std::mem::take(&mut content.0).to_vec()),
        };
        if content.0.is_empty() { Ok(attestation) } else { Err(ProofError::Trailing) }
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
