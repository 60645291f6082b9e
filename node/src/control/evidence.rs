//! What is proven against nodes that wrote two histories or broke their ticks, and the files that prove it to anybody.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weft_peer::Peer;
use weft_protocol::control::{ErrorBody, EvidenceFile, EvidenceReport, EvidenceRow};
use weft_protocol::{Evidence, encode};
use weft_replication::{ForkVerdict, check_evidence};

use super::Served;
use super::failure::Failure;
use crate::cli::EVIDENCE_FORMAT;

/// Every fork that is proven here, each with a file that proves it without this node.
#[utoipa::path(get, path = "/v1/chain/evidence",
    responses((status = 200, body = EvidenceReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn evidence(State(served): State<Arc<Served>>) -> Result<Json<EvidenceReport>, Failure> {
    let report = served.read(|peer| {
        let rows = peer.replication().evidence().filter_map(|evidence| row(peer, evidence));
        EvidenceReport { evidence: rows.collect() }
    });
    Ok(Json(report.await?))
}

fn row(peer: &Peer, evidence: &Evidence) -> Option<EvidenceRow> {
    let chain = evidence.chain()?;
    let node = chain.node;
    // The earliest keys from which the evidence itself leads to those that signed.
    let known = peer.discovery().all_keys_of(node).iter();
    let (keys, verdict): (_, ForkVerdict) =
        known.into_iter().find_map(|keys| Some((keys, check_evidence(evidence, keys).ok()?)))?;
    let bytes = encode(evidence);
    Some(EvidenceRow {
        node: node.to_string(),
        name: peer.discovery().display_name(node),
        incarnation: chain.incarnation.to_string(),
        commit_no: verdict.commit_no,
        kind: verdict.kind.to_string(),
        shared_commits: verdict.shared_commits(),
        bytes: bytes.len() as u64,
        file: EvidenceFile {
            format: EVIDENCE_FORMAT.to_owned(),
            node: node.to_string(),
            evidence: data_encoding::BASE64.encode(&bytes),
            keys: data_encoding::BASE64.encode(&encode(keys)),
        },
    })
}
