//! The node that strangers come to: its network and its admission, on a thread whose time is counted.

use std::sync::Arc;
use std::thread;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use weft_discovery::{AskId, Discovery, Input as DiscoveryInput, Output as DiscoveryOutput};
use weft_peer::Input;
use weft_protocol::{KeyPair, NodeId, Timestamp};

use super::super::cluster::{PATIENCE, QUIC, TCP};
use crate::clock;
use crate::network::{Mdns, Network, NetworkConfig, NetworkEvent, RecentRefusal, TcpSecurity};

/// More than a test says before the node listens.
const COMMANDS_MAX: usize = 64;

/// What a node has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// Processor time of its thread, in microseconds.
    pub(super) cpu_us: u64,
    /// Events that its chain has to hold.
    pub(super) records: usize,
    /// Members it let in, and joiners it admitted.
    pub(super) accepted: usize,
    /// When it last refused somebody.
    pub(super) last_refused: Timestamp,
}

enum Command {
    Spent(oneshot::Sender<Spent>),
    Refusals(oneshot::Sender<Vec<RecentRefusal>>),
    Dial(NodeId, Vec<String>),
}

pub(super) struct Victim {
    pub(super) node: NodeId,
    pub(super) address: String,
    /// Where it listens by QUIC.
    pub(super) quic: String,
    commands: mpsc::Sender<Command>,
}

impl Victim {
    /// Starts a node with these keys, which decides by `discovery`.
    pub(super) async fn start(keys: Arc<KeyPair>, discovery: Discovery) -> Self {
        let node = discovery.view().node;
        let (commands, incoming) = mpsc::channel(COMMANDS_MAX);
        let (listens, listening) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "processor time is counted by thread")]
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(keys, discovery, incoming, listens));
        });
        let (quic, address) = timeout(PATIENCE, listening).await.unwrap().unwrap();
        Self { node, address, quic, commands }
    }

    pub(super) async fn spent(&self) -> Spent {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Spent(answer));
        timeout(PATIENCE, answered).await.unwrap().unwrap()
    }

    /// The last refusals, the newest first.
    pub(super) async fn refusals(&self) -> Vec<RecentRefusal> {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Refusals(answer));
        timeout(PATIENCE, answered).await.unwrap().unwrap()
    }

    pub(super) fn dial(&self, node: NodeId, address: String) {
        self.tell(Command::Dial(node, vec![address]));
    }

    fn tell(&self, command: Command) {
        assert!(self.commands.try_send(command).is_ok(), "the node runs");
    }
}

/// Processor time of this thread so far, in microseconds.
pub(super) fn cpu_us() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(spent.tv_sec).unwrap() * 1_000_000 + u64::try_from(spent.tv_nsec).unwrap() / 1_000
}

async fn run(
    keys: Arc<KeyPair>,
    mut discovery: Discovery,
    mut commands: mpsc::Receiver<Command>,
    listens: oneshot::Sender<(String, String)>,
) {
    let listen = vec![TCP.to_owned(), QUIC.to_owned()];
    let mut network = Network::new(NetworkConfig {
        keys,
        listen,
        announce: Vec::new(),
        tcp_security: TcpSecurity::Tls,
        view: discovery.view(),
        mdns: Mdns::off(),
    })
    .await
    .unwrap();
    let of = |part: &str| network.listening.iter().find(|address| address.contains(part)).unwrap().clone();
    listens.send((of("/quic-v1"), of("/tcp/"))).unwrap();
    let mut spent = Spent::default();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Spent(answer)) => {
                    let refusals = network.refusals().list();
                    let last_refused = refusals.iter().find(|refusal| refusal.by_us).map_or(Timestamp(0), |last| last.at);
                    let _gone = answer.send(Spent { cpu_us: cpu_us(), last_refused, ..spent });
                }
                Some(Command::Refusals(answer)) => drop(answer.send(network.refusals().list())),
                Some(Command::Dial(node, addresses)) => network.dial(node, addresses),
                None => break,
            },
            event = network.next() => match event {
                NetworkEvent::Peer(Input::Connected { .. }) => spent.accepted += 1,
                NetworkEvent::Peer(_) => {}
                NetworkEvent::JoinAttempt { keys, invite, join, answer } => {
                    let asked = DiscoveryInput::JoinAsked { ask: AskId(1), keys, invite, join };
                    let decided = decide(&mut discovery, asked, &mut network, &mut spent);
                    if decided.is_ok() {
                        spent.accepted += 1;
                    }
                    drop(answer.send(decided));
                }
            },
        }
    }
    network.shutdown().await;
}

/// What the node's own admission says, with what it writes written at once.
fn decide(
    discovery: &mut Discovery,
    asked: DiscoveryInput,
    network: &mut Network,
    spent: &mut Spent,
) -> Result<Box<weft_protocol::Admission>, weft_protocol::AuthRefusal> {
    let mut inputs = vec![asked];
    while let Some(input) = inputs.pop() {
        let mut outputs = Vec::new();
        discovery.handle(input, clock::wall(), &mut outputs);
        for output in outputs {
            match output {
                DiscoveryOutput::AnswerJoin { answer, .. } => return answer,
                DiscoveryOutput::Record { ticket, facts, .. } => {
                    spent.records += facts.len();
                    inputs.push(DiscoveryInput::Recorded { ticket });
                }
                DiscoveryOutput::PublishView(view) => network.publish_view(view),
                _ => {}
            }
        }
    }
    panic!("a joiner was not answered")
}
