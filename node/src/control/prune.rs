//! Snapshots of this node's chain.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{ErrorBody, SnapshotReport};

use super::failure::Failure;
use super::{Served, mismatch};

/// Says on this node's chain where it stands, with one hash over what it has said so far.
#[utoipa::path(post, path = "/v1/chain/snapshot",
    responses((status = 200, body = SnapshotReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn snapshot(State(served): State<Arc<Served>>) -> Result<Json<SnapshotReport>, Failure> {
    match served.ask(Question::TakeSnapshot).await? {
        Reply::Recorded => {}
        reply => return Err(mismatch(&reply)),
    }
    let newest = |peer: &Peer| (peer.kernel().chain_state().chain(), peer.replication().snapshot().cloned());
    let (chain, newest) = served.read(newest).await?;
    let (seq, snapshot) = newest.ok_or_else(|| Failure::new("failed", "the snapshot is not there; this is a bug"))?;
    Ok(Json(SnapshotReport {
        node: chain.node.to_string(),
        incarnation: chain.incarnation.to_string(),
        seq,
        events: snapshot.size,
        root: snapshot.root.to_string(),
        state: snapshot.state.to_string(),
    }))
}
