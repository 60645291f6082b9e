//! One message between two agents of one node, all of it: gate, grant, mailbox, hand-over, answer, digest audit and its
//! share of the commits; beside it what a record of one step costs by itself.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use weft_kernel::{AskId, Gates, Input, Kernel, KernelConfig, KernelIdentity, Output, Route, Syscall, genesis_rules};
use weft_protocol::{
    AgentName, AgentSpec, Backend, Blake3, BuiltinKind, ChainId, ClusterId, Incarnation, KeyPair, Level, Payload,
    Principal, Recovered, Signer as _, Timestamp, content_address, hash,
};

/// A kernel whose disk is done at once, with two built-in agents.
struct Node {
    kernel: Kernel,
    now: Timestamp,
    outputs: Vec<Output>,
    next: u64,
    sender: Principal,
    writing: bool,
}

impl Node {
    fn new() -> Self {
        let keys = Arc::new(KeyPair::generate([7; 32]));
        let node = keys.public_keys().node();
        let rules = genesis_rules();
        let governance_hash = hash("rules", &[&rules]);
        let identity = KernelIdentity {
            name: "bench".parse().expect("a name"),
            chain: ChainId { node, incarnation: Incarnation(1) },
            cluster: ClusterId::from_bytes([3; 32]),
            charter: None,
            governance_hash,
            build: "bench".to_owned(),
            founding: Vec::new(),
            previous: None,
            skip_numbers: false,
            held: false,
        };
        let gates = Gates::new(node, &rules, &governance_hash).expect("the genesis rules");
        let now = Timestamp(1_790_000_000_000_000);
        let config = KernelConfig::default();
        let kernel = Kernel::new(config, identity, gates, &Recovered::default(), keys, 1, now);
        let sender = Principal::Operator;
        let mut node = Self { kernel, now, outputs: Vec::new(), next: 0, sender, writing: false };
        node.give(Input::Woken);
        for (name, grants) in [("sink", &[][..]), ("source", &["send:sink", "call:sink"][..])] {
            node.spawn(name, grants);
        }
        let agent = "source".parse::<AgentName>().expect("a name");
        let process = node.kernel.agent(&agent).expect("it runs");
        node.sender = Principal::Agent { agent, process };
        node
    }

    fn spawn(&mut self, name: &str, grants: &[&str]) {
        let agent = name.parse().expect("a name");
        let grants = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
        let spec = AgentSpec { grants, ..AgentSpec::new(agent, Backend::Builtin(BuiltinKind::Echo)) };
        self.ask(Syscall::Spawn { spec: Box::new(spec) });
    }

    fn ask(&mut self, syscall: Syscall) {
        self.next += 1;
        let (ask, by) = (AskId(self.next), self.sender.clone());
        self.give(Input::Asked { ask, by, syscall: Box::new(syscall), route: Route::Local });
    }

    /// One input and everything that comes of it.
    fn give(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.kernel.handle(input, self.now, &mut self.outputs);
            for output in self.outputs.drain(..) {
                match output {
                    Output::Persist(batch) => {
                        black_box(&batch);
                        inputs.push_back(Input::Persisted);
                    }
                    Output::Start { process, .. } => inputs.push_back(Input::AgentStarted { process, pid: None }),
                    Output::Deliver { process, delivery } => {
                        let (message, answer) = (delivery.message, Ok(None));
                        inputs.push_back(Input::AgentAnswered { process, message, answer });
                    }
                    other => {
                        black_box(&other);
                    }
                }
            }
        }
    }
}

fn message(level: &str, wants_reply: bool) -> Syscall {
    Syscall::Send {
        target: "sink".parse().expect("a target"),
        payload: Payload::Text("x".repeat(64)),
        wants_reply,
        level: level.parse::<Level>().expect("a level"),
        deadline_us: 5_000_000,
        trace: None,
        cause: Vec::new(),
        idempotent: false,
        parts: false,
    }
}

/// Many messages between two writes: the disk takes as long as these take to arrive. Making them is not measured.
fn messages(criterion: &mut Criterion) {
    const BURST: u64 = 500;
    let mut group = criterion.benchmark_group("local message");
    group.throughput(Throughput::Elements(BURST));
    for (name, level, wants_reply) in [("send", "received", false), ("call", "executed", true)] {
        group.bench_function(name, |bencher| {
            let mut node = Node::new();
            let syscalls = || (0..BURST).map(|_| Box::new(message(level, wants_reply))).collect::<Vec<_>>();
            let work = |syscalls: Vec<Box<Syscall>>| {
                let mut inputs = std::collections::VecDeque::new();
                for syscall in syscalls {
                    node.next += 1;
                    node.now = node.now.after_us(1);
                    let (ask, by) = (AskId(node.next), node.sender.clone());
                    inputs.push_back(Input::Asked { ask, by, syscall, route: Route::Local });
                    while let Some(input) = inputs.pop_front() {
                        node.kernel.handle(input, node.now, &mut node.outputs);
                        for output in node.outputs.drain(..) {
                            match output {
                                Output::Persist(batch) => {
                                    black_box(&batch);
                                    node.writing = true;
                                }
                                Output::Deliver { process, delivery } => {
                                    let (message, answer) = (delivery.message, Ok(None));
                                    inputs.push_back(Input::AgentAnswered { process, message, answer });
                                }
                                other => {
                                    black_box(&other);
                                }
                            }
                        }
                    }
                }
                if std::mem::take(&mut node.writing) {
                    node.give(Input::Persisted);
                }
            };
            bencher.iter_batched(syscalls, work, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let bytes = [7_u8; 400];
    criterion.bench_function("leaf of a step of 400 bytes", |bencher| bencher.iter(|| Blake3::leaf(black_box(&bytes))));
    criterion.bench_function("content address of 64 bytes", |bencher| {
        bencher.iter(|| content_address(black_box(&bytes[..64])));
    });
    criterion.bench_function("building the syscall", |bencher| bencher.iter(|| message("received", false)));
}

criterion_group!(benches, messages, parts);
criterion_main!(benches);
