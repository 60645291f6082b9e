//! The dispatcher: one match that hands each input to one core, and each core's output to the next core or to the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_bytes::ByteArray;
use weft_discovery::{self as discovery, Discovery, MemberState};
use weft_kernel::{self as kernel, Action, Gates, Kernel, Route, Syscall};
use weft_protocol::limits::{ENVELOPES_PER_FRAME_MAX, PAGE_BYTES_MAX, ROTATIONS_MAX};
use weft_protocol::{
    A2aItem, A2aRequest, A2aResponse, Admitted, Batch, Booted, ChainId, ChainState, CommitGroup, Configured, Cut,
    Event, Evidence, Fact, ForkSeen, Gossip, Hlc, KeyRotation, MemberChangeWanted, MemberVerb, MessageId, NodeCheck,
    NodeId, Principal, PrunedRows, Receipt, Recovered, Refusal, Repaired, ResourceScored, Role, ServiceName, Signer,
    Snapshot, SyncRequest, SyncResponse, Timestamp, TopicPattern,
};
use weft_replication::{self as replication, Replication};

use crate::blobs::{Blobs, FetchKey};
use crate::config::{PeerConfig, PeerIdentity};
use crate::doorstep::{Doorstep, is_use};
use crate::event::{
    AskId, GossipTopic, InboundId, Input, OutboundId, Output, Prune, Question, Reply, Request, Response,
};
use crate::failover::{self, Failover};
use crate::health::network_health;
use crate::inbound::Inbound;
use crate::learned::{
    admins_counted, admins_known, ends_learned, members_known, pardons_learned, rights_learned, rules_learned,
};
use crate::links::{Links, envelope_id, message_of};
use crate::mending::{MendOutcome, Mending};
use crate::persist::PersistQueue;
use crate::providers::Providers;
use crate::rates::{HOLD_US, Rates};
use crate::route::{Routed, nowhere_for, route, see_watched};
use crate::services::{Attempt, Next, ProviderView, Services, World, balanced};
use crate::start::{Memory, Start};
use crate::tails::Tails;
use crate::waiting::{Parked, Waiting};

/// What one of the three cores is to be told next, and the end.
pub(crate) enum Step {
    Kernel(kernel::Input),
    Discovery(discovery::Input),
    Replication(replication::Input),
    /// This node goes down, once the steps before this one are done.
    Halt,
}

/// What one of our requests to a member was for.
pub(crate) enum Outbound {
    A2a { to: NodeId, messages: Vec<MessageId> },
    Fetch(replication::FetchId),
    Adverts,
    Trace(AskId),
    Chunk { key: FetchKey, chunk: u64 },
    Start { to: NodeId },
    Mend { chain: ChainId, from: NodeId },
    Lease { round: u64 },
}

/// For whom facts were given to the kernel.
pub(crate) enum FactsOwner {
    Discovery(discovery::Ticket),
    Asker(AskId),
    Settings(AskId, Box<PeerConfig>),
    Change(AskId, MemberChangeWanted),
    Prune(AskId, PrunedRows),
    Rotation(AskId),
    Vote,
    Failover(u64),
    Peer,
}

/// When a rotation that found another one on its way should be asked for again, in microseconds (guess: some disk syncs).
const ROTATION_RETRY_US: u64 = 100_000;

/// One node, without its world. Invariant: between two calls of [`Peer::handle`] no step waits.
pub struct Peer {
    pub(crate) node: NodeId,
    pub(crate) chain: ChainId,
    pub(crate) start: Start,
    pub(crate) tails: Tails,
    kernel: Kernel,
    pub(crate) discovery: Discovery,
    pub(crate) replication: Replication,
    steps: VecDeque<Step>,
    /// Empty between two inputs; kept for its room.
    kernel_out: Vec<kernel::Output>,
    pub(crate) links: Links,
    pub(crate) doorstep: Doorstep,
    pub(crate) inbound: Inbound,
    /// How much each member may still ask.
    pub(crate) rates: Rates,
    pub(crate) persist: PersistQueue,
    mending: Mending,
    waiting: Waiting,
    pub(crate) blobs: Blobs,
    pub(crate) services: Services,
    pub(crate) providers: Providers,
    pub(crate) failover: Failover,
    /// What the kernel was last told that others serve.
    elsewhere: BTreeSet<ServiceName>,
    outbound: BTreeMap<OutboundId, Outbound>,
    pub(crate) next_outbound: u64,
    /// Conversations that members of an older version of the wire asked for, and that are being read.
    pub(crate) traces_for_older: BTreeSet<InboundId>,
    tickets: BTreeMap<kernel::Ticket, FactsOwner>,
    /// What signs for this node once the record of a rotation that is on its way is on disk.
    next_signer: Option<Arc<dyn Signer>>,
    next_ticket: u64,
    /// The time of the last input.
    pub(crate) now: Timestamp,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Peer({})", self.node)
    }
}

impl Peer {
    /// A peer that continues from what was recovered, under these gates. It acts from the first [`Input::Woken`] on, which it wants at once.
    #[must_use]
    pub fn new(
        config: PeerConfig,
        identity: PeerIdentity,
        recovered: &Recovered,
        signer: Arc<dyn Signer>,
        gates: Gates,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let node = signer.public_keys().node();
        let chain = identity.chain(node);
        let cluster = identity.charter.cluster_id();
        let written = recovered.chains_of(node);
        let disowned: Vec<ChainId> =
            identity.disowned.iter().map(|incarnation| ChainId { node, incarnation: *incarnation }).collect();
        let earlier: Vec<_> = written.into_iter().map(|chain| &chain.state).filter(|it| it.chain() != chain).collect();
        let previous = earlier.iter().rfind(|state| !disowned.contains(&state.chain())).and_then(|state| state.head());
        // The charter stands on the founder's first chain alone.
        let founder = identity.charter.founder.node() == node && earlier.is_empty();
        let own = recovered.chains.iter().map(|chain| &chain.state).find(|state| state.chain() == chain).cloned();
        let own = own.unwrap_or_else(|| ChainState::new(chain, cluster, signer.public_keys().clone()));
        let fresh = identity.memory == Memory::Fresh;
        let sure = matches!(identity.memory, Memory::Fresh | Memory::Agrees);
        let tails = Tails::of(node, recovered, previous.as_ref().filter(|_| own.commits() == 0));
        let from = Hlc::from_wall(now).max(recovered.reserved.clock.next());
        let start = Start::new(own, identity.memory, earlier.len(), from);
        let founding = Fact::Admitted(Box::new(Admitted { certificate: identity.certificate.clone(), invite: None }));
        let kernel_identity = kernel::KernelIdentity {
            name: identity.name.clone(),
            chain,
            cluster,
            governance_hash: identity.charter.rules_hash(),
            charter: founder.then(|| identity.charter.clone()),
            founding: if founder { vec![founding] } else { Vec::new() },
            previous,
            skip_numbers: !sure,
            held: !fresh,
            build: identity.build.clone(),
        };
        let discovery_identity = discovery::Identity {
            name: identity.name,
            charter: identity.charter,
            certificate: identity.certificate,
            incarnation: identity.incarnation,
            build: identity.build,
            started: Hlc::from_wall(now).max(recovered.reserved.clock),
        };
        let seeds = [seed, seed.wrapping_add(1), seed.wrapping_add(2)];
        let discovery = Discovery::new(
            config.discovery,
            discovery_identity,
            identity.addresses,
            recovered,
            Arc::clone(&signer),
            seeds[0],
            now,
        );
        let members = discovery.member_keys();
        let replication = Replication::new(config.replication, chain, cluster, members, recovered, seeds[1], now);
        let pardons = pardons_learned(recovered, &discovery, &replication);
        let hidden = Step::Replication(replication::Input::OwnChainHidden { disowned });
        let kernel = Kernel::new(config.kernel, kernel_identity, gates, recovered, signer, seeds[2], now);
        let facts = recovered.chains.iter().flat_map(|chain| {
            let id = chain.state.chain();
            chain.facts.iter().map(move |placed| (id, placed))
        });
        let failover = Failover::new(chain, facts, now);
        let rights = rights_learned(node, recovered, &discovery);
        let ends = ends_learned(node, recovered, &kernel);
        let rules = rules_learned(node, recovered, &discovery);
        let told = identity.members.into_iter().filter_map(|certificate| {
            let issuer = certificate.peek().ok()?.issuer;
            let certificate = Box::new(certificate);
            Some(Step::Discovery(discovery::Input::AdmissionSeen { issuer, certificate, invite: None }))
        });
        let mut persist = PersistQueue::default();
        // What an earlier run said that it deletes.
        let unpruned = recovered.unpruned.iter().filter(|rows| rows.chain.node == node);
        persist.add(Batch { pruned: unpruned.cloned().collect(), ..Batch::default() });
        Self {
            node,
            chain,
            start,
            tails,
            kernel,
            discovery,
            replication,
            kernel_out: Vec::new(),
            steps: [hidden]
                .into_iter()
                .chain(told)
                .chain(pardons)
                .chain(rules)
                .chain(rights)
                .chain(ends)
                .chain([Step::Discovery(discovery::Input::Woken)])
                .collect(),
            links: Links::default(),
            doorstep: Doorstep::default(),
            inbound: Inbound::default(),
            rates: Rates::new(config.rates),
            persist,
            mending: Mending::default(),
            waiting: Waiting::default(),
            blobs: Blobs::default(),
            services: Services::new(seed.wrapping_add(3)),
            providers: Providers::default(),
            failover,
            elsewhere: BTreeSet::new(),
            outbound: BTreeMap::new(),
            next_outbound: 0,
            traces_for_older: BTreeSet::new(),
            tickets: BTreeMap::new(),
            next_signer: None,
            next_ticket: 0,
            now,
        }
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The kernel, to read from.
    #[must_use]
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Discovery, to read from.
    #[must_use]
    pub const fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// How often a member asked for more than it may.
    #[must_use]
    pub const fn over_rate(&self) -> u64 {
        self.rates.refused()
    }

    /// Replication, to read from.
    #[must_use]
    pub const fn replication(&self) -> &Replication {
        &self.replication
    }

    /// What is known of the providers of services that were called from here.
    pub fn providers_called(&self) -> impl Iterator<Item = ProviderView> {
        self.services.called()
    }

    /// When the peer wants [`Input::Woken`], if nothing happens before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        if !self.steps.is_empty() {
            return Some(Timestamp(0));
        }
        let wakeups = [
            self.kernel.next_wakeup(),
            self.discovery.next_wakeup(),
            self.replication.next_wakeup(),
            self.inbound.next_wakeup(),
            self.waiting.next_wakeup(),
            self.blobs.next_wakeup(),
            self.mending.next_wakeup(),
            self.failover.next_wakeup(),
            self.start.next_wakeup(self.now),
            self.persist.due_at(self.now),
            self.next_let_go(),
        ];
        wakeups.into_iter().flatten().min()
    }

    /// Applies one input. The outputs must be carried out in order, and then those of [`Peer::write`], before the next input is given.
    pub fn handle(&mut self, input: Input, now: Timestamp, out: &mut Vec<Output>) {
        self.take_in(input, now, out);
        self.depart(now, out);
    }

    /// Applies one of several inputs that are here together. After the last of them follow [`Peer::depart`] and [`Peer::write`].
    pub fn take_in(&mut self, input: Input, now: Timestamp, out: &mut Vec<Output>) {
        self.now = now;
        self.dispatch(input, now, out);
        self.run_steps(now, out);
        self.look_at_start(now, out);
        self.look_at_failover(now, out);
        self.ask_for_damaged(now, out);
        self.let_links_go(now, out);
    }

    /// What waits for members and for our receipts leaves as far as it may.
    pub fn depart(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        while let Some((request, receipts)) = self.inbound.take_ready(now) {
            out.push(Output::Respond { request, content: Response::A2a(A2aResponse { receipts }) });
        }
        while let Some((to, request)) = self.links.take() {
            let messages = request.items.iter().filter_map(message_of).collect();
            let content = Request::A2a(request);
            self.request(to, content, Outbound::A2a { to, messages }, out);
        }
    }

    /// What is to be written of all that was applied. It comes apart, because what travels meanwhile need not wait until it is signed.
    pub fn write(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let mut kernel_out = std::mem::take(&mut self.kernel_out);
        self.kernel.write(now, &mut kernel_out);
        for output in kernel_out.drain(..) {
            self.kernel_asked(output, now, out);
        }
        self.kernel_out = kernel_out;
        self.run_steps(now, out);
        if let Some(batch) = self.persist.take(now) {
            out.push(Output::Persist(Box::new(batch)));
        }
    }

    fn dispatch(&mut self, input: Input, now: Timestamp, out: &mut Vec<Output>) {
        match input {
            Input::Asked { ask, by, question } => self.asked(ask, by, question, now, out),
            Input::Withdrawn { ask } => self.withdrawn(ask, now),
            Input::JoinAsked { ask, keys, invite, join } => {
                self.tell_discovery(discovery::Input::JoinAsked { ask: discovery::AskId(ask.0), keys, invite, join });
            }
            Input::Connected { node, path } => self.connected(node, path, out),
            Input::Disconnected { node } => self.disconnected(node),
            Input::AddressesFound { node, addresses } => {
                self.tell_discovery(discovery::Input::AddressesFound { node, addresses });
            }
            Input::ProvidersFound { service, nodes } => self.providers_found(&service, nodes),
            Input::DialFailed { node, reason } => self.tell_discovery(discovery::Input::DialFailed { node, reason }),
            Input::Pinged { node, rtt_us } => self.tell_discovery(discovery::Input::Pinged { node, rtt_us }),
            Input::PingFailed { node } => self.tell_discovery(discovery::Input::PingFailed { node }),
            Input::SwimArrived { from, packet } => {
                self.tell_discovery(discovery::Input::SwimArrived { from, packet });
            }
            Input::TranslationSeen { translated } => {
                self.tell_discovery(discovery::Input::TranslationSeen { translated });
            }
            Input::PathChanged { node, path } => self.path_changed(node, path),
            Input::WatchEnded { node } => self.tell_discovery(discovery::Input::WatchEnded { node }),
            Input::ListenChanged { addresses } => {
                self.tell_discovery(discovery::Input::ListenChanged { addresses });
            }
            Input::RequestArrived { request, from, content } => self.request_arrived(request, from, content, now, out),
            Input::ResponseArrived { request, content } => self.response_arrived(request, content, now, out),
            Input::RequestFailed { request, reason } => self.request_failed(request, reason, now, out),
            Input::Gossiped { from, author, content } => self.gossiped(from, author, *content),
            Input::AgentStarted { process, pid } => {
                self.tell_kernel(kernel::Input::AgentStarted { process, pid });
            }
            Input::AgentSuspended { process } => self.tell_kernel(kernel::Input::AgentSuspended { process }),
            Input::AgentResumed { process } => self.tell_kernel(kernel::Input::AgentResumed { process }),
            Input::AgentExited { process, reason } => self.tell_kernel(kernel::Input::AgentExited { process, reason }),
            Input::ResourcesMeasured { process, measured } => {
                self.tell_kernel(kernel::Input::ResourcesMeasured { process, measured });
            }
            Input::PartsTaken { ask, count } => self.parts_taken(ask, count),
            Input::AgentAnswered { process, message, answer } => {
                self.tell_kernel(kernel::Input::AgentAnswered { process, message, answer });
            }
            Input::ProbeAnswered { number, answer } => {
                self.tell_kernel(kernel::Input::ProbeAnswered { number, answer });
            }
            Input::Persisted => self.persisted(out),
            Input::PersistFailed => self.persist_failed(),
            Input::ChainDamaged { chain, from_commit } => self.chain_damaged(chain, from_commit, now),
            Input::Mended { chain, from, outcome } => self.mended(chain, from, outcome),
            Input::RangeRead { request, chain, groups } => {
                let request = replication::RequestId(request.0);
                self.tell_replication(replication::Input::RangeRead { request, chain, groups });
            }
            Input::CommitRead { chain, held, other } if self.start_compared(chain, held.as_deref(), &other, out) => {}
            Input::CommitRead { chain, held, other } => {
                self.tell_replication(replication::Input::CommitRead { chain, held, other });
            }
            Input::HashesRead { chain, hashes } => {
                self.tell_replication(replication::Input::HashesRead { chain, hashes });
            }
            Input::ChainRead { chain, state, facts } => {
                self.tell_replication(replication::Input::ChainCut { chain, state, facts });
            }
            Input::TraceRead { request, rows, pruned } => {
                let whole = pruned.is_empty();
                let content =
                    if whole { SyncResponse::Trace(rows) } else { SyncResponse::PrunedTrace { rows, pruned } };
                let content = self.trace_for(request, content);
                out.push(respond(request, content));
            }
            Input::Verified(verdict) => self.tell_replication(replication::Input::Verified(verdict)),
            Input::Woken => self.woken(now, out),
        }
    }

    pub(crate) fn tell_kernel(&mut self, input: kernel::Input) {
        self.steps.push_back(Step::Kernel(input));
    }

    pub(crate) fn tell_discovery(&mut self, input: discovery::Input) {
        self.steps.push_back(Step::Discovery(input));
    }

    pub(crate) fn tell_replication(&mut self, input: replication::Input) {
        self.steps.push_back(Step::Replication(input));
    }

    pub(crate) fn run_steps(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let mut kernel_out = std::mem::take(&mut self.kernel_out);
        let mut discovery_out = Vec::new();
        let mut replication_out = Vec::new();
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Kernel(input) => self.kernel.take_in(input, now, &mut kernel_out),
                Step::Discovery(input) => {
                    self.discovery.handle(input, now, &mut discovery_out);
                    self.find_lost();
                }
                Step::Replication(input) => self.replication.handle(input, now, &mut replication_out),
                Step::Halt => out.push(Output::Halt),
            }
            for output in kernel_out.drain(..) {
                self.kernel_asked(output, now, out);
            }
            for output in discovery_out.drain(..) {
                self.discovery_asked(output, now, out);
            }
            for output in replication_out.drain(..) {
                self.replication_asked(output, out);
            }
        }
        self.kernel_out = kernel_out;
    }

    pub(crate) fn request(&mut self, to: NodeId, content: Request, purpose: Outbound, out: &mut Vec<Output>) {
        let request = OutboundId(self.next_outbound);
        self.next_outbound += 1;
        self.outbound.insert(request, purpose);
        if self.waits_for_link(&to) {
            if let Some(request) = self.request_waits(to, request, content) {
                self.request_failed(request, "too much waits for that member".to_owned(), self.now, out);
            }
            return;
        }
        if is_use(&content) {
            self.links.used(to, self.now);
        }
        out.push(Output::Request { request, to, content });
    }

    // Questions of this machine.

    fn asked(&mut self, ask: AskId, by: Principal, question: Question, now: Timestamp, out: &mut Vec<Output>) {
        let discovery_ask = discovery::AskId(ask.0);
        match question {
            Question::Kernel(syscall) => match self.fan_out_full(&syscall) {
                Some(refusal) => out.push(Output::Answer { ask, answer: Err(refusal) }),
                None => self.syscall(ask, by, syscall, now, out),
            },
            Question::Invite { role, ttl_us, uses, secret, certificate_ttl_us } => {
                let asked = discovery::Input::InviteAsked {
                    ask: discovery_ask,
                    role,
                    ttl_us,
                    uses,
                    secret: ByteArray::new(secret),
                    certificate_ttl_us,
                };
                self.operator_asked(ask, &by, asked, out);
            }
            Question::RevokeInvite { invite } => {
                let asked = discovery::Input::InviteRevokeAsked { ask: discovery_ask, invite };
                self.operator_asked(ask, &by, asked, out);
            }
            Question::Trace { node, trace } => {
                let content = Request::Sync(SyncRequest::Trace { trace });
                self.request(node, content, Outbound::Trace(ask), out);
            }
            Question::RecordRepair { repaired } => {
                let facts = repaired.into_iter().map(Fact::Repaired).collect();
                self.record(FactsOwner::Asker(ask), by, Action::RecordRepair, facts);
            }
            Question::RecordBoot { phases } => {
                let facts = vec![Fact::Booted(Booted { phases })];
                self.record(FactsOwner::Asker(ask), by, Action::RecordBoot, facts);
            }
            Question::ChangeMember { node, verb } => self.change_member(ask, by, node, verb, out),
            Question::RotateKeys { next } => self.rotate_keys(ask, by, next, out),
            Question::Score { scored } => self.score(ask, by, scored, out),
            Question::RecordAnchor { anchored } => {
                let action = Action::Anchor { place: anchored.place.clone() };
                self.record(FactsOwner::Asker(ask), by, action, vec![Fact::Anchored(anchored)]);
            }
            Question::Prune { prune } => self.prune(ask, by, *prune, out),
            Question::TakeSnapshot => self.take_snapshot(ask, by),
            Question::Failover { declared } => self.failover_wanted(ask, &by, declared, now, out),
            Question::Drain => self.tell_failover(failover::Input::DrainAsked { ask }, now, out),
            Question::Configure { config, changes } => {
                let action = Action::configure(&changes);
                let facts = vec![Fact::Configured(Configured { changes })];
                self.record(FactsOwner::Settings(ask, config), by, action, facts);
            }
        }
    }

    /// Who counts is the admins' business: what a worker proposes nobody would endorse.
    fn change_member(&mut self, ask: AskId, by: Principal, node: NodeId, verb: MemberVerb, out: &mut Vec<Output>) {
        let invalid = match self.discovery.role_of(self.node) {
            _ if self.discovery.keys_of(node).is_none() => Some("this node is no member: weft members lists them"),
            Some(Role::Admin) if self.replication.is_deadlocked(node, verb) => Some(
                "of two members neither can end the other's chain: more than half must agree, and it has no vote in that",
            ),
            Some(Role::Admin) => None,
            Some(Role::Worker | Role::Observer) | None => {
                Some("only an admin proposes who counts: ask on one of the admins that weft members shows")
            }
        };
        if let Some(message) = invalid {
            let refusal = Refusal::Invalid { message: message.to_owned() };
            return out.push(Output::Answer { ask, answer: Err(refusal) });
        }
        let wanted = MemberChangeWanted { verb, node, by: by.clone() };
        let (owner, fact) = (FactsOwner::Change(ask, wanted.clone()), Fact::MemberChangeWanted(wanted));
        self.record(owner, by, Action::ChangeMember { node, verb }, vec![fact]);
    }

    /// Of what is on disk now: the kernel's chain and the fold of it are told of each commit together.
    fn take_snapshot(&mut self, ask: AskId, by: Principal) {
        let chain = self.kernel.chain_state();
        let snapshot = Snapshot::of(chain, self.replication.tree().state_of(chain.chain()).hash());
        self.record(FactsOwner::Asker(ask), by, Action::Snapshot, vec![Fact::Snapshot(Box::new(snapshot))]);
    }

    /// Judged once more here: what the store was read for may have changed since. The rows go when the record is on disk.
    fn prune(&mut self, ask: AskId, by: Principal, prune: Prune, out: &mut Vec<Output>) {
        let Prune { pruned, last, until, refuted, rows } = prune;
        let mut terms = self.replication.prune_terms(until);
        terms.vouchings.retain(|vouching| !refuted.contains(&vouching.node));
        let snapshot = terms.snapshot.as_ref().map(|(seq, _)| *seq);
        let fits = (rows.chain, rows.to, snapshot) == (terms.chain, pruned.to, Some(pruned.snapshot))
            && last.seq.checked_add(1) == Some(pruned.to);
        if !fits || !terms.keeps(last).is_empty() {
            let message = "what decides which rows may go has changed meanwhile: ask again".to_owned();
            return out.push(Output::Answer { ask, answer: Err(Refusal::Invalid { message }) });
        }
        let (owner, action) = (FactsOwner::Prune(ask, rows), Action::Prune { to: pruned.to });
        self.record(owner, by, action, vec![Fact::Pruned(pruned)]);
    }

    /// Whoever follows the chain of a node keeps all its keys: there is an end to that.
    fn rotate_keys(&mut self, ask: AskId, by: Principal, next: Arc<dyn Signer>, out: &mut Vec<Output>) {
        let refusal = if self.next_signer.is_some() {
            Some(Refusal::Busy { retry_after_us: ROTATION_RETRY_US })
        } else if self.discovery.own_rotations() >= ROTATIONS_MAX {
            let message = format!(
                "the keys of this node were rotated {ROTATIONS_MAX} times, which is as often as others \
                 follow; join as a new node: weft join TOKEN --home ANOTHER"
            );
            Some(Refusal::Invalid { message })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return out.push(Output::Answer { ask, answer: Err(refusal) });
        }
        self.next_signer = Some(Arc::clone(&next));
        let ticket = self.new_ticket(FactsOwner::Rotation(ask));
        self.tell_kernel(kernel::Input::RotationAsked { ticket, by, next });
    }

    /// Of what is not there nothing is recorded.
    fn score(&mut self, ask: AskId, by: Principal, scored: Box<ResourceScored>, out: &mut Vec<Output>) {
        if self.replication.tree().get(&scored.path).is_none() {
            let refusal = Refusal::Invalid { message: format!("no resource {}", scored.path) };
            return out.push(Output::Answer { ask, answer: Err(refusal) });
        }
        let action = Action::Score { path: scored.path.clone() };
        self.record(FactsOwner::Asker(ask), by, action, vec![Fact::ResourceScored(scored)]);
    }

    /// Membership is the operator's business: the gate says so again when the facts are recorded.
    fn operator_asked(&mut self, ask: AskId, by: &Principal, asked: discovery::Input, out: &mut Vec<Output>) {
        match by {
            Principal::Operator => self.tell_discovery(asked),
            Principal::Agent { .. } => {
                let refusal = Refusal::Denied { rule: weft_kernel::DEFAULT_CLOSED.to_owned() };
                out.push(Output::Answer { ask, answer: Err(refusal) });
            }
        }
    }

    fn syscall(&mut self, ask: AskId, by: Principal, mut syscall: Box<Syscall>, now: Timestamp, out: &mut Vec<Output>) {
        see_watched(self.node, &self.kernel, &self.discovery, &mut syscall);
        if balanced(&syscall).is_some() {
            return self.call_service(ask, by, syscall, None, now, out);
        }
        match route(self.node, &self.kernel, &self.discovery, &self.failover, &syscall) {
            Routed::Now(route) => self.ask_kernel(ask, by, syscall, route),
            Routed::Later { deadline_us } => self.park(ask, by, syscall, deadline_us, now),
        }
    }

    fn park(&mut self, ask: AskId, by: Principal, syscall: Box<Syscall>, deadline_us: u64, now: Timestamp) {
        if self.waiting.has_room() {
            return self.waiting.park(ask, by, syscall, deadline_us, now);
        }
        // The gate is asked first all the same, and the kernel answers whoever asked, itself included.
        let refusal = Refusal::Busy { retry_after_us: crate::config::PARKED_US_MAX };
        self.ask_kernel(ask, by, syscall, Route::nowhere(refusal));
    }

    /// Calls whoever serves it; a call that has waited already does so until `until`.
    fn call_service(
        &mut self,
        ask: AskId,
        by: Principal,
        syscall: Box<Syscall>,
        until: Option<Timestamp>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let world = World { own: self.node, kernel: &self.kernel, discovery: &self.discovery, now };
        let may_wait = until.is_none_or(|until| now < until);
        match (self.services.begin(ask, by, syscall, may_wait, &world), until) {
            (Some(Next::Later { by, syscall, .. }), Some(until)) => {
                self.waiting.put_back(ask, Parked { by, syscall, until });
            }
            (Some(Next::Later { by, syscall, deadline_us }), None) => {
                if let Some(service) = balanced(&syscall) {
                    self.seek_providers(service, now, out);
                }
                self.park(ask, by, syscall, deadline_us, now);
            }
            (Some(next), _) => self.carry_on(next, out),
            (None, _) => {}
        }
    }

    fn carry_on(&mut self, next: Next, out: &mut Vec<Output>) {
        match next {
            Next::Ask(Attempt { ask, by, syscall, route }) => {
                let route = self.route_of_parts(&syscall, route);
                self.tell_kernel(kernel::Input::Asked { ask, by, syscall, route });
            }
            Next::Answer(ask, answer) => out.push(Output::Answer { ask, answer: answer.map(Reply::Kernel) }),
            // Only a call that begins may wait.
            Next::Later { .. } => {}
        }
    }

    fn kernel_answered(
        &mut self,
        ask: kernel::AskId,
        answer: Result<kernel::Answer, Refusal>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let world = World { own: self.node, kernel: &self.kernel, discovery: &self.discovery, now };
        let next = self.services.answered(ask, answer, &world);
        self.carry_on(next, out);
    }

    fn reachability_changed(&mut self, node: NodeId, reachable: bool, now: Timestamp, out: &mut Vec<Output>) {
        self.tell_kernel(kernel::Input::ReachabilityChanged { node, reachable });
        if reachable {
            return;
        }
        let world = World { own: self.node, kernel: &self.kernel, discovery: &self.discovery, now };
        for (attempt, next) in self.services.lost(node, &world) {
            self.tell_kernel(kernel::Input::Withdrawn { ask: attempt });
            self.carry_on(next, out);
        }
    }

    /// Tells the kernel what others serve, when that changed.
    fn directory_changed(&mut self) {
        let services = self.discovery.services_elsewhere();
        if services != self.elsewhere {
            self.elsewhere.clone_from(&services);
            self.tell_kernel(kernel::Input::ServicesElsewhere { services });
        }
    }

    fn ask_kernel(&mut self, ask: AskId, by: Principal, syscall: Box<Syscall>, route: Route) {
        let route = self.route_of_parts(&syscall, route);
        let watched = match (&*syscall, &route) {
            (Syscall::Monitor { .. }, Route::Remote(node)) => Some(*node),
            _ => None,
        };
        self.tell_kernel(kernel::Input::Asked { ask: kernel::AskId(ask.0), by, syscall, route });
        if let Some(node) = watched.filter(|node| self.is_lost(node)) {
            self.tell_kernel(kernel::Input::NodeLost { node });
        }
    }

    /// Whether nobody will say any more how processes of this node end.
    fn is_lost(&self, node: &NodeId) -> bool {
        match self.discovery.state_of(node) {
            MemberState::Dead | MemberState::Quarantined | MemberState::Evicted => true,
            // A node that went down in order has said so of each of its processes before.
            MemberState::Alive | MemberState::Suspect | MemberState::Left => false,
        }
    }

    /// Tells the kernel which nodes of monitored processes are lost.
    fn find_lost(&mut self) {
        let lost = self.kernel.nodes_watched().into_iter().filter(|node| self.is_lost(node)).collect::<Vec<_>>();
        lost.into_iter().for_each(|node| self.tell_kernel(kernel::Input::NodeLost { node }));
    }

    /// Routes again what waited for the directory; what has waited long enough has no responder.
    fn reroute(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        for (ask, parked) in self.waiting.take_all() {
            if balanced(&parked.syscall).is_some() {
                self.call_service(ask, parked.by, parked.syscall, Some(parked.until), now, out);
                continue;
            }
            match route(self.node, &self.kernel, &self.discovery, &self.failover, &parked.syscall) {
                Routed::Now(route) => self.ask_kernel(ask, parked.by, parked.syscall, route),
                Routed::Later { .. } if now < parked.until => self.waiting.put_back(ask, parked),
                Routed::Later { .. } => {
                    let route = nowhere_for(&parked.syscall);
                    self.ask_kernel(ask, parked.by, parked.syscall, route);
                }
            }
        }
    }

    fn withdrawn(&mut self, ask: AskId, now: Timestamp) {
        if !self.waiting.withdraw(ask) {
            let ask = self.services.withdraw(ask, now);
            self.tell_kernel(kernel::Input::Withdrawn { ask });
        }
    }

    fn woken(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let due = |wakeup: Option<Timestamp>| wakeup.is_some_and(|wakeup| wakeup <= now);
        if due(self.kernel.next_wakeup()) {
            self.tell_kernel(kernel::Input::Woken);
        }
        if due(self.discovery.next_wakeup()) {
            self.tell_discovery(discovery::Input::Woken);
        }
        if due(self.replication.next_wakeup()) {
            self.tell_replication(replication::Input::Woken);
        }
        if due(self.waiting.next_wakeup()) {
            self.reroute(now, out);
        }
        self.blobs.expire(now);
    }

    // The mesh.

    fn connected(&mut self, node: NodeId, path: discovery::Path, out: &mut Vec<Output>) {
        self.links.open(node, path.wire, self.now);
        self.mending.connected(node, self.now);
        self.start_connected(node, out);
        self.door_opened(node, out);
        self.tell_discovery(discovery::Input::Connected { node, path });
        self.tell_replication(replication::Input::Connected { node });
    }

    fn path_changed(&mut self, node: NodeId, path: discovery::Path) {
        self.links.open(node, path.wire, self.now);
        self.tell_discovery(discovery::Input::Connected { node, path });
    }

    fn disconnected(&mut self, node: NodeId) {
        self.start.disconnected(node);
        for message in self.links.close(node) {
            self.tell_kernel(kernel::Input::TransmitFailed { to: node, message });
        }
        self.tell_discovery(discovery::Input::Disconnected { node });
        self.tell_replication(replication::Input::Disconnected { node });
    }

    fn request_arrived(
        &mut self,
        request: InboundId,
        from: NodeId,
        content: Request,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        if let Err(busy) = self.within_rate(from, &content, now) {
            out.push(Output::Respond { request, content: busy });
            return;
        }
        if is_use(&content) {
            self.links.used(from, now);
        }
        match content {
            Request::A2a(a2a) => self.a2a_arrived(request, from, a2a, now, out),
            Request::Sync(
                content @ (SyncRequest::Hello { .. }
                | SyncRequest::Range { .. }
                | SyncRequest::Stretch { .. }
                | SyncRequest::Evidence { .. }
                | SyncRequest::Head { .. }
                | SyncRequest::LastTick { .. }
                | SyncRequest::Witness { .. }),
            ) => {
                let request = replication::RequestId(request.0);
                self.tell_replication(replication::Input::RequestArrived { request, from, content });
            }
            Request::Sync(SyncRequest::Adverts { held }) => {
                let adverts = self.discovery.adverts_newer_than(&held, now);
                out.push(respond(request, SyncResponse::Adverts(adverts)));
            }
            Request::Sync(SyncRequest::Trace { trace }) => {
                self.trace_asked(request, from);
                out.push(Output::ReadTrace { request, trace });
            }
            Request::Blob(blob) => {
                let content = Response::Blob(self.serve_blob(from, &blob, now));
                out.push(Output::Respond { request, content });
            }
            Request::Sync(
                SyncRequest::Streams { .. } | SyncRequest::Publications { .. } | SyncRequest::Lease { .. },
            ) if self.discovery.role_of(from).is_none() => {
                out.push(respond(request, SyncResponse::Refused("not a member here".to_owned())));
            }
            Request::Sync(SyncRequest::Lease { holder, epoch, fences }) => {
                let asked = failover::Input::LeaseAsked { request, from, holder, epoch, fences };
                self.tell_failover(asked, now, out);
            }
            Request::Sync(SyncRequest::Streams { patterns, after }) => {
                out.push(respond(request, self.kernel.streams(&patterns, after.as_ref())));
            }
            Request::Sync(SyncRequest::Publications { topic, chain, from }) => {
                out.push(respond(request, self.kernel.publications(&topic, chain, from)));
            }
        }
    }

    fn a2a_arrived(
        &mut self,
        request: InboundId,
        from: NodeId,
        a2a: A2aRequest,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let role = self.discovery.role_of(from);
        if a2a.items.len() > ENVELOPES_PER_FRAME_MAX {
            out.push(Output::Respond { request, content: Response::A2a(A2aResponse { receipts: Vec::new() }) });
            return;
        }
        let messages = a2a.items.iter().filter_map(envelope_id).collect();
        self.inbound.open(request, from, messages, now);
        for item in a2a.items {
            let Some(item) = self.item_within_rate(from, item, now) else {
                self.inbound.hold(request, now.after_us(HOLD_US));
                continue;
            };
            match (self.item_from(from, item), role) {
                (A2aItem::Envelope(envelope), Some(role)) => {
                    self.tell_kernel(kernel::Input::EnvelopeArrived { from, role, envelope });
                }
                (A2aItem::Envelope(envelope), None) => self.not_known_yet(from, envelope.id, envelope.hlc),
                (A2aItem::Receipt(receipt), _) => self.receipt_arrived(from, receipt),
                (A2aItem::LargeEnvelope(large), Some(role)) => {
                    self.large_envelope_arrived(from, role, *large, now, out);
                }
                (A2aItem::LargeEnvelope(large), None) => {
                    self.not_known_yet(from, large.envelope.id, large.envelope.hlc);
                }
                (A2aItem::LargeReceipt(large), _) => {
                    self.blobs.offers.answered(from, &large.receipt.message);
                    self.large_receipt_arrived(from, *large, now, out);
                }
                (A2aItem::Part(part), _) => self.tell_kernel(kernel::Input::PartArrived { from, part }),
                (A2aItem::PartsTaken(taken), _) => {
                    self.tell_kernel(kernel::Input::PartsTakenArrived { from, taken });
                }
                (A2aItem::Cancel(message), _) => self.tell_kernel(kernel::Input::CancelArrived { from, message }),
                (A2aItem::Publication(publication), _) => self.publication_arrived(from, publication),
            }
        }
    }

    /// The transport let it in, but its admission has not reached us yet: it may try again in a moment.
    fn not_known_yet(&mut self, from: NodeId, message: MessageId, hlc: Hlc) {
        self.refuse_unheard(from, message, hlc, Refusal::Busy { retry_after_us: 200_000 });
    }

    /// Says no to a message that the kernel never heard of; its sender's own stamp stands in the receipt.
    pub(crate) fn refuse_unheard(&mut self, from: NodeId, message: MessageId, hlc: Hlc, refusal: Refusal) {
        let outcome = weft_protocol::Outcome::Refused(refusal);
        let receipt = Receipt { message, hlc, outcome, record: None, parts: None };
        let receipt = Box::new(self.receipt_for(from, receipt));
        if let Err(receipt) = self.inbound.add(from, receipt) {
            self.transmit(from, A2aItem::Receipt(receipt));
        }
    }

    /// Says no to a message of this node in the place of the member that it was for, and that will never hear of it.
    pub(crate) fn refused_here(&mut self, to: NodeId, message: MessageId, hlc: Hlc, refusal: Refusal) {
        let outcome = weft_protocol::Outcome::Refused(refusal);
        let receipt = Box::new(Receipt { message, hlc, outcome, record: None, parts: None });
        self.tell_kernel(kernel::Input::ReceiptArrived { from: to, receipt });
    }

    fn receipt_arrived(&mut self, from: NodeId, receipt: Box<Receipt>) {
        self.blobs.offers.answered(from, &receipt.message);
        self.tell_kernel(kernel::Input::ReceiptArrived { from, receipt });
    }

    fn response_arrived(&mut self, request: OutboundId, content: Response, now: Timestamp, out: &mut Vec<Output>) {
        let Some(purpose) = self.outbound.remove(&request) else { return };
        match (purpose, content) {
            (Outbound::A2a { to, .. }, Response::A2a(response)) => {
                self.links.finish(to, self.now);
                for receipt in response.receipts {
                    self.receipt_arrived(to, Box::new(receipt));
                }
            }
            (Outbound::Fetch(fetch), Response::Sync(content)) => {
                let content = Box::new(content);
                self.tell_replication(replication::Input::ResponseArrived { fetch, content });
            }
            (Outbound::Adverts, Response::Sync(SyncResponse::Adverts(adverts))) => {
                for advert in adverts {
                    self.tell_discovery(discovery::Input::AdvertArrived { advert: Box::new(advert) });
                }
            }
            (Outbound::Trace(ask), Response::Sync(SyncResponse::Trace(rows))) => {
                out.push(Output::Answer { ask, answer: Ok(Reply::Trace { rows, pruned: Vec::new() }) });
            }
            (Outbound::Trace(ask), Response::Sync(SyncResponse::PrunedTrace { rows, pruned })) => {
                out.push(Output::Answer { ask, answer: Ok(Reply::Trace { rows, pruned }) });
            }
            (Outbound::Lease { round }, Response::Sync(SyncResponse::Lease(answers))) => {
                let answers = Some(answers);
                self.tell_failover(failover::Input::LeaseAnswered { round, answers }, now, out);
            }
            (Outbound::Start { to }, Response::Sync(content)) => self.start_answered(to, Some(content), now, out),
            (Outbound::Mend { chain, from }, Response::Sync(SyncResponse::Page { chain: of, groups }))
                if of == chain && !groups.is_empty() =>
            {
                out.push(Output::Mend { chain, from, groups });
            }
            (Outbound::Chunk { key, chunk }, Response::Blob(response)) => {
                self.chunk_arrived(key, chunk, response, now, out);
            }
            (purpose, _) => self.failed(purpose, "the response does not fit the request", now, out),
        }
    }

    pub(crate) fn request_failed(
        &mut self,
        request: OutboundId,
        reason: String,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        if let Some(purpose) = self.outbound.remove(&request) {
            self.failed(purpose, &reason, now, out);
        }
    }

    fn failed(&mut self, purpose: Outbound, reason: &str, now: Timestamp, out: &mut Vec<Output>) {
        match purpose {
            Outbound::A2a { to, messages } => {
                self.links.finish(to, self.now);
                for message in messages {
                    self.tell_kernel(kernel::Input::TransmitFailed { to, message });
                }
            }
            Outbound::Fetch(fetch) => self.tell_replication(replication::Input::FetchFailed { fetch }),
            Outbound::Adverts => {}
            Outbound::Lease { round } => {
                self.tell_failover(failover::Input::LeaseAnswered { round, answers: None }, now, out);
            }
            Outbound::Mend { chain, from: _ } => self.mending.ask_another(&chain),
            Outbound::Start { to } => self.start_answered(to, None, now, out),
            Outbound::Chunk { key, chunk } => self.blobs.fetches.failed(&key, chunk),
            Outbound::Trace(ask) => {
                let refusal = Refusal::Unreachable { node: reason.to_owned() };
                out.push(Output::Answer { ask, answer: Err(refusal) });
            }
        }
    }

    fn gossiped(&mut self, from: NodeId, author: NodeId, content: Gossip) {
        if !self.gossip_within_rate(from, &content, self.now) {
            return;
        }
        match content {
            Gossip::Head(gossip) => {
                self.tell_replication(replication::Input::Gossiped { from, gossip: Box::new(gossip) });
            }
            Gossip::Advert(advert) => {
                self.tell_discovery(discovery::Input::AdvertArrived { advert: Box::new(advert) });
            }
            Gossip::Publication(publication) => {
                if publication.from.node == author && publication.id.chain.node == author {
                    self.tell_replication(replication::Input::PublicationHeard { publication });
                }
            }
        }
    }

    // The disk.

    fn persisted(&mut self, out: &mut Vec<Output>) {
        let owners = self.persist.finish();
        if owners.start {
            self.start_stored(out);
        }
        if owners.kernel {
            self.tell_kernel(kernel::Input::Persisted);
        }
        for chain in owners.chains {
            self.tell_replication(replication::Input::Stored { chain });
        }
        out.extend(owners.cuts.into_iter().map(|chain| Output::ReadChain { chain }));
        out.extend(owners.prunes.into_iter().map(|ask| Output::Answer { ask, answer: Ok(Reply::Recorded) }));
    }

    fn persist_failed(&mut self) {
        self.persist.finish();
        self.tell_kernel(kernel::Input::PersistFailed);
    }

    // What rotted on it.

    fn chain_damaged(&mut self, chain: ChainId, from_commit: u64, now: Timestamp) {
        self.mending.begin(chain, from_commit, now);
        self.tell_replication(replication::Input::ChainDamaged { chain, from_commit });
    }

    fn ask_for_damaged(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.mending.next_wakeup().is_none_or(|at| at > now) {
            return;
        }
        let connected = self.links.connected();
        while let Some((chain, from_commit, to)) = self.mending.next(now, &connected) {
            let content = SyncRequest::Range { chain, from_commit, bytes_max: PAGE_BYTES_MAX as u64 };
            self.request(to, Request::Sync(content), Outbound::Mend { chain, from: to }, out);
        }
    }

    /// What came back is served again and said on the chain.
    fn mended(&mut self, chain: ChainId, from: NodeId, outcome: MendOutcome) {
        match outcome {
            MendOutcome::Done(count) => {
                let Some(first_commit) = self.mending.end(&chain) else { return };
                self.tell_replication(replication::Input::ChainMended { chain });
                if count == 0 {
                    return;
                }
                let repaired = Repaired { chain, first_commit, count, from };
                let facts = vec![Fact::Repaired(repaired)];
                self.record(FactsOwner::Peer, Principal::Operator, Action::RecordRepair, facts);
            }
            MendOutcome::Unfit => self.mending.ask_another(&chain),
            MendOutcome::Hopeless => drop(self.mending.end(&chain)),
        }
    }

    // What the cores ask.

    fn kernel_asked(&mut self, output: kernel::Output, now: Timestamp, out: &mut Vec<Output>) {
        use kernel::Output as From;
        match output {
            From::Persist(batch) => self.persist.add_own(*batch),
            From::Announce(group) => self.announced(group, now, out),
            From::Transmit { to, envelope } => self.send_envelope(to, envelope, now),
            From::Acknowledge { to, receipt } => self.acknowledge(to, receipt, now),
            From::Ask { ask, by, syscall } => self.syscall(AskId(ask.0), by, syscall, now, out),
            From::Answer { ask, answer } => self.kernel_answered(ask, answer, now, out),
            From::SeekWitnesses { message, places, except, members } => {
                self.tell_replication(replication::Input::WitnessesSought { message, places, except, members });
            }
            From::SeekNoWitnesses { message } => {
                self.tell_replication(replication::Input::NoWitnessesSought { message });
            }
            From::AnswerPart { ask, number, payload } => self.part_came(ask, number, payload, out),
            From::SendPart { to, part } => self.transmit(to, A2aItem::Part(part)),
            From::SayPartsTaken { to, taken } => self.transmit(to, A2aItem::PartsTaken(taken)),
            From::Cancel { to, message } => self.transmit(to, A2aItem::Cancel(message)),
            From::Publish(publication) => self.publish(publication, out),
            From::Follow { subscriptions, since } => self.follow(subscriptions, since, out),
            From::Gather { gather, pattern, what } => {
                let (gather, want) = (replication::GatherId(gather.0), want(what));
                self.tell_replication(replication::Input::TopicGatherAsked { gather, pattern, want });
            }
            From::Advertise { agents } => self.tell_discovery(discovery::Input::AgentsChanged { agents }),
            From::Notify { ask, cursor, publication } => {
                out.push(Output::Notify { ask: AskId(ask.0), cursor, publication });
            }
            From::AdvertiseServices { services } => {
                self.provide(&services, out);
                self.tell_discovery(discovery::Input::ServicesChanged { services });
            }
            From::Start { process, spec } => out.push(Output::Start { process, spec }),
            From::Deliver { process, delivery } => out.push(Output::Deliver { process, delivery }),
            From::DeliverPublication { process, publication } => {
                out.push(Output::DeliverPublication { process, publication });
            }
            From::CancelDelivery { process, message } => out.push(Output::CancelDelivery { process, message }),
            From::Warn { process, resource, measured, limit } => {
                out.push(Output::Warn { process, resource, measured, limit });
            }
            From::Probe { number, target: kernel::ProbeTarget::Node(NodeCheck::Network) } => {
                let answer = network_health(self.node, &self.discovery);
                self.tell_kernel(kernel::Input::ProbeAnswered { number, answer });
            }
            From::Probe { number, target } => out.push(Output::Probe { number, target }),
            From::Suspend { process } => out.push(Output::Suspend { process }),
            From::Resume { process } => out.push(Output::Resume { process }),
            From::Signal { process, signal, from } => out.push(Output::Signal { process, signal, from }),
            From::Stop { process, grace_us } => out.push(Output::Stop { process, grace_us }),
            From::Ticked { tick } => self.tell_replication(replication::Input::OwnTicked { tick }),
            From::FactsRecorded { ticket, first_seq: _ } => self.facts_recorded(ticket, out),
            From::FactsRefused { ticket, refusal } => self.facts_refused(ticket, refusal, out),
            From::LeaseUnused { agent, fence, refusal } => {
                self.tell_failover(failover::Input::Unused { agent, fence, refusal }, now, out);
            }
            From::Halt => {
                self.tell_replication(replication::Input::Halting);
                self.steps.push_back(Step::Halt);
            }
        }
    }

    fn follow(&mut self, subscriptions: Vec<(TopicPattern, u32)>, since: Hlc, out: &mut Vec<Output>) {
        let patterns = subscriptions.iter().map(|(pattern, _)| pattern.clone()).collect::<Vec<_>>();
        let wildcards = patterns.iter().any(TopicPattern::is_wildcard);
        let topics = patterns.iter().filter_map(TopicPattern::exact).collect();
        self.tell_discovery(discovery::Input::TopicsChanged { subscriptions });
        self.tell_replication(replication::Input::TopicsFollowed { patterns, since });
        out.push(Output::Follow { topics, wildcards });
    }

    fn announced(&mut self, group: Box<CommitGroup>, now: Timestamp, out: &mut Vec<Output>) {
        let Ok(commit) = group.signed.decode() else { return };
        self.look_for_rotation(&group);
        self.failover_announced(&group, now, out);
        self.tell_replication(replication::Input::OwnChainGrew { group, commit: Box::new(commit) });
        if self.kernel.state() == kernel::NodeState::ShuttingDown {
            self.tell_replication(replication::Input::Halting);
        }
    }

    /// The record of a rotation is on disk: what this node shows and what signs for it change before anything else is said.
    fn look_for_rotation(&mut self, group: &CommitGroup) {
        let last = group.events.last().filter(|event| Event::kind_of(event) == Some(KeyRotation::KIND));
        let Some(event) = last.and_then(|event| Event::decode(event).ok()) else { return };
        if let (Ok(Fact::KeyRotated(rotation)), Some(signer)) =
            (Fact::decode(&event.kind, &event.payload), self.next_signer.take())
        {
            self.tell_discovery(discovery::Input::OwnKeysRotated { rotation, signer, hlc: event.hlc });
        }
    }

    pub(crate) fn transmit(&mut self, to: NodeId, item: A2aItem) {
        if self.waits_for_link(&to) {
            return self.item_waits(to, item);
        }
        let Some(item) = self.item_for(to, item) else { return };
        if let Err(item) = self.links.push(to, item) {
            self.item_lost(to, &item);
        }
    }

    fn acknowledge(&mut self, to: NodeId, receipt: Box<Receipt>, now: Timestamp) {
        let receipt = Box::new(self.receipt_for(to, *receipt));
        let Some(receipt) = self.send_large_receipt(to, receipt, now) else { return };
        if let Err(receipt) = self.inbound.add(to, receipt) {
            self.transmit(to, A2aItem::Receipt(receipt));
        }
    }

    fn facts_recorded(&mut self, ticket: kernel::Ticket, out: &mut Vec<Output>) {
        match self.tickets.remove(&ticket) {
            Some(FactsOwner::Discovery(ticket)) => self.tell_discovery(discovery::Input::Recorded { ticket }),
            Some(FactsOwner::Asker(ask) | FactsOwner::Rotation(ask)) => {
                out.push(Output::Answer { ask, answer: Ok(Reply::Recorded) });
            }
            Some(FactsOwner::Settings(ask, config)) => {
                self.configure(*config);
                out.push(Output::Answer { ask, answer: Ok(Reply::Recorded) });
            }
            Some(FactsOwner::Change(ask, wanted)) => {
                self.take_back(&wanted, Hlc(u64::MAX));
                self.tell_replication(replication::Input::ChangeWanted(wanted));
                out.push(Output::Answer { ask, answer: Ok(Reply::Recorded) });
            }
            Some(FactsOwner::Prune(ask, rows)) => self.persist.add_pruned(ask, rows),
            Some(FactsOwner::Failover(ticket)) => {
                self.tell_failover(failover::Input::Recorded { ticket }, self.now, out);
            }
            Some(FactsOwner::Peer | FactsOwner::Vote) | None => {}
        }
    }

    fn facts_refused(&mut self, ticket: kernel::Ticket, refusal: Refusal, out: &mut Vec<Output>) {
        match self.tickets.remove(&ticket) {
            Some(FactsOwner::Discovery(ticket)) => {
                self.tell_discovery(discovery::Input::RecordRefused { ticket, refusal });
            }
            Some(FactsOwner::Vote) => self.tell_replication(replication::Input::VoteRefused),
            Some(FactsOwner::Failover(ticket)) => {
                self.tell_failover(failover::Input::NotRecorded { ticket, refusal }, self.now, out);
            }
            Some(FactsOwner::Rotation(ask)) => {
                self.next_signer = None;
                out.push(Output::Answer { ask, answer: Err(refusal) });
            }
            Some(
                FactsOwner::Asker(ask)
                | FactsOwner::Settings(ask, _)
                | FactsOwner::Change(ask, _)
                | FactsOwner::Prune(ask, _),
            ) => {
                out.push(Output::Answer { ask, answer: Err(refusal) });
            }
            Some(FactsOwner::Peer) | None => {}
        }
    }

    fn configure(&mut self, config: PeerConfig) {
        let PeerConfig { kernel, discovery, replication, rates } = config;
        self.rates.limit(rates);
        self.tell_kernel(kernel::Input::Configured { config: Box::new(kernel) });
        self.tell_discovery(discovery::Input::Configured { config: Box::new(discovery) });
        self.tell_replication(replication::Input::Configured { config: Box::new(replication) });
    }

    pub(crate) fn record(&mut self, owner: FactsOwner, by: Principal, action: Action, facts: Vec<Fact>) {
        let ticket = self.new_ticket(owner);
        self.tell_kernel(kernel::Input::FactsGiven { ticket, by, action, facts });
    }

    fn new_ticket(&mut self, owner: FactsOwner) -> kernel::Ticket {
        let ticket = kernel::Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, owner);
        ticket
    }

    fn discovery_asked(&mut self, output: discovery::Output, now: Timestamp, out: &mut Vec<Output>) {
        use discovery::Output as From;
        match output {
            From::LookUp { node } => out.push(Output::LookUp { node }),
            From::UseRelays { nodes } => out.push(Output::UseRelays { nodes }),
            From::SendSwim { to, packet } => out.push(Output::SendSwim { to, packet }),
            From::Dial { node, addresses } => out.push(Output::Dial { node, addresses }),
            From::KeepLinks { to } => out.push(Output::KeepLinks { to }),
            From::NotReached { node } => self.door_stays_closed(node, now, out),
            From::Disconnect { node } => out.push(Output::Disconnect { node }),
            From::RequestAdverts { to, held } => {
                let content = Request::Sync(SyncRequest::Adverts { held });
                self.request(to, content, Outbound::Adverts, out);
            }
            From::GossipAdvert(advert) => {
                self.reroute(now, out);
                out.push(Output::Gossip { topic: GossipTopic::Directory, content: Box::new(Gossip::Advert(*advert)) });
            }
            From::DirectoryChanged => {
                self.directory_changed();
                self.reroute(now, out);
            }
            From::Record { ticket, action, facts } => {
                self.record(FactsOwner::Discovery(ticket), Principal::Operator, record_action(action), facts);
            }
            From::Answer { ask, answer } => {
                out.push(Output::Answer { ask: AskId(ask.0), answer: answer.map(Reply::Discovery) });
            }
            From::AnswerJoin { ask, answer } => out.push(Output::AnswerJoin { ask: AskId(ask.0), answer }),
            From::PublishView(view) => {
                self.tell_kernel(admins_known(&self.discovery));
                self.tell_replication(admins_counted(&self.discovery));
                self.tell_kernel(members_known(self.node, &self.discovery));
                out.push(Output::PublishView(view));
            }
            From::LearnMember { keys } => self.tell_replication(replication::Input::MemberLearned { keys }),
            From::Quarantine { node } => self.tell_replication(replication::Input::MemberQuarantined { node }),
            From::ReportReachability { node, reachable } => self.reachability_changed(node, reachable, now, out),
            From::RememberAddresses { node, addresses } => {
                self.persist.add(Batch { addresses: vec![(node, addresses)], ..Batch::default() });
            }
        }
    }

    fn replication_asked(&mut self, output: replication::Output, out: &mut Vec<Output>) {
        use replication::Output as From;
        match output {
            From::Request { fetch, to, content } => {
                self.request(to, Request::Sync(content), Outbound::Fetch(fetch), out);
            }
            From::Respond { request, content } => out.push(respond(InboundId(request.0), *content)),
            From::ReadRange { request, chain, from_commit, bytes_max } => {
                out.push(Output::ReadRange { request: InboundId(request.0), chain, from_commit, bytes_max });
            }
            From::ReadCommit { chain, commit_no, other } => out.push(Output::ReadCommit { chain, commit_no, other }),
            From::Verify(job) => out.push(Output::Verify(job)),
            From::Store { chain, groups } => self.persist.add_foreign(chain, groups, self.now),
            From::Gossip(gossip) => {
                out.push(Output::Gossip { topic: GossipTopic::Heads, content: Box::new(Gossip::Head(*gossip)) });
            }
            From::Learn { chain, facts, hlc } => {
                if let Some(head) = self.replication.chain_state(&chain).and_then(ChainState::head) {
                    self.tell_kernel(kernel::Input::HeadStored { head: Box::new(head), hlc });
                }
                if chain != self.chain {
                    self.failover_learned(chain, &facts, self.now, out);
                }
                self.learned(chain.node, facts);
                if chain.node == self.node {
                    self.record_tails();
                }
            }
            From::PassPublication { publication, fetched } => {
                let from = publication.from.node;
                if let Some(role) = self.discovery.role_of(from) {
                    self.tell_kernel(kernel::Input::PublicationArrived { from, role, publication, fetched });
                }
            }
            From::TopicGathered { gather } => {
                self.tell_kernel(kernel::Input::Gathered { gather: kernel::GatherId(gather.0) });
            }
            From::Witnessed { message, vouching } => {
                self.tell_kernel(kernel::Input::Witnessed { message, vouching });
            }
            From::Anchor { chain } => self.tell_kernel(kernel::Input::AnchorWanted { chain }),
            From::ReportFork(evidence) => self.fork_reported(*evidence),
            From::ReadHashes { chain, commit_nos } => out.push(Output::ReadHashes { chain, commit_nos }),
            From::Tick { heads, horizon } => self.tell_kernel(kernel::Input::TickAsked { heads, horizon }),
            From::Vote(fact) => {
                self.failover_voted(&fact, self.now, out);
                self.record(FactsOwner::Vote, Principal::Operator, Action::Vote, vec![*fact]);
            }
            From::Withhold { ends } => self.tell_kernel(kernel::Input::Withheld { ends }),
            From::EpochBegan { counting: _, evicted } => {
                self.tell_discovery(discovery::Input::MembersEvicted { nodes: evicted });
            }
            From::Cut { chain, from_commit } => self.persist.add_cut(Cut { chain, from_commit }),
        }
    }

    fn fork_reported(&mut self, evidence: Evidence) {
        let Ok(verdict) = replication::claimed_verdict(&evidence) else { return };
        let node = verdict.chain.node;
        self.tell_kernel(kernel::Input::ChainForked { chain: verdict.chain });
        let fork = ForkSeen {
            chain: verdict.chain,
            commit_no: verdict.commit_no,
            first: evidence.first.hash(),
            second: evidence.second.hash(),
        };
        self.persist.add(Batch { evidence: vec![evidence], ..Batch::default() });
        self.record(FactsOwner::Peer, Principal::Operator, Action::RecordFork { node }, vec![Fact::ForkSeen(fork)]);
        self.tell_discovery(discovery::Input::ForkProven { node });
    }
}

fn respond(request: InboundId, content: SyncResponse) -> Output {
    Output::Respond { request, content: Response::Sync(content) }
}

/// What a subscription wants of the past, in replication's words.
fn want(what: kernel::Gather) -> replication::TopicWant {
    match what {
        kernel::Gather::Nothing => replication::TopicWant::Nothing,
        kernel::Gather::Since(hlc) => replication::TopicWant::Since(hlc),
        kernel::Gather::Last(count) => replication::TopicWant::Last(count),
        kernel::Gather::Beyond { bases, otherwise } => {
            replication::TopicWant::Beyond { bases: bases.into_iter().collect(), otherwise }
        }
    }
}

const fn record_action(action: discovery::RecordAction) -> Action {
    match action {
        discovery::RecordAction::Invite { role } => Action::Invite { role },
        discovery::RecordAction::RevokeInvite => Action::RevokeInvite,
        discovery::RecordAction::Admit { node } | discovery::RecordAction::Renew { node } => Action::Admit { node },
    }
}

#[cfg(test)]
mod tests;
