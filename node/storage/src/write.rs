//! The rows of one batch: what a transaction writes, and the check that each group continues what is stored.

use std::collections::BTreeMap;

use weft_protocol::{Batch, ChainId, CommitGroup, Evidence, PrunedRows, chain_root_hash, encode};

use crate::changes::Changes;
use crate::error::StoreError;
use crate::mark::Mark;
use crate::prune::write_pruned;
use crate::row::{self, Kind, StoredHead};

/// Where the chains of `batch` stand after it, when each of its groups continues what is stored.
pub(crate) fn next_heads(
    stored: &BTreeMap<ChainId, StoredHead>,
    batch: &Batch,
    generation: u64,
) -> Result<BTreeMap<ChainId, StoredHead>, StoreError> {
    let mut next = BTreeMap::new();
    for (chain, group) in &batch.groups {
        let head = next.get(chain).or_else(|| stored.get(chain)).copied();
        next.insert(*chain, continue_head(*chain, head, group, generation)?);
    }
    Ok(next)
}

fn continue_head(
    chain: ChainId,
    head: Option<StoredHead>,
    group: &CommitGroup,
    generation: u64,
) -> Result<StoredHead, StoreError> {
    let refuse = |reason: String| StoreError::Discontinuous { chain, reason };
    let commit = group.signed.decode().map_err(|error| refuse(error.to_string()))?;
    let head = head.unwrap_or(StoredHead { generation, commits: 0, size: 0, last_commit: chain_root_hash(&chain) });
    let count = group.events.len() as u64;
    let checks = [
        ("chain", commit.chain == chain),
        ("commit_no", commit.commit_no == head.commits),
        ("prev_commit", commit.prev_commit == head.last_commit),
        ("first_seq", commit.first_seq == head.size),
        ("count", commit.count == count),
        ("tree_size", commit.tree_size == head.size + count),
    ];
    match checks.iter().find(|(_, holds)| !holds) {
        Some((field, _)) => Err(refuse(format!("{field} of commit {}, {} are stored", commit.commit_no, head.commits))),
        None => Ok(StoredHead::after(generation, &commit, group.signed.hash())),
    }
}

/// All that a batch changes but its cuts, which come before.
pub(crate) fn write_batch(changes: &mut Changes, batch: &Batch, pruned: &[PrunedRows], mark: &Mark) {
    write_groups(changes, &batch.groups, mark.generation);
    for digest in &batch.digests {
        changes.put(Kind::Digest, &row::numbered_key(digest.chain, digest.seq), &encode(digest));
    }
    for (address, body) in &batch.bodies {
        changes.put(Kind::Body, address.as_bytes(), body);
    }
    for entry in &batch.outbox_put {
        changes.put(Kind::Outbox, &entry.envelope.id.to_bytes(), &encode(entry));
    }
    for message in &batch.outbox_drop {
        changes.remove(Kind::Outbox, &message.to_bytes());
    }
    for evidence in &batch.evidence {
        changes.put(Kind::Evidence, &evidence_key(evidence), &encode(evidence));
    }
    for (node, addresses) in &batch.addresses {
        changes.put(Kind::Addresses, node.as_bytes(), &encode(addresses));
    }
    for logged in &batch.topic_put {
        changes.put(Kind::Topic, &logged.place.0.to_be_bytes(), &encode(logged));
    }
    for place in &batch.topic_drop {
        changes.remove(Kind::Topic, &place.0.to_be_bytes());
    }
    for letter in &batch.dead_put {
        changes.put(Kind::DeadLetter, &letter.envelope.id.to_bytes(), &encode(letter));
    }
    for message in &batch.dead_drop {
        changes.remove(Kind::DeadLetter, &message.to_bytes());
    }
    for gone in pruned {
        write_pruned(changes, gone);
    }
    for (chain, head) in &mark.heads {
        changes.put(Kind::State, &row::head_key(*chain), &head.write());
    }
    if batch.reserved.is_some() {
        changes.put(Kind::State, row::RESERVED_KEY, &encode(&mark.reserved));
    }
}

pub(crate) fn write_groups(changes: &mut Changes, groups: &[(ChainId, CommitGroup)], generation: u64) {
    for (chain, group) in groups {
        let commit = group.signed.decode().expect("BUG: decoded when the heads were compared");
        let key = row::numbered_key(*chain, commit.commit_no);
        changes.put(Kind::Group, &key, &row::write_group(generation, commit.first_seq, group));
    }
}

/// The key of one piece of evidence: the hashes of both commits.
fn evidence_key(evidence: &Evidence) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(evidence.first.hash().as_bytes());
    key[32..].copy_from_slice(evidence.second.hash().as_bytes());
    key
}
