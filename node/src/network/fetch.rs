//! Commits from other members before the node runs: how a damaged store gets back what it lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use weft_discovery::AdmissionView;
use weft_peer::{Input, OutboundId, Request, Response};
use weft_protocol::limits::PAGE_BYTES_MAX;
use weft_protocol::{ChainId, CommitGroup, KeyPair, NodeId, SyncRequest, SyncResponse};

use super::{Mdns, Network, NetworkConfig, NetworkError, NetworkEvent, TcpSecurity};

/// How long one page may take (the limit of a request and a little more).
const PAGE_TIME_MAX: Duration = Duration::from_secs(11);
/// How long dialling may take: connecting, then authenticating.
const DIAL_TIME_MAX: Duration = Duration::from_secs(6);

/// How long a member whose address is not known has to dial: a little more than members pause between redials of one that is
/// long gone.
const HEAR_TIME_MAX: Duration = Duration::from_secs(16);

/// Why nothing was fetched. Nothing was changed; it may be tried again at any time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The transport did not start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No other member is known.
    #[error("no other member is known, so nobody can be asked; restore the home from a backup")]
    NobodyKnown,
    /// No member was reached; each with its reason.
    #[error("no other member was reached ({}); start one that holds this chain, then try again", reasons.join("; "))]
    NobodyReached {
        /// One per member.
        reasons: Vec<String>,
    },
    /// Every member that was reached is gone or does not answer.
    #[error("no member answered ({}); try again", reasons.join("; "))]
    NobodyAnswered {
        /// One per member.
        reasons: Vec<String>,
    },
}

/// Connections to other members, for asking alone: whoever asks this node meanwhile is told that it cannot answer.
#[derive(Debug)]
pub(crate) struct Fetcher {
    network: Network,
    connected: Vec<NodeId>,
    next_request: u64,
}

impl Fetcher {
    /// Dials the other members of the view at these addresses, hears those that have none at `listen`, where they look for
    /// this node, and waits until each that was dialled is connected or has failed. Whom nobody can dial is waited for only
    /// while nobody else is connected.
    ///
    /// # Errors
    /// [`FetchError::NobodyKnown`] without any, [`FetchError::NobodyReached`] when none could be.
    pub(crate) async fn connect(
        keys: Arc<KeyPair>,
        view: Arc<AdmissionView>,
        listen: Vec<String>,
        addresses: Vec<(NodeId, Vec<String>)>,
    ) -> Result<Self, FetchError> {
        let others = view.members.iter().filter(|(node, member)| **node != view.node && !member.quarantined);
        let mut ways: BTreeMap<NodeId, Vec<String>> = others.map(|(node, _)| (*node, Vec::new())).collect();
        for (node, addresses) in addresses.into_iter().filter(|(node, _)| *node != view.node) {
            ways.entry(node).or_default().extend(addresses);
        }
        if ways.is_empty() {
            return Err(FetchError::NobodyKnown);
        }
        let (mute, dialled): (Vec<_>, Vec<_>) = ways.into_iter().partition(|(_, addresses)| addresses.is_empty());
        let listen = if mute.is_empty() { Vec::new() } else { quick_to_leave(listen) };
        let config = NetworkConfig {
            keys,
            listen,
            announce: Vec::new(),
            tcp_security: TcpSecurity::Tls,
            view,
            mdns: Mdns::off(),
        };
        let network = Network::new(config).await?;
        let mut fetcher = Self { network, connected: Vec::new(), next_request: 0 };
        let mut failed = BTreeMap::new();
        let mut dialling: BTreeSet<NodeId> = dialled.iter().map(|(node, _)| *node).collect();
        for (node, addresses) in dialled {
            fetcher.network.dial(node, addresses);
        }
        let begin = Instant::now();
        loop {
            let until = match (dialling.is_empty(), fetcher.connected.is_empty() && !mute.is_empty()) {
                (false, _) => begin + DIAL_TIME_MAX,
                (true, true) => begin + HEAR_TIME_MAX,
                (true, false) => break,
            };
            match timeout_at(until, fetcher.network.next()).await {
                Ok(NetworkEvent::Peer(Input::Connected { node, .. })) => {
                    fetcher.connected.push(node);
                    dialling.remove(&node);
                }
                Ok(NetworkEvent::Peer(Input::DialFailed { node, reason })) => {
                    failed.insert(node, reason);
                    dialling.remove(&node);
                }
                Ok(other) => fetcher.ignore(other),
                Err(_) if dialling.is_empty() => break,
                Err(_) => {
                    let late =
                        std::mem::take(&mut dialling).into_iter().map(|node| (node, "no answer in time".to_owned()));
                    failed.extend(late);
                }
            }
        }
        if fetcher.connected.is_empty() {
            let unheard =
                mute.into_iter().map(|(node, _)| (node, "no address is known, and it did not dial".to_owned()));
            let reasons = failed.into_iter().chain(unheard).map(|(node, reason)| format!("{node}: {reason}")).collect();
            return Err(FetchError::NobodyReached { reasons });
        }
        Ok(fetcher)
    }

    /// The next groups of a chain from this commit on, from the first member that has any, and which member that was. They
    /// are decoded and bounded, not verified: that is for whoever knows the chain. None when nobody holds more.
    ///
    /// # Errors
    /// [`FetchError::NobodyAnswered`].
    pub(crate) async fn page(
        &mut self,
        chain: ChainId,
        from_commit: u64,
    ) -> Result<Option<(NodeId, Vec<CommitGroup>)>, FetchError> {
        let mut reasons = Vec::new();
        let mut answered = false;
        for member in self.connected.clone() {
            match self.ask(member, chain, from_commit).await {
                Ok(groups) if groups.is_empty() => answered = true,
                Ok(groups) => return Ok(Some((member, groups))),
                Err(reason) => reasons.push(format!("{member}: {reason}")),
            }
        }
        if answered { Ok(None) } else { Err(FetchError::NobodyAnswered { reasons }) }
    }

    /// A member whose groups do not verify is not asked again.
    pub(crate) fn distrust(&mut self, member: NodeId) {
        self.connected.retain(|connected| *connected != member);
        self.network.disconnect(member);
    }

    /// Closes all connections.
    pub(crate) async fn close(self) {
        self.network.shutdown().await;
    }

    async fn ask(&mut self, member: NodeId, chain: ChainId, from_commit: u64) -> Result<Vec<CommitGroup>, String> {
        let request = OutboundId(self.next_request);
        self.next_request += 1;
        let range = SyncRequest::Range { chain, from_commit, bytes_max: PAGE_BYTES_MAX as u64 };
        self.network.request(request, member, Request::Sync(range));
        let until = Instant::now() + PAGE_TIME_MAX;
        loop {
            let Ok(event) = timeout_at(until, self.network.next()).await else {
                return Err("no answer in time".into());
            };
            match event {
                NetworkEvent::Peer(Input::ResponseArrived { request: answered, content }) if answered == request => {
                    return match content {
                        Response::Sync(SyncResponse::Page { chain: of, groups }) if of == chain => Ok(groups),
                        Response::Sync(SyncResponse::Refused(reason)) => Err(reason),
                        Response::Sync(_) | Response::A2a(_) | Response::Blob(_) => {
                            Err("it answered something else".into())
                        }
                    };
                }
                NetworkEvent::Peer(Input::RequestFailed { request: failed, reason }) if failed == request => {
                    return Err(reason);
                }
                other => self.ignore(other),
            }
        }
    }

    fn ignore(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Peer(Input::RequestArrived { request, content: Request::Sync(_), .. }) => {
                let refused = SyncResponse::Refused("this node is being repaired".into());
                self.network.respond(request, Response::Sync(refused));
            }
            NetworkEvent::Peer(Input::Disconnected { node }) => self.connected.retain(|member| *member != node),
            other => tracing::trace!(event = ?other, "nothing to do with fetching"),
        }
    }
}

/// Those of the addresses that are free again as soon as the connections are closed, for the node that listens there next; all
/// of them when none is.
fn quick_to_leave(listen: Vec<String>) -> Vec<String> {
    let (tcp, rest): (Vec<_>, Vec<_>) = listen.into_iter().partition(|address| address.contains("/tcp/"));
    if tcp.is_empty() { rest } else { tcp }
}
