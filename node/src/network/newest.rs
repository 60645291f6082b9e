//! Streams that members open to this node: of each member the newest is served, since whoever opens another has given the last up.

use std::collections::BTreeMap;
use std::future::Future;

use futures::StreamExt as _;
use libp2p::Stream;
use libp2p_stream::IncomingStreams;
use tokio::task::{AbortHandle, JoinSet};
use weft_protocol::NodeId;

use crate::identity::node_id;

/// Serves every stream that comes, until no more can.
pub(super) async fn serve_newest<F>(mut incoming: IncomingStreams, serve: impl Fn(NodeId, Stream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut serving = JoinSet::new();
    let mut newest: BTreeMap<NodeId, AbortHandle> = BTreeMap::new();
    loop {
        tokio::select! {
            stream = incoming.next() => {
                let Some((peer, stream)) = stream else { return };
                let Some(from) = node_id(&peer) else { continue };
                let task = serving.spawn(serve(from, stream));
                if let Some(before) = newest.insert(from, task) {
                    before.abort();
                }
            }
            Some(_ended) = serving.join_next() => newest.retain(|_, task| !task.is_finished()),
        }
    }
}
