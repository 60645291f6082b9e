//! One message as it travels, what it carries, and the receipt that comes back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::address::LocalTarget;
use crate::capability::Grant;
use crate::codec::{Writer, encode};
use crate::deferral::DeferralId;
use crate::error::ParseError;
use crate::hash::{Digest, hash};
use crate::id::{AgentName, ChainId, MessageId, NodeId, ProcessId, TopicName, TraceId};
use crate::limits::WITNESSES_MAX;
use crate::parts::PartsProof;
use crate::process::Resource;
use crate::signature::{PublicKeys, SignatureError, Signer};
use crate::time::{Hlc, Timestamp};

/// What a process may be told besides messages. The first four change its life: the kernel carries them out, and its gate
/// judges them like the commands of the same names. `Ping` the kernel answers. The agent hears of all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Finish and exit.
    Shutdown,
    /// End now.
    Kill,
    /// Stand still.
    Suspend,
    /// Go on.
    Resume,
    /// Say that messages are taken.
    Ping,
    /// They are.
    Pong,
    /// Read the settings again.
    ReloadConfig,
    /// Write down the state, for whoever looks into a problem.
    DumpState,
    /// What the agent makes of it.
    UserDefined(u8),
    /// A process that this one is linked to is no more. Only a kernel or an operator says so.
    LinkExit(ProcessEnd),
    /// A process that this one monitors is no more. Only a kernel or an operator says so.
    MonitorDown(ProcessEnd),
    /// A bound is near. Only a kernel or an operator says so.
    ResourceWarning {
        /// Of what.
        resource: Resource,
        /// How much is used, in the resource's unit.
        measured: u64,
        /// The bound.
        limit: u64,
    },
}

/// The end of a process, as a signal tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// On which node.
    pub node: NodeId,
    /// Under which name.
    pub agent: AgentName,
    /// Which process; unknown when its node became unreachable before it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// Why, at most 1,024 characters.
    pub reason: String,
}

impl Signal {
    const PLAIN: [(&'static str, Self); 8] = [
        ("shutdown", Self::Shutdown),
        ("kill", Self::Kill),
        ("suspend", Self::Suspend),
        ("resume", Self::Resume),
        ("ping", Self::Ping),
        ("pong", Self::Pong),
        ("reload-config", Self::ReloadConfig),
        ("dump-state", Self::DumpState),
    ];

    /// Bytes of content, without framing.
    const fn size(&self) -> usize {
        match self {
            Self::Shutdown
            | Self::Kill
            | Self::Suspend
            | Self::Resume
            | Self::Ping
            | Self::Pong
            | Self::ReloadConfig
            | Self::DumpState
            | Self::UserDefined(_) => 1,
            Self::LinkExit(end) | Self::MonitorDown(end) => 1 + end.reason.len(),
            Self::ResourceWarning { .. } => 18,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserDefined(number) => write!(formatter, "user-defined:{number}"),
            Self::LinkExit(_) => formatter.write_str("link-exit"),
            Self::MonitorDown(_) => formatter.write_str("monitor-down"),
            Self::ResourceWarning { .. } => formatter.write_str("resource-warning"),
            plain => {
                let name = Self::PLAIN.iter().find(|(_, signal)| signal == plain).map_or("", |(name, _)| name);
                formatter.write_str(name)
            }
        }
    }
}

impl FromStr for Signal {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = Self::PLAIN.into_iter().find(|(name, _)| *name == text).map(|(_, signal)| signal);
        let user = || text.strip_prefix("user-defined:")?.parse().ok().map(Self::UserDefined);
        plain.or_else(user).ok_or_else(|| {
            ParseError::new(
                text,
                "a signal (shutdown, kill, suspend, resume, ping, pong, reload-config, dump-state or user-defined:N)",
            )
        })
    }
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Text.
    Text(String),
    /// One JSON value, kept as its text.
    Json(String),
    /// Bytes.
    Binary(ByteBuf),
    /// A request to run a tool; `args` is the text of one JSON value.
    ToolCall {
        /// The tool.
        name: String,
        /// Its arguments.
        args: String,
    },
    /// The result of a tool; `result` is the text of one JSON value.
    ToolResult {
        /// The id the caller gave.
        call_id: String,
        /// What came out.
        result: String,
    },
    /// A signal; in a box, because it is the largest and the rarest.
    Signal(Box<Signal>),
}

impl Payload {
    /// Bytes of content, without framing.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::ToolCall { name, args } => name.len() + args.len(),
            Self::ToolResult { call_id, result } => call_id.len() + result.len(),
            Self::Signal(signal) => signal.size(),
        }
    }

    /// BLAKE3 of the canonical encoding: by which records name a body they do not hold.
    #[must_use]
    pub fn content_address(&self) -> Digest {
        let Self::Text(text) = self else { return crate::hash::content_address(&encode(self)) };
        let mut bytes = Vec::with_capacity(16 + text.len());
        let mut writer = Writer(&mut bytes);
        writer.head(5, 1);
        writer.text("text");
        writer.text(text);
        crate::hash::content_address(&bytes)
    }
}

/// Who acts: the person or program behind a node's own door, or one of its processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// Whoever holds the operator token of the node.
    Operator,
    /// An agent.
    Agent {
        /// Its name.
        agent: AgentName,
        /// Its process.
        process: ProcessId,
    },
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => formatter.write_str("operator"),
            Self::Agent { agent, .. } => write!(formatter, "agent/{agent}"),
        }
    }
}

/// A principal on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sender {
    /// Which node.
    pub node: NodeId,
    /// Who there.
    pub principal: Principal,
}

/// How far a message must have come before its receipt is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// It left this node, or waits in its outbox.
    Routed,
    /// It is in the mailbox.
    Received,
    /// The agent answered.
    Executed,
}

/// Where the records of a message must be before its receipt is given. It travels as its text: `none`, `durable`, `witnessed`,
/// and `witnessed(2)` for more than one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Durability {
    /// Nowhere in particular: they follow with the next commit.
    None,
    /// On both chains, on both disks.
    Durable,
    /// The same, and commits of other members vouch for them.
    Witnessed {
        /// Of how many members, neither sender nor receiver; at least one, at most [`WITNESSES_MAX`].
        members: u8,
    },
}

impl fmt::Display for Durability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Durable => formatter.write_str("durable"),
            Self::Witnessed { members: 1 } => formatter.write_str("witnessed"),
            Self::Witnessed { members } => write!(formatter, "witnessed({members})"),
        }
    }
}

impl From<Durability> for String {
    fn from(durability: Durability) -> Self {
        durability.to_string()
    }
}

impl TryFrom<String> for Durability {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        let several = |text: &str| {
            let members = text.strip_prefix("witnessed(")?.strip_suffix(')')?.parse::<u8>().ok()?;
            // One member has a text of its own, so that each value has exactly one.
            let durability = Self::Witnessed { members };
            ((2..=WITNESSES_MAX).contains(&members) && durability.to_string() == text).then_some(durability)
        };
        match text.as_str() {
            "none" => Ok(Self::None),
            "durable" => Ok(Self::Durable),
            "witnessed" => Ok(Self::Witnessed { members: 1 }),
            text => several(text)
                .ok_or_else(|| ParseError::new(text, "none, durable, witnessed, or witnessed(2) to witnessed(32)")),
        }
    }
}

/// Both scales of a receipt. Text form: `executed`, `executed+durable`; `durable` alone means `executed+durable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// How far.
    pub delivery: Delivery,
    /// How safe.
    pub durability: Durability,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.delivery {
            Delivery::Routed => "routed",
            Delivery::Received => "received",
            Delivery::Executed => "executed",
        })?;
        match self.durability {
            Durability::None => Ok(()),
            durability @ (Durability::Durable | Durability::Witnessed { .. }) => write!(formatter, "+{durability}"),
        }
    }
}

impl FromStr for Level {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "a receipt level (routed, received or executed, each alone or with +durable or +witnessed)";
        let (delivery, durability) = match text.split_once('+') {
            Some(both) => both,
            None if text == "durable" || text.starts_with("witnessed") => ("executed", text),
            None => (text, "none"),
        };
        let delivery = match delivery {
            "routed" => Delivery::Routed,
            "received" => Delivery::Received,
            "executed" => Delivery::Executed,
            _ => return Err(ParseError::new(text, expected)),
        };
        let durability = Durability::try_from(durability.to_owned());
        match durability.map_err(|_| ParseError::new(text, expected))? {
            Durability::None if text.contains('+') => Err(ParseError::new(text, expected)),
            durability => Ok(Self { delivery, durability }),
        }
    }
}

/// One message between two processes, self-sufficient: the receiver decides alone from what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique for ever; a second copy is answered, not executed.
    pub id: MessageId,
    /// The sender's clock; what the receiver records is stamped later.
    pub hlc: Hlc,
    /// The conversation.
    pub trace: TraceId,
    /// Who sent it.
    pub from: Sender,
    /// What on the receiving node.
    pub target: LocalTarget,
    /// What it carries.
    pub payload: Payload,
    /// Whether an answer is expected.
    pub wants_reply: bool,
    /// What receipt is expected.
    pub level: Level,
    /// Time left when it was sent, in microseconds: wall clocks differ, durations hardly.
    pub deadline_us: u64,
    /// Hops it may still take.
    pub hops: u8,
    /// The grant of an agent that permits it; operators act under their node's role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Links of the sender's events that led to it; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<Digest>,
    /// Whether its sender takes parts of the answer as they come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parts: bool,
}

/// Where a record stands: spoken only when it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRef {
    /// On which chain.
    pub chain: ChainId,
    /// At which place.
    pub seq: u64,
    /// Its leaf.
    pub leaf: Digest,
}

/// Why a message was not delivered or not answered. Each says through [`Refusal::changed`] and [`Refusal::retry`] what the
/// sender may conclude.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The gate of the named node said no.
    #[error("denied by rule {rule}")]
    Denied {
        /// The deciding rule.
        rule: String,
    },
    /// A queue is full.
    #[error("busy, retry after {} ms", retry_after_us / 1000)]
    Busy {
        /// When to try again, in microseconds.
        retry_after_us: u64,
    },
    /// Nothing runs under that name.
    #[error("no responder: {target}")]
    NoResponder {
        /// What was looked for.
        target: String,
    },
    /// More than one node runs an agent of that name.
    #[error("ambiguous: {}", targets.join(", "))]
    Ambiguous {
        /// The candidates, each with its node.
        targets: Vec<String>,
    },
    /// That life of the process is over.
    #[error("gone: {process}")]
    Gone {
        /// Which process.
        process: ProcessId,
    },
    /// The time was over before an answer came.
    #[error("deadline passed")]
    Deadline {
        /// Whether the message may have been executed.
        maybe_executed: bool,
    },
    /// Larger than what is accepted.
    #[error("too large: {size} bytes, at most {max}")]
    TooLarge {
        /// Bytes offered.
        size: u64,
        /// Bytes accepted.
        max: u64,
    },
    /// Sent so long ago that nobody can tell whether it was executed.
    #[error("expired: the message id is below the receiver's window")]
    Expired,
    /// The node is cut off until an admin readmits it.
    #[error("quarantined")]
    Quarantined,
    /// The agent answered with an error of its own, or died.
    #[error("the agent failed: {reason}")]
    AgentFailed {
        /// What it said, at most 1,024 characters.
        reason: String,
    },
    /// The receiver does not understand this kind of message.
    #[error("not supported: {what}")]
    Unsupported {
        /// What it lacks.
        what: String,
    },
    /// No third member can anchor the record.
    #[error("no other member can witness this")]
    NoWitness,
    /// The receiver's store is damaged.
    #[error("the node's store is damaged; nothing is promised until it is repaired")]
    Damaged,
    /// The node is on its way down.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The member is known to be unreachable.
    #[error("{node} is unreachable")]
    Unreachable {
        /// Its name or id.
        node: String,
    },
    /// The request itself is wrong; `message` says what.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
    },
    /// The agent has used up what one life of it may use.
    #[error("the limit of {} is reached", resource.amount(*limit))]
    LimitReached {
        /// Of what.
        resource: Resource,
        /// How much that is, in the resource's unit.
        limit: u64,
    },
    /// The agent is between two lives.
    #[error("{agent} is being restarted, retry after {} ms", retry_after_us / 1000)]
    Restarting {
        /// Its name.
        agent: AgentName,
        /// When to try again, in microseconds.
        retry_after_us: u64,
    },
    /// More was to be passed on than is held.
    #[error("{asked} is wider than what is held: {held}")]
    Wider {
        /// What was to be passed on.
        asked: String,
        /// The nearest grant that is held.
        held: String,
    },
    /// What was sent to a method of a service, or what it answered, is not what its contract says.
    #[error("{}", violation(target, version, *part, path, reason))]
    ContractViolated {
        /// The method, `svc:words.count`.
        target: String,
        /// The version of its contract.
        version: String,
        /// Whose words break it.
        part: ContractPart,
        /// JSON pointer to the value that does; empty for the whole of it. At most 256 characters.
        path: String,
        /// What is wrong there, at most 256 characters.
        reason: String,
    },
    /// The scope of one of both agents does not reach the other end.
    #[error("the ipc scope of {agent}, {scope}, does not reach {what}")]
    OutOfScope {
        /// Whose scope.
        agent: AgentName,
        /// The scope.
        scope: String,
        /// The other end.
        what: String,
    },
    /// Nothing on that node can run an agent like this.
    #[error("no backend {backend}: {reason}")]
    BackendNotAvailable {
        /// `wasm`, `container` or `tee`.
        backend: String,
        /// What is missing.
        reason: String,
        /// What to use instead.
        instead: String,
    },
    /// Not all of a sandbox can be enforced, so nothing runs in it.
    #[error("this sandbox cannot be enforced: {reason}")]
    Unenforceable {
        /// What of it, and why; at most 1,024 characters.
        reason: String,
    },
    /// The message arrived and its records are on both disks; too few members vouched for them in time.
    #[error(
        "the message was {}, and its records are on every disk they belong on; {vouching} of {wanted} members vouched for \
         them in time: nothing is lost",
        reached(*delivery)
    )]
    NotWitnessed {
        /// How far the message came.
        delivery: Delivery,
        /// How many members vouch for all of its records.
        vouching: u8,
        /// How many were to.
        wanted: u8,
    },
    /// A person must approve it first; until then it has not happened.
    #[error("deferred by rule {rule} until a person approves it, as {deferral}")]
    Deferred {
        /// The deciding rule.
        rule: String,
        /// By which the person finds it.
        deferral: DeferralId,
        /// Until when it can be approved, and then repeated.
        expires: Timestamp,
    },
    /// Too few members count for an agent to outlive its node.
    #[error("an agent that outlives its node needs three members that count, and {counting} do")]
    NoMajority {
        /// How many do, as this node sees it.
        counting: u64,
    },
    /// Whoever asked no longer waits: it went away, or its time was over.
    #[error("cancelled: whoever asked no longer waits")]
    Cancelled {
        /// Whether the message may have been executed.
        maybe_executed: bool,
    },
    /// Parts of the answer came, and not all that belongs to them.
    #[error("the answer broke off after {}: {reason}", if *parts == 1 { "1 part".to_owned() } else { format!("{parts} parts") })]
    BrokenOff {
        /// How many parts came.
        parts: u32,
        /// What is missing, at most 1,024 characters.
        reason: String,
    },
    /// The version of the wire that was agreed on with the member there is an older one, in which this cannot be said.
    #[error("version {wire} of the wire was agreed on with {node}, and this needs version {needed}")]
    PeerTooOld {
        /// Which member.
        node: NodeId,
        /// What was agreed on.
        wire: u16,
        /// The first version that has what was asked for.
        needed: u16,
    },
}

/// One side of a method's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContractPart {
    /// What the caller sends.
    Input,
    /// What the service answers.
    Output,
}

const fn reached(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Routed => "sent",
        Delivery::Received => "received",
        Delivery::Executed => "executed",
    }
}

fn violation(target: &str, version: &str, part: ContractPart, path: &str, reason: &str) -> String {
    let what = match part {
        ContractPart::Input => "the arguments break",
        ContractPart::Output => "the answer breaks",
    };
    let place = if path.is_empty() { "as a whole" } else { path };
    format!("{what} the contract of {target} {version}: {place}: {reason}")
}

impl Refusal {
    /// The stable code of CLI.md and API.md.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::Busy { .. } => "busy",
            Self::NoResponder { .. } => "no-responder",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Gone { .. } => "gone",
            Self::Deadline { .. } => "deadline",
            Self::TooLarge { .. } => "too-large",
            Self::Expired => "expired",
            Self::Quarantined => "quarantined",
            Self::AgentFailed { .. } => "agent-failed",
            Self::Unsupported { .. } => "unsupported",
            Self::NoWitness => "no-witness",
            Self::NoMajority { .. } => "no-majority",
            Self::Damaged => "damaged",
            Self::ShuttingDown => "shutting-down",
            Self::Unreachable { .. } => "unreachable",
            Self::Invalid { .. } => "invalid",
            Self::LimitReached { .. } => "limit-reached",
            Self::Restarting { .. } => "restarting",
            Self::Wider { .. } => "wider",
            Self::ContractViolated { .. } => "contract-violated",
            Self::OutOfScope { .. } => "out-of-scope",
            Self::BackendNotAvailable { .. } => "backend-not-available",
            Self::Unenforceable { .. } => "unenforceable",
            Self::Deferred { .. } => "deferred",
            Self::NotWitnessed { .. } => "not-witnessed",
            Self::Cancelled { .. } => "cancelled",
            Self::BrokenOff { .. } => "broken-off",
            Self::PeerTooOld { .. } => "peer-too-old",
        }
    }

    /// Whether the message may have had an effect.
    #[must_use]
    pub const fn changed(&self) -> bool {
        match self {
            Self::Deadline { maybe_executed } | Self::Cancelled { maybe_executed } => *maybe_executed,
            Self::BrokenOff { .. } => true,
            Self::AgentFailed { .. } | Self::Expired | Self::NotWitnessed { .. } => true,
            Self::ContractViolated { part: ContractPart::Output, .. } => true,
            Self::Denied { .. }
            | Self::Busy { .. }
            | Self::NoResponder { .. }
            | Self::Ambiguous { .. }
            | Self::Gone { .. }
            | Self::TooLarge { .. }
            | Self::PeerTooOld { .. }
            | Self::Quarantined
            | Self::Unsupported { .. }
            | Self::NoWitness
            | Self::NoMajority { .. }
            | Self::Damaged
            | Self::ShuttingDown
            | Self::Unreachable { .. }
            | Self::Restarting { .. }
            | Self::Invalid { .. }
            | Self::LimitReached { .. }
            | Self::OutOfScope { .. }
            | Self::Unenforceable { .. }
            | Self::Wider { .. } => false,
            Self::ContractViolated { part: ContractPart::Input, .. }
            | Self::BackendNotAvailable { .. }
            | Self::Deferred { .. } => false,
        }
    }

    /// When to try again, in microseconds, where that is known.
    #[must_use]
    pub const fn retry_after_us(&self) -> Option<u64> {
        match self {
            Self::Busy { retry_after_us } | Self::Restarting { retry_after_us, .. } => Some(*retry_after_us),
            Self::Denied { .. }
            | Self::NoResponder { .. }
            | Self::Ambiguous { .. }
            | Self::Gone { .. }
            | Self::Deadline { .. }
            | Self::TooLarge { .. }
            | Self::Expired
            | Self::Quarantined
            | Self::AgentFailed { .. }
            | Self::Unsupported { .. }
            | Self::NoWitness
            | Self::NoMajority { .. }
            | Self::Damaged
            | Self::ShuttingDown
            | Self::Unreachable { .. }
            | Self::LimitReached { .. }
            | Self::Wider { .. }
            | Self::OutOfScope { .. }
            | Self::Unenforceable { .. }
            | Self::Invalid { .. }
            | Self::ContractViolated { .. }
            | Self::BackendNotAvailable { .. }
            | Self::NotWitnessed { .. }
            | Self::Cancelled { .. }
            | Self::BrokenOff { .. }
            | Self::PeerTooOld { .. }
            | Self::Deferred { .. } => None,
        }
    }

    /// Whether the same message may succeed later.
    #[must_use]
    pub const fn retry(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::Restarting { .. }
            | Self::NoResponder { .. }
            | Self::ShuttingDown
            | Self::Unreachable { .. }
            | Self::NoWitness
            | Self::NoMajority { .. }
            | Self::Deferred { .. }
            | Self::Deadline { .. } => true,
            Self::Denied { .. }
            | Self::Ambiguous { .. }
            | Self::Gone { .. }
            | Self::TooLarge { .. }
            | Self::Expired
            | Self::Quarantined
            | Self::AgentFailed { .. }
            | Self::Unsupported { .. }
            | Self::Damaged
            | Self::Invalid { .. }
            | Self::LimitReached { .. }
            | Self::OutOfScope { .. }
            | Self::Unenforceable { .. }
            | Self::Cancelled { .. }
            | Self::BrokenOff { .. }
            | Self::PeerTooOld { .. }
            | Self::Wider { .. } => false,
            // The records are there, and are vouched for later: sent again, the message would be executed twice.
            Self::ContractViolated { .. } | Self::BackendNotAvailable { .. } | Self::NotWitnessed { .. } => false,
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is in the mailbox.
    Received,
    /// The agent finished with it.
    Executed {
        /// Its answer, when it gave one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply: Option<Payload>,
    },
    /// It was not delivered, or not answered.
    Refused(Refusal),
    /// A broadcast is in so many mailboxes.
    Delivered {
        /// How many.
        count: u64,
    },
}

/// The answer to one envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which message.
    pub message: MessageId,
    /// The receiver's clock.
    pub hlc: Hlc,
    /// What became of it.
    pub outcome: Outcome,
    /// The receiver's record, when `durable` was asked: on its disk when this is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordRef>,
    /// What stands for the parts that came before it, when there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<PartsProof>,
}

/// One message to all subscribers of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Unique for ever.
    pub id: MessageId,
    /// The publisher's clock.
    pub hlc: Hlc,
    /// The conversation.
    pub trace: TraceId,
    /// Who published it.
    pub from: Sender,
    /// Where.
    pub topic: TopicName,
    /// The publisher's count within the topic; it increases, with gaps that `prev` announces.
    pub seq: u64,
    /// The publisher's number before this one in the topic, as far as it knows; zero when it knows of none. What lies between
    /// was never given: what lies below and is not there was lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub prev: u64,
    /// Whether the publisher was killed since `prev`: it may have given numbers in between that it forgot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgetful: bool,
    /// What it carries.
    pub payload: Payload,
    /// The grant of an agent that permits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// The publishing node's signature over all of the above, for whoever gets it from somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ed25519: Option<ByteArray<64>>,
}

const PUBLICATION_LABEL: &str = "publication";

impl Publication {
    /// The publication with the signature of the signer's node, which must be the publisher.
    #[must_use]
    pub fn signed(mut self, signer: &dyn Signer) -> Self {
        self.ed25519 = Some(ByteArray::new(signer.sign_ed25519(PUBLICATION_LABEL, &self.signed_hash())));
        self
    }

    /// Whether the node with these keys published exactly this.
    ///
    /// # Errors
    /// [`SignatureError`] when it is not signed, or not by them.
    pub fn verify(&self, keys: &PublicKeys) -> Result<(), SignatureError> {
        let signature = self.ed25519.as_ref().map_or([0; 64], |signature| **signature);
        keys.verify_ed25519(PUBLICATION_LABEL, &self.signed_hash(), &signature)
    }

    fn signed_hash(&self) -> Digest {
        hash(PUBLICATION_LABEL, &[&encode(&Self { ed25519: None, ..self.clone() })])
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
