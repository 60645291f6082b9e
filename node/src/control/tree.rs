//! The tree of resources: what stands in it, its roots, proofs of it, and what an operator says of a resource.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{
    ErrorBody, ResourceRow, ScoreRequest, StableRoot, TreeProofFile, TreeReport, TreeRootReport,
};
use weft_protocol::{
    Millionths, NodeId, Observation, Principal, ResourceEntry, ResourcePath, ResourceScored, TreeClaim, TreeStatement,
    encode,
};

use super::failure::Failure;
use super::members::find;
use super::request::{JsonBody, Parameters};
use super::{Served, mismatch};
use crate::cli::TREE_PROOF_FORMAT;

/// How much an observation counts when nobody says how much: the reference system's 0.3.
const WEIGHT_DEFAULT: f64 = 0.3;
/// Most resources in one answer.
const PAGE_RESOURCES_MAX: usize = 1_000;
/// Most names that an ambiguous one is told to be.
const MEANT_MAX: usize = 8;

/// Which resource.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathParameters {
    /// Its path; the root without one. Where names are each node's own, `words` is whichever there is, `words@beta` that of
    /// one node.
    path: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Below which resource; the root without one.
    path: Option<String>,
    /// Only those behind this name.
    after: Option<String>,
}

/// What stands directly below a resource, in pages.
#[utoipa::path(get, path = "/v1/tree", params(ListParameters),
    responses((status = 200, body = TreeReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    State(served): State<Arc<Served>>,
    Parameters(ListParameters { path, after }): Parameters<ListParameters>,
) -> Result<Json<TreeReport>, Failure> {
    let read = move |peer: &Peer| {
        let path = existing(peer, path.as_deref().unwrap_or("/"))?;
        let tree = peer.replication().tree();
        let is_behind = |entry: &ResourceEntry| after.as_deref().is_none_or(|after| entry.path.name() > Some(after));
        let mut rest = tree.children(&path).filter(|(entry, _)| is_behind(entry)).peekable();
        let mut next = None;
        let page = rest.by_ref().take(PAGE_RESOURCES_MAX).map(|(entry, children)| {
            next = entry.path.name().map(str::to_owned);
            row(peer, entry, children)
        });
        let resources = page.collect();
        let next = next.filter(|_| rest.peek().is_some());
        Ok(TreeReport { path: path.to_string(), root: tree.root().to_string(), resources, next })
    };
    Ok(Json(served.read(read).await?.map_err(|failure: Failure| failure)?))
}

/// One resource.
#[utoipa::path(get, path = "/v1/tree/resource", params(PathParameters),
    responses((status = 200, body = ResourceRow), (status = "default", body = ErrorBody)))]
pub(crate) async fn resource(
    State(served): State<Arc<Served>>,
    Parameters(PathParameters { path }): Parameters<PathParameters>,
) -> Result<Json<ResourceRow>, Failure> {
    let read = move |peer: &Peer| one(peer, &existing(peer, path.as_deref().unwrap_or("/"))?);
    Ok(Json(served.read(read).await??))
}

/// The hashes over all resources and over all chains.
#[utoipa::path(get, path = "/v1/tree/root",
    responses((status = 200, body = TreeRootReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn root(State(served): State<Arc<Served>>) -> Result<Json<TreeRootReport>, Failure> {
    let read = |peer: &Peer| {
        let tree = peer.replication().tree();
        let stable = tree.stable_root().filter(|(at, _)| at.hlc.0 > 0);
        TreeRootReport {
            root: tree.root().to_string(),
            stable: stable.map(|(at, root)| StableRoot { root: root.to_string(), hlc: at.hlc.to_string() }),
            vector_root: peer.replication().vector_root().to_string(),
            resources: tree.len() as u64,
            left_out: tree.left_out(),
        }
    };
    Ok(Json(served.read(read).await?))
}

/// A proof that a resource is there, or is not: checked by anybody who knows the root.
#[utoipa::path(get, path = "/v1/tree/proof", params(PathParameters),
    responses((status = 200, body = TreeProofFile), (status = "default", body = ErrorBody)))]
pub(crate) async fn proof(
    State(served): State<Arc<Served>>,
    Parameters(PathParameters { path }): Parameters<PathParameters>,
) -> Result<Json<TreeProofFile>, Failure> {
    let read = move |peer: &Peer| {
        let path = meant(peer, path.as_deref().unwrap_or("/"))?;
        let tree = peer.replication().tree();
        let statement = TreeStatement {
            cluster: peer.kernel().chain_state().cluster(),
            vector_root: peer.replication().vector_root(),
            root: tree.root(),
            proof: tree.prove(&path),
        };
        Ok(TreeProofFile {
            format: TREE_PROOF_FORMAT.to_owned(),
            cluster: statement.cluster.to_string(),
            path: path.to_string(),
            present: matches!(statement.proof.claim, TreeClaim::Present { .. }),
            vector_root: statement.vector_root.to_string(),
            root: statement.root.to_string(),
            proof: data_encoding::BASE64.encode(&encode(&statement)),
        })
    };
    Ok(Json(served.read(read).await?.map_err(|failure: Failure| failure)?))
}

/// Says how good a resource is: its scores blend with this, on every node.
#[utoipa::path(post, path = "/v1/tree/score", request_body = ScoreRequest,
    responses((status = 200, body = ResourceRow), (status = "default", body = ErrorBody)))]
pub(crate) async fn score(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<ScoreRequest>,
) -> Result<Json<ResourceRow>, Failure> {
    let seen = Observation {
        trust: part(request.trust)?,
        performance: part(request.performance)?,
        difficulty: part(request.difficulty)?,
        reward: part(request.reward)?,
        reliability: part(request.reliability)?,
        velocity: part(request.velocity)?,
    };
    if seen.is_empty() {
        let failure = Failure::new("usage", "nothing was said of it");
        return Err(failure.hint(format!("weft tree score {} --reliability 0.8", request.path)));
    }
    let weight = part(Some(request.weight.unwrap_or(WEIGHT_DEFAULT)))?.unwrap_or(Millionths::ONE);
    let path = served.read(move |peer| existing(peer, &request.path)).await??;
    let scored = Box::new(ResourceScored { path: path.clone(), seen, weight, by: Some(Principal::Operator) });
    match served.ask(Question::Score { scored }).await? {
        Reply::Recorded => Ok(Json(served.read(move |peer| one(peer, &path)).await??)),
        reply => Err(mismatch(&reply)),
    }
}

/// A part of one as it is written.
fn part(number: Option<f64>) -> Result<Option<Millionths>, Failure> {
    Ok(number.map(|number| number.to_string().parse::<Millionths>()).transpose()?)
}

fn one(peer: &Peer, path: &ResourcePath) -> Result<ResourceRow, Failure> {
    let tree = peer.replication().tree();
    let entry = tree.get(path).ok_or_else(|| missing(path))?;
    Ok(row(peer, entry, tree.children(path).count()))
}

fn row(peer: &Peer, entry: &ResourceEntry, children: usize) -> ResourceRow {
    let name = entry.path.name().unwrap_or("/");
    let (own, node) = name.rsplit_once('@').map_or((None, name), |(own, node)| (Some(own), node));
    let name = match (own, node.parse::<NodeId>()) {
        (Some(own), Ok(node)) => format!("{own}@{}", peer.discovery().display_name(node)),
        (None, Ok(node)) => peer.discovery().display_name(node),
        (_, Err(_not_a_node)) => name.to_owned(),
    };
    ResourceRow::new(entry, name, children)
}

/// The resource that somebody means, which must be there.
fn existing(peer: &Peer, path: &str) -> Result<ResourcePath, Failure> {
    let path = meant(peer, path)?;
    if peer.replication().tree().get(&path).is_some() { Ok(path) } else { Err(missing(&path)) }
}

fn missing(path: &ResourcePath) -> Failure {
    let above = path.parent().unwrap_or_else(ResourcePath::root);
    Failure::new("not-found", format!("no resource {path}")).hint(format!("weft tree ls {above}"))
}

/// The path that somebody means: where names are each node's own, one without its node, or with the node's name, is completed.
fn meant(peer: &Peer, text: &str) -> Result<ResourcePath, Failure> {
    let written: ResourcePath = text.parse()?;
    let tree = peer.replication().tree();
    let mut path = ResourcePath::root();
    for name in written.names() {
        let exact = path.child(name)?;
        if tree.get(&exact).is_some() {
            path = exact;
            continue;
        }
        // Below some stand nodes themselves.
        let node = find(peer, name).ok().and_then(|node| path.child(&node.to_string()).ok());
        if let Some(node) = node.filter(|node| tree.get(node).is_some()) {
            path = node;
            continue;
        }
        let (own, node) = name.split_once('@').map_or((name, None), |(own, node)| (own, Some(node)));
        let node = node.map(|node| find(peer, node)).transpose().ok().flatten();
        let is_meant = |entry: &ResourceEntry| {
            let (this, at) = entry.path.name()?.rsplit_once('@')?;
            (this == own && node.is_none_or(|node| at == node.to_string())).then(|| entry.path.clone())
        };
        let found: Vec<ResourcePath> = match name.contains('@') && node.is_none() {
            true => Vec::new(),
            false => tree.children(&path).filter_map(|(entry, _)| is_meant(entry)).collect(),
        };
        path = match found.as_slice() {
            [] => exact,
            [one] => one.clone(),
            several => {
                let names = several.iter().take(MEANT_MAX).map(ToString::to_string).collect::<Vec<_>>();
                let failure = Failure::new("ambiguous", format!("{exact} is on {} nodes", several.len()));
                return Err(failure.hint(format!("one of {}", names.join(", "))));
            }
        };
    }
    Ok(path)
}
