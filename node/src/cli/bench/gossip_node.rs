//! One process of libp2p's gossip as it comes, signed and strict, over QUIC: it does what lines on its input say, and counts what it hears.

use std::collections::BTreeSet;
use std::future::pending;
use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use clap::ValueEnum;
use futures::StreamExt as _;
use libp2p::gossipsub::{
    Behaviour, Config, ConfigBuilder, Event, IdentTopic, MessageAuthenticity, PublishError, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::failed;
use crate::cli::CliError;
use crate::clock::wall;

const TOPIC: &str = "bench";
/// How long a message may wait to be sent: longer than any run.
const QUEUED: Duration = Duration::from_secs(300);
/// Messages that may wait for one neighbour: more than any run sends.
const QUEUE: usize = 1_000_000;
/// What a message begins with: when it was published, in microseconds.
const STAMP_BYTES: usize = 8;

/// To whom a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mesh {
    /// To the neighbours in the mesh, who pass it on: the library's own settings.
    Own,
    /// To all neighbours who subscribed, who pass it on to nobody; nothing is told twice.
    Flood,
}

/// What it is told, one line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Dial {
        address: String,
    },
    /// To publish so many; `every_us` apart, or `burst` of them between two looks at the network.
    Publish {
        count: u64,
        bytes: usize,
        every_us: u64,
        burst: u64,
    },
    /// To count from zero.
    Clear,
    Report,
}

/// What it has heard; the answer to `Report`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Heard {
    /// Neighbours who subscribed.
    pub(super) subscribers: usize,
    /// Messages that are still to be published.
    pub(super) left: u64,
    pub(super) began_us: u64,
    pub(super) heard: u64,
    pub(super) bytes: u64,
    /// Of them those whose bytes are not what was sent.
    pub(super) other: u64,
    pub(super) last_at_us: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

/// Messages that are being published.
struct Publishing {
    bytes: usize,
    every: Duration,
    burst: u64,
    began: Instant,
    begun: u32,
}

impl Publishing {
    fn due(&self) -> Instant {
        self.began + self.every * self.begun
    }
}

struct Node {
    swarm: Swarm<Behaviour>,
    topic: IdentTopic,
    publishing: Option<Publishing>,
    subscribers: BTreeSet<PeerId>,
    counts: Heard,
    lateness_us: Vec<u64>,
}

/// Runs until its input ends.
pub(super) async fn run(mesh: Mesh) -> Result<(), CliError> {
    let (sender, mut orders) = mpsc::channel(1);
    let read_orders = move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(order) = serde_json::from_str::<Order>(&line) else { return };
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a read of standard input cannot be given up, and the swarm must not wait for it"
    )]
    std::thread::spawn(read_orders);
    let mut node = Node::new(mesh)?;
    loop {
        let due = node.publishing.as_ref().map(Publishing::due);
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => node.carry_out(order)?,
                None => return Ok(()),
            },
            event = node.swarm.select_next_some() => node.happened(event)?,
            () = async {
                match due {
                    Some(due) if due <= Instant::now() => {}
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            } => {
                node.publish()?;
                // So that what writes to the sockets comes to its turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Node {
    fn new(mesh: Mesh) -> Result<Self, CliError> {
        let config = settings(mesh).map_err(|error| failed("gossip", &error))?;
        let behaviour = |keys: &Keypair| {
            Behaviour::new(MessageAuthenticity::Signed(keys.clone()), config)
                .map_err(Box::<dyn std::error::Error + Send + Sync>::from)
        };
        let builder = SwarmBuilder::with_new_identity().with_tokio().with_quic();
        let builder = builder.with_behaviour(behaviour).map_err(|error| failed("gossip", &error))?;
        let mut swarm =
            builder.with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60))).build();
        let topic = IdentTopic::new(TOPIC);
        swarm.behaviour_mut().subscribe(&topic).map_err(|error| failed("gossip", &error))?;
        let address: Multiaddr = "/ip4/127.0.0.1/udp/0/quic-v1".parse().map_err(|error| failed("gossip", &error))?;
        swarm.listen_on(address).map_err(|error| failed("gossip", &error))?;
        let (subscribers, counts) = (BTreeSet::new(), Heard::default());
        Ok(Self { swarm, topic, publishing: None, subscribers, counts, lateness_us: Vec::new() })
    }

    fn carry_out(&mut self, order: Order) -> Result<(), CliError> {
        match order {
            Order::Dial { address } => {
                let address: Multiaddr = address.parse().map_err(|error| failed("gossip", &error))?;
                self.swarm.dial(address).map_err(|error| failed("gossip", &error))
            }
            Order::Publish { count, bytes, every_us, burst } => {
                let (every, began) = (Duration::from_micros(every_us), Instant::now());
                (self.counts.left, self.counts.began_us) = (count, wall().0);
                self.publishing = Some(Publishing { bytes, every, burst, began, begun: 0 });
                Ok(())
            }
            Order::Clear => {
                (self.counts, self.lateness_us) = (Heard::default(), Vec::new());
                Ok(())
            }
            Order::Report => self.report(),
        }
    }

    fn report(&mut self) -> Result<(), CliError> {
        self.lateness_us.sort_unstable();
        let percentile = |hundredths: usize| self.lateness_us.get(self.lateness_us.len() * hundredths / 100).copied();
        self.counts.p50_us = percentile(50).unwrap_or_default();
        self.counts.p99_us = percentile(99).unwrap_or_default();
        self.counts.subscribers = self.subscribers.len();
        let line = serde_json::to_string(&self.counts).map_err(|error| failed("gossip", &error))?;
        say(&line)
    }

    fn publish(&mut self) -> Result<(), CliError> {
        let Some(publishing) = &mut self.publishing else { return Ok(()) };
        for _ in 0..publishing.burst {
            if self.counts.left == 0 {
                self.publishing = None;
                break;
            }
            let mut body = vec![b'x'; publishing.bytes];
            body[..STAMP_BYTES].copy_from_slice(&wall().0.to_be_bytes());
            match self.swarm.behaviour_mut().publish(self.topic.clone(), body) {
                Ok(_) => {
                    self.counts.left -= 1;
                    publishing.begun += 1;
                }
                Err(PublishError::AllQueuesFull(_)) => break,
                Err(error) => return Err(failed("gossip", &error)),
            }
        }
        Ok(())
    }

    fn happened(&mut self, event: SwarmEvent<Event>) -> Result<(), CliError> {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => say(&format!("{address}/p2p/{}", self.swarm.local_peer_id())),
            SwarmEvent::Behaviour(Event::Subscribed { peer_id, .. }) => {
                self.subscribers.insert(peer_id);
                Ok(())
            }
            SwarmEvent::Behaviour(Event::Message { message, .. }) => {
                let now_us = wall().0;
                self.counts.heard += 1;
                self.counts.bytes += message.data.len() as u64;
                self.counts.last_at_us = now_us;
                match message.data.split_first_chunk::<STAMP_BYTES>() {
                    Some((stamp, rest)) if rest.iter().all(|byte| *byte == b'x') => {
                        self.lateness_us.push(now_us.saturating_sub(u64::from_be_bytes(*stamp)));
                    }
                    _ => self.counts.other += 1,
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn settings(mesh: Mesh) -> Result<Config, libp2p::gossipsub::ConfigBuilderError> {
    let mut builder = ConfigBuilder::default();
    builder
        .validation_mode(ValidationMode::Strict)
        .heartbeat_initial_delay(Duration::ZERO)
        .connection_handler_queue_len(QUEUE)
        .publish_queue_duration(QUEUED)
        .forward_queue_duration(QUEUED);
    match mesh {
        Mesh::Own => {}
        Mesh::Flood => {
            builder.flood_publish(true).mesh_outbound_min(0).mesh_n_low(0).mesh_n(0).mesh_n_high(0);
            builder.gossip_lazy(0).gossip_factor(0.0).heartbeat_interval(Duration::from_secs(10));
        }
    }
    builder.build()
}

fn say(line: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(CliError::writing)
}
