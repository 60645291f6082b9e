//! Everything that can happen to the world from outside: what users do, and every disaster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::disk::Unsynced;
use crate::malice::Lie;

/// An agent that users of a simulation start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// The shipped built-in.
    Echo,
    /// The shipped built-in.
    Counter,
    /// The shipped built-in.
    Clock,
    /// Answers after seconds, or never.
    Slow,
    /// A shipped built-in that only operators of other nodes start.
    Guest,
}

impl AgentKind {
    /// Those that operators start on their own nodes.
    pub const ALL: [Self; 4] = [Self::Echo, Self::Counter, Self::Clock, Self::Slow];

    /// The name under which every node runs it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Counter => "counter",
            Self::Clock => "clock",
            Self::Slow => "slow",
            Self::Guest => "guest",
        }
    }
}

/// One thing that happens. Nodes are numbers, the founder is 0. What cannot happen at its time (a command on a node that is
/// down) does not, so that a run stays meaningful when others are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// An operator starts an agent.
    Spawn {
        /// Where.
        node: usize,
        /// Which.
        agent: AgentKind,
    },
    /// An operator stops an agent.
    Stop {
        /// Where.
        node: usize,
        /// Which.
        agent: AgentKind,
    },
    /// An operator starts the guest on another node, by a call to the kernel there.
    SpawnOn {
        /// From where.
        node: usize,
        /// On which node.
        on: usize,
    },
    /// An operator declares the agent that outlives its node.
    Roam {
        /// Where.
        node: usize,
    },
    /// A node hands over what outlives it, and goes down in order.
    Leave {
        /// Which.
        node: usize,
    },
    /// An operator lets the echo agent of a node answer for the service.
    Serve {
        /// Where.
        node: usize,
    },
    /// An operator calls the service, wherever it is served; the call may be executed twice.
    CallService {
        /// From where.
        node: usize,
        /// How long it may take, in microseconds.
        deadline_us: u64,
    },
    /// An operator sends a message that wants no answer.
    Send {
        /// From where.
        node: usize,
        /// To which node.
        to: usize,
        /// To which agent there.
        agent: AgentKind,
        /// Whether the receipt waits for both disks.
        #[serde(default)]
        durable: bool,
    },
    /// An operator calls an agent.
    Call {
        /// From where.
        node: usize,
        /// On which node; wherever the directory says, without one.
        to: Option<usize>,
        /// Which agent.
        agent: AgentKind,
        /// Whether the answer waits for both disks.
        #[serde(default)]
        durable: bool,
    },
    /// An operator publishes.
    Publish {
        /// Where.
        node: usize,
        /// Number of the topic.
        topic: u64,
    },
    /// An operator subscribes, for as long as the node runs.
    Subscribe {
        /// Where.
        node: usize,
        /// Number of the topic.
        topic: u64,
    },
    /// An operator makes an invite that nobody uses.
    Invite {
        /// Where.
        node: usize,
    },
    /// A new node asks the founder for admission, with a token, until it has it.
    Join {
        /// Which.
        node: usize,
    },
    /// A node goes down in order.
    Shutdown {
        /// Which.
        node: usize,
    },
    /// A node loses power.
    Crash {
        /// Which.
        node: usize,
        /// What becomes of writes that were not synced.
        #[serde(default)]
        unsynced: Unsynced,
        /// Whether it waits for the middle of the next write.
        #[serde(default)]
        writing: bool,
    },
    /// A node's disk fails in the middle of the next write, and the node is ended.
    DiskError {
        /// Which.
        node: usize,
    },
    /// A node's disk has no room any more: every write fails, the node is ended, and does not start.
    DiskFull {
        /// Whose.
        node: usize,
    },
    /// There is room on it again.
    DiskRoom {
        /// Whose.
        node: usize,
    },
    /// Every write of a node takes longer than usual.
    SlowDisk {
        /// Whose.
        node: usize,
        /// By this much, in microseconds; zero when it is as usual again.
        by_us: u64,
    },
    /// A process stops where it is, with its agents: what arrives waits, and what it waited for comes late.
    Freeze {
        /// Of which node.
        node: usize,
    },
    /// A process that was stopped goes on.
    Thaw {
        /// Of which node.
        node: usize,
    },
    /// A node loses power and starts again, several times.
    Churn {
        /// Which.
        node: usize,
        /// How often.
        times: u64,
        /// How long it is down, in microseconds.
        down_us: u64,
        /// How long it is up until the next time, in microseconds.
        up_us: u64,
    },
    /// A member that may lie does so from now on.
    Lie {
        /// Which.
        node: usize,
        /// In which way.
        how: Lie,
    },
    /// A member that lies stops.
    Truth {
        /// Which.
        node: usize,
    },
    /// New nodes ask the founder for admission, all at once.
    JoinStorm {
        /// Which.
        joiners: Vec<usize>,
    },
    /// Somebody takes a copy of a node's home.
    CopyHome {
        /// Whose.
        node: usize,
    },
    /// A node is killed, and its home is put back from an old copy. It stays down.
    RestoreHome {
        /// Whose.
        node: usize,
        /// Which of its copies, the first one is 0; nothing happens when there is none.
        copy: usize,
        /// What else knows how far it had come.
        memory: Remembers,
    },
    /// A node that is down starts.
    Restart {
        /// Which.
        node: usize,
    },
    /// These nodes are separated from all others.
    Partition {
        /// The one side.
        side: Vec<usize>,
    },
    /// Frames from one node to another stop; those back do not.
    CutOneWay {
        /// From which.
        from: usize,
        /// To which.
        to: usize,
    },
    /// Frames get lost.
    Loss {
        /// How many in a thousand.
        per_mille: u64,
    },
    /// Frames arrive twice.
    Duplicate {
        /// How many in a thousand.
        per_mille: u64,
    },
    /// Every frame is held up.
    DelaySpike {
        /// By as much as this, in microseconds.
        up_to_us: u64,
    },
    /// These nodes are separated from all others and joined to them again, by turns.
    Flap {
        /// The one side.
        side: Vec<usize>,
        /// How long they are apart, in microseconds.
        apart_us: u64,
        /// How long they are together, in microseconds.
        together_us: u64,
    },
    /// Frames are held back so that later ones overtake them.
    Reorder {
        /// How many in a thousand.
        per_mille: u64,
        /// By how much, in microseconds.
        by_us: u64,
    },
    /// Commits, chunks of bodies and gossip lose a bit on the way, above the transport that would notice.
    Corrupt {
        /// How many in a thousand.
        per_mille: u64,
    },
    /// The links of a node become slow: frames queue.
    SlowLink {
        /// Whose.
        node: usize,
        /// How many bytes each carries in a second, in each direction.
        bytes_per_s: u64,
    },
    /// The network is whole and behaves as usual.
    Heal,
    /// A wall clock jumps.
    ClockStep {
        /// Whose.
        node: usize,
        /// By how much, in microseconds; back when negative.
        by_us: i64,
    },
    /// A wall clock stops.
    ClockFreeze {
        /// Whose.
        node: usize,
    },
    /// A stopped wall clock shows the time again.
    ClockThaw {
        /// Whose.
        node: usize,
    },
    /// A wall clock runs at another speed.
    ClockSkew {
        /// Whose.
        node: usize,
        /// Ahead by this much at once, in microseconds; behind when negative.
        #[serde(default)]
        offset_us: i64,
        /// Microseconds gained in each second.
        #[serde(default)]
        drift_ppm: i64,
    },
}

impl Transition {
    /// Whether an operator starts or stops an agent by it.
    pub(crate) const fn starts_or_stops(&self) -> bool {
        matches!(self, Self::Spawn { .. } | Self::Stop { .. } | Self::SpawnOn { .. } | Self::Roam { .. })
    }

    /// The node whose operator asks it for something.
    pub(crate) fn asks(&self) -> Option<usize> {
        match self {
            Self::Spawn { node, .. }
            | Self::Stop { node, .. }
            | Self::SpawnOn { node, .. }
            | Self::Roam { node }
            | Self::Leave { node }
            | Self::Serve { node }
            | Self::CallService { node, .. }
            | Self::Send { node, .. }
            | Self::Call { node, .. }
            | Self::Publish { node, .. }
            | Self::Subscribe { node, .. }
            | Self::Invite { node }
            | Self::Shutdown { node } => Some(*node),
            Self::Join { .. }
            | Self::JoinStorm { .. }
            | Self::Lie { .. }
            | Self::Truth { .. }
            | Self::Crash { .. }
            | Self::Churn { .. }
            | Self::DiskError { .. }
            | Self::DiskFull { .. }
            | Self::DiskRoom { .. }
            | Self::SlowDisk { .. }
            | Self::Freeze { .. }
            | Self::Thaw { .. }
            | Self::CopyHome { .. }
            | Self::RestoreHome { .. }
            | Self::Restart { .. }
            | Self::Partition { .. }
            | Self::Flap { .. }
            | Self::CutOneWay { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::DelaySpike { .. }
            | Self::Reorder { .. }
            | Self::Corrupt { .. }
            | Self::SlowLink { .. }
            | Self::Heal
            | Self::ClockStep { .. }
            | Self::ClockFreeze { .. }
            | Self::ClockThaw { .. }
            | Self::ClockSkew { .. } => None,
        }
    }
}

impl Transition {
    /// Whether it is a disaster, the end of one, or a node that comes or goes: what users of agents ask for is not.
    pub(crate) fn is_fault(&self) -> bool {
        self.asks().is_none() || matches!(self, Self::Leave { .. } | Self::Shutdown { .. })
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

/// What becomes of what a machine remembers outside a home that is put back from a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remembers {
    /// It is as it was: the home lies on another disk, and lacks what the machine knows of.
    Kept,
    /// It is gone, as on a new machine.
    Gone,
    /// The whole machine went back, and with it what it remembers.
    RolledBack,
}

/// A transition and when it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Microseconds after the nodes that begin together have joined.
    pub at_us: u64,
    /// What.
    pub transition: Transition,
}

impl Step {
    /// When it is over.
    pub(crate) const fn end_us(&self) -> u64 {
        match self.transition {
            Transition::Churn { times, down_us, up_us, .. } => {
                self.at_us.saturating_add(times.saturating_mul(down_us.saturating_add(up_us)))
            }
            _ => self.at_us,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>10} us  {}", self.at_us, self.transition)
    }
}
