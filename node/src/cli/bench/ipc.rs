//! Messages between two built-in agents of one node: inside the kernel alone, and through the event loop of a whole node with
//! its chain and its store, sent by an agent in the loop and by a task at its door; afterwards leaves of the run, drawn at
//! random, are proven against the chain.

use std::collections::{BTreeSet, VecDeque};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use weft_kernel::{
    Answer, AskId, Gates, Input, Kernel, KernelConfig, KernelIdentity, Output, Route, Syscall, genesis_rules,
};
use weft_peer::{Question, Reply};
use weft_protocol::{
    AgentName, AgentSpec, Backend, Blake3, BuiltinKind, ChainId, ClusterId, Delivery, Durability, Event, Fact, Hlc,
    Incarnation, KeyPair, Level, MessageId, Payload, Principal, Recovered, Refusal, Signer as _, Timestamp, TraceId,
    hash, inclusion_root,
};
use weft_storage::Store;

use super::{Figure, failed, median, per_second};
use crate::ask::Asker;
use crate::boot::Boot;
use crate::cli::CliError;
use crate::config::{Flags, Live};
use crate::home::{Home, HomeDir};
use crate::run::{keys_of, shut_down, start};

/// Bytes of one message.
const BODY_BYTES: usize = 64;
/// Messages inside the kernel that are measured, in bursts of as many as one commit held in the loop.
const KERNEL_MESSAGES: u64 = 200_000;
/// Messages through the event loop, of the agent and of the task, and how many of the task are on their way at once: a little
/// less than wait for the loop at most.
const AGENT_MESSAGES: usize = 300_000;
const MESSAGES: usize = 100_000;
const IN_FLIGHT: usize = 1_000;
/// Leaves that are proven at the end.
const PROVEN: usize = 100;

/// Measures in `folder`.
pub(super) async fn measure(folder: &Path) -> Result<Vec<Figure>, CliError> {
    let Loop { per_s, door_per_s, traces, chain } = through_the_loop(&folder.join("alpha")).await?;
    let store = folder.join("alpha").join("store.redb");
    let audited = tokio::task::spawn_blocking(move || audit(&store, chain, &traces)).await;
    let Audited { leaves, commits, proven } = audited.map_err(|error| failed("audit", &error))??;
    let burst = ((AGENT_MESSAGES + MESSAGES) as u64 / commits.max(1)).clamp(1, KERNEL_MESSAGES);
    let kernel = tokio::task::spawn_blocking(move || kernel_alone(burst)).await;
    let kernel_ns = kernel.map_err(|error| failed("kernel", &error))??;
    let (channel_ns, channel_per_s) = raw_channel().await?;
    let channel = "raw tokio mpsc channel of 1,024, 64 B, one task to another";
    #[expect(clippy::cast_precision_loss, reason = "counts of one run fit a double")]
    let (leaves, proven, messages, asked) =
        (leaves as f64, proven as f64, (AGENT_MESSAGES + MESSAGES) as f64, PROVEN as f64);
    #[expect(clippy::cast_precision_loss, reason = "counts of one run fit a double")]
    let (commits, burst) = (commits as f64, burst as f64);
    Ok(vec![
        Figure::new("ipc_send_ns", "ns", kernel_ns, channel, channel_ns),
        Figure::new("ipc_loop_messages_per_s", "messages/s", per_s, channel, channel_per_s),
        Figure::new("ipc_door_messages_per_s", "messages/s", door_per_s, channel, channel_per_s),
        Figure::new("ipc_leaves", "leaves", leaves, "messages sent through the loop", messages),
        Figure::new(
            "ipc_commits",
            "commits with leaves",
            commits,
            "messages of one, and of a burst in the kernel",
            burst,
        ),
        Figure::new("ipc_leaves_proven", "leaves", proven, "drawn at random", asked),
    ])
}

fn sent(body: &str, trace: Option<TraceId>) -> Result<Syscall, CliError> {
    Ok(Syscall::Send {
        target: "sink".parse()?,
        payload: Payload::Text(body.to_owned()),
        wants_reply: false,
        level: Level { delivery: Delivery::Received, durability: Durability::None },
        deadline_us: 10_000_000,
        trace,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    })
}

fn spec(name: &str, kind: BuiltinKind, grants: &[&str]) -> Result<AgentSpec, CliError> {
    let grants = grants.iter().map(|grant| grant.parse()).collect::<Result<_, _>>()?;
    Ok(AgentSpec { grants, ..AgentSpec::new(name.parse()?, Backend::Builtin(kind)) })
}

fn sink_and_source() -> Result<[AgentSpec; 2], CliError> {
    Ok([spec("sink", BuiltinKind::Echo, &[])?, spec("source", BuiltinKind::Load, &["send:sink"])?])
}

// The kernel alone.

/// A kernel whose disk is done when it is told so.
struct Alone {
    kernel: Kernel,
    now: Timestamp,
    inputs: VecDeque<Input>,
    outputs: Vec<Output>,
    writing: bool,
}

impl Alone {
    fn new() -> Result<Self, CliError> {
        let keys = KeyPair::generate([7; 32]);
        let node = keys.public_keys().node();
        let rules = genesis_rules();
        let governance_hash = hash("rules", &[&rules]);
        let gates = Gates::new(node, &rules, &governance_hash).map_err(|error| failed("gate", &error))?;
        let identity = KernelIdentity {
            name: "bench".parse()?,
            chain: ChainId { node, incarnation: Incarnation(1) },
            cluster: ClusterId::from_bytes([3; 32]),
            charter: None,
            governance_hash,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            founding: Vec::new(),
            previous: None,
            skip_numbers: false,
            held: false,
        };
        let now = crate::clock::wall();
        let config = KernelConfig::default();
        let kernel = Kernel::new(config, identity, gates, &Recovered::default(), Arc::new(keys), 1, now);
        Ok(Self { kernel, now, inputs: VecDeque::from([Input::Woken]), outputs: Vec::new(), writing: false })
    }

    /// Everything that comes of the inputs but the end of a write.
    fn run(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.kernel.handle(input, self.now, &mut self.outputs);
            for output in self.outputs.drain(..) {
                match output {
                    Output::Persist(batch) => {
                        black_box(&batch);
                        self.writing = true;
                    }
                    Output::Start { process, .. } => self.inputs.push_back(Input::AgentStarted { process, pid: None }),
                    Output::Deliver { process, delivery } => {
                        let (message, answer) = (delivery.message, Ok(Some(delivery.payload)));
                        self.inputs.push_back(Input::AgentAnswered { process, message, answer });
                    }
                    other => {
                        black_box(&other);
                    }
                }
            }
        }
    }

    /// The same, until nothing is being written any more.
    fn settle(&mut self) {
        self.run();
        while std::mem::take(&mut self.writing) {
            self.inputs.push_back(Input::Persisted);
            self.run();
        }
    }

    fn ask(&mut self, number: u64, by: Principal, syscall: Syscall) {
        let ask = AskId(number);
        self.inputs.push_back(Input::Asked { ask, by, syscall: Box::new(syscall), route: Route::Local });
        self.run();
    }
}

/// Nanoseconds of one message with all that belongs to it: gate, grant, mailbox, hand-over, its end, its leaves and its share
/// of the commits.
fn kernel_alone(burst: u64) -> Result<f64, CliError> {
    let mut alone = Alone::new()?;
    alone.settle();
    for (number, spec) in (1..).zip(sink_and_source()?) {
        alone.ask(number, Principal::Operator, Syscall::Spawn { spec: Box::new(spec) });
        alone.settle();
    }
    let agent: AgentName = "source".parse()?;
    let process = alone.kernel.agent(&agent).ok_or_else(|| failed("kernel", &"the agent did not start"))?;
    let by = Principal::Agent { agent, process };
    let (mut number, body) = (2, "x".repeat(BODY_BYTES));
    let mut times = Vec::new();
    for _ in 0..KERNEL_MESSAGES / burst {
        // Making a message is its sender's work.
        let syscalls = (0..burst).map(|_| sent(&body, None)).collect::<Result<Vec<_>, _>>()?;
        let begin = Instant::now();
        for syscall in syscalls {
            number += 1;
            alone.now = alone.now.after_us(1);
            alone.ask(number, by.clone(), syscall);
        }
        alone.settle();
        times.push(super::micros(begin) * 1_000.0 / f64::from(u32::try_from(burst).unwrap_or(u32::MAX)));
    }
    Ok(median(&mut times))
}

// A whole node.

/// What became of messages through the event loop.
struct Loop {
    /// Of those that the built-in agent sent.
    per_s: f64,
    /// Of those that a task sent in its name, each through the door that other programs use as well.
    door_per_s: f64,
    /// The conversations they began.
    traces: Vec<TraceId>,
    chain: ChainId,
}

async fn through_the_loop(home: &Path) -> Result<Loop, CliError> {
    let home = Home::open(HomeDir::new(home)?)?.with_state_in(home);
    let mut config = crate::config::load(&home, &Flags::default())?;
    config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
    config.name = Some("alpha".parse()?);
    config.mdns = false;
    let keys = keys_of(&home, &config)?;
    let live = Live::new(HomeDir::new(home.path())?, Flags::default(), None, config);
    let running = start(home, live, keys, Boot::new()).await?;
    let asker = running.asker.clone();
    for spec in sink_and_source()? {
        let spawn = Question::Kernel(Box::new(Syscall::Spawn { spec: Box::new(spec) }));
        asker.ask(Principal::Operator, spawn).await.map_err(|refusal| CliError::from(&refusal))?;
    }
    let agent: AgentName = "source".parse()?;
    let name = agent.clone();
    let found = asker.read(move |peer| (peer.kernel().agent(&name), peer.kernel().chain_state().chain())).await;
    let (process, chain) = found.map_err(|refusal| CliError::from(&refusal))?;
    let process = process.ok_or_else(|| failed("node", &"the agent did not start"))?;
    let by = Principal::Agent { agent, process };

    let (per_s, first) = by_the_agent(&asker).await?;
    let body = "x".repeat(BODY_BYTES);
    let mut traces = Vec::with_capacity(MESSAGES);
    let mut on_their_way = FuturesUnordered::new();
    let begin = Instant::now();
    for _ in 0..IN_FLIGHT {
        on_their_way.push(send(&asker, by.clone(), sent(&body, None)?));
    }
    while traces.len() < MESSAGES {
        let Some(trace) = on_their_way.next().await else { break };
        traces.push(trace.map_err(|refusal| CliError::from(&refusal))?);
        if traces.len() + on_their_way.len() < MESSAGES {
            on_their_way.push(send(&asker, by.clone(), sent(&body, None)?));
        }
    }
    let door_per_s = per_second(traces.len(), begin);
    drop(on_their_way);
    shut_down(&asker).await.map_err(|refusal| CliError::from(&refusal))?;
    running.ended().await?;
    traces.extend(first);
    Ok(Loop { per_s, door_per_s, traces, chain })
}

/// Tells the built-in agent to send; returns its messages per second, by this task's clock, and the conversations they began.
async fn by_the_agent(asker: &Asker) -> Result<(f64, Vec<TraceId>), CliError> {
    let order = format!(r#"{{"to":"sink","messages":{AGENT_MESSAGES},"bytes":{BODY_BYTES}}}"#);
    let syscall = Syscall::Send {
        target: "source".parse()?,
        payload: Payload::Json(order),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability: Durability::None },
        deadline_us: 60_000_000,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    };
    let begin = Instant::now();
    let answer = asker.ask(Principal::Operator, Question::Kernel(Box::new(syscall))).await;
    let per_s = per_second(AGENT_MESSAGES, begin);
    let report = match answer.map_err(|refusal| CliError::from(&refusal))? {
        Reply::Kernel(Answer::Sent(report)) => report,
        other => return Err(failed("load", &format!("not a report: {other:?}"))),
    };
    match report.reply {
        Some(Payload::Json(report)) if report.starts_with(&format!(r#"{{"sent":{AGENT_MESSAGES},"refused":{{}},"#)) => {
        }
        other => return Err(failed("load", &format!("not all was sent: {other:?}"))),
    }
    // The numbers after that of the order; a leaf that is not there is found out when it is to be proven.
    let numbers = (1..).take(AGENT_MESSAGES).map(|place| report.id.counter + place);
    let traces = numbers.map(|counter| MessageId { counter, ..report.id }.new_trace()).collect();
    Ok((per_s, traces))
}

/// One message; what is told to come again comes again.
async fn send(asker: &Asker, by: Principal, syscall: Syscall) -> Result<TraceId, Refusal> {
    loop {
        match asker.ask(by.clone(), Question::Kernel(Box::new(syscall.clone()))).await {
            Ok(Reply::Kernel(Answer::Sent(report))) => return Ok(report.trace),
            Ok(other) => return Err(Refusal::Invalid { message: format!("not a report: {other:?}") }),
            Err(Refusal::Busy { .. }) => tokio::task::yield_now().await,
            Err(refusal) => return Err(refusal),
        }
    }
}

/// What the store of a run holds.
struct Audited {
    leaves: u64,
    /// Commits that hold leaves.
    commits: u64,
    proven: usize,
}

/// Opens the store of the run, which verifies its chain, counts the leaves and proves some, drawn at random.
fn audit(store: &Path, chain: ChainId, traces: &[TraceId]) -> Result<Audited, CliError> {
    let failed = |error: &dyn std::fmt::Display| failed("audit", error);
    let (store, _) = Store::open(store).map_err(|error| failed(&error))?;
    let (mut leaves, mut commits) = (0, 0);
    let (mut from, mut stamp) = (0, Hlc(0));
    loop {
        let events = store.events(chain, from, 1_000).map_err(|error| failed(&error))?;
        if events.is_empty() {
            break;
        }
        from += events.len() as u64;
        for bytes in events {
            let event = Event::decode(&bytes).map_err(|error| failed(&error))?;
            if event.hlc <= stamp {
                return Err(failed(&"the stamps of the chain do not rise"));
            }
            stamp = event.hlc;
            if let Ok(Fact::Batch(batch)) = Fact::decode(&event.kind, &event.payload) {
                leaves += batch.count;
                commits += 1;
            }
        }
    }
    let mut drawn = BTreeSet::new();
    while drawn.len() < PROVEN.min(traces.len()) {
        let random = u64::from_be_bytes(crate::identity::random()?);
        drawn.insert(usize::try_from(random % traces.len() as u64).unwrap_or_default());
    }
    let mut proven = 0;
    for trace in drawn.into_iter().filter_map(|place| traces.get(place)) {
        let rows = store.trace(chain, *trace, 16).map_err(|error| failed(&error))?;
        let row = rows.first().ok_or_else(|| failed(&format!("nothing is recorded of {trace}")))?;
        let event = store.event(chain, row.seq).map_err(|error| failed(&error))?;
        let event = Event::decode(&event.unwrap_or_default()).map_err(|error| failed(&error))?;
        let batch = Fact::decode(&event.kind, &event.payload).map_err(|error| failed(&error))?;
        let root = row.inclusion.as_ref().and_then(|proof| inclusion_root::<Blake3>(&row.record.leaf(chain), proof));
        match (batch, root) {
            (Fact::Batch(batch), Some(root)) if batch.root == root => proven += 1,
            _ => return Err(failed(&format!("a leaf of {trace} is not proven by event {}", row.seq))),
        }
    }
    Ok(Audited { leaves, commits, proven })
}

/// Nanoseconds of one message over a raw channel between two tasks, and messages per second.
async fn raw_channel() -> Result<(f64, f64), CliError> {
    const COUNT: usize = 1_000_000;
    let (sender, mut receiver) = mpsc::channel::<Arc<[u8; BODY_BYTES]>>(1_024);
    let reading = tokio::spawn(async move {
        let mut received = 0_usize;
        while let Some(body) = receiver.recv().await {
            black_box(&body);
            received += 1;
        }
        received
    });
    let begin = Instant::now();
    for _ in 0..COUNT {
        let body = Arc::new([7; BODY_BYTES]);
        sender.send(body).await.map_err(|error| failed("channel", &error))?;
    }
    drop(sender);
    let received = reading.await.map_err(|error| failed("channel", &error))?;
    let per_s = per_second(received, begin);
    Ok((1e9 / per_s, per_s))
}
