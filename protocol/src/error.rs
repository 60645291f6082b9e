//! Why bytes from outside were refused: always the sender's fault, never a change of state here.

/// Bytes that are not the one canonical encoding of the expected value. Nothing was changed; sending them again cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the caller accepts for this value.
    #[error("{size} bytes, at most {max} are accepted here")]
    TooLarge {
        /// Bytes that arrived.
        size: usize,
        /// Bytes that are accepted.
        max: usize,
    },
    /// Not well-formed, or outside the accepted subset of CBOR (indefinite lengths, floats, tags, depth over 16).
    #[error("byte {offset}: {reason}")]
    Malformed {
        /// Where the walk stopped.
        offset: usize,
        /// What was wrong there.
        reason: &'static str,
    },
    /// Well-formed, but not the expected type.
    #[error("not the expected value: {reason}")]
    Unexpected {
        /// What the deserializer said.
        reason: String,
    },
    /// A second encoding of a value that has exactly one.
    #[error("byte {offset}: not the canonical encoding")]
    NotCanonical {
        /// First byte that differs from the canonical encoding.
        offset: usize,
    },
}

/// Text that does not parse as an id, a name or an address. The writer's fault; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseError {
    /// The text, shortened to 80 characters.
    pub text: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl ParseError {
    /// An error about `text`, of which the first 80 characters are kept.
    #[must_use]
    pub fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

impl From<ParseError> for crate::envelope::Refusal {
    fn from(error: ParseError) -> Self {
        Self::Invalid { message: error.to_string() }
    }
}
