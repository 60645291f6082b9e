//! Snapshots of this node's chain, and rows beside its events that go.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weft_peer::{Peer, Prune, Question, Reply};
use weft_protocol::control::{ErrorBody, PruneReport, PruneRequest, PruneStay, PrunedCount, SnapshotReport};
use weft_protocol::{Hlc, NodeId, Pruned, Timestamp};
use weft_replication::{Keeps, PruneTerms, StateOfChain, Vouching};
use weft_storage::{PrunePlan, RowCount, Store, StoreError};

use super::failure::Failure;
use super::request::JsonBody;
use super::{Served, mismatch};

/// Says on this node's chain where it stands, with one hash over what it has said so far.
#[utoipa::path(post, path = "/v1/chain/snapshot",
    responses((status = 200, body = SnapshotReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn snapshot(State(served): State<Arc<Served>>) -> Result<Json<SnapshotReport>, Failure> {
    recorded(&served, Question::TakeSnapshot).await?;
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

/// Deletes rows beside events of this node's chain that are old enough, stable, vouched for and below a snapshot that is true.
/// Responds when they are gone. Events stay.
#[utoipa::path(post, path = "/v1/chain/prune", request_body = PruneRequest,
    responses((status = 200, body = PruneReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn prune(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<PruneRequest>,
) -> Result<Json<PruneReport>, Failure> {
    let older_than_us = match request.older_than_us {
        Some(age) => Some(age),
        None => served.control.live.config().await.retention_rows_us,
    };
    let wall = crate::clock::wall();
    let until = older_than_us.map_or(Hlc(0), |age| Hlc::from_wall(Timestamp(wall.0.saturating_sub(age))));
    let terms = served.read(move |peer| peer.replication().prune_terms(until)).await?;
    let (terms, refuted, plan) = served.stored(move |store| plan(store, terms)).await?;
    if let Some(fault) = plan.fault {
        let hint = "weft chain verify looks at all of it; weft chain snapshot takes a new one";
        return Err(Failure::new("damaged", format!("nothing goes: {fault}")).hint(hint));
    }
    let report = PruneReport {
        node: terms.chain.node.to_string(),
        incarnation: terms.chain.incarnation.to_string(),
        dry_run: request.dry_run,
        older_than_us,
        witnesses_needed: terms.needed as u64,
        snapshot_events: terms.snapshot.as_ref().map(|(_, snapshot)| snapshot.size),
        from: plan.events.map(|(first, _)| first.seq),
        to: plan.events.map(|(_, last)| last.seq + 1),
        goes: counted(&plan.goes),
        stays: plan.stays.iter().map(|(keeps, stays)| stay(*keeps, stays, &terms)).collect(),
        shared_bodies: plan.shared,
        more: plan.more,
    };
    if let (false, Some((first, last)), Some((snapshot, _))) = (request.dry_run, plan.events, &terms.snapshot) {
        let RowCount { rows, bodies, .. } = plan.goes;
        let pruned = Pruned { from: first.seq, to: last.seq + 1, rows, bodies, snapshot: *snapshot };
        let prune = Prune { pruned, last, until, refuted, rows: plan.rows };
        recorded(&served, Question::Prune { prune: Box::new(prune) }).await?;
    }
    Ok(Json(report))
}

async fn recorded(served: &Served, question: Question) -> Result<(), Failure> {
    match served.ask(question).await? {
        Reply::Recorded => Ok(()),
        reply => Err(mismatch(&reply)),
    }
}

/// What may go, and which members are not believed because they name commits that are not here.
fn plan(store: &Store, mut terms: PruneTerms) -> Result<(PruneTerms, Vec<NodeId>, PrunePlan<Keeps>), StoreError> {
    let (mut vouchings, mut refuted) = (Vec::new(), Vec::new());
    for vouching in std::mem::take(&mut terms.vouchings) {
        let Vouching { node, commit_no, commit_hash, .. } = vouching;
        if store.commit_hashes(terms.chain, &[commit_no])? == [(commit_no, commit_hash)] {
            vouchings.push(vouching);
        } else {
            refuted.push(node);
        }
    }
    terms.vouchings = vouchings;
    let snapshot = terms.snapshot.clone();
    let plan = store.prunable(terms.chain, snapshot, StateOfChain::begin, |place| terms.keeps(place))?;
    Ok((terms, refuted, plan))
}

const fn counted(count: &RowCount) -> PrunedCount {
    PrunedCount { rows: count.rows, bodies: count.bodies, bytes: count.bytes }
}

fn stay(keeps: Keeps, stays: &RowCount, terms: &PruneTerms) -> PruneStay {
    let (reason, message) = match (keeps, &terms.snapshot) {
        (Keeps::Snapshot, None) => ("no-snapshot", "no snapshot covers them: weft chain snapshot takes one".to_owned()),
        (Keeps::Snapshot, Some((_, snapshot))) => {
            let covered = snapshot.size;
            ("no-snapshot", format!("the newest snapshot covers {covered} events: weft chain snapshot takes one"))
        }
        (Keeps::Order, _) => ("not-stable", "not stable: weft order shows whom that waits for".to_owned()),
        (Keeps::Witnesses, _) => {
            let needed = terms.needed;
            ("not-witnessed", format!("fewer than {needed} of the others vouch for them: weft chain witnesses"))
        }
        (Keeps::Age, _) if terms.until == Hlc(0) => {
            ("too-young", "kept for ever: --older-than or the setting retention_rows says otherwise".to_owned())
        }
        (Keeps::Age, _) => ("too-young", "not old enough".to_owned()),
    };
    PruneStay { reason: reason.to_owned(), message, stays: counted(stays) }
}
