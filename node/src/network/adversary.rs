//! What hostile neighbours do, for the benchmark that measures what they cost a node: strangers that come in numbers, a member that
//! floods, a reader that does not read, connections that say nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use libp2p::Multiaddr;
use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};
use weft_discovery::{Discovery, DiscoveryConfig, Handshake, Identity, Input as DiscoveryInput};
use weft_peer::{Input, OutboundId, Request, Response};
use weft_protocol::limits::{ADMISSION_FRAME_BYTES_MAX, ENVELOPES_PER_FRAME_MAX};
use weft_protocol::{
    A2aItem, A2aRequest, Admission, AuthRefusal, ChainId, Delivery, Durability, Envelope, Hlc, Incarnation, KeyPair,
    Level, LocalTarget, MessageId, NodeId, NodeName, Outcome, Payload, Principal, Receipt, Recovered, Refusal, Sender,
    Signer as _, Token, TraceId,
};

use super::authenticate::{AuthFailure, Bounds, Side, exchange};
use super::links::Run;
use super::{Mdns, Network, NetworkConfig, NetworkError, NetworkEvent, TcpSecurity, transport};
use crate::clock;
use crate::identity::{random, transport_keys};

/// How long a member of ours may take to be let in.
const ENTER_TIME_MAX: Duration = Duration::from_secs(20);
/// Requests that a flooding member has open at once; each holds as many messages as a frame may.
const FLOOD_REQUESTS_MAX: usize = 64;
/// How often a flooding member looks whether it may send.
const FLOOD_TICK: Duration = Duration::from_millis(5);

/// How strangers fared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visits {
    /// Dropped before anybody asked who they are.
    pub(crate) dropped: usize,
    /// Told why not.
    pub(crate) refused: usize,
    /// Let in: a fault.
    pub(crate) accepted: usize,
}

/// Comes so many times with a token that is worth nothing, so many at once, under these keys in turn.
pub(crate) async fn strangers(
    token: &Token,
    address: &str,
    keys: &[Arc<KeyPair>],
    count: usize,
    at_once: usize,
) -> Visits {
    let visits = stream::iter(0..count).map(|number| visit(token, address, &keys[number % keys.len()]));
    let mut sum = Visits::default();
    let mut visits = visits.buffer_unordered(at_once);
    while let Some(result) = visits.next().await {
        match result {
            Ok(()) => sum.accepted += 1,
            Err(Some(_)) => sum.refused += 1,
            Err(None) => sum.dropped += 1,
        }
    }
    sum
}

/// One stranger that speaks the whole handshake.
///
/// # Errors
/// Why it was refused; nothing when it was dropped.
async fn visit(token: &Token, address: &str, keys: &Arc<KeyPair>) -> Result<(), Option<AuthRefusal>> {
    let mut transport = transport::bare(&transport_keys(keys)).map_err(|_| None)?;
    let address: Multiaddr = address.parse().map_err(|_| None)?;
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (_, mut muxer) = transport.dial(address, options).map_err(|_| None)?.await.map_err(|_| None)?;
    let nonce = random().map_err(|_| None)?;
    let run = Run::from_be_bytes(random().map_err(|_| None)?);
    let name = "stranger".parse().map_err(|_| None)?;
    let handshake =
        Handshake::dialer_joiner(token.clone(), Arc::clone(keys) as _, name, "0".to_owned(), nonce, token.inviter);
    let nobody_asks_us = async |_, _, _| Err(AuthRefusal::Protocol);
    let bounds = Bounds { frame_bytes_max: ADMISSION_FRAME_BYTES_MAX, may_be_watched: false };
    let talk = exchange(&mut muxer, Side::Dialer, handshake, run, None, bounds, nobody_asks_us).await;
    match talk {
        Ok(_) => Ok(()),
        Err(AuthFailure::RefusedUs(refusal)) => Err(Some(refusal)),
        Err(_) => Err(None),
    }
}

/// Comes so many times, so many at once, says nothing and leaves; how many were connected.
pub(crate) async fn callers_that_leave(address: SocketAddr, count: usize, at_once: usize) -> usize {
    let calls = stream::iter(0..count).map(|_| async move { TcpStream::connect(address).await.is_ok() });
    calls.buffer_unordered(at_once).filter(|connected| std::future::ready(*connected)).count().await
}

/// Holds so many connections open on which nothing is ever said, each opened anew as soon as it is closed, until it is dropped.
pub(crate) async fn half_open(address: SocketAddr, count: usize) {
    futures::future::join_all((0..count).map(|_| hold(address))).await;
}

async fn hold(address: SocketAddr) {
    let mut pause = interval(Duration::from_millis(100));
    loop {
        pause.tick().await;
        if let Ok(stream) = TcpStream::connect(address).await {
            let _closed_by_the_other_side = stream.readable().await;
        }
    }
}

/// A member that does as it likes.
pub(crate) struct Rogue {
    network: Network,
    node: NodeId,
    target: NodeId,
    next: u64,
}

/// What a flooding member was answered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flooded {
    /// Messages it sent.
    pub(crate) sent: u64,
    /// Executed, or let in.
    pub(crate) taken: u64,
    /// Answered `busy`.
    pub(crate) busy: u64,
    /// Answered otherwise.
    pub(crate) other: u64,
}

impl Rogue {
    /// Connects to a node as the member that it admitted.
    ///
    /// # Errors
    /// [`NetworkError`] when this machine cannot begin, or the node is not reached.
    pub(crate) async fn connect(
        keys: Arc<KeyPair>,
        admission: Admission,
        name: NodeName,
        target: NodeId,
        address: String,
    ) -> Result<Self, NetworkError> {
        let now = clock::wall();
        let identity = Identity {
            name,
            charter: admission.charter,
            certificate: admission.certificate,
            incarnation: Incarnation(1),
            build: "0".to_owned(),
            started: Hlc::from_wall(now),
        };
        let recovered = Recovered::default();
        let signer = Arc::clone(&keys) as _;
        let mut discovery =
            Discovery::new(DiscoveryConfig::default(), identity, Vec::new(), &recovered, signer, 1, now);
        for certificate in admission.members {
            if let Ok(issuer) = certificate.peek().map(|certificate| certificate.issuer) {
                let certificate = Box::new(certificate);
                let seen = DiscoveryInput::AdmissionSeen { issuer, certificate, invite: None };
                discovery.handle(seen, now, &mut Vec::new());
            }
        }
        let node = keys.public_keys().node();
        let mut network = Network::new(NetworkConfig {
            keys,
            listen: Vec::new(),
            announce: Vec::new(),
            tcp_security: TcpSecurity::Tls,
            view: discovery.view(),
            mdns: Mdns::off(),
        })
        .await?;
        network.dial(target, vec![address]);
        let entered = async {
            loop {
                match network.next().await {
                    NetworkEvent::Peer(Input::Connected { .. }) => return Ok(()),
                    NetworkEvent::Peer(Input::DialFailed { reason, .. }) => {
                        return Err(NetworkError::Transport(reason));
                    }
                    _ => {}
                }
            }
        };
        let entered = timeout(ENTER_TIME_MAX, entered).await;
        entered.map_err(|_| NetworkError::Transport("a member was not let in".to_owned()))??;
        Ok(Self { network, node, target, next: 1 })
    }

    fn request(&mut self, count: usize, text: &str) -> Request {
        let items = (0..count).map(|_| {
            let counter = self.next;
            self.next += 1;
            let chain = ChainId { node: self.node, incarnation: Incarnation(1) };
            A2aItem::Envelope(Box::new(Envelope {
                id: MessageId { chain, counter },
                hlc: Hlc::from_wall(clock::wall()),
                trace: TraceId(counter),
                from: Sender { node: self.node, principal: Principal::Operator },
                target: LocalTarget::Agent("echo".parse().expect("BUG: a name")),
                payload: Payload::Text(text.to_owned()),
                wants_reply: true,
                level: Level { delivery: Delivery::Executed, durability: Durability::None },
                deadline_us: 1_000_000,
                hops: 8,
                grant: None,
                cause: Vec::new(),
                parts: false,
            }))
        });
        Request::A2a(A2aRequest { items: items.collect() })
    }

    /// Sends so many messages a second, for so long.
    pub(crate) async fn flood(&mut self, per_s: u64, duration: Duration) -> Flooded {
        let mut flooded = Flooded::default();
        let (begun, mut ticks, mut open) = (Instant::now(), interval(FLOOD_TICK), 0_usize);
        while begun.elapsed() < duration {
            let due = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX) * per_s / 1_000;
            while flooded.sent < due && open < FLOOD_REQUESTS_MAX {
                let request = self.request(ENVELOPES_PER_FRAME_MAX, "x");
                self.network.request(OutboundId(self.next), self.target, request);
                flooded.sent += ENVELOPES_PER_FRAME_MAX as u64;
                open += 1;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                event = self.network.next() => match event {
                    NetworkEvent::Peer(Input::ResponseArrived { content: Response::A2a(answer), .. }) => {
                        open = open.saturating_sub(1);
                        answer.receipts.iter().for_each(|receipt| flooded.count(receipt));
                    }
                    NetworkEvent::Peer(Input::RequestFailed { .. }) => open = open.saturating_sub(1),
                    NetworkEvent::Peer(Input::RequestArrived { request, content: Request::A2a(asked), .. }) => {
                        // Receipts that were late.
                        for item in &asked.items {
                            if let A2aItem::Receipt(receipt) = item {
                                flooded.count(receipt);
                            }
                        }
                        let none = weft_protocol::A2aResponse { receipts: Vec::new() };
                        self.network.respond(request, Response::A2a(none));
                    }
                    _ => {}
                },
            }
        }
        flooded
    }

    /// Asks for so many answers of so many bytes each, and reads none of them for as long as it is kept.
    pub(crate) fn ask_and_read_nothing(&mut self, count: usize, bytes: usize) {
        let text = "x".repeat(bytes);
        for _ in 0..count {
            let request = self.request(1, &text);
            self.network.request(OutboundId(self.next), self.target, request);
        }
    }
}

impl Flooded {
    const fn count(&mut self, receipt: &Receipt) {
        match &receipt.outcome {
            Outcome::Refused(Refusal::Busy { .. }) => self.busy += 1,
            Outcome::Received | Outcome::Executed { .. } => self.taken += 1,
            _ => self.other += 1,
        }
    }
}
