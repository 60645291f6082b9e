//! Several replications in one hand: their requests travel, their disks are maps, and time is a number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_protocol::{
    Anchor, ChainId, ChainState, CommitGroup, Digest, Event, Evidence, Fact, Head, HeadGossip, Hlc, MessageId, NodeId,
    PlacedFact, Recovered, RecoveredChain, SyncRequest, SyncResponse, Timestamp, encode,
};
use weft_replication::{FetchId, Input, Output, Replication, ReplicationConfig, RequestId};

use crate::writer::{Writer, cluster};

/// When every test begins: an hour that the chains' clocks agree with.
pub(crate) const START: Timestamp = Timestamp(1_767_225_600_000_000);
pub(crate) const SECOND_US: u64 = 1_000_000;

/// What travels beside each request and response: its length as four bytes, and what both sides say to agree on the protocol of
/// its substream (`/multistream/1.0.0` and `/weft/sync/1`, each with a length and an end of line).
const FRAME_BYTES: usize = 4 + (1 + 19) + (1 + 13);

/// A machine, its disk and what it said.
pub(crate) struct Host {
    pub(crate) node: NodeId,
    pub(crate) machine: Replication,
    pub(crate) disk: BTreeMap<ChainId, Vec<CommitGroup>>,
    pub(crate) learned: Vec<(ChainId, Vec<PlacedFact>, Hlc)>,
    pub(crate) reported: Vec<Evidence>,
    pub(crate) gossiped: Vec<HeadGossip>,
    /// Of which message so many vouch for its records.
    pub(crate) witnessed: Vec<(MessageId, Vec<NodeId>)>,
    /// Chains that members wait for a commit about.
    pub(crate) anchored: Vec<ChainId>,
    /// How often a chain was cut.
    pub(crate) cuts: usize,
    /// Stores that are on their way to the disk, by chain: at most one each.
    storing: BTreeMap<ChainId, ()>,
    next_request: u64,
    asked_by: BTreeMap<RequestId, (usize, FetchId)>,
}

/// What becomes of a response on its way: `None` loses it.
pub(crate) type Carry = Box<dyn FnMut(usize, &SyncRequest, SyncResponse) -> Option<SyncResponse>>;

/// A world of hosts that are connected as the test says.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) hosts: Vec<Host>,
    /// Every request that was sent: from, to, what.
    pub(crate) requests: Vec<(usize, usize, SyncRequest)>,
    /// Bytes of all requests and responses.
    pub(crate) bytes: usize,
    pub(crate) carry: Carry,
    connected: BTreeSet<(usize, usize)>,
    queue: VecDeque<(usize, Input)>,
    asked: BTreeMap<(usize, FetchId), SyncRequest>,
    /// The tree that a host had when it held these chains.
    trees: BTreeMap<Digest, Digest>,
}

impl World {
    /// One host for each writer; all know each other's keys. Each holds its own chain and those of `held`.
    pub(crate) fn new(writers: &[Writer], held: &[&[&Writer]]) -> Self {
        let configs = vec![ReplicationConfig::default(); writers.len()];
        Self::configured(writers, held, &configs)
    }

    pub(crate) fn configured(writers: &[Writer], held: &[&[&Writer]], configs: &[ReplicationConfig]) -> Self {
        let members: Vec<_> = writers.iter().map(Writer::public).collect();
        let hosts = writers.iter().zip(held).zip(configs).enumerate().map(|(index, ((writer, held), config))| {
            let stored: Vec<&Writer> =
                held.iter().copied().chain([writer]).filter(|held| !held.groups.is_empty()).collect();
            let chains = stored.iter().map(|held| RecoveredChain {
                state: held.state().clone(),
                facts: facts_of(&held.groups),
                anchors: anchors_of(&held.groups),
            });
            let recovered = Recovered { chains: chains.collect(), ..Recovered::default() };
            let members = members.clone();
            let seed = index as u64;
            Host {
                node: writer.chain.node,
                machine: Replication::new(config.clone(), writer.chain, cluster(), members, &recovered, seed, START),
                disk: stored.iter().map(|held| (held.chain, held.groups.clone())).collect(),
                learned: Vec::new(),
                reported: Vec::new(),
                gossiped: Vec::new(),
                witnessed: Vec::new(),
                anchored: Vec::new(),
                cuts: 0,
                storing: BTreeMap::new(),
                next_request: 0,
                asked_by: BTreeMap::new(),
            }
        });
        Self {
            now: START,
            hosts: hosts.collect(),
            requests: Vec::new(),
            bytes: 0,
            carry: Box::new(|_, _, response| Some(response)),
            connected: BTreeSet::new(),
            trees: BTreeMap::new(),
            queue: VecDeque::new(),
            asked: BTreeMap::new(),
        }
    }

    pub(crate) fn connect(&mut self, one: usize, other: usize) {
        self.connected.extend([(one, other), (other, one)]);
        let (one_node, other_node) = (self.hosts[one].node, self.hosts[other].node);
        self.queue.push_back((one, Input::Connected { node: other_node }));
        self.queue.push_back((other, Input::Connected { node: one_node }));
    }

    pub(crate) fn disconnect(&mut self, one: usize, other: usize) {
        self.connected.retain(|pair| ![(one, other), (other, one)].contains(pair));
        let (one_node, other_node) = (self.hosts[one].node, self.hosts[other].node);
        self.queue.push_back((one, Input::Disconnected { node: other_node }));
        self.queue.push_back((other, Input::Disconnected { node: one_node }));
    }

    /// A host's own chain grows on its disk by what `writer` wrote since.
    pub(crate) fn grow(&mut self, host: usize, writer: &Writer) {
        let disk = self.hosts[host].disk.entry(writer.chain).or_default();
        let mut state = ChainState::new(writer.chain, cluster(), writer.public());
        for (number, group) in writer.groups.iter().enumerate() {
            state.extend(group).unwrap();
            if number >= disk.len() {
                disk.push(group.clone());
                let commit = Box::new(group.signed.decode().unwrap());
                self.queue.push_back((host, Input::OwnChainGrew { group: Box::new(group.clone()), commit }));
            }
        }
    }

    /// Gives one input to a host, and then carries out everything that follows, at the same time.
    pub(crate) fn give(&mut self, host: usize, input: Input) {
        self.queue.push_back((host, input));
        self.run();
    }

    /// Gives one input and returns what the host wants done, which is not done.
    pub(crate) fn ask(&mut self, host: usize, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.hosts[host].machine.handle(input, self.now, &mut outputs);
        // Who counts is looked at in `standing`; here no clock signs ticks, and nobody votes.
        let answer = |output: &Output| match output {
            Output::Tick { .. } => Some(Input::OwnTicked { tick: None }),
            Output::Vote(_) => Some(Input::VoteRefused),
            _ => None,
        };
        self.queue.extend(outputs.iter().filter_map(answer).map(|input| (host, input)));
        outputs.retain(|output| {
            let standing = matches!(output, Output::Withhold { .. } | Output::EpochBegan { .. });
            !standing && answer(output).is_none()
        });
        outputs
    }

    /// A host compares and is told these heads.
    pub(crate) fn claim(&mut self, host: usize, from: NodeId, heads: Vec<Head>) {
        let server = self.index(from);
        self.carry = Box::new(move |by, request, response| match request {
            SyncRequest::Hello { .. } if by == server => Some(SyncResponse::Heads(heads.clone())),
            _ => Some(response),
        });
        let vector_root = Digest::from_bytes([0; 32]);
        let request = RequestId(u64::MAX);
        let outputs =
            self.ask(host, Input::RequestArrived { request, from, content: SyncRequest::Hello { vector_root } });
        for output in outputs.into_iter().filter(|output| !matches!(output, Output::Respond { .. })) {
            self.carry_out(host, output);
        }
        self.run();
    }

    /// Carries out everything that follows from what is queued, at the same time.
    pub(crate) fn run(&mut self) {
        let mut steps = 0;
        while let Some((host, input)) = self.queue.pop_front() {
            steps += 1;
            assert!(steps < 200_000, "the machines do not come to rest");
            if let Input::Stored { chain } = &input {
                self.hosts[host].storing.remove(chain);
            }
            let outputs = self.ask(host, input);
            for output in outputs {
                self.carry_out(host, output);
            }
            self.check(host);
        }
    }

    /// Lets time pass, waking each host when it wants.
    pub(crate) fn pass(&mut self, duration_us: u64) {
        let end = self.now.after_us(duration_us);
        self.run();
        loop {
            let wakeups = self.hosts.iter().enumerate();
            let next = wakeups.filter_map(|(host, it)| Some((it.machine.next_wakeup()?, host))).min();
            let Some((at, host)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = at.max(self.now);
            self.give(host, Input::Woken);
            let again = self.hosts[host].machine.next_wakeup();
            assert!(
                again.is_none_or(|again| again > self.now),
                "a host that was woken wants to be woken at once again"
            );
        }
        self.now = end;
    }

    pub(crate) fn index(&self, node: NodeId) -> usize {
        self.hosts.iter().position(|host| host.node == node).unwrap()
    }

    fn carry_out(&mut self, host: usize, output: Output) {
        match output {
            Output::Request { fetch, to, content } => self.send(host, fetch, to, content),
            Output::Respond { request, content } => self.respond(host, request, *content),
            Output::ReadRange { request, chain, from_commit, bytes_max } => {
                let groups = read(&self.hosts[host].disk, &chain, from_commit, bytes_max);
                self.queue.push_back((host, Input::RangeRead { request, chain, groups }));
            }
            Output::ReadCommit { chain, commit_no, other } => {
                let held = self.hosts[host].disk.get(&chain).and_then(|groups| groups.get(commit_no as usize));
                let held = held.map(|group| Box::new(group.signed.clone()));
                self.queue.push_back((host, Input::CommitRead { chain, held, other }));
            }
            Output::Verify(job) => {
                assert!(!job.is_empty());
                self.queue.push_back((host, Input::Verified(Box::new(job.run()))));
            }
            Output::Store { chain, groups } => {
                let it = &mut self.hosts[host];
                assert!(it.storing.insert(chain, ()).is_none(), "two stores of one chain are out");
                it.disk.entry(chain).or_default().extend(groups);
                self.queue.push_back((host, Input::Stored { chain }));
            }
            Output::ReadHashes { chain, commit_nos } => {
                let groups = &self.hosts[host].disk[&chain];
                let hash = |number: u64| Some((number, groups.get(number as usize)?.signed.hash()));
                let hashes = commit_nos.into_iter().filter_map(hash).collect();
                self.queue.push_back((host, Input::HashesRead { chain, hashes }));
            }
            Output::Cut { chain, from_commit } => {
                let it = &mut self.hosts[host];
                it.cuts += 1;
                assert!(!it.storing.contains_key(&chain), "a chain is cut while a store of it is out");
                it.disk.entry(chain).or_default().truncate(from_commit as usize);
                let (state, facts) = (verified(&chain, &it.disk[&chain]).map(Box::new), facts_of(&it.disk[&chain]));
                it.disk.retain(|_, groups| !groups.is_empty());
                self.queue.push_back((host, Input::ChainCut { chain, state, facts }));
            }
            Output::Gossip(gossip) => {
                // Only proof of forks travels; commits are for the tests to pass on.
                if matches!(*gossip, HeadGossip::Fork(_)) {
                    let from = self.hosts[host].node;
                    let others = self.connected.iter().filter(|(one, _)| *one == host);
                    let heard = others.map(|(_, to)| (*to, Input::Gossiped { from, gossip: gossip.clone() }));
                    self.queue.extend(heard);
                }
                self.hosts[host].gossiped.push(*gossip);
            }
            Output::Witnessed { message, vouching } => self.hosts[host].witnessed.push((message, vouching)),
            Output::Anchor { chain } => self.hosts[host].anchored.push(chain),
            Output::Learn { chain, facts, hlc } => self.hosts[host].learned.push((chain, facts, hlc)),
            Output::ReportFork(evidence) => self.hosts[host].reported.push(*evidence),
            Output::Tick { .. } | Output::Vote(_) | Output::Withhold { .. } | Output::EpochBegan { .. } => {}
            Output::PassPublication { .. } | Output::TopicGathered { .. } => panic!("nobody follows a topic"),
        }
    }

    fn send(&mut self, from: usize, fetch: FetchId, to: NodeId, content: SyncRequest) {
        let to = self.index(to);
        self.bytes += FRAME_BYTES + encode(&content).len();
        self.requests.push((from, to, content.clone()));
        self.asked.insert((from, fetch), content.clone());
        let server = &mut self.hosts[to];
        let request = RequestId(server.next_request);
        server.next_request += 1;
        server.asked_by.insert(request, (from, fetch));
        let from = self.hosts[from].node;
        self.queue.push_back((to, Input::RequestArrived { request, from, content }));
    }

    fn respond(&mut self, server: usize, request: RequestId, content: SyncResponse) {
        let (to, fetch) = self.hosts[server].asked_by.remove(&request).expect("each request is answered once");
        self.bytes += FRAME_BYTES + encode(&content).len();
        let asked = self.asked.remove(&(to, fetch)).unwrap();
        let input = match (self.carry)(server, &asked, content) {
            Some(content) => Input::ResponseArrived { fetch, content: Box::new(content) },
            None => Input::FetchFailed { fetch },
        };
        self.queue.push_back((to, input));
    }

    /// What must be true after every step: a head that is told of is on disk.
    fn check(&mut self, host: usize) {
        let it = &self.hosts[host];
        // Of many chains it would take long, and nothing else.
        if it.disk.len() <= 16 {
            let tree = it.machine.tree().root();
            let known = *self.trees.entry(it.machine.vector_root()).or_insert(tree);
            assert_eq!(known, tree, "equal vector roots over different trees");
        }
        for head in it.machine.heads() {
            let held = it.disk.get(&head.chain).and_then(|groups| groups.get(head.commit_no as usize));
            let hash = held.map(|group| group.signed.hash());
            assert_eq!(hash, Some(head.commit_hash), "a head is told of that is not on disk");
        }
        for chain in it.storing.keys() {
            let told = it.machine.heads().into_iter().find(|head| head.chain == *chain);
            let told = told.map_or(0, |head| head.commit_no as usize + 1);
            assert!(told < it.disk[chain].len(), "a head is told of while its store is out");
        }
    }

    /// Every chain on every disk passes every check, from its first byte on.
    pub(crate) fn check_disks(&self, writers: &[&Writer]) {
        for host in &self.hosts {
            for (chain, groups) in &host.disk {
                let writer = writers.iter().find(|writer| writer.chain == *chain).unwrap();
                let mut state = ChainState::new(*chain, cluster(), writer.public());
                for group in groups {
                    state.extend(group).unwrap();
                }
            }
        }
    }

    /// All hosts hold the same, byte by byte.
    pub(crate) fn assert_equal(&self) {
        for host in &self.hosts[1..] {
            assert_eq!(host.machine.vector_root(), self.hosts[0].machine.vector_root());
            assert!(host.disk == self.hosts[0].disk, "equal roots over different bytes");
        }
    }
}

fn facts_of(groups: &[CommitGroup]) -> Vec<PlacedFact> {
    let events = groups.iter().flat_map(|group| &group.events).map(|bytes| Event::decode(bytes).unwrap());
    // What cannot be read is kept and not believed, as by the store.
    let facts = events.filter_map(|event| {
        let fact = Fact::decode(&event.kind, &event.payload).ok()?;
        Some(PlacedFact { seq: event.seq, hlc: event.hlc, fact })
    });
    facts.collect()
}

fn anchors_of(groups: &[CommitGroup]) -> Vec<Anchor> {
    let anchors = groups.iter().flat_map(|group| group.signed.decode().unwrap().anchors);
    anchors.map(|anchor| (anchor.chain, anchor)).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Where a chain of these groups stands; none when there are none.
fn verified(chain: &ChainId, groups: &[CommitGroup]) -> Option<ChainState> {
    let genesis = Event::decode(groups.first()?.events.first()?).unwrap();
    let Ok(Fact::Genesis(genesis)) = Fact::decode(&genesis.kind, &genesis.payload) else { panic!("no genesis") };
    let mut state = ChainState::new(*chain, cluster(), genesis.keys);
    groups.iter().for_each(|group| drop(state.extend(group).unwrap()));
    Some(state)
}

/// Whole groups from there on, within these bytes, but at least one.
pub(crate) fn read(
    disk: &BTreeMap<ChainId, Vec<CommitGroup>>,
    chain: &ChainId,
    from_commit: u64,
    bytes_max: u64,
) -> Vec<CommitGroup> {
    let mut left = bytes_max as usize;
    let mut groups = Vec::new();
    for group in disk.get(chain).into_iter().flatten().skip(from_commit as usize) {
        if !groups.is_empty() && group.size() > left {
            break;
        }
        left = left.saturating_sub(group.size());
        groups.push(group.clone());
    }
    groups
}
