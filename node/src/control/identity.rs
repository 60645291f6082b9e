//! `identity`: the keys of the node and the chains that it has written.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weft_peer::Peer;
use weft_protocol::control::{ErrorBody, IdentityReport, IncarnationRow};
use weft_protocol::{ChainId, Digest, Incarnation, NodeId, PublicKeys, Timestamp, content_address};

use super::failure::Failure;
use super::{Served, text};
use crate::home::ClusterFile;

/// One of its chains as it is here: events, commits and the hash of the last commit.
pub(crate) struct Written {
    pub(crate) incarnation: Incarnation,
    pub(crate) events: u64,
    pub(crate) commits: u64,
    pub(crate) head: Option<Digest>,
}

/// Who the node is.
#[utoipa::path(get, path = "/v1/identity", responses((status = 200, body = IdentityReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn identity(State(served): State<Arc<Served>>) -> Result<Json<IdentityReport>, Failure> {
    let cluster = served.home.cluster().ok().flatten();
    let cluster = cluster.ok_or_else(|| Failure::new("failed", "the home has no cluster"))?;
    let read = |peer: &Peer| {
        let own: NodeId = peer.node();
        let mut chains = peer.replication().chains(Timestamp(0));
        chains.retain(|chain| chain.chain.node == own);
        chains.sort_by_key(|chain| chain.last_hlc);
        let written = |chain: weft_replication::ChainStatus| Written {
            incarnation: chain.chain.incarnation,
            events: chain.events,
            commits: chain.commits,
            head: Some(chain.commit_hash),
        };
        (peer.discovery().keys_of(own).cloned(), chains.into_iter().map(written).collect::<Vec<_>>())
    };
    let (keys, written) = served.read(read).await?;
    let keys = keys.ok_or_else(|| Failure::new("failed", "the node does not know its own keys"))?;
    Ok(Json(report(&cluster, &keys, written)))
}

/// What is told of a node that has written these chains, the first one first.
pub(crate) fn report(cluster: &ClusterFile, keys: &PublicKeys, written: Vec<Written>) -> IdentityReport {
    let row = |written: Written| {
        let current = written.incarnation == cluster.incarnation;
        let reborn = cluster.reborn.as_ref().filter(|_| current);
        IncarnationRow {
            incarnation: written.incarnation.to_string(),
            current,
            events: written.events,
            commits: written.commits,
            head: written.head.map(|head| head.to_string()),
            reason: reborn.map(|reborn| reborn.reason.clone()),
            begun_at: reborn.map(|reborn| text::time(reborn.at)),
            disowned: cluster.disowned.contains(&written.incarnation),
        }
    };
    let begun = written.iter().any(|written| written.incarnation == cluster.incarnation);
    let next = Written { incarnation: cluster.incarnation, events: 0, commits: 0, head: None };
    let written = written.into_iter().chain((!begun).then_some(next));
    let chain = ChainId { node: keys.node(), incarnation: cluster.incarnation };
    IdentityReport {
        name: cluster.name.to_string(),
        node: chain.node.to_string(),
        ed25519_fingerprint: content_address(chain.node.as_bytes()).to_string(),
        mldsa65_fingerprint: content_address(keys.mldsa65()).to_string(),
        incarnations: written.map(row).collect(),
    }
}
