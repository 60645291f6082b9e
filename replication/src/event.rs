//! What can happen to replication, and all that it can ask of the world.

use weft_protocol::{
    ChainId, CommitGroup, Evidence, Head, HeadGossip, Hlc, NodeId, PlacedFact, PublicKeys, SignedCommit, SyncRequest,
    SyncResponse,
};

use crate::verify::{Job, Verdict};

/// A request of another member that waits for our response; the world numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request of ours that waits for another member's response; replication numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A connection to a member is open.
    Connected {
        /// Which member.
        node: NodeId,
    },
    /// No connection to that member is open any more.
    Disconnected {
        /// Which member.
        node: NodeId,
    },
    /// A node is a member, with these keys: its chains may be fetched.
    MemberLearned {
        /// Its keys.
        keys: PublicKeys,
    },
    /// A node is cut off: nothing more of it is accepted.
    MemberQuarantined {
        /// Which.
        node: NodeId,
    },
    /// Our own chain grew on disk.
    OwnChainGrew {
        /// What was added.
        group: Box<CommitGroup>,
        /// Where it stands now.
        head: Head,
        /// Its last stamp.
        hlc: Hlc,
    },
    /// A commit was announced on the topic `heads`.
    Gossiped {
        /// Who passed it on.
        from: NodeId,
        /// What.
        gossip: Box<HeadGossip>,
    },
    /// A member asks.
    RequestArrived {
        /// To respond to.
        request: RequestId,
        /// Who.
        from: NodeId,
        /// A `Hello` or a `Range`.
        content: SyncRequest,
    },
    /// A member responded.
    ResponseArrived {
        /// To which request.
        fetch: FetchId,
        /// With what.
        content: Box<SyncResponse>,
    },
    /// A member did not respond.
    FetchFailed {
        /// To which request.
        fetch: FetchId,
    },
    /// The groups of a `ReadRange` were read.
    RangeRead {
        /// For which request.
        request: RequestId,
        /// Which chain.
        chain: ChainId,
        /// Whole groups, in order.
        groups: Vec<CommitGroup>,
    },
    /// A commit of a `ReadCommit` was read.
    CommitRead {
        /// Which chain.
        chain: ChainId,
        /// The commit we hold under that number.
        held: Option<Box<SignedCommit>>,
        /// The commit it is to be compared with.
        other: Box<SignedCommit>,
    },
    /// A verification is done.
    Verified(Box<Verdict>),
    /// The groups of a `Store` are on disk.
    Stored {
        /// Which chain.
        chain: ChainId,
    },
    /// The time of `next_wakeup` has come.
    Woken,
}

/// What the world must do, in this order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Ask that member; give `ResponseArrived` or `FetchFailed`.
    Request {
        /// Under which number.
        fetch: FetchId,
        /// Whom.
        to: NodeId,
        /// What.
        content: SyncRequest,
    },
    /// Respond.
    Respond {
        /// To which request.
        request: RequestId,
        /// With what.
        content: Box<SyncResponse>,
    },
    /// Read stored groups; give `RangeRead`.
    ReadRange {
        /// For which request.
        request: RequestId,
        /// Which chain.
        chain: ChainId,
        /// First commit.
        from_commit: u64,
        /// Most bytes, but at least one group.
        bytes_max: u64,
    },
    /// Read one stored commit header, to compare it with another; give `CommitRead`.
    ReadCommit {
        /// Which chain.
        chain: ChainId,
        /// Which commit.
        commit_no: u64,
        /// Given back with the answer.
        other: Box<SignedCommit>,
    },
    /// Run this outside the machine; give `Verified`.
    Verify(Box<Job>),
    /// Append these verified groups, sync, then give `Stored`. At most one per chain is out at a time.
    Store {
        /// Which chain.
        chain: ChainId,
        /// What.
        groups: Vec<CommitGroup>,
    },
    /// Announce on the topic `heads`.
    Gossip(Box<HeadGossip>),
    /// Facts of another chain are verified and on disk.
    Learn {
        /// Which chain.
        chain: ChainId,
        /// Its new facts but messages, batches and opaque ones.
        facts: Vec<PlacedFact>,
        /// Its last stamp.
        hlc: Hlc,
    },
    /// Two histories of one chain were proven: remember them, record them, cut the node off.
    ReportFork(Box<Evidence>),
}
