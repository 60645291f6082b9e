//! Everything that can happen to the world from outside: what users do, and every disaster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::disk::Unsynced;

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
        unsynced: Unsynced,
        /// Whether it waits for the middle of the next write.
        writing: bool,
    },
    /// A node's disk fails in the middle of the next write, and the node is ended.
    DiskError {
        /// Which.
        node: usize,
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
        offset_us: i64,
        /// Microseconds gained in each second.
        drift_ppm: i64,
    },
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

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>10} us  {:?}", self.at_us, self.transition)
    }
}
