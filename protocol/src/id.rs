//! Names that cannot be confused: nodes, chains, processes, messages, agents, topics.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ParseError;
use crate::hash::content_address;
use crate::limits::{GROUP_DEPTH_MAX, NAME_BYTES_MAX, TOPIC_BYTES_MAX, VERSION_BYTES_MAX};

/// Defines a fixed-size byte string: bytes on the wire, hexadecimal digits in text.
macro_rules! bytes_id {
    ($(#[$meta:meta])* $name:ident, $size:literal, $expected:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $size]);

        impl $name {
            /// The value made of these bytes; every byte string of this length is one.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::ParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                data_encoding::HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| $crate::error::ParseError::new(text, $expected))
            }
        }

        $crate::id::text_or_bytes!($name, $size);
    };
}
pub(crate) use bytes_id;

/// Serializes as text where people read it (JSON) and as a byte string on the wire.
macro_rules! text_or_bytes {
    ($name:ident, $size:literal) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, formatter)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(self.as_bytes())
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    let bytes = serde_bytes::ByteArray::<$size>::deserialize(deserializer)?;
                    Ok(Self::from_bytes(bytes.into_array()))
                }
            }
        }
    };
}
pub(crate) use text_or_bytes;

bytes_id! {
    /// The name of a cluster: `H("cluster", founder's keys, genesis rules, nonce)`. Text form: 64 hexadecimal digits.
    ClusterId, 32, "a cluster id of 64 hexadecimal digits"
}

bytes_id! {
    /// The name of an invite, derived from its secret and useless without it. Text form: 16 hexadecimal digits.
    InviteId, 8, "an invite id of 16 hexadecimal digits"
}

/// A node: its Ed25519 public key, which is also its libp2p peer id. Text form: the peer id, `12D3KooW…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

/// What stands before the key in a libp2p peer id: identity multihash of 36 bytes, protobuf of an Ed25519 key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl NodeId {
    /// The node that holds this Ed25519 public key. Whether the bytes are a point is checked where signatures are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The Ed25519 public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes of the libp2p peer id.
    #[must_use]
    pub fn to_peer_id_bytes(self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// The node behind the bytes of a libp2p peer id; `None` when that is not an Ed25519 key.
    #[must_use]
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        key.try_into().ok().map(Self)
    }

    /// The last eight characters of the text form: for people, never for decisions.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl FromStr for NodeId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a node id (12D3KooW…)");
        if text.len() > 64 {
            return Err(refuse());
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| refuse())?;
        Self::from_peer_id_bytes(&bytes).ok_or_else(refuse)
    }
}

text_or_bytes!(NodeId, 32);

/// Defines a number that is written as a fixed count of hexadecimal digits in text and as an integer on the wire.
macro_rules! hex_number {
    ($(#[$meta:meta])* $name:ident, $prefix:literal, $expected:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($prefix, "{:016x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == 16 && !digits.starts_with('+'))
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .map(Self)
                    .ok_or_else(|| ParseError::new(text, $expected))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    u64::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}
pub(crate) use hex_number;

hex_number! {
    /// One life of a node's chain: a random number, so that a chain begun anew is another chain.
    Incarnation, "", "16 hexadecimal digits"
}

hex_number! {
    /// What all messages of one conversation share. Text form: `t-` and 16 hexadecimal digits.
    TraceId, "t-", "a trace id (t- and 16 hexadecimal digits)"
}

hex_number! {
    /// One grant, unique on the node that gave it. Text form: `g-` and 16 hexadecimal digits.
    GrantId, "g-", "a grant id (g- and 16 hexadecimal digits)"
}

impl GrantId {
    /// Length of the text form.
    pub const TEXT_BYTES: usize = 18;

    /// The text form, as [`fmt::Display`] writes it.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::with_capacity(Self::TEXT_BYTES);
        self.push_text(&mut text);
        text
    }

    /// Puts the text form behind another text.
    pub fn push_text(self, text: &mut String) {
        text.push_str("g-");
        data_encoding::HEXLOWER.encode_append(&self.0.to_be_bytes(), text);
    }

    /// The id that is the beginning of a hash.
    #[must_use]
    pub fn of(digest: &crate::hash::Digest) -> Self {
        let (first, _) = digest.as_bytes().split_at(8);
        Self(first.iter().fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }
}

/// One chain: a node and one of its incarnations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ChainId {
    /// The only writer.
    pub node: NodeId,
    /// Which of the writer's chains.
    pub incarnation: Incarnation,
}

impl ChainId {
    /// The 40 bytes by which chains are keyed and sorted: node, then incarnation, big-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(self.node.as_bytes());
        bytes[32..].copy_from_slice(&self.incarnation.0.to_be_bytes());
        bytes
    }

    /// The chain keyed by these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 40]) -> Self {
        let (node, incarnation) = bytes.split_at(32);
        Self {
            node: NodeId(node.try_into().expect("BUG: 32 of 40 bytes")),
            incarnation: Incarnation(u64::from_be_bytes(incarnation.try_into().expect("BUG: 8 of 40 bytes"))),
        }
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.node, self.incarnation)
    }
}

/// One process of one node. A restarted process has the same index and another generation: it is another process.
/// Text form: `#12.3`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// The place in the process table.
    pub index: u32,
    /// How often the place was taken before.
    pub generation: u32,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}.{}", self.index, self.generation)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for ProcessId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (index, generation) = text.strip_prefix('#')?.split_once('.')?;
            Some(Self { index: digits(index)?, generation: digits(generation)? })
        };
        parse().ok_or_else(|| ParseError::new(text, "a process id (#12.3)"))
    }
}

fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl Serialize for ProcessId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.index, self.generation).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ProcessId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let (index, generation) = <(u32, u32)>::deserialize(deserializer)?;
            Ok(Self { index, generation })
        }
    }
}

/// One message: who numbered it, in which incarnation, and its number, unique for ever.
/// Text form: `m-` and the base58 of the 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The sending chain.
    pub chain: ChainId,
    /// Increases within the chain, with gaps after a restart.
    pub counter: u64,
}

impl MessageId {
    /// The 48 bytes: chain, then counter, big-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..40].copy_from_slice(&self.chain.to_bytes());
        bytes[40..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }

    /// The message keyed by these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 48]) -> Self {
        let (chain, counter) = bytes.split_at(40);
        Self {
            chain: ChainId::from_bytes(chain.try_into().expect("BUG: 40 of 48 bytes")),
            counter: u64::from_be_bytes(counter.try_into().expect("BUG: 8 of 48 bytes")),
        }
    }

    /// The trace that a message starts when it belongs to no other: 32 bits that stand for its chain and the high half of its
    /// number, then the low half. Those of one chain follow each other, so that what is sorted by trace is written in order;
    /// those of a thousand chains meet with a chance of one in ten thousand.
    #[must_use]
    pub fn new_trace(&self) -> TraceId {
        NewTraces::default().of(self)
    }
}

/// Makes [`MessageId::new_trace`] of many messages, most of them of one chain, without hashing for each.
#[derive(Debug, Clone, Default)]
pub struct NewTraces {
    /// The beginning of the last one, with its high half in place.
    last: Option<(MessageId, u64)>,
}

impl NewTraces {
    /// The trace that this message starts when it belongs to no other.
    pub fn of(&mut self, message: &MessageId) -> TraceId {
        let block = MessageId { counter: message.counter >> 32, ..*message };
        let high = match self.last {
            Some((last, high)) if last == block => high,
            Some(_) | None => {
                let digest = content_address(&block.to_bytes());
                let (first, _) = digest.as_bytes().split_at(4);
                u64::from(u32::from_be_bytes(first.try_into().expect("BUG: 4 of 32 bytes"))) << 32
            }
        };
        self.last = Some((block, high));
        TraceId(high | message.counter & u64::from(u32::MAX))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "m-{}", bs58::encode(self.to_bytes()).into_string())
    }
}

impl FromStr for MessageId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.strip_prefix("m-")
            .filter(|word| word.len() <= 68)
            .and_then(|word| bs58::decode(word).into_vec().ok())
            .and_then(|bytes| bytes.as_slice().try_into().ok().map(Self::from_bytes))
            .ok_or_else(|| ParseError::new(text, "a message id (m-…)"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let bytes = serde_bytes::ByteArray::<48>::deserialize(deserializer)?;
            Ok(Self::from_bytes(&bytes))
        }
    }
}

/// Defines a checked text name that serializes as its text. Copies share it.
macro_rules! text_name {
    ($(#[$meta:meta])* $name:ident, $check:ident, $expected:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, shared.
            #[must_use]
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                if $check(text) { Ok(Self(text.into())) } else { Err(ParseError::new(text, $expected)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseError;

            fn try_from(text: String) -> Result<Self, ParseError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// Words that stand for something else where an agent could be named.
const RESERVED_NAMES: [&str; 2] = ["kernel", "broadcast"];

text_name! {
    /// The name of an agent, unique among the living agents of one node. `kernel` and `broadcast` are targets of their own.
    AgentName, is_agent, "a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit; not kernel or broadcast)"
}

text_name! {
    /// The name of a service; several nodes may serve it.
    ServiceName, is_name, "a service (1 to 63 of a-z 0-9 - _, beginning with a letter or digit)"
}

text_name! {
    /// The name of one method of a service.
    MethodName, is_method, "a method (1 to 63 of a-z A-Z 0-9 - _)"
}

text_name! {
    /// The version of a contract.
    ContractVersion, is_version, "a version (1 to 32 of a-z A-Z 0-9 . - +, as 1.0.0)"
}

text_name! {
    /// The name a node goes by in its cluster; the node id stays its identity.
    NodeName, is_name, "a name (1 to 63 of a-z 0-9 - _, beginning with a letter or digit)"
}

text_name! {
    /// A group of supervised agents: its name behind those of the groups above it, `shop` or `shop/workers`.
    GroupName, is_group, "a group (1 to 4 names of a-z 0-9 - _ joined by /)"
}

impl GroupName {
    /// The group above; none when the root is.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(above, _)| Self(above.into()))
    }

    /// Whether this is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

text_name! {
    /// The exact name of a topic: words joined by dots.
    TopicName, is_topic, "an exact topic (words of a-z A-Z 0-9 - _ joined by dots, at most 128 bytes; only subscribers use * and >)"
}

text_name! {
    /// What a subscriber listens to: the exact name of a topic, or one in which `*` stands for any one word and a last `>`
    /// for one or more.
    TopicPattern, is_topic_pattern, "a topic or a pattern of topics (words joined by dots; * for any one word, > at the end for the rest)"
}

impl From<TopicName> for TopicPattern {
    fn from(topic: TopicName) -> Self {
        Self(topic.0)
    }
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    text.len() <= NAME_BYTES_MAX
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

fn is_group(text: &str) -> bool {
    text.split('/').count() <= GROUP_DEPTH_MAX && text.split('/').all(is_name)
}

fn is_agent(text: &str) -> bool {
    is_name(text) && !RESERVED_NAMES.contains(&text)
}

fn is_method(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(inner)
}

fn is_version(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    (1..=VERSION_BYTES_MAX).contains(&text.len()) && text.bytes().all(inner)
}

fn is_topic(text: &str) -> bool {
    text.len() <= TOPIC_BYTES_MAX && text.split('.').all(is_topic_word)
}

fn is_topic_word(word: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !word.is_empty() && word.bytes().all(inner)
}

fn is_topic_pattern(text: &str) -> bool {
    let words = match text.strip_suffix('>') {
        Some("") => return true,
        Some(words) => match words.strip_suffix('.') {
            Some(words) => words,
            None => return false,
        },
        None => text,
    };
    text.len() <= TOPIC_BYTES_MAX && words.split('.').all(|word| word == "*" || is_topic_word(word))
}
