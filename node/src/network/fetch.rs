//! Commits from other members before the node runs: how a damaged store gets back what it lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use weft_discovery::AdmissionView;
use weft_peer::{Input, OutboundId, Request, Response};
use weft_protocol::limits::PAGE_BYTES_MAX;
use weft_protocol::{ChainId, CommitGroup, KeyPair, NodeId, SyncRequest, SyncResponse};

use super::{Network, NetworkConfig, NetworkError, NetworkEvent};

/// How long one page may take (the limit of a request and a little more).
const PAGE_TIME_MAX: Duration = Duration::from_secs(11);
/// How long dialling may take: connecting, then authenticating.
const DIAL_TIME_MAX: Duration = Duration::from_secs(6);

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
    /// Dials these members at their addresses and waits until each is connected or has failed.
    ///
    /// # Errors
    /// [`FetchError::NobodyKnown`] without any, [`FetchError::NobodyReached`] when none could be.
    pub(crate) async fn connect(
        keys: Arc<KeyPair>,
        view: Arc<AdmissionView>,
        members: Vec<(NodeId, Vec<String>)>,
    ) -> Result<Self, FetchError> {
        if members.is_empty() {
            return Err(FetchError::NobodyKnown);
        }
        let network = Network::new(NetworkConfig { keys, listen: Vec::new(), view }).await?;
        let mut fetcher = Self { network, connected: Vec::new(), next_request: 0 };
        let mut reasons = Vec::new();
        let mut waiting = members.len();
        for (node, addresses) in members {
            fetcher.network.dial(node, addresses);
        }
        let until = Instant::now() + DIAL_TIME_MAX;
        while waiting > 0 {
            match timeout_at(until, fetcher.network.next()).await {
                Ok(NetworkEvent::Peer(Input::Connected { node, .. })) => {
                    fetcher.connected.push(node);
                    waiting -= 1;
                }
                Ok(NetworkEvent::Peer(Input::DialFailed { node, reason })) => {
                    reasons.push(format!("{node}: {reason}"));
                    waiting -= 1;
                }
                Ok(other) => fetcher.ignore(other),
                Err(_) => break,
            }
        }
        if fetcher.connected.is_empty() { Err(FetchError::NobodyReached { reasons }) } else { Ok(fetcher) }
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
