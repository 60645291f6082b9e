//! Chains: where they stand, their events, proofs, the full check, exports, and the order over all of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;

use axum::extract::{Path, State};
use serde::Deserialize;
use weft_peer::Peer;
use weft_protocol::control::{
    ChainStatus, ChainVerifyReport, ChainVerifyRow, ErrorBody, EventRow, EventsPage, ExportReport, ExportRequest,
    ProofFile, WitnessRow, WitnessesReport,
};
use weft_protocol::limits::EVENT_BYTES_MAX;
use weft_protocol::{ChainId, Digest, Event, Fact, NodeId, Refusal, encode};
use weft_replication::{StateOfChain, Vouching};
use weft_storage::{ExportError, Store, StoreError, VerifyReport};

use super::failure::Failure;
use super::members::find;
use super::request::{JsonBody, Parameters};
use super::{Served, fact, text};
use crate::cli::{CliError, PROOF_FORMAT};

/// Events looked at for one page.
const PAGE_EVENTS_MAX: usize = 1_000;
/// How long a proof waits for the checkpoint that is due a second after the event.
const SEAL_WAIT_MAX: Duration = Duration::from_secs(3);
/// How often it looks.
const SEAL_STEP: Duration = Duration::from_millis(50);
/// Hashes of commits that are looked through at once.
const COMMITS_AT_ONCE: u64 = 1_000;

/// Where this node's chain stands.
#[utoipa::path(get, path = "/v1/chain", responses((status = 200, body = ChainStatus), (status = "default", body = ErrorBody)))]
pub(crate) async fn status(State(served): State<Arc<Served>>) -> Result<Json<ChainStatus>, Failure> {
    let status = served.read(|peer| peer.kernel().chain_status()).await?;
    Ok(Json(ChainStatus {
        node: status.chain.node.to_string(),
        incarnation: status.chain.incarnation.to_string(),
        events: status.events,
        commits: status.commits,
        checkpoints: status.checkpoints,
        head: status.head.map(|head| head.to_string()).unwrap_or_default(),
        root: status.root.to_string(),
        sealed_events: status.sealed_events,
    }))
}

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsParameters {
    /// From this place on; zero without one.
    #[serde(default)]
    from: u64,
    /// Look at this many at most; 1,000 without one and at most.
    count: Option<u64>,
    /// Of which member, by name or id; this node without one.
    node: Option<String>,
    /// Only of this kind, or, ending in `*`, of kinds that begin so.
    kind: Option<String>,
}

/// Events of one chain, in pages.
#[utoipa::path(get, path = "/v1/chain/events", params(EventsParameters),
    responses((status = 200, body = EventsPage), (status = "default", body = ErrorBody)))]
pub(crate) async fn events(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<EventsParameters>,
) -> Result<Json<EventsPage>, Failure> {
    let EventsParameters { from, count, node, kind } = parameters;
    let (chain, name) = served.read(move |peer| chain_of(peer, node.as_deref())).await??;
    let most = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX).clamp(1, PAGE_EVENTS_MAX);
    let page = move |store: &Store| {
        let encoded = store.events(chain, from, most)?;
        let next = from + encoded.len() as u64;
        let all_sealed = next > from && store.sealed(chain, next - 1)?;
        let mut events = Vec::new();
        for bytes in &encoded {
            let event = Event::decode(bytes).map_err(|error| StoreError::Read { reason: error.to_string() })?;
            if kind.as_deref().is_none_or(|kind| is_of_kind(&event.kind, kind)) {
                let sealed = all_sealed || store.sealed(chain, event.seq)?;
                events.push(event_row(store, &event, chain, &name, sealed)?);
            }
        }
        Ok(EventsPage { events, next, more: encoded.len() == most })
    };
    Ok(Json(served.stored(page).await?))
}

/// Events of this node's own chain from a place on.
pub(crate) async fn own_events(served: &Served, from: u64, most: usize) -> Result<Vec<EventRow>, Failure> {
    let (chain, name) = served.read(|peer| chain_of(peer, None)).await??;
    let page = move |store: &Store| {
        let row = |bytes: &Vec<u8>| {
            let event = Event::decode(bytes).map_err(|error| StoreError::Read { reason: error.to_string() })?;
            let sealed = store.sealed(chain, event.seq)?;
            event_row(store, &event, chain, &name, sealed)
        };
        store.events(chain, from, most)?.iter().map(row).collect()
    };
    served.stored(page).await
}

/// The chain that a member writes now, or wrote last, and the member's name.
fn chain_of(peer: &Peer, node: Option<&str>) -> Result<(ChainId, String), Failure> {
    let own = peer.kernel().chain_state().chain();
    let node = match node {
        None => own.node,
        Some(node) => find(peer, node)?,
    };
    let name = peer.discovery().display_name(node);
    if node == own.node {
        return Ok((own, name));
    }
    let chains = peer.replication().chains(crate::clock::wall());
    let newest = chains.iter().filter(|chain| chain.chain.node == node).max_by_key(|chain| chain.last_hlc);
    match newest {
        Some(chain) => Ok((chain.chain, name)),
        None => Err(Failure::new("not-found", format!("this node holds nothing of the chain of {name} yet")).retry()),
    }
}

fn is_of_kind(kind: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => kind.starts_with(beginning),
        None => kind == wanted,
    }
}

/// An event as it is shown; a body too large for it is read from beside it, where this node holds it.
fn event_row(store: &Store, event: &Event, chain: ChainId, name: &str, sealed: bool) -> Result<EventRow, StoreError> {
    let (summary, detail) = match Fact::decode(&event.kind, &event.payload) {
        Ok(Fact::Message(mut record)) if record.body.is_none() && record.body_bytes > EVENT_BYTES_MAX as u64 / 2 => {
            record.body = store.body(&record.body_hash)?;
            let pruned = record.body.is_none() && event.seq < store.pruned_to(chain);
            let (mut summary, detail) = fact::describe(&Fact::Message(record));
            if pruned {
                summary.push_str(", its body pruned");
            }
            (summary, detail)
        }
        Ok(fact) => fact::describe(&fact),
        Err(error) => (format!("cannot be read: {error}"), serde_json::Value::Null),
    };
    Ok(EventRow {
        node: chain.node.to_string(),
        name: name.to_owned(),
        incarnation: chain.incarnation.to_string(),
        seq: event.seq,
        hlc: event.hlc.to_string(),
        at: text::time(event.hlc.to_wall()),
        kind: event.kind.clone(),
        source: event.source.clone(),
        rule: event.rule.clone(),
        sealed,
        summary,
        detail,
    })
}

/// A proof that an event is on this node's chain. Waits up to three seconds for the checkpoint that covers it.
#[utoipa::path(get, path = "/v1/chain/proof/{seq}", params(("seq" = u64, Path, description = "Its place")),
    responses((status = 200, body = ProofFile), (status = "default", body = ErrorBody)))]
pub(crate) async fn proof(
    State(served): State<Arc<Served>>,
    Path(seq): Path<String>,
) -> Result<Json<ProofFile>, Failure> {
    let seq: u64 = seq.parse().map_err(|_| Failure::new("invalid", format!("`{seq}` is not a place on a chain")))?;
    let own = |peer: &Peer| (peer.kernel().chain_status(), peer.kernel().chain_state().cluster());
    let (status, cluster) = served.read(own).await?;
    if seq >= status.events {
        let message = format!("the chain has {} events, so there is no event {seq} yet", status.events);
        return Err(Failure::new("not-found", message).hint("weft chain log"));
    }
    let chain = status.chain;
    let begun = tokio::time::Instant::now();
    while !served.stored(move |store| store.sealed(chain, seq)).await? {
        if begun.elapsed() >= SEAL_WAIT_MAX {
            let message = format!("no checkpoint covers event {seq} yet");
            return Err(Failure::new("deadline", message).hint("try again in a second").retry());
        }
        tokio::time::sleep(SEAL_STEP).await;
    }
    let file = move |store: &Store| {
        let missing = || StoreError::Read { reason: format!("event {seq} cannot be proven") };
        let proof = store.prove(chain, seq)?.ok_or_else(missing)?;
        let event = Event::decode(&proof.event).map_err(|error| StoreError::Read { reason: error.to_string() })?;
        Ok(ProofFile {
            format: PROOF_FORMAT.to_owned(),
            node: chain.node.to_string(),
            cluster: cluster.to_string(),
            seq,
            kind: event.kind,
            proof: data_encoding::BASE64.encode(&encode(&proof)),
        })
    };
    Ok(Json(served.stored(file).await?))
}

/// Which witnesses.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessesParameters {
    /// Only those that vouch for this event, by its place, or for this commit, by its hash.
    place: Option<String>,
}

/// Who vouches for this node's chain, and how far, by their own chains as this node holds them.
#[utoipa::path(get, path = "/v1/chain/witnesses", params(WitnessesParameters),
    responses((status = 200, body = WitnessesReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn witnesses(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<WitnessesParameters>,
) -> Result<Json<WitnessesReport>, Failure> {
    let read = |peer: &Peer| {
        let status = peer.kernel().chain_status();
        let named = |vouching: Vouching| (peer.discovery().display_name(vouching.node), vouching);
        let vouchers = peer.replication().vouchers(&status.chain).map(named).collect::<Vec<_>>();
        (status, vouchers)
    };
    let (status, vouchers) = served.read(read).await?;
    let chain = status.chain;
    let wanted = match parameters.place {
        None => None,
        Some(place) => Some(place_of(&served, &status, &place).await?),
    };
    let compare = move |store: &Store| {
        let mut rows = Vec::new();
        for (name, Vouching { node, commit_no, size, commit_hash }) in vouchers {
            let held = store.commit_hashes(chain, &[commit_no])?;
            rows.push(WitnessRow {
                node: node.to_string(),
                name,
                commit_no,
                events: size,
                commit: commit_hash.to_string(),
                agrees: held == [(commit_no, commit_hash)],
            });
        }
        Ok(rows)
    };
    let mut witnesses = served.stored(compare).await?;
    witnesses.retain(|row| wanted.is_none_or(|wanted| row.agrees && row.events >= wanted));
    witnesses.sort_by(|one, other| other.events.cmp(&one.events).then_with(|| one.name.cmp(&other.name)));
    Ok(Json(WitnessesReport {
        node: chain.node.to_string(),
        incarnation: chain.incarnation.to_string(),
        events: status.events,
        wanted_events: wanted,
        witnesses,
    }))
}

/// How many events of this node's chain must be vouched for so that an event, by its place, or a commit, by its hash, is.
async fn place_of(served: &Served, status: &weft_kernel::ChainStatus, place: &str) -> Result<u64, Failure> {
    let (chain, events, commits) = (status.chain, status.events, status.commits);
    if let Ok(seq) = place.parse::<u64>() {
        if seq < events {
            return Ok(seq + 1);
        }
        let message = format!("the chain has {events} events, so there is no event {seq} yet");
        return Err(Failure::new("not-found", message).hint("weft chain log"));
    }
    let hash: Digest = place.parse()?;
    // From the newest on: whoever asks has seen it a moment ago.
    let find = move |store: &Store| {
        let mut end = commits;
        while end > 0 {
            let begin = end.saturating_sub(COMMITS_AT_ONCE);
            let numbers: Vec<u64> = (begin..end).collect();
            let found = store.commit_hashes(chain, &numbers)?.into_iter().find(|(_, held)| *held == hash);
            if let Some((commit_no, _)) = found {
                let header = store.commit_header(chain, commit_no)?;
                return Ok(header.and_then(|signed| signed.decode().ok()).map(|commit| commit.tree_size));
            }
            end = begin;
        }
        Ok(None)
    };
    let size = served.stored(find).await?;
    size.ok_or_else(|| {
        Failure::new("not-found", format!("no commit of this chain is {hash}")).hint("weft chain status")
    })
}

/// Verifies every chain that is held, from its first event.
#[utoipa::path(post, path = "/v1/chain/verify",
    responses((status = 200, body = ChainVerifyReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn verify(State(served): State<Arc<Served>>) -> Result<Json<ChainVerifyReport>, Failure> {
    let report = served.stored(|store| store.verify_all(StateOfChain::begin)).await?;
    let nodes: Vec<NodeId> = report.chains.iter().map(|chain| chain.chain.node).collect();
    let named = move |peer: &Peer| {
        let names = nodes.into_iter().map(|node| (node, peer.discovery().display_name(node)));
        names.collect::<std::collections::BTreeMap<_, _>>()
    };
    let names = served.read(named).await?;
    Ok(Json(verify_report(&report, |node| names.get(&node).cloned())))
}

/// A report of the store for people; `name` gives the names of nodes that are known.
pub(crate) fn verify_report(report: &VerifyReport, name: impl Fn(NodeId) -> Option<String>) -> ChainVerifyReport {
    let row = |chain: &weft_storage::ChainReport| ChainVerifyRow {
        node: chain.chain.node.to_string(),
        name: name(chain.chain.node).unwrap_or_else(|| chain.chain.node.short()),
        incarnation: chain.chain.incarnation.to_string(),
        events: chain.events,
        commits: chain.commits,
        checkpoints: chain.checkpoints,
        root: chain.root.map(|root| root.to_string()).unwrap_or_default(),
        head: chain.last_commit.map(|commit| commit.to_string()).unwrap_or_default(),
        ok: chain.fault.is_none(),
        error: chain.fault.as_ref().map(|fault| format!("commit {}: {}", fault.first_bad_commit, fault.reason)),
        snapshots: chain.snapshots,
        pruned: chain.pruned,
    };
    ChainVerifyReport { ok: report.is_good(), chains: report.chains.iter().map(row).collect() }
}

/// Writes every chain that is held into a new folder on this machine.
#[utoipa::path(post, path = "/v1/chain/export", request_body = ExportRequest,
    responses((status = 200, body = ExportReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn export(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<ExportRequest>,
) -> Result<Json<ExportReport>, Failure> {
    let folder = PathBuf::from(&request.path);
    if !folder.is_absolute() {
        return Err(Failure::new("invalid", format!("{} is not an absolute path", request.path)));
    }
    let store = Arc::clone(&served.control.store);
    let write = move || -> Result<ExportReport, ExportError> {
        let chains = store.export(&folder)?;
        let report = weft_storage::verify_export(&folder, StateOfChain::begin)?;
        Ok(ExportReport {
            path: folder.display().to_string(),
            chains: chains.len() as u64,
            events: report.chains.iter().map(|chain| chain.events).sum(),
            bytes: bytes_of(&folder).unwrap_or_default(),
            bodies: report.chains.iter().map(|chain| chain.bodies).sum(),
            bodies_omitted: report.chains.iter().map(|chain| chain.absent_bodies).sum(),
        })
    };
    match tokio::task::spawn_blocking(write).await {
        Ok(report) => report.map(Json).map_err(|error| Failure(CliError::from(error))),
        Err(_stopped) => Err(Refusal::ShuttingDown.into()),
    }
}

fn bytes_of(folder: &std::path::Path) -> io::Result<u64> {
    let sizes = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len()));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use weft_protocol::{EVENT_VERSION, Hlc, Incarnation, Shutdown, encode};

    use super::*;

    #[test]
    fn an_event_of_a_later_program_is_shown_with_what_cannot_be_read_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, _) = Store::create_or_open(&folder.path().join("store.redb")).expect("a store");
        let chain = ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(1) };
        let row = |kind: &str, payload: Vec<u8>| {
            let (kind, payload) = (kind.to_owned(), payload.into());
            let event = Event {
                version: EVENT_VERSION,
                seq: 7,
                hlc: Hlc(1),
                source: "kernel".to_owned(),
                kind,
                cause: Vec::new(),
                payload,
                rule: None,
            };
            event_row(&store, &event, chain, "beta", true).expect("a row")
        };
        let shutdown = Fact::Shutdown(Shutdown { stopped: 1 });
        let with_field = [&[0xa2], &shutdown.encode()[1..], &encode("later"), &encode(&1_u64)].concat();
        let unread = row(shutdown.kind(), with_field);
        assert!(unread.summary.starts_with("cannot be read: "), "{}", unread.summary);
        assert_eq!((unread.seq, unread.kind.as_str(), &unread.detail), (7, "node.shutdown", &serde_json::Value::Null));
        let unknown = row("future.kind", b"whatever".to_vec());
        assert!(unknown.summary.contains("8 bytes"), "{}", unknown.summary);
        assert!(!row(shutdown.kind(), shutdown.encode()).summary.contains("cannot be read"));
    }
}
