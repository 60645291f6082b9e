//! One kernel with a disk of its own: inputs in, outputs as short lines, crashes and restarts at will.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weft_kernel::{
    Answer, AskId, Delivery, Gates, GatherId, Input, Kernel, KernelConfig, KernelIdentity, Output, Route, Syscall,
    genesis_rules,
};
use weft_protocol::{
    AgentName, AgentSpec, Backend, Batch, BuiltinKind, ChainId, ChainState, ClusterId, CommitGroup, DeadLetter,
    Envelope, Fact, Hlc, Incarnation, KeyPair, Level, LocalTarget, LoggedPublication, MessageId, MessageRecord, NodeId,
    OutboxEntry, Outcome, PartsTaken, Payload, PlacedFact, PlacedMessage, Principal, ProcessId, Publication, Receipt,
    Recovered, RecoveredChain, Refusal, Reserved, Signer, Stage, Timestamp, TopicPattern, hash,
};

/// When every test begins: 2024-01-01 00:00 UTC.
pub(crate) const START: Timestamp = Timestamp(1_704_067_200_000_000);

/// What a real disk would hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) groups: Vec<CommitGroup>,
    pub(crate) records: Vec<MessageRecord>,
    pub(crate) outbox: BTreeMap<MessageId, OutboxEntry>,
    pub(crate) bodies: BTreeMap<weft_protocol::Digest, Vec<u8>>,
    pub(crate) reserved: Reserved,
    pub(crate) topics: BTreeMap<Hlc, LoggedPublication>,
    pub(crate) dead_letters: BTreeMap<MessageId, DeadLetter>,
}

impl Disk {
    pub(crate) fn write(&mut self, batch: &Batch) {
        self.groups.extend(batch.groups.iter().map(|(_, group)| group.clone()));
        self.records
            .extend(batch.digests.iter().flat_map(|row| row.records.records(row.chain).expect("leaves of its own")));
        self.bodies.extend(batch.bodies.iter().map(|(address, body)| (*address, body.to_vec())));
        self.outbox.extend(batch.outbox_put.iter().map(|entry| (entry.envelope.id, entry.clone())));
        batch.outbox_drop.iter().for_each(|message| drop(self.outbox.remove(message)));
        self.reserved = batch.reserved.unwrap_or(self.reserved);
        self.topics.extend(batch.topic_put.iter().map(|entry| (entry.place, entry.clone())));
        batch.topic_drop.iter().for_each(|place| drop(self.topics.remove(place)));
        self.dead_letters.extend(batch.dead_put.iter().map(|letter| (letter.envelope.id, letter.clone())));
        batch.dead_drop.iter().for_each(|message| drop(self.dead_letters.remove(message)));
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) signer: Arc<KeyPair>,
    pub(crate) config: KernelConfig,
    pub(crate) kernel: Kernel,
    pub(crate) disk: Disk,
    pub(crate) now: Timestamp,
    /// The batch that is being written.
    pub(crate) writing: Option<Box<Batch>>,
    /// What the kernel itself asked and was not given back yet.
    pub(crate) own: VecDeque<Input>,
    /// Chains that it wrote before, on the same disk.
    pub(crate) earlier: Vec<RecoveredChain>,
    /// Steps of durable messages on those.
    pub(crate) earlier_messages: Vec<PlacedMessage>,
    /// How the next start begins.
    pub(crate) next: NextStart,
}

/// What a start is told besides what is on the disk.
#[derive(Debug, Clone)]
pub(crate) struct NextStart {
    pub(crate) incarnation: Incarnation,
    pub(crate) held: bool,
    pub(crate) skip_numbers: bool,
}

impl Default for NextStart {
    fn default() -> Self {
        Self { incarnation: Incarnation(7), held: false, skip_numbers: false }
    }
}

impl Node {
    /// A node that has never run, not even booted.
    pub(crate) fn unborn(name: &'static str, config: KernelConfig) -> Self {
        let signer = Arc::new(KeyPair::generate(*hash("test-key", &[name.as_bytes()]).as_bytes()));
        let next = NextStart::default();
        let kernel = make(name, &(signer.clone() as _), &config, &Recovered::default(), &next, START);
        let (disk, own) = (Disk::default(), VecDeque::new());
        Self {
            name,
            signer,
            config,
            kernel,
            disk,
            now: START,
            writing: None,
            own,
            earlier: Vec::new(),
            earlier_messages: Vec::new(),
            next,
        }
    }

    /// A node that runs, with nothing on its way.
    pub(crate) fn new(name: &'static str) -> Self {
        let mut node = Self::unborn(name, at_once());
        node.run(Input::Woken);
        node
    }

    /// A node with running built-in agents of these names.
    pub(crate) fn with_agents(name: &'static str, agents: &[&str]) -> Self {
        let mut node = Self::new(name);
        for agent in agents {
            node.start_agent(echo(agent));
        }
        node
    }

    pub(crate) fn start_agent(&mut self, spec: AgentSpec) -> Principal {
        let agent = spec.agent.clone();
        let asked = self.asked(900, Syscall::Spawn { spec: Box::new(spec) });
        self.run(asked);
        let process = self.kernel.agent(&agent).expect("spawned");
        self.run(Input::AgentStarted { process, pid: None });
        Principal::Agent { agent, process }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.signer.public_keys().node()
    }

    pub(crate) fn chain(&self) -> ChainId {
        ChainId { node: self.id(), incarnation: self.next.incarnation }
    }

    pub(crate) fn asked(&self, ask: u64, syscall: Syscall) -> Input {
        Input::Asked { ask: AskId(ask), by: Principal::Operator, syscall: Box::new(syscall), route: Route::Local }
    }

    /// One input, exactly what comes of it, the disk still writing.
    pub(crate) fn give(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.kernel.handle(input, self.now, &mut outputs);
        for output in &outputs {
            match output {
                Output::Persist(batch) => {
                    assert!(self.writing.replace(batch.clone()).is_none(), "two batches at once");
                }
                Output::Ask { ask, by, syscall } => {
                    let (ask, by, syscall) = (*ask, by.clone(), syscall.clone());
                    let route = self.route(&syscall);
                    self.own.push_back(Input::Asked { ask, by, syscall, route });
                }
                _ => {}
            }
        }
        outputs
    }

    /// As a peer with an empty directory routes.
    fn route(&self, syscall: &Syscall) -> Route {
        match syscall {
            Syscall::Send { target, .. } => match &target.local {
                LocalTarget::Agent(agent) if !self.kernel.has_agent(agent) => {
                    Route::nowhere(Refusal::NoResponder { target: target.to_string() })
                }
                _ => Route::Local,
            },
            _ => Route::Local,
        }
    }

    /// The disk is done.
    pub(crate) fn persist(&mut self) -> Vec<Output> {
        let batch = self.writing.take().expect("nothing is being written");
        self.disk.write(&batch);
        self.give(Input::Persisted)
    }

    /// One input and everything that comes of it until nothing is written any more; no member has any history.
    pub(crate) fn run(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = self.give(input);
        let mut seen = 0;
        loop {
            let gathers = outputs[seen..].iter().filter_map(gather_of).collect::<Vec<_>>();
            seen = outputs.len();
            for gather in gathers {
                outputs.extend(self.give(Input::Gathered { gather }));
            }
            if self.writing.is_some() {
                outputs.extend(self.persist());
            } else if let Some(input) = self.own.pop_front() {
                outputs.extend(self.give(input));
            } else {
                return outputs;
            }
        }
    }

    /// Time passes; whatever is due happens.
    pub(crate) fn pass(&mut self, duration_us: u64) -> Vec<Output> {
        let until = self.now.after_us(duration_us);
        let mut outputs = Vec::new();
        while let Some(at) = self.kernel.next_wakeup().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            outputs.extend(self.run(Input::Woken));
        }
        self.now = until;
        outputs
    }

    pub(crate) fn recovered(&self) -> Recovered {
        let mut state = ChainState::new(self.chain(), cluster(), self.signer.public_keys().clone());
        let (mut facts, mut messages) = (Vec::new(), self.earlier_messages.clone());
        for group in &self.disk.groups {
            let checked = state.extend(group).expect("the chain verifies");
            for (event, leaf) in checked.events.iter().zip(checked.leaves) {
                let seq = event.seq;
                match Fact::decode(&event.kind, &event.payload).expect("a fact") {
                    Fact::Message(record) => {
                        if matches!(record.stage, Stage::Received | Stage::Answered | Stage::Refused) {
                            messages.push(PlacedMessage { chain: self.chain(), seq, leaf, record: *record });
                        }
                    }
                    Fact::Batch(_) | Fact::Opaque { .. } => {}
                    fact => facts.push(PlacedFact { seq, hlc: event.hlc, fact }),
                }
            }
        }
        let mut chains = self.earlier.clone();
        chains.extend((state.size() > 0).then_some(RecoveredChain { state, facts, anchors: Vec::new() }));
        let outbox = self.disk.outbox.values().cloned().collect();
        let topic_log = self.disk.topics.values().cloned().collect();
        let dead_letters = self.disk.dead_letters.values().cloned().collect();
        let reserved = self.disk.reserved;
        let own = self.id();
        let received = self.disk.records.iter().filter(|record| record.stage == Stage::Received);
        let let_in = received.map(|record| record.message).filter(|message| message.chain.node != own).collect();
        let let_in = vec![(self.chain(), let_in)];
        Recovered { chains, reserved, outbox, messages, let_in, topic_log, dead_letters, ..Recovered::default() }
    }

    /// The process is killed, with what was being written lost, and started again; not yet booted.
    pub(crate) fn crash(&mut self) {
        self.writing = None;
        self.own.clear();
        let signer = self.signer.clone() as _;
        self.kernel = make(self.name, &signer, &self.config, &self.recovered(), &self.next, self.now);
    }

    /// It is killed, and its next start begins a new chain beside the one it has.
    pub(crate) fn crash_into_new_chain(&mut self, incarnation: u64) {
        let recovered = self.recovered();
        (self.earlier, self.earlier_messages) = (recovered.chains, recovered.messages);
        self.disk.groups.clear();
        self.next.incarnation = Incarnation(incarnation);
        self.crash();
    }

    /// All facts on disk, with their sources, as `kind` words.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let events = self.disk.groups.iter().flat_map(|group| &group.events);
        events.map(|bytes| weft_protocol::Event::decode(bytes).expect("an event").kind).collect()
    }

    /// All facts on disk.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let events = self.disk.groups.iter().flat_map(|group| &group.events);
        let events = events.map(|bytes| weft_protocol::Event::decode(bytes).expect("an event"));
        events.map(|event| Fact::decode(&event.kind, &event.payload).expect("a fact")).collect()
    }

    /// All steps of plain messages on disk: stage, message, rule.
    pub(crate) fn steps(&self) -> Vec<String> {
        self.disk.records.iter().map(show_record).collect()
    }
}

/// Bounds under which every step is written at once: what waits for what shows best so.
pub(crate) fn at_once() -> KernelConfig {
    KernelConfig { records_linger_us: 0, ..KernelConfig::default() }
}

/// A kernel that never ran, with this signer.
pub(crate) fn kernel_signed_by(signer: Arc<dyn Signer>, config: &KernelConfig) -> Kernel {
    make("alpha", &signer, config, &Recovered::default(), &NextStart::default(), START)
}

fn make(
    name: &'static str,
    signer: &Arc<dyn Signer>,
    config: &KernelConfig,
    recovered: &Recovered,
    next: &NextStart,
    now: Timestamp,
) -> Kernel {
    let node = signer.public_keys().node();
    let governance_hash = hash("rules", &[&genesis_rules()]);
    let identity = KernelIdentity {
        name: name.parse().expect("a name"),
        chain: ChainId { node, incarnation: next.incarnation },
        cluster: cluster(),
        charter: None,
        governance_hash,
        build: "test".to_owned(),
        founding: Vec::new(),
        previous: recovered.chains_of(node).last().and_then(|chain| chain.state.head()),
        skip_numbers: next.skip_numbers,
        held: next.held,
    };
    let gates = Gates::new(node, &genesis_rules(), &governance_hash).expect("the genesis rules");
    Kernel::new(config.clone(), identity, gates, recovered, signer.clone(), 1, now)
}

fn cluster() -> ClusterId {
    ClusterId::from_bytes([3; 32])
}

pub(crate) fn echo(name: &str) -> AgentSpec {
    AgentSpec::new(name.parse().expect("a name"), Backend::Builtin(BuiltinKind::Echo))
}

/// What an echo does with what it is handed.
pub(crate) fn echoed(process: ProcessId, delivery: Delivery) -> Input {
    Input::AgentAnswered { process, message: delivery.message, answer: Ok(Some(delivery.payload)) }
}

pub(crate) fn granted(name: &str, grants: &[&str]) -> AgentSpec {
    AgentSpec { grants: grants.iter().map(|grant| grant.parse().expect("a grant")).collect(), ..echo(name) }
}

pub(crate) fn name(name: &str) -> AgentName {
    name.parse().expect("a name")
}

pub(crate) fn text(text: &str) -> Payload {
    Payload::Text(text.to_owned())
}

/// A call or send with a deadline of 5 s.
pub(crate) fn message(target: &str, words: &str, level: &str) -> Syscall {
    let level: Level = level.parse().expect("a level");
    Syscall::Send {
        target: target.parse().expect("a target"),
        payload: text(words),
        wants_reply: level.delivery == weft_protocol::Delivery::Executed,
        level,
        deadline_us: 5_000_000,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    }
}

/// The same call by somebody who takes parts of its answer.
pub(crate) fn in_parts(call: Syscall) -> Syscall {
    let Syscall::Send { target, payload, wants_reply, level, deadline_us, trace, cause, idempotent, .. } = call else {
        panic!("{call:?}")
    };
    Syscall::Send { target, payload, wants_reply, level, deadline_us, trace, cause, idempotent, parts: true }
}

/// The first envelope that is transmitted.
pub(crate) fn transmitted(outputs: &[Output]) -> Envelope {
    let envelope = outputs.iter().find_map(|output| match output {
        Output::Transmit { envelope, .. } => Some((**envelope).clone()),
        _ => None,
    });
    envelope.unwrap_or_else(|| panic!("nothing is transmitted: {:?}", lines(outputs)))
}

/// The first receipt that is given to another node.
pub(crate) fn acknowledged(outputs: &[Output]) -> Receipt {
    let receipt = outputs.iter().find_map(|output| match output {
        Output::Acknowledge { receipt, .. } => Some((**receipt).clone()),
        _ => None,
    });
    receipt.unwrap_or_else(|| panic!("nothing is acknowledged: {:?}", lines(outputs)))
}

/// Each output as one line.
pub(crate) fn lines(outputs: &[Output]) -> Vec<String> {
    outputs.iter().map(show).collect()
}

/// The same without what every commit brings along.
pub(crate) fn effects(outputs: &[Output]) -> Vec<String> {
    let plain = outputs.iter().filter(|output| !matches!(output, Output::Persist(_) | Output::Announce(_)));
    plain.map(show).collect()
}

fn gather_of(output: &Output) -> Option<GatherId> {
    match output {
        Output::Gather { gather, .. } => Some(*gather),
        _ => None,
    }
}

fn show(output: &Output) -> String {
    match output {
        Output::Persist(batch) => show_batch(batch),
        Output::Announce(group) => format!("announce {}", kinds_of(group)),
        Output::Answer { ask, answer } => format!("answer {} {}", ask.0, show_answer(answer)),
        Output::Probe { number, target } => format!("probe {number} {target:?}"),
        Output::Ask { by, .. } => format!("ask as {by}"),
        Output::Transmit { envelope, .. } => {
            format!("transmit m{} to {} {}", envelope.id.counter, envelope.target, show_payload(&envelope.payload))
        }
        Output::Acknowledge { receipt, .. } => format!("acknowledge {}", show_receipt(receipt)),
        Output::SeekWitnesses { message, places, members, .. } => {
            let places = places.iter().map(|(_, size)| size.to_string()).collect::<Vec<_>>().join(" and ");
            format!("seek {members} witnesses of m{} for {places}", message.counter)
        }
        Output::SeekNoWitnesses { message } => format!("seek no witnesses of m{}", message.counter),
        Output::AnswerPart { ask, number, payload } => format!("part {number} to {} {}", ask.0, show_payload(payload)),
        Output::SendPart { part, .. } => {
            format!("send part {} of m{} {}", part.number, part.message.counter, show_payload(&part.payload))
        }
        Output::SayPartsTaken { taken, .. } => match taken.count {
            PartsTaken::NO_MORE => format!("want no more parts of m{}", taken.message.counter),
            count => format!("took {count} parts of m{}", taken.message.counter),
        },
        Output::Cancel { message, .. } => format!("cancel m{}", message.counter),
        Output::Publish(publication) => format!("publish {}", show_publication(publication)),
        Output::Follow { subscriptions, .. } => {
            let show = |(pattern, count): &(TopicPattern, u32)| match count {
                1 => pattern.to_string(),
                count => format!("{pattern}x{count}"),
            };
            format!("follow [{}]", subscriptions.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Output::Gather { pattern, what, .. } => format!("gather {pattern} {what:?}"),
        Output::Advertise { agents } => {
            let agents = agents.iter().map(|(agent, process)| format!("{agent}{process}"));
            format!("advertise [{}]", agents.collect::<Vec<_>>().join(" "))
        }
        Output::Notify { ask, publication, .. } => format!("notify {} {}", ask.0, show_publication(publication)),
        Output::AdvertiseServices { services } => {
            let services =
                services.iter().map(|service| format!("{}:{} {}", service.service, service.agent, service.load));
            format!("advertise-services [{}]", services.collect::<Vec<_>>().join(" "))
        }
        Output::Start { process, spec } => format!("start {}{process}", spec.agent),
        Output::Deliver { process, delivery } => {
            format!("deliver m{} to {process} {}", delivery.message.counter, show_payload(&delivery.payload))
        }
        Output::DeliverPublication { process, publication } => {
            format!("deliver-publication {process} {}", show_publication(publication))
        }
        Output::CancelDelivery { process, message } => format!("cancel-delivery m{} of {process}", message.counter),
        Output::Warn { process, resource, measured, limit } => {
            format!("warn {process} {resource} {measured} of {limit}")
        }
        Output::Suspend { process } => format!("suspend {process}"),
        Output::Resume { process } => format!("resume {process}"),
        Output::Signal { process, signal, .. } => format!("signal {process} {signal}"),
        Output::Stop { process, .. } => format!("stop {process}"),
        Output::Ticked { tick } => match tick.as_deref().map(|tick| tick.peek().expect("our own")) {
            Some(tick) => format!("ticked {} until {} horizon {}", tick.last.commit_no, tick.hlc, tick.horizon),
            None => "not ticked".to_owned(),
        },
        Output::FactsRecorded { ticket, first_seq } => format!("facts-recorded {} at {first_seq}", ticket.0),
        Output::FactsRefused { ticket, refusal } => format!("facts-refused {} {refusal}", ticket.0),
        Output::LeaseUnused { agent, fence, refusal } => format!("lease-unused {agent} {fence} {refusal}"),
        Output::Halt => "halt".to_owned(),
    }
}

fn show_batch(batch: &Batch) -> String {
    let mut words = vec!["persist".to_owned()];
    words.extend(batch.groups.iter().map(|(_, group)| kinds_of(group)));
    words.extend(
        batch
            .digests
            .iter()
            .flat_map(|row| row.records.records(row.chain).expect("leaves of its own"))
            .map(|record| format!("({})", show_record(&record))),
    );
    words.extend(batch.outbox_put.iter().map(|entry| format!("+m{}", entry.envelope.id.counter)));
    words.extend(batch.outbox_drop.iter().map(|message| format!("-m{}", message.counter)));
    words.extend(batch.reserved.map(|_| "reserved".to_owned()));
    words.join(" ")
}

fn kinds_of(group: &CommitGroup) -> String {
    let kinds = group.events.iter().map(|bytes| weft_protocol::Event::decode(bytes).expect("an event").kind);
    let seal = if group.signed.is_checkpoint() { "!" } else { "" };
    format!("[{}]{seal}", kinds.collect::<Vec<_>>().join(" "))
}

fn show_record(record: &MessageRecord) -> String {
    let stage = format!("{:?}", record.stage).to_lowercase();
    format!("{stage} m{} {}", record.message.counter, record.rule.split(' ').next().unwrap_or_default())
}

fn show_answer(answer: &Result<Answer, Refusal>) -> String {
    match answer {
        Ok(Answer::Sent(report)) => {
            let reply = report.reply.as_ref().map_or_else(String::new, |reply| format!(" {}", show_payload(reply)));
            let record = report.record.as_ref().map_or_else(String::new, |record| format!(" own#{}", record.seq));
            let remote =
                report.remote_record.as_ref().map_or_else(String::new, |record| format!(" its#{}", record.seq));
            let delivered = report.delivered.map_or_else(String::new, |count| format!(" to {count}"));
            format!("sent m{} {}{reply}{delivered}{record}{remote}", report.id.counter, report.level)
        }
        Ok(Answer::Published { seq, delivered, .. }) => format!("published {seq} to {delivered}"),
        Ok(Answer::ShuttingDown { stopped }) => {
            let stopped = stopped.iter().map(|(agent, process)| format!("{agent}{process}")).collect::<Vec<_>>();
            format!("shutting-down [{}]", stopped.join(" "))
        }
        Ok(Answer::Decided { deferral, .. }) => format!("decided {deferral}"),
        Ok(answer) => format!("{answer:?}"),
        Err(refusal) => format!("{}: {refusal}", refusal.code()),
    }
}

fn show_receipt(receipt: &Receipt) -> String {
    let outcome = match &receipt.outcome {
        Outcome::Received => "received".to_owned(),
        Outcome::Executed { reply } => format!("executed {}", reply.as_ref().map_or_else(String::new, show_payload)),
        Outcome::Refused(refusal) => format!("{}: {refusal}", refusal.code()),
        Outcome::Delivered { count } => format!("delivered {count}"),
    };
    let record = receipt.record.as_ref().map_or_else(String::new, |record| format!(" #{}", record.seq));
    let parts = receipt.parts.map_or_else(String::new, |parts| format!(" behind {} parts", parts.count));
    format!("m{} {outcome}{record}{parts}", receipt.message.counter)
}

fn show_payload(payload: &Payload) -> String {
    match payload {
        Payload::Text(text) if text.len() <= 40 => format!("`{text}`"),
        payload => format!("{} bytes", payload.size()),
    }
}

fn show_publication(publication: &Publication) -> String {
    format!("{}/{} {}", publication.topic, publication.seq, show_payload(&publication.payload))
}
