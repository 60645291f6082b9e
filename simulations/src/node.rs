//! One simulated node: what survives its death (keys, clock, disk, identity), and what does not (everything that runs).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_discovery::AdmissionView;
use weft_kernel::{Builtin, Delivery};
use weft_peer::{GossipTopic, InboundId, OutboundId, Peer, PeerIdentity, Said};
use weft_protocol::{
    AgentName, Batch, ChainId, Hlc, MessageId, NodeId, NodeName, ProcessId, ServiceName, Signer as _, Timestamp,
};
use weft_storage::Store;

use crate::clock::{Reading, WallClock};
use crate::disk::{Disk, Unsynced};
use crate::invariants::Actor;
use crate::keys::SeededKeys;

/// What strikes a node in the middle of its next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Armed {
    /// Its power.
    Power(Unsynced),
    /// Its disk.
    Disk,
}

/// See the file's description.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its number.
    pub(crate) index: usize,
    /// The name it goes by.
    pub(crate) name: NodeName,
    /// Its keys.
    pub(crate) keys: Arc<SeededKeys>,
    /// Its wall clock.
    pub(crate) clock: WallClock,
    /// Its disk.
    pub(crate) disk: Disk,
    /// What it knows of itself once it is a member.
    pub(crate) identity: Option<PeerIdentity>,
    /// Counts its starts.
    pub(crate) run: u64,
    /// What strikes at its next write.
    pub(crate) armed: Option<Armed>,
    /// Its process, while there is one.
    pub(crate) running: Option<Running>,
    /// What is remembered outside its home of how far its chain had come.
    pub(crate) memo: Memo,
    /// Copies of its home, the first one first.
    pub(crate) copies: Vec<HomeCopy>,
    /// How much longer than usual its writes take, in microseconds.
    pub(crate) slow_disk_us: u64,
    /// While its process is stopped: what waits for it.
    pub(crate) held: Option<Vec<crate::world::Event>>,
    /// Operations its disk took for the last whole write: where the middle of the next one is.
    pub(crate) write_operations: u64,
}

/// A copy of a home, and what the machine remembered when it was taken.
#[derive(Debug)]
pub(crate) struct HomeCopy {
    /// Everything that was on the disk.
    pub(crate) disk: Disk,
    /// Which chains it had.
    pub(crate) identity: PeerIdentity,
    /// For when the whole machine goes back.
    pub(crate) memo: Memo,
}

/// What a node's machine remembers outside the home, as the shipped node does: the disk holds at least what it was a second ago.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memo {
    /// What was said last, and on which disk; none of what is doubtful.
    pub(crate) said: Option<(Said, Option<u64>)>,
    /// The same as a loss of power leaves it.
    synced: Option<(Said, Option<u64>)>,
    /// Since when it is more than that.
    dirty_since_us: Option<u64>,
    /// Which disk the home is on: a copy is on another one.
    pub(crate) disk: u64,
    /// Stamps up to this one may have left the process.
    pub(crate) clock: Hlc,
}

impl Memo {
    /// A chain was chosen of which nothing is written.
    pub(crate) fn begin(&mut self, chain: ChainId) {
        self.said = Some((Said { clock: self.clock, ..Said::nothing(chain) }, Some(self.disk)));
        self.settle();
    }

    fn settle(&mut self) {
        self.synced.clone_from(&self.said);
        self.dirty_since_us = None;
    }

    /// So much is on disk.
    pub(crate) fn note(&mut self, said: Said, doubtful: bool, now_us: u64) {
        self.pass(now_us);
        self.dirty_since_us.get_or_insert(now_us);
        self.said = Some((said, (!doubtful).then_some(self.disk)));
    }

    fn pass(&mut self, now_us: u64) {
        if self.dirty_since_us.is_some_and(|since_us| now_us >= since_us + SYNC_AFTER_US) {
            self.settle();
        }
    }

    /// The home is on another disk from now on.
    pub(crate) fn move_home(&mut self) {
        self.disk += 1;
    }

    /// Nothing is remembered any more.
    pub(crate) fn forget(&mut self) {
        *self = Self { disk: self.disk, ..Self::default() };
    }

    /// The power went, and what was not synced is gone.
    pub(crate) fn lose(&mut self, now_us: u64) {
        self.pass(now_us);
        self.said.clone_from(&self.synced);
        self.clock = self.said.as_ref().map_or(Hlc(0), |(said, _)| said.clock);
        self.dirty_since_us = None;
    }
}

/// How long the shipped node lets what it remembers wait for its sync, in microseconds.
const SYNC_AFTER_US: u64 = 1_000_000;

/// What ends with the process.
#[derive(Debug)]
pub(crate) struct Running {
    /// The real peer.
    pub(crate) peer: Peer,
    /// The real store.
    pub(crate) store: Store,
    /// What it was told of its wall clock.
    pub(crate) reading: Reading,
    /// By what the transport decides.
    pub(crate) view: Arc<AdmissionView>,
    /// Open connections by node.
    pub(crate) links: BTreeMap<usize, Link>,
    /// Running agents.
    pub(crate) agents: BTreeMap<ProcessId, Agent>,
    /// What members that ask are told that it serves.
    pub(crate) provided: Vec<ServiceName>,
    /// Requests of others that wait for our response.
    pub(crate) inbound: BTreeMap<InboundId, Inbound>,
    /// Our requests that wait for a response, and to whom they went.
    pub(crate) outbound: BTreeMap<OutboundId, Outbound>,
    /// Topics of agents that are followed.
    pub(crate) follows: BTreeSet<GossipTopic>,
    /// Gossip that was seen: author and number.
    pub(crate) seen: BTreeSet<(usize, u64)>,
    /// What is being written.
    pub(crate) writing: Option<Box<Batch>>,
    /// The wakeup that is waited for, and the number of the wait.
    pub(crate) wakeup: Option<(Option<Timestamp>, u64)>,
    /// Whether a write failed.
    pub(crate) damaged: bool,
    /// When it began, in virtual microseconds.
    pub(crate) begun_us: u64,
}

/// One open connection, as one side sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Both sides name it by the same number.
    pub(crate) connection: u64,
    /// In which run the other side is.
    pub(crate) run: u64,
    /// When something last came back over it, in virtual microseconds.
    pub(crate) heard_us: u64,
}

/// Where a response goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inbound {
    /// Who asked.
    pub(crate) from: usize,
    /// Over which connection.
    pub(crate) connection: u64,
    /// Under which number.
    pub(crate) request: OutboundId,
}

/// One of our requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outbound {
    /// Whom we asked.
    pub(crate) to: usize,
    /// What kind of response fits.
    pub(crate) protocol: Protocol,
}

/// The protocols of requests and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `/weft/a2a/1`.
    A2a,
    /// `/weft/sync/1`.
    Sync,
    /// `/weft/blob/1`.
    Blob,
}

/// One running agent and what it works on.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Under which it runs.
    pub(crate) name: AgentName,
    /// The shipped behaviour; none for the slow agent.
    pub(crate) builtin: Option<Builtin>,
    /// Messages that it has not answered.
    pub(crate) working: BTreeMap<MessageId, Delivery>,
}

impl Running {
    /// A process that has just begun.
    pub(crate) fn new(peer: Peer, store: Store, reading: Reading, begun_us: u64) -> Self {
        let view = peer.discovery().view();
        Self {
            peer,
            store,
            reading,
            view,
            links: BTreeMap::new(),
            agents: BTreeMap::new(),
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            follows: BTreeSet::new(),
            provided: Vec::new(),
            seen: BTreeSet::new(),
            writing: None,
            wakeup: None,
            damaged: false,
            begun_us,
        }
    }
}

impl Node {
    /// Its key.
    pub(crate) fn id(&self) -> NodeId {
        self.keys.public_keys().node()
    }

    /// It, in its present run.
    pub(crate) fn actor(&self) -> Actor {
        Actor { node: self.index, run: self.run, id: self.id() }
    }

    /// What its wall clock shows.
    pub(crate) fn wall(&self, virtual_us: u64) -> Timestamp {
        self.clock.read(virtual_us)
    }

    /// The time as its process takes it; none when it does not run.
    pub(crate) fn now(&mut self, virtual_us: u64) -> Option<Timestamp> {
        let wall = self.clock.read(virtual_us);
        self.running.as_mut().map(|running| running.reading.now(wall, virtual_us))
    }
}

/// The one address of a node, and the node behind an address.
pub(crate) fn address_of(index: usize) -> String {
    format!("/ip4/10.0.0.{}/udp/4810/quic-v1", index + 1)
}

/// The node behind an address of [`address_of`].
pub(crate) fn node_at(address: &str) -> Option<usize> {
    let host = address.strip_prefix("/ip4/10.0.0.")?.split('/').next()?;
    host.parse::<usize>().ok()?.checked_sub(1)
}
