//! Catching up: a node that has just joined and started connects to the only other member, which holds 100,000 events, fetches,
//! verifies and stores them.

use std::path::Path;
use std::time::Duration;

use serde_bytes::ByteBuf;
use tokio::time::Instant;
use weft_protocol::{
    Admitted, ChainId, ChainState, Fact, Frontier, Genesis, SUITE, Shake, Signer as _, chain_root_hash, leaf_hash,
    link_hash,
};
use weft_storage::Store;

use super::call::{FarNode, near_node};
use super::{Figure, chain, failed, per_second};
use crate::cli::CliError;
use crate::clock::wall;
use crate::home::{Home, HomeDir};
use crate::identity;
use crate::run::{found, shut_down};

const EVENTS: u64 = 100_000;
const LOOK: Duration = Duration::from_millis(5);
const CAUGHT_UP: Duration = Duration::from_secs(120);

/// Measures in `folder`.
pub(super) async fn measure(folder: &Path) -> Result<Vec<Figure>, CliError> {
    let (chain, events) = prepare(&folder.join("beta"))?;
    let far = FarNode::start(&folder.join("beta"), "beta").await?;
    // Joining is not catching up; what is measured begins with a node that has just started and holds nothing of the other.
    let near = near_node(&folder.join("alpha"), &far).await?;
    let begin = Instant::now();
    let mut looks = tokio::time::interval(LOOK);
    let caught_up = tokio::time::timeout(CAUGHT_UP, async {
        loop {
            let heads = near.asker.read(|peer| peer.replication().heads()).await;
            let heads = heads.map_err(|refusal| CliError::from(&refusal))?;
            if heads.iter().any(|head| head.chain == chain && head.size >= EVENTS) {
                return Ok::<(), CliError>(());
            }
            looks.tick().await;
        }
    });
    caught_up.await.map_err(|_| failed("catching up", &"took longer than two minutes"))??;
    let verified = per_second(events.len(), begin);
    shut_down(&near.asker).await.map_err(|refusal| CliError::from(&refusal))?;
    near.ended().await?;
    let mut far = far;
    far.down().await?;

    let begin = Instant::now();
    let root = hash_pass(&chain, &events);
    let hashed = per_second(events.len(), begin);
    tracing::debug!(?root, "the pass was made");
    let limit = "one pass of leaf, link and tree hashes";
    Ok(vec![Figure::new("sync_verified_events_per_s", "events/s", verified, limit, hashed)])
}

/// A home whose founder's chain holds so many events; the chain and their bytes.
fn prepare(folder: &Path) -> Result<(ChainId, Vec<ByteBuf>), CliError> {
    let home = Home::open(HomeDir::new(folder)?)?;
    let keys = identity::load_or_create(home.path())?;
    let now = wall();
    let begin = weft_protocol::Timestamp(now.0 - EVENTS * 10);
    let cluster = found(&home, &keys, "beta".parse()?, begin)?;
    let chain = ChainId { node: keys.public_keys().node(), incarnation: cluster.incarnation };
    let charter = cluster.charter.clone();
    let genesis = Genesis {
        suite: SUITE,
        cluster: charter.cluster_id(),
        keys: keys.public_keys().clone(),
        governance_hash: charter.rules_hash(),
        charter: Some(charter.clone()),
        previous: None,
    };
    let admitted = Admitted { certificate: cluster.certificate, invite: None };
    let first = [Fact::Genesis(Box::new(genesis)), Fact::Admitted(Box::new(admitted))];
    let (store, _) = Store::create_or_open(&home.store()).map_err(|error| failed("store", &error))?;
    let state = ChainState::new(chain, charter.cluster_id(), keys.public_keys().clone());
    let events = chain::write(&store, state, &keys, &first, EVENTS, begin)?;
    Ok((chain, events))
}

/// What any verifier must at least compute.
fn hash_pass(chain: &ChainId, events: &[ByteBuf]) -> weft_protocol::Digest {
    let mut link = chain_root_hash(chain);
    let mut frontier = Frontier::default();
    for event in events {
        let leaf = leaf_hash(event);
        link = link_hash(&link, &leaf);
        frontier.push::<Shake>(leaf);
    }
    weft_protocol::hash("bench-pass", &[link.as_bytes(), frontier.root::<Shake>().as_bytes()])
}
