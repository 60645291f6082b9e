//! The world: nodes, and one queue of events in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_kernel::Gates;
use weft_peer::{AskId, Input, Memory, OutboundId, Output, Peer, PeerConfig, PeerIdentity, Question, StartOver};
use weft_protocol::{
    Certificate, ChainId, ChainState, Charter, CommitGroup, Hlc, Incarnation, MessageId, NodeId, Principal, ProcessId,
    Recovered, Role, Signed, Signer as _, Token,
};
use weft_storage::Store;

use crate::clock::{Reading, WallClock};
use crate::dice::{Dice, Stream};
use crate::disk::{Disk, Unsynced};
use crate::elsewhere::GuestBook;
use crate::faults::{Fault, FaultCounts};
use crate::invariants::Judge;
use crate::joining::Joining;
use crate::keys::SeededKeys;
use crate::ledger::Ledger;
use crate::malice::Lies;
use crate::mesh::Frame;
use crate::mutation::Mutation;
use crate::network::Network;
use crate::node::{Memo, Node, Running, address_of};
use crate::partial::Farness;
use crate::reference::{Ask, Asked};
use crate::roaming::Roaming;
use crate::scenario::Scenario;
use crate::stability::Stability;
use crate::starts::read_disk;
use crate::trace::{self, Trace};
use crate::transition::{Step, Transition};

/// How long a node's loop sleeps at most, so that a wall clock that jumps forward is noticed.
const SLEEP_US_MAX: u64 = 1_000_000;
/// How long links to nodes that are no neighbours are kept in a partial mesh, in microseconds: less than the shipped minute, so that
/// runs are short.
const LINK_IDLE_US: u64 = 3_000_000;
/// What nodes say they are.
const BUILD: &str = "simulation";
/// How long an invite of the founder lives, in microseconds: longer than any run.
pub(crate) const INVITE_TTL_US: u64 = 24 * 3_600 * 1_000_000;
/// Times a node may be woken without virtual time moving on by a millisecond, before it counts as spinning.
const WAKEUPS_MAX: u64 = 10_000;

/// What will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A step of the plan.
    Happen(Transition),
    /// Something for a node's peer, if it still is in that run.
    Tell { node: usize, run: u64, input: Box<Input> },
    /// The wakeup a peer asked for.
    Wake { node: usize, run: u64, wait: u64 },
    /// A write is done, well or badly.
    Written { node: usize, run: u64 },
    /// A disk was idle for a moment, unless it was written to since.
    Settle { node: usize, run: u64, operations: u64 },
    /// An agent finished with a message.
    Answered { node: usize, run: u64, process: ProcessId, message: MessageId },
    /// A frame reaches its end.
    Arrive(Box<Frame>),
    /// A request waited long enough.
    Expire { node: usize, run: u64, request: OutboundId },
    /// A node tries to reach another.
    Dial { node: usize, run: u64, to: NodeId, addresses: Vec<String> },
    /// A node that nobody answered stops trying.
    GiveUp { node: usize, run: u64, to: NodeId },
    /// Both ends of a connection look whether the other is there.
    Ping { connection: u64, ends: [usize; 2] },
    /// A new node tries to be admitted.
    TryJoin { node: usize },
    /// A peer that has not begun is followed by another.
    StartOver { node: usize, run: u64, over: StartOver },
}

impl Event {
    /// The node whose process this is for, so that it waits while that is stopped.
    fn target(&self) -> Option<usize> {
        match self {
            Self::Tell { node, .. }
            | Self::Wake { node, .. }
            | Self::Written { node, .. }
            | Self::Settle { node, .. }
            | Self::Answered { node, .. }
            | Self::Expire { node, .. }
            | Self::Dial { node, .. }
            | Self::GiveUp { node, .. }
            | Self::StartOver { node, .. } => Some(*node),
            Self::Arrive(frame) => Some(frame.to()),
            Self::Happen(transition) => transition.asks(),
            Self::Ping { .. } | Self::TryJoin { .. } => None,
        }
    }
}

/// See the file's description.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) now_us: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) judge: Judge,
    pub(crate) faults: FaultCounts,
    pub(crate) trace: Trace,
    pub(crate) ledger: Ledger,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) stability: Stability,
    pub(crate) network_dice: Dice,
    pub(crate) disk_dice: Dice,
    pub(crate) agent_dice: Dice,
    pub(crate) peer_dice: Dice,
    pub(crate) check_dice: Dice,
    pub(crate) next_ask: u64,
    pub(crate) next_inbound: u64,
    pub(crate) next_connection: u64,
    pub(crate) next_gossip: u64,
    next_wait: u64,
    pub(crate) next_text: u64,
    /// The founder's invite, once it has made one.
    pub(crate) token: Option<Token>,
    /// Handshakes of joiners that wait for their inviter's disk.
    pub(crate) joining: BTreeMap<AskId, Joining>,
    /// Nodes that were told to join all at once and have not yet.
    pub(crate) storm: BTreeSet<usize>,
    /// Whether one of them did while others were on their way.
    pub(crate) storm_seen: bool,
    /// Who lies how.
    pub(crate) lies: Lies,
    /// Whether somebody registered the service.
    pub(crate) served: bool,
    /// Guests that were started and that nobody stopped, and denials of such starts.
    pub(crate) guests: GuestBook,
    /// Where the agent that outlives its node runs.
    pub(crate) roaming: Roaming,
    /// Who is far from whom, and gone.
    pub(crate) farness: Farness,
    /// Whether the steps of the plan have begun.
    pub(crate) begun: bool,
    /// Whether everything was made whole after them.
    mended: bool,
    /// Wakeups of each node, and the millisecond in which they were.
    wakeups: BTreeMap<usize, (u64, u64)>,
}

impl World {
    /// A world of this scenario in which nothing runs yet.
    pub(crate) fn new(scenario: Scenario, seed: u64, mutation: Option<Mutation>) -> Self {
        let mut clock_dice = Dice::new(seed, Stream::Clock);
        let nodes: Vec<Node> =
            (0..scenario.nodes).map(|index| new_node(&scenario, seed, index, &mut clock_dice)).collect();
        let judge = Judge::new(nodes.iter().map(Node::id));
        let mut faults = FaultCounts::default();
        faults.add(Fault::ClockOff, nodes.iter().filter(|node| node.clock.is_off()).count() as u64);
        Self {
            seed,
            now_us: 0,
            queue: BTreeMap::new(),
            next_event: 0,
            network: Network::new(scenario.network, seed).with_classes(&scenario.links, &scenario.groups),
            judge,
            faults,
            trace: Trace::new(&scenario.name, seed),
            ledger: Ledger::new(),
            mutation,
            stability: Stability::default(),
            network_dice: Dice::new(seed, Stream::Network),
            disk_dice: Dice::new(seed, Stream::Disk),
            agent_dice: Dice::new(seed, Stream::Agents),
            peer_dice: Dice::new(seed, Stream::Peers),
            check_dice: Dice::new(seed, Stream::Checks),
            next_ask: 0,
            next_inbound: 0,
            next_connection: 0,
            next_gossip: 0,
            next_wait: 0,
            next_text: 0,
            token: None,
            joining: BTreeMap::new(),
            storm: BTreeSet::new(),
            storm_seen: false,
            lies: Lies::default(),
            served: false,
            guests: GuestBook::default(),
            roaming: Roaming::default(),
            farness: Farness::default(),
            begun: false,
            mended: false,
            wakeups: BTreeMap::new(),
            nodes,
            scenario,
        }
    }

    // The queue.

    /// Lets something happen later; what was put first happens first.
    pub(crate) fn after(&mut self, delay_us: u64, event: Event) {
        self.queue.insert((self.now_us + delay_us, self.next_event), event);
        self.next_event += 1;
    }

    /// Gives a node's peer something later, if it still is in its present run then.
    pub(crate) fn tell_after(&mut self, delay_us: u64, node: usize, input: Input) {
        let run = self.nodes[node].run;
        self.after(delay_us, Event::Tell { node, run, input: Box::new(input) });
    }

    /// Puts the steps of a plan into the queue, counted from now.
    pub(crate) fn follow(&mut self, plan: &[Step]) {
        self.begun = true;
        self.ledger.begin(self.now_us);
        for step in plan {
            self.after(step.at_us, Event::Happen(step.transition.clone()));
        }
    }

    /// Lets happen all that is due until `until_us`, and stops early when a check fails.
    pub(crate) fn run_until(&mut self, until_us: u64) {
        while !self.is_over() {
            let Some(entry) = self.queue.first_entry() else { break };
            let (at_us, _) = *entry.key();
            if at_us > until_us {
                break;
            }
            let event = entry.remove();
            self.now_us = at_us;
            self.happen(event);
            self.look();
        }
        self.now_us = self.now_us.max(until_us);
    }

    /// Whether there is nothing left to show: a check failed, or there are two histories that nobody could prevent.
    pub(crate) fn is_over(&self) -> bool {
        self.judge.book.has_failed() || self.judge.forked
    }

    fn happen(&mut self, event: Event) {
        if let Some(held) = event.target().and_then(|node| self.nodes[node].held.as_mut()) {
            held.push(event);
            self.faults.count(Fault::Frozen);
            return;
        }
        match event {
            Event::Happen(transition) => self.transit(transition),
            Event::Tell { node, run, input } => self.if_in(node, run, |world| world.tell(node, *input)),
            Event::Wake { node, run, wait } => self.if_in(node, run, |world| world.wake(node, wait)),
            Event::Written { node, run } => self.if_in(node, run, |world| world.written(node)),
            Event::Settle { node, run, operations } => self.if_in(node, run, |world| world.settle(node, operations)),
            Event::Answered { node, run, process, message } => {
                self.if_in(node, run, |world| world.answered(node, process, message));
            }
            Event::Arrive(frame) => self.arrive(*frame),
            Event::Expire { node, run, request } => self.if_in(node, run, |world| world.expire(node, request)),
            Event::Dial { node, run, to, addresses } => {
                self.if_in(node, run, |world| world.dial(node, to, &addresses));
            }
            Event::GiveUp { node, run, to } => self.if_in(node, run, |world| world.give_up(node, to)),
            Event::Ping { connection, ends } => self.ping(connection, ends),
            Event::TryJoin { node } => self.try_join(node),
            Event::StartOver { node, run, over } => self.if_in(node, run, |world| world.start_over(node, over)),
        }
    }

    fn if_in(&mut self, node: usize, run: u64, act: impl FnOnce(&mut Self)) {
        if self.nodes[node].run == run && self.nodes[node].running.is_some() {
            act(self);
        }
    }

    // A node's peer.

    /// Gives a running node's peer one input, and carries out what it wants.
    pub(crate) fn tell(&mut self, node: usize, input: Input) {
        self.trace.add(self.now_us, Some(node), format_args!("< {}", trace::input(&input)));
        let Some(now) = self.nodes[node].now(self.now_us) else { return };
        if let Input::AgentExited { process, .. } = &input {
            self.roaming.ended(node, *process);
        }
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let mut outputs = Vec::new();
        let before = if self.served { running.peer.providers_called().collect() } else { Vec::new() };
        let holds_more = matches!(input, Input::Persisted | Input::ChainRead { .. });
        running.peer.handle(input, now, &mut outputs);
        let held = running.peer.replication();
        let held = holds_more.then(|| (held.vector_root(), held.tree().root()));
        if self.served {
            self.judge_breakers(node, &before, now);
        }
        self.mutate(&mut outputs);
        let actor = self.nodes[node].actor();
        self.judge.now_us = self.now_us;
        // What those intents are there for is seen by another check; the tree would tell before it.
        let held = held.filter(|_| self.mutation != Some(Mutation::ForgetIntents));
        if let Some((vector_root, tree)) = held {
            self.judge.tree(actor, vector_root, tree);
        }
        self.do_all(node, outputs);
        let mut written = Vec::new();
        if let Some(running) = self.nodes[node].running.as_mut() {
            running.peer.write(now, &mut written);
        }
        self.mutate(&mut written);
        self.do_all(node, written);
        self.await_wakeup(node);
    }

    /// Carries out what a peer wants.
    fn do_all(&mut self, node: usize, outputs: Vec<Output>) {
        let actor = self.nodes[node].actor();
        for output in outputs {
            self.trace.add(self.now_us, Some(node), format_args!("> {}", trace::output(&output)));
            if self.is_swallowed(&output) {
                continue;
            }
            // A node whose disk failed can record nothing, and must be able to end all the same.
            let damaged = self.nodes[node].running.as_ref().is_some_and(|running| running.damaged);
            self.enter(&output);
            if let Output::Answer { ask, answer } = &output {
                self.judge_service(*ask, answer);
                self.judge_guest(node, *ask, answer);
                self.judge_far_call(node, *ask, answer);
                self.look_if_drained(node, answer);
            }
            if !(damaged && matches!(output, Output::Halt)) {
                self.judge.output(actor, &output);
            }
            self.carry_out(node, output);
        }
    }

    /// Sleeps until the wakeup the peer wants now, and never longer than the node's own loop does.
    fn await_wakeup(&mut self, node: usize) {
        let wait = self.next_wait;
        let run = self.nodes[node].run;
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        let wanted = running.peer.next_wakeup();
        if running.wakeup.is_some_and(|(wakeup, _)| wakeup == wanted) {
            return;
        }
        running.wakeup = Some((wanted, wait));
        self.next_wait += 1;
        let sleep_us = wanted.map_or(SLEEP_US_MAX, |wakeup| running.reading.until_us(wakeup).min(SLEEP_US_MAX));
        self.after(sleep_us, Event::Wake { node, run, wait });
    }

    fn wake(&mut self, node: usize, wait: u64) {
        let Some(running) = self.nodes[node].running.as_mut() else { return };
        if running.wakeup.is_none_or(|(_, current)| current != wait) {
            return;
        }
        running.wakeup = None;
        let millisecond = self.now_us / 1_000;
        let (since, times) = self.wakeups.entry(node).or_default();
        if *since != millisecond {
            (*since, *times) = (millisecond, 0);
        }
        *times += 1;
        if *times > WAKEUPS_MAX {
            self.judge.book.complain(format!("node {node} wants to be woken again and again in one millisecond"));
            return;
        }
        self.tell(node, Input::Woken);
    }

    /// Somebody on a node asks its peer.
    pub(crate) fn ask(&mut self, node: usize, question: Question, what: Asked) {
        let ask = self.new_ask(node, what);
        self.tell(node, Input::Asked { ask, by: Principal::Operator, question });
    }

    /// A number for a question, which from now on waits for its answer.
    pub(crate) fn new_ask(&mut self, node: usize, what: Asked) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        let run = self.nodes[node].run;
        self.judge.reference.asks.insert(ask, Ask { node, run, what, asked_us: self.now_us });
        ask
    }

    // Lives.

    /// Makes node 0 a cluster of one and starts it.
    pub(crate) fn found(&mut self) {
        let founder = &self.nodes[0];
        let keys = Arc::clone(&founder.keys);
        let charter = Charter {
            founder: keys.public_keys().clone(),
            rules: weft_kernel::genesis_rules().into(),
            nonce: self.peer_dice.bytes::<16>().into(),
        };
        let certificate = Certificate {
            cluster: charter.cluster_id(),
            keys: keys.public_keys().clone(),
            name: founder.name.clone(),
            role: Role::Admin,
            grants: Vec::new(),
            issuer: founder.id(),
            issued: founder.wall(self.now_us),
            not_after: None,
        };
        let certificate = Signed::new(&certificate, &*keys);
        self.become_member(0, charter, certificate, Vec::new());
    }

    /// Gives a node its identity, and starts it.
    pub(crate) fn become_member(
        &mut self,
        node: usize,
        charter: Charter,
        certificate: Signed<Certificate>,
        members: Vec<Signed<Certificate>>,
    ) {
        let incarnation = Incarnation(self.peer_dice.bits());
        let keys = self.nodes[node].keys.public_keys().clone();
        let chain = ChainId { node: keys.node(), incarnation };
        self.judge.open_chain(node, ChainState::new(chain, charter.cluster_id(), keys));
        self.nodes[node].memo.begin(chain);
        let addresses = if node == 0 { Vec::new() } else { vec![(self.nodes[0].id(), vec![address_of(0)])] };
        self.nodes[node].identity = Some(PeerIdentity {
            name: self.nodes[node].name.clone(),
            charter,
            certificate,
            incarnation,
            disowned: Vec::new(),
            memory: Memory::Fresh,
            build: BUILD.to_owned(),
            members,
            addresses,
        });
        self.start(node);
    }

    /// Starts a node that has an identity and does not run. A disk that cannot be read fails the run.
    pub(crate) fn start(&mut self, node: usize) {
        self.start_knowing(node, None);
    }

    /// The same; `known` is what is known of its chain, when that is not found out by comparing.
    pub(crate) fn start_knowing(&mut self, node: usize, known: Option<Memory>) {
        if self.nodes[node].running.is_some() || self.nodes[node].identity.is_none() {
            return;
        }
        if self.nodes[node].disk.is_full() {
            self.trace.add(self.now_us, Some(node), format_args!("does not start: its disk is full"));
            return;
        }
        self.nodes[node].run += 1;
        self.nodes[node].armed = None;
        let Some((store, mut recovered)) = self.open_store(node) else { return };
        self.judge.begin_run(node);
        self.forget(node, &mut recovered);
        if self.mutation == Some(Mutation::ForgetReservation) && known.is_none() {
            self.nodes[node].memo.clock = Hlc(0);
        }
        // A home that was put back may have reserved fewer stamps than have left this machine since.
        recovered.reserved.clock = recovered.reserved.clock.max(self.nodes[node].memo.clock);
        self.trace.add(self.now_us, Some(node), format_args!("starts with {} chains", recovered.chains.len()));
        let seed = self.peer_dice.bits();
        let sim = &self.nodes[node];
        let (signer, now) = (Arc::clone(&sim.keys), sim.wall(self.now_us));
        let Some(mut identity) = sim.identity.clone() else { return };
        identity.memory = known.unwrap_or_else(|| sim.compare(&store, &recovered));
        if self.mutation == Some(Mutation::AskNobody) {
            identity.memory = Memory::Fresh;
        }
        let gates = Gates::new(sim.id(), &identity.charter.rules, &identity.charter.rules_hash());
        let gates = gates.expect("BUG: the charter holds the genesis rules of this program");
        let mut config = PeerConfig::default();
        config.discovery.wire = self.wire_of(node);
        if let Some(most) = self.scenario.full_mesh_max {
            config.discovery.full_mesh_max = most;
            config.discovery.link_idle_us = LINK_IDLE_US;
        }
        self.note_up(node);
        let peer = Peer::new(config, identity, &recovered, signer, gates, seed, now);
        self.nodes[node].running = Some(Running::new(peer, store, Reading::new(now, self.now_us), self.now_us));
        self.tell(node, Input::Woken);
        self.tell_after(0, node, Input::ListenChanged { addresses: vec![address_of(node)] });
    }

    /// Opens a node's store and judges what it holds.
    fn open_store(&mut self, node: usize) -> Option<(Store, Recovered)> {
        match self.mutation {
            Some(Mutation::LyingDisk) => self.nodes[node].disk.start_lying(),
            Some(Mutation::RollBackDisk) => self.nodes[node].disk.remember(),
            _ => {}
        }
        let read = self.read_twice(node).and_then(|()| {
            let (store, recovered) = read_disk(self.nodes[node].disk.clone(), self.mutation)?;
            let chains = read_chains(&store, &recovered)?;
            Ok((store, recovered, chains))
        });
        match read {
            Ok((store, recovered, chains)) => {
                let actor = self.nodes[node].actor();
                self.judge.disk(actor, &chains, &mut self.check_dice);
                self.judge.bodies(actor, |address| matches!(store.body(address), Ok(Some(_))));
                Some((store, recovered))
            }
            Err(error) => {
                self.judge.unreadable(node, &error);
                None
            }
        }
    }

    /// A write failed: the judge is told of what came to the disk all the same, although nobody else may be.
    pub(crate) fn look_at_disk(&mut self, node: usize) {
        let opened = Store::open_backend(self.nodes[node].disk.durable_copy()).map_err(|error| error.to_string());
        match opened.and_then(|(store, recovered)| read_chains(&store, &recovered)) {
            Ok(chains) => {
                let actor = self.nodes[node].actor();
                self.judge.disk(actor, &chains, &mut self.check_dice);
            }
            Err(error) => self.judge.unreadable(node, &error),
        }
    }

    /// A process ends at once; `unsynced` says what becomes of what it had written.
    pub(crate) fn crash(&mut self, node: usize, unsynced: Unsynced) {
        let Some(running) = self.nodes[node].running.take() else { return };
        self.trace.add(self.now_us, Some(node), format_args!("crashes, unsynced writes {unsynced:?}"));
        running.store.abandon();
        self.end(node);
        if unsynced == Unsynced::Kept {
            // Its machine goes on, and says of the connections over TCP that nobody has them any more.
            for (peer, link) in &running.links {
                self.send_watch_end(node, *peer, link.connection);
            }
        } else {
            self.nodes[node].memo.lose(self.now_us);
        }
        let disk = &self.nodes[node].disk;
        disk.crash(unsynced, &mut self.disk_dice);
        if self.mutation == Some(Mutation::RollBackDisk) {
            disk.roll_back();
        }
    }

    /// A process ended in order, after `Halt`.
    pub(crate) fn halt(&mut self, node: usize) {
        self.trace.add(self.now_us, Some(node), format_args!("ends in order"));
        self.faults.count(Fault::Shutdown);
        self.stop(node);
        if self.mended {
            self.after(0, Event::Happen(Transition::Restart { node }));
        }
    }

    /// A process lets go of its connections and its store.
    pub(crate) fn stop(&mut self, node: usize) {
        let Some(running) = self.nodes[node].running.take() else { return };
        for (peer, link) in &running.links {
            self.send_close(node, *peer, link.connection);
        }
        self.end(node);
    }

    /// What is true after every end of a process, however it came.
    fn end(&mut self, node: usize) {
        let run = self.nodes[node].run;
        self.nodes[node].armed = None;
        self.nodes[node].held = None;
        self.roaming.down(node);
        self.note_down(node);
        self.judge.reference.forget_asks(node, run);
        self.joining.retain(|_, joining| joining.inviter != node);
    }

    // The end.

    /// Makes the world whole: the network, every clock, every node.
    pub(crate) fn mend(&mut self) {
        self.trace.add(self.now_us, None, format_args!("everything is mended"));
        self.mended = true;
        for node in 0..self.nodes.len() {
            self.thaw(node);
            self.stop_lies(node);
            self.nodes[node].disk.set_full(false);
            self.nodes[node].slow_disk_us = 0;
        }
        self.queue.retain(|_, event| !matches!(event, Event::Happen(_)));
        self.network.calm();
        for node in 0..self.nodes.len() {
            self.nodes[node].clock.correct();
            self.restart(node);
            self.begin_join(node);
        }
    }

    /// Whether every node runs and is connected to every other, nobody waits, nothing is being written, and all disks and peers
    /// agree.
    pub(crate) fn is_quiet(&self) -> bool {
        if let Some(liar) = self.judge.liar {
            return self.honest_are_quiet(liar);
        }
        let settled = |node: &Node| {
            let root = self.judge.reference.vector_root(node.index);
            node.running
                .as_ref()
                .is_some_and(|running| running.writing.is_none() && running.peer.replication().vector_root() == root)
        };
        let root = self.judge.reference.vector_root(0);
        self.judge.reference.asks.is_empty()
            && self.nodes.iter().all(settled)
            && self.nodes.iter().all(|node| self.judge.reference.vector_root(node.index) == root)
    }

    /// The same of all but a member that wrote two histories: each holds proof of that, and all the same.
    fn honest_are_quiet(&self, liar: usize) -> bool {
        let mut roots = BTreeSet::new();
        let settled = |node: &Node| node.running.as_ref().is_some_and(|running| running.writing.is_none());
        let honest = || self.nodes.iter().filter(|node| node.index != liar);
        roots.extend(
            honest().filter_map(|node| node.running.as_ref().map(|running| running.peer.replication().vector_root())),
        );
        let convicted = |node: &Node| self.convicted_by(node.index).len() == 1;
        let waits = self.judge.reference.asks.values().any(|ask| ask.node != liar);
        !waits && roots.len() == 1 && honest().all(|node| settled(node) && convicted(node))
    }

    /// What subscriptions still lack, in words.
    pub(crate) fn undelivered(&self) -> Vec<String> {
        let runs: Vec<u64> = self.nodes.iter().map(|node| node.run).collect();
        self.judge.topics.undelivered(&runs)
    }

    /// What keeps the world from being quiet, in words.
    pub(crate) fn unrest(&self) -> String {
        let of = |node: &Node| match &node.running {
            None => format!("node {} is down", node.index),
            Some(running) => {
                let held: Vec<String> = running
                    .peer
                    .replication()
                    .heads()
                    .iter()
                    .map(|head| format!("{}:{}", head.chain.node.short(), head.size))
                    .collect();
                format!(
                    "node {} links {:?} holds {}",
                    node.index,
                    running.links.keys().collect::<Vec<_>>(),
                    held.join(" ")
                )
            }
        };
        let nodes: Vec<String> = self.nodes.iter().map(of).collect();
        format!("{} questions open; {}", self.judge.reference.asks.len(), nodes.join("; "))
    }

    /// Takes the power from every node and judges what each disk holds, without starting anything.
    pub(crate) fn examine(&mut self) {
        for node in 0..self.nodes.len() {
            self.crash(node, Unsynced::Lost);
            self.nodes[node].run += 1;
            if let Some((store, _)) = self.open_store(node) {
                store.abandon();
            }
        }
    }
}

fn new_node(scenario: &Scenario, seed: u64, index: usize, dice: &mut Dice) -> Node {
    let mut off = |most: u64| dice.between([0, 2 * most]).cast_signed() - most.cast_signed();
    let clock = WallClock::new(off(scenario.clock.offset_us_max), off(scenario.clock.drift_ppm_max));
    Node {
        index,
        name: format!("node{index}").parse().expect("BUG: a name of letters and digits"),
        keys: SeededKeys::derive(seed, index as u64),
        clock,
        disk: Disk::default(),
        identity: None,
        run: 0,
        armed: None,
        running: None,
        memo: Memo::default(),
        copies: Vec::new(),
        slow_disk_us: 0,
        held: None,
        write_operations: 0,
    }
}

/// Everything a store holds of every chain.
pub(crate) fn read_chains(store: &Store, recovered: &Recovered) -> Result<BTreeMap<ChainId, Vec<CommitGroup>>, String> {
    let mut chains = BTreeMap::new();
    for chain in &recovered.chains {
        let id = chain.state.chain();
        let mut groups = Vec::new();
        while (groups.len() as u64) < chain.state.commits() {
            let page = store.range(id, groups.len() as u64, u64::MAX).map_err(|error| error.to_string())?;
            if page.is_empty() {
                return Err(format!("{id}: commit {} cannot be read", groups.len()));
            }
            groups.extend(page);
        }
        chains.insert(id, groups);
    }
    Ok(chains)
}
