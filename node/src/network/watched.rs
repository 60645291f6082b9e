//! One idle connection over TCP to each member that is spoken to over QUIC: when its process dies, the operating system says so
//! at once, while a QUIC peer that was killed is only silent.
//!
//! Nothing is served on it. It begins like any other connection, with TLS, and says in the first words of its first substream
//! what it is for; then the swarm does not hear of it. Whoever dialled the member dials this one too. When it ends, the member is
//! missed (`WatchEnded`); when nobody listens there any more either, its other connections are closed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use libp2p::{Multiaddr, TransportError};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use weft_protocol::NodeId;

use super::authenticate::{PREFACE, RUN_BYTES, Side, driving, open};
use super::transport::{CONNECT_TIME_MAX, Connections};
use crate::identity::node_id;

/// What a connection says that is to be kept, and for nothing else; and what it is answered. As long as the other preface.
pub(super) const WATCH: &[u8; PREFACE.len()] = b"/weft/watch1\n";

/// Ends that the event loop has not taken yet: some for each member of a full mesh.
const ENDED_MAX: usize = 256;
/// The first wait before one that was not reached is tried again, doubling (guess).
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest (guess: what is missing meanwhile is speed, since SWIM finds out as well).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What became of a connection that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It ended.
    Connection(NodeId),
    /// Nor does anybody listen there any more.
    Listener(NodeId),
}

/// How one attempt ended.
enum Attempt {
    /// It was held, and ended.
    Held,
    /// Nobody listens there.
    Nobody,
    /// Something else was in the way.
    Failed(String),
}

/// The idle connections of this node, those that it dialled and those that others did.
pub(super) struct Watches {
    transport: Arc<Mutex<Connections>>,
    /// Where members listen on TCP, as they say.
    addresses: BTreeMap<NodeId, Vec<Multiaddr>>,
    /// Who was dialled.
    wanted: BTreeSet<NodeId>,
    dialled: BTreeMap<NodeId, AbortHandle>,
    taken: BTreeMap<NodeId, AbortHandle>,
    sender: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.dialled.values().chain(self.taken.values()).for_each(AbortHandle::abort);
    }
}

impl Watches {
    /// None yet; `transport` is TCP's.
    pub(super) fn new(transport: Connections) -> Self {
        let (sender, ended) = mpsc::channel(ENDED_MAX);
        Self {
            transport: Arc::new(Mutex::new(transport)),
            addresses: BTreeMap::new(),
            wanted: BTreeSet::new(),
            dialled: BTreeMap::new(),
            taken: BTreeMap::new(),
            sender,
            ended,
        }
    }

    /// A member was dialled over QUIC, and a connection to it is open.
    pub(super) fn want(&mut self, node: NodeId) {
        self.wanted.insert(node);
        self.begin(node);
    }

    /// A member with an open connection says where it listens.
    pub(super) fn know(&mut self, node: NodeId, addresses: Vec<Multiaddr>) {
        self.addresses.insert(node, addresses);
        self.begin(node);
    }

    fn begin(&mut self, node: NodeId) {
        let Some(addresses) = self.addresses.get(&node).filter(|addresses| !addresses.is_empty()) else { return };
        if !self.wanted.contains(&node) || self.dialled.contains_key(&node) {
            return;
        }
        let watching = watch(node, addresses.clone(), Arc::clone(&self.transport), self.sender.clone());
        self.dialled.insert(node, tokio::spawn(watching).abort_handle());
    }

    /// A member dialled us for this: its newest counts.
    pub(super) fn take(&mut self, node: NodeId, mut muxer: StreamMuxerBox) {
        let sender = self.sender.clone();
        let task = tokio::spawn(async move {
            hold(&mut muxer).await;
            let _network_ended = sender.send(Ended::Connection(node)).await;
        });
        if let Some(before) = self.taken.insert(node, task.abort_handle()) {
            before.abort();
        }
    }

    /// No other connection to that member is open any more.
    pub(super) fn close(&mut self, node: NodeId) {
        self.wanted.remove(&node);
        self.addresses.remove(&node);
        let tasks = [self.dialled.remove(&node), self.taken.remove(&node)];
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }

    /// Whether a connection is held that this member dialled.
    #[cfg(test)]
    pub(super) fn has_taken(&self, node: &NodeId) -> bool {
        self.taken.get(node).is_some_and(|task| !task.is_finished())
    }

    /// How many connections are held or tried.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.taken.len() + self.dialled.len()
    }

    /// Where that member listens on TCP, as it says.
    #[cfg(test)]
    pub(super) fn addresses_of(&self, node: &NodeId) -> Vec<Multiaddr> {
        self.addresses.get(node).cloned().unwrap_or_default()
    }

    /// Ends the connection that this member dialled.
    #[cfg(test)]
    pub(super) fn drop_taken(&mut self, node: &NodeId) {
        self.taken.remove(node).into_iter().for_each(|task| task.abort());
    }

    /// Ends the connection to a member that we dialled.
    #[cfg(test)]
    pub(super) fn drop_dialled(&mut self, node: &NodeId) {
        self.dialled.remove(node).into_iter().for_each(|task| task.abort());
    }

    /// The next that ended. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => ended,
            None => pending().await,
        }
    }
}

/// Keeps one connection to a member, for ever.
async fn watch(
    node: NodeId,
    addresses: Vec<Multiaddr>,
    transport: Arc<Mutex<Connections>>,
    ended: mpsc::Sender<Ended>,
) {
    let mut wait = RETRY_AFTER;
    loop {
        for address in &addresses {
            if keep_at(node, address, &transport, &ended).await {
                wait = RETRY_AFTER;
            }
        }
        sleep(wait).await;
        wait = (2 * wait).min(RETRY_AFTER_MAX);
    }
}

/// Keeps a connection at one address for as long as it can be made anew, tells each end, and whether there was one.
async fn keep_at(
    node: NodeId,
    address: &Multiaddr,
    transport: &Mutex<Connections>,
    ended: &mpsc::Sender<Ended>,
) -> bool {
    let mut held = false;
    loop {
        let began = Instant::now();
        match attempt(node, address, transport).await {
            Attempt::Held => {
                tracing::debug!(%node, %address, "a watched connection ended");
                let _network_ended = ended.send(Ended::Connection(node)).await;
                // One that the other side keeps ending is not dialled without a pause.
                if held && began.elapsed() < RETRY_AFTER {
                    return true;
                }
                held = true;
            }
            Attempt::Nobody => {
                tracing::trace!(%node, %address, "nobody listens there");
                if held {
                    let _network_ended = ended.send(Ended::Listener(node)).await;
                }
                return held;
            }
            Attempt::Failed(reason) => {
                tracing::trace!(%node, %address, reason, "it cannot be watched there");
                return held;
            }
        }
    }
}

async fn attempt(node: NodeId, address: &Multiaddr, transport: &Mutex<Connections>) -> Attempt {
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let dial = transport.lock().unwrap_or_else(PoisonError::into_inner).dial(address.clone(), options);
    let connected = match dial {
        Ok(dial) => dial.await,
        Err(TransportError::Other(error)) => Err(error),
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    let (peer, mut muxer) = match connected {
        Ok(connected) => connected,
        Err(error) if is_refused(&error) => return Attempt::Nobody,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    if node_id(&peer) != Some(node) {
        return Attempt::Failed("another node answers there".to_owned());
    }
    match timeout(CONNECT_TIME_MAX, ask(&mut muxer)).await {
        Ok(Ok(())) => {
            hold(&mut muxer).await;
            Attempt::Held
        }
        Ok(Err(error)) => Attempt::Failed(error.to_string()),
        Err(_) => Attempt::Failed("no answer in time".to_owned()),
    }
}

/// Says what the connection is for; the other side agrees when it is a member's.
async fn ask(muxer: &mut StreamMuxerBox) -> io::Result<()> {
    let mut stream = open(muxer, Side::Dialer).await?;
    let talk = async {
        stream.write_all(WATCH).await?;
        stream.flush().await?;
        let mut answer = [0; PREFACE.len() + RUN_BYTES + WATCH.len()];
        stream.read_exact(&mut answer).await?;
        match answer.ends_with(WATCH) {
            true => Ok(()),
            false => Err(io::Error::other("it does not want to be watched")),
        }
    };
    driving(muxer, talk).await?
}

/// The listener's answer.
pub(super) async fn agree(stream: &mut SubstreamBox) -> io::Result<()> {
    stream.write_all(WATCH).await?;
    stream.flush().await
}

/// Until the connection ends.
async fn hold(muxer: &mut StreamMuxerBox) {
    let _how_it_ended = driving(muxer, pending::<()>()).await;
}

/// Whether the operating system says that nobody listens, however deep it stands.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let refused = error.downcast_ref::<io::Error>().map(io::Error::kind) == Some(io::ErrorKind::ConnectionRefused);
        if refused {
            return true;
        }
        next = error.source();
    }
    false
}
