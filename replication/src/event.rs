//! What can happen to replication, and all that it can ask of the world.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::{
    ChainId, ChainState, Commit, CommitGroup, CommitRef, Digest, Evidence, Fact, HeadGossip, Hlc, MemberChangeWanted,
    MessageId, NodeId, PlacedFact, PublicKeys, Publication, SignedCommit, SignedTick, Statement, SyncRequest,
    SyncResponse, TopicPattern,
};

use crate::config::ReplicationConfig;
use crate::topic_log::{GatherId, TopicWant};
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
    /// An admin takes a node back that was cut off: chains that it began since are accepted again.
    MemberPardoned {
        /// Which.
        node: NodeId,
    },
    /// Our own chain grew on disk.
    OwnChainGrew {
        /// What was added.
        group: Box<CommitGroup>,
        /// Its header.
        commit: Box<Commit>,
    },
    /// This node goes down: what others were not told of yet they hear now.
    Halting,
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
        /// The commit or tick it is to be compared with.
        other: Box<Statement>,
    },
    /// A verification is done.
    Verified(Box<Verdict>),
    /// The groups of a `Store` are on disk.
    Stored {
        /// Which chain.
        chain: ChainId,
    },
    /// What a `ReadHashes` asked for was read.
    HashesRead {
        /// Which chain.
        chain: ChainId,
        /// Number and hash of those commits that are held.
        hashes: Vec<(u64, Digest)>,
    },
    /// What is stored of a chain is not what was written, from this commit on: it is not served until it is mended.
    ChainDamaged {
        /// Which.
        chain: ChainId,
        /// The first commit that is not good.
        from_commit: u64,
    },
    /// What was damaged in a chain is as it was written again.
    ChainMended {
        /// Which.
        chain: ChainId,
    },
    /// What a `Cut` asked for is done.
    ChainCut {
        /// Which chain.
        chain: ChainId,
        /// What is left of it, verified from its first event; none when that is nothing.
        state: Option<Box<ChainState>>,
        /// Its facts but messages, batches and opaque ones, in order.
        facts: Vec<PlacedFact>,
    },
    /// The set of topics with subscribers here is now this.
    TopicsFollowed {
        /// All patterns.
        patterns: Vec<TopicPattern>,
        /// Our stamp of now: what is stamped later is wanted of those that are new, whoever publishes it.
        since: Hlc,
    },
    /// A subscription to a followed pattern waits until members have said how far publishers are.
    TopicGatherAsked {
        /// Under which number.
        gather: GatherId,
        /// Which topics.
        pattern: TopicPattern,
        /// What it wants of the past.
        want: TopicWant,
    },
    /// A publication came by gossip; the transport proved that its author is its publisher.
    PublicationHeard {
        /// What.
        publication: Box<Publication>,
    },
    /// Other times and bounds count from now on.
    Configured {
        /// All of them.
        config: Box<ReplicationConfig>,
    },
    /// It is not known yet whether our own chain continues what members hold: nobody is told of it. Of these earlier chains of
    /// ours, which contradict what members hold, nobody ever is.
    OwnChainHidden {
        /// Which.
        disowned: Vec<ChainId>,
    },
    /// Others may hear of our own chain from now on.
    OwnChainShown,
    /// These nodes are admins now.
    AdminsKnown {
        /// All of them.
        admins: BTreeSet<NodeId>,
    },
    /// An operator of this node wants a change of who counts, and that is on our chain.
    ChangeWanted(MemberChangeWanted),
    /// What a `Vote` asked for may not go onto our chain now.
    VoteRefused,
    /// The node's clock completed a `Tick`; none when it cannot now.
    OwnTicked {
        /// Signed.
        tick: Option<Box<SignedTick>>,
    },
    /// Members are to vouch for these records; `Witnessed` says how many do, whenever there are more.
    WitnessesSought {
        /// Of which message they are.
        message: MessageId,
        /// Chains, each as far as so many events.
        places: Vec<(ChainId, u64)>,
        /// Who does not count.
        except: [NodeId; 2],
        /// How many are wanted.
        members: u8,
    },
    /// No more of them are needed.
    NoWitnessesSought {
        /// For which message.
        message: MessageId,
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
    /// Read one stored commit header, to compare it with another or with a tick; give `CommitRead`.
    ReadCommit {
        /// Which chain.
        chain: ChainId,
        /// Which commit.
        commit_no: u64,
        /// Given back with the answer.
        other: Box<Statement>,
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
    /// Hand this publication on: in the order of its publisher's numbers, each once, unless it was fetched as history.
    PassPublication {
        /// What.
        publication: Box<Publication>,
        /// Whether it is history, from before it was followed here.
        fetched: bool,
    },
    /// What members have of a subscription's history was passed on, or they had time enough.
    TopicGathered {
        /// Which.
        gather: GatherId,
    },
    /// These members vouch for what was sought for this message, in commits that are on our disk.
    Witnessed {
        /// Which message.
        message: MessageId,
        /// Who, in the order of their ids.
        vouching: Vec<NodeId>,
    },
    /// A member waits for a commit of ours that vouches for this chain as far as it is on our disk.
    Anchor {
        /// Which.
        chain: ChainId,
    },
    /// Two histories of one chain were proven, or where they part is known better than before: remember the evidence, record
    /// it, cut the node off.
    ReportFork(Box<Evidence>),
    /// Read the hashes of stored commits; give `HashesRead`.
    ReadHashes {
        /// Which chain.
        chain: ChainId,
        /// Which commits.
        commit_nos: Vec<u64>,
    },
    /// Sign a tick with these words, whose stamp is that of the node's clock and whose horizon goes no further than that; then
    /// give `OwnTicked`.
    Tick {
        /// What is acknowledged.
        heads: Vec<CommitRef>,
        /// Up to where nothing of others is missing here.
        horizon: Hlc,
    },
    /// Append this to our chain, unless it vouches for more of some chain than the last `Withhold` allows: then give
    /// `VoteRefused`.
    Vote(Box<Fact>),
    /// Vouch for nothing of these chains beyond these commits; for all of any other.
    Withhold {
        /// The last commit of each.
        ends: BTreeMap<ChainId, u64>,
    },
    /// Other chains count for the order from now on.
    EpochBegan {
        /// All that do.
        counting: BTreeSet<ChainId>,
        /// Nodes that are members no longer.
        evicted: BTreeSet<NodeId>,
    },
    /// Take everything from this commit on out of the chain and keep it aside; then give `ChainCut`. Evidence that was reported
    /// before must be on disk by then.
    Cut {
        /// Which chain.
        chain: ChainId,
        /// The first commit that does not count.
        from_commit: u64,
    },
}
