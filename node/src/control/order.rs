//! `/v1/order` and who counts for it: what is stable, whom the rest waits for, and changes of that.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use weft_peer::{Peer, Question};
use weft_protocol::control::{
    CountingRow, ErrorBody, MemberChangeReport, MemberChangeRequest, OrderRow, OrderState, OrderWait,
};
use weft_protocol::{ChainId, Hlc, MemberVerb, NodeId};
use weft_replication::{OrderKey, Placement};
use weft_storage::{Store, StoreError};

use super::failure::Failure;
use super::members::find;
use super::request::{JsonBody, Parameters};
use super::{Served, text};

/// Lines of the order that wait for a slow reader.
const ORDER_LINES_MAX: usize = 256;
/// How long a change of who counts is waited for: it goes on afterwards.
const DECISION_WAIT_MAX: Duration = Duration::from_secs(10);

/// What is wanted of the order.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderParameters {
    /// At most so many events; all without one.
    count: Option<u64>,
    /// Only what is stable.
    #[serde(default)]
    stable: bool,
}

/// The order of all events that are held, one JSON object on each line.
#[utoipa::path(get, path = "/v1/order", params(OrderParameters),
    responses((status = 200, body = OrderRow, content_type = "application/x-ndjson"), (status = "default", body = ErrorBody)))]
pub(crate) async fn order(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<OrderParameters>,
) -> Result<Response, Failure> {
    let placement = served.read(|peer| peer.replication().standing().placement()).await?;
    let (lines, reading) = mpsc::channel::<Result<Bytes, io::Error>>(ORDER_LINES_MAX);
    let store = Arc::clone(&served.control.store);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write_order(&store, &placement, &parameters, &lines) {
            // The reader sees that the answer breaks off.
            let _reader_is_gone = lines.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let lines = futures::stream::unfold(reading, async |mut reading| Some((reading.recv().await?, reading)));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn write_order(
    store: &Store,
    placement: &Placement,
    parameters: &OrderParameters,
    lines: &mpsc::Sender<Result<Bytes, io::Error>>,
) -> Result<(), StoreError> {
    let count = parameters.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let place = |key: &weft_storage::OrderKey, commit_no| {
        placement.place(OrderKey::new(key.chain, key.seq, key.hlc), commit_no)
    };
    for key in store.order_keys(place)?.take(count) {
        let (place, key) = key?;
        let stable = placement.is_stable(&place);
        if parameters.stable && !stable {
            break;
        }
        let row = OrderRow {
            hlc: key.hlc.to_string(),
            node: key.chain.node.to_string(),
            incarnation: key.chain.incarnation.to_string(),
            seq: key.seq,
            kind: key.kind,
            stable,
        };
        let mut line = serde_json::to_vec(&row).unwrap_or_default();
        line.push(b'\n');
        if lines.blocking_send(Ok(Bytes::from(line))).is_err() {
            break;
        }
    }
    Ok(())
}

/// Up to where the order is stable, who counts, and whom the rest waits for.
#[utoipa::path(get, path = "/v1/order/state",
    responses((status = 200, body = OrderState), (status = "default", body = ErrorBody)))]
pub(crate) async fn state(State(served): State<Arc<Served>>) -> Result<Json<OrderState>, Failure> {
    Ok(Json(served.read(state_of).await?))
}

/// What a peer says of the order.
pub(super) fn state_of(peer: &Peer) -> OrderState {
    let standing = peer.replication().standing();
    let watermark = standing.watermark();
    let counting = standing.epochs().active().keys();
    let row = |chain: &ChainId| CountingRow {
        name: peer.discovery().display_name(chain.node),
        node: chain.node.to_string(),
        incarnation: chain.incarnation.to_string(),
    };
    let newest = standing.newest();
    let waits = standing.waits_for().into_iter().filter(|(_, reached)| *reached < newest);
    let wait = |(chain, reached): (ChainId, Hlc)| OrderWait {
        name: peer.discovery().display_name(chain.node),
        node: chain.node.to_string(),
        heard_until: (reached > Hlc(0)).then(|| text::time(reached.to_wall())),
    };
    OrderState {
        order: if is_stable(peer) { "stable" } else { "provisional" }.to_owned(),
        watermark: watermark.to_string(),
        stable_until: (watermark > Hlc(0)).then(|| text::time(watermark.to_wall())),
        epoch: standing.epoch().0.to_string(),
        epochs_before: standing.epochs().number(),
        counting: counting.map(row).collect(),
        waits_for: waits.map(wait).collect(),
        undecided: standing.epochs().proposals().count() as u64,
    }
}

/// Whether everything that is held and counts is stable.
pub(super) fn is_stable(peer: &Peer) -> bool {
    let standing = peer.replication().standing();
    let watermark = standing.watermark();
    watermark > Hlc(0) && standing.newest() <= watermark
}

/// Whether the newest chain of a node counts.
pub(super) fn counts(peer: &Peer, node: NodeId) -> bool {
    peer.replication().standing().active_of(node).is_some()
}

/// Has a member suspended, resumed, evicted or readmitted, and waits a while for those who decide.
#[utoipa::path(post, path = "/v1/members/change", request_body = MemberChangeRequest,
    responses((status = 200, body = MemberChangeReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn change(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<MemberChangeRequest>,
) -> Result<Json<MemberChangeReport>, Failure> {
    let verb: MemberVerb = request.change.parse()?;
    let named = request.node.clone();
    let node = served.read(move |peer| find(peer, &named)).await??;
    let mut changes = served.changes();
    served.ask(Question::ChangeMember { node, verb }).await?;
    let decided = tokio::time::timeout(DECISION_WAIT_MAX, async {
        while !served.read(move |peer| peer.replication().is_decided(node, verb)).await? {
            changes.next().await?;
        }
        Ok::<(), Failure>(())
    });
    let decided = match decided.await {
        Ok(result) => result.map(|()| true)?,
        Err(_elapsed) => false,
    };
    let report = served.read(move |peer| {
        let waiting = peer.replication().waits_to_decide();
        let names: BTreeSet<String> = waiting.iter().map(|node| peer.discovery().display_name(*node)).collect();
        MemberChangeReport {
            node: node.to_string(),
            name: peer.discovery().display_name(node),
            change: verb.name().to_owned(),
            decided,
            waits_for: if decided { Vec::new() } else { names.into_iter().collect() },
        }
    });
    Ok(Json(report.await?))
}
