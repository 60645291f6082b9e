//! `identity`: the keys of the node and the chains that it has written.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{ErrorBody, IdentityReport, IncarnationRow, RotateReport};
use weft_protocol::{
    ChainId, Digest, Fact, Hlc, Incarnation, NodeId, PublicKeys, Recovered, Refusal, Signer as _, Timestamp,
    content_address,
};

use super::failure::Failure;
use super::{Served, mismatch, text};
use crate::home::ClusterFile;
use crate::identity::{self, IdentityError};

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
        let rotated = Rotated { count: peer.discovery().own_rotations() as u64, since: peer.discovery().keys_since() };
        (peer.discovery().keys_of(own).cloned(), rotated, chains.into_iter().map(written).collect::<Vec<_>>())
    };
    let (keys, rotated, written) = served.read(read).await?;
    let keys = keys.ok_or_else(|| Failure::new("failed", "the node does not know its own keys"))?;
    Ok(Json(report(&cluster, &keys, rotated, written)))
}

/// How the keys came to be the node's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rotated {
    /// How often they were rotated since the certificate.
    pub(crate) count: u64,
    /// The stamp of the last record of that.
    pub(crate) since: Option<Hlc>,
}

impl Rotated {
    /// As the chains of a node tell that has these keys.
    pub(crate) fn of(recovered: &Recovered, keys: &PublicKeys) -> Self {
        let mut rotated = Self::default();
        for placed in recovered.chains_of(keys.node()).iter().flat_map(|chain| &chain.facts) {
            if let Fact::KeyRotated(rotation) = &placed.fact {
                rotated.count += 1;
                if rotation.rotation.peek().is_ok_and(|rotation| rotation.new == *keys) {
                    rotated.since = Some(placed.hlc);
                }
            }
        }
        rotated
    }
}

/// Refusals after which a rotation is certainly not on the chain.
const UNRECORDED: [&str; 4] = ["denied", "deferred", "invalid", "busy"];

/// One rotation at a time: the files of the keys are those of one.
static ROTATING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Makes a new ML-DSA-65 key for the node. The secret is on disk before the record of it is, the record before anything is signed
/// with it, and the old secret is gone when this answers.
#[utoipa::path(post, path = "/v1/identity/rotate",
    responses((status = 200, body = RotateReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn rotate(State(served): State<Arc<Served>>) -> Result<Json<RotateReport>, Failure> {
    // Whoever asked may go away in the middle: what is begun is ended all the same.
    match tokio::spawn(rotate_keys(served)).await {
        Ok(result) => result.map(Json),
        Err(_stopped) => Err(Refusal::ShuttingDown.into()),
    }
}

async fn rotate_keys(served: Arc<Served>) -> Result<RotateReport, Failure> {
    let _one = ROTATING.lock().await;
    let own = served.read(|peer: &Peer| peer.discovery().keys_of(peer.node()).cloned()).await?;
    let own = own.ok_or_else(|| Failure::new("failed", "the node does not know its own keys"))?;
    let (home, current) = (served.home.path().to_owned(), own.clone());
    let next = on_files(move || {
        // One that is in force and could not take its place then takes it now.
        identity::finish_next(&home, &current)?;
        let keys = identity::load(&home)?;
        identity::create_next(&home, &keys)
    });
    let next = Arc::new(next.await?);
    let fingerprint = content_address(next.public_keys().mldsa65()).to_string();
    let home = served.home.path().to_owned();
    match served.ask(Question::RotateKeys { next }).await {
        Ok(Reply::Recorded) => on_files(move || identity::promote_next(&home)).await?,
        Ok(reply) => return Err(mismatch(&reply)),
        Err(failure) => {
            // Of a node that ends, or whose store cannot be written any more, nobody here can tell what is recorded: the next
            // start reads it and decides.
            if UNRECORDED.contains(&failure.code()) {
                on_files(move || identity::discard_next(&home)).await?;
            }
            return Err(failure);
        }
    }
    let rotations = served.read(|peer: &Peer| peer.discovery().own_rotations()).await? as u64;
    let before = content_address(own.mldsa65()).to_string();
    Ok(RotateReport { node: own.node().to_string(), before, mldsa65_fingerprint: fingerprint, rotations })
}

/// Does something with the files of the keys, off the threads that serve.
async fn on_files<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| Failure::new("failed", error.to_string())),
        Err(_stopped) => Err(Refusal::ShuttingDown.into()),
    }
}

/// What is told of a node that has written these chains, the first one first.
pub(crate) fn report(
    cluster: &ClusterFile,
    keys: &PublicKeys,
    rotated: Rotated,
    written: Vec<Written>,
) -> IdentityReport {
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
        rotations: rotated.count,
        keys_since: rotated.since.map(|since| text::time(since.to_wall())),
        incarnations: written.map(row).collect(),
    }
}
