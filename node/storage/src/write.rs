//! The rows of one batch: what a transaction writes, and the check that each group continues what is stored.

use std::collections::BTreeMap;

use redb::WriteTransaction;
use weft_protocol::{
    Batch, ChainId, CommitGroup, DigestRow, Evidence, NewTraces, PrunedRows, chain_root_hash, encode, names_of_leaf,
};

use crate::cut::write_cut;
use crate::error::StoreError;
use crate::index::{self, Place, WHOLE_EVENT};
use crate::mark::Mark;
use crate::prune::write_pruned;
use crate::row::{self, Kind, Salt, StoredHead};
use crate::table::{ADDRESSES, BODIES, DEAD_LETTERS, DIGESTS, EVIDENCE, GROUPS, INDEX, OUTBOX, STATE, TOPICS};

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

pub(crate) fn write_batch(
    transaction: &WriteTransaction,
    salt: &Salt,
    batch: &Batch,
    pruned: &[PrunedRows],
    mark: &Mark,
) -> Result<(), redb::Error> {
    for cut in &batch.cuts {
        write_cut(transaction, salt, cut)?;
    }
    write_groups(transaction, salt, &batch.groups, mark.generation)?;
    write_digests(transaction, salt, &batch.digests)?;
    for (address, body) in &batch.bodies {
        let value = row::write(salt, Kind::Body, address.as_bytes(), body);
        transaction.open_table(BODIES)?.insert(&address.as_bytes()[..], &value[..])?;
    }
    if !batch.outbox_put.is_empty() || !batch.outbox_drop.is_empty() {
        let mut outbox = transaction.open_table(OUTBOX)?;
        for entry in &batch.outbox_put {
            let key = entry.envelope.id.to_bytes();
            outbox.insert(&key[..], &row::write(salt, Kind::Outbox, &key, &encode(entry))[..])?;
        }
        for message in &batch.outbox_drop {
            outbox.remove(&message.to_bytes()[..])?;
        }
    }
    for evidence in &batch.evidence {
        let key = evidence_key(evidence);
        let value = row::write(salt, Kind::Evidence, &key, &encode(evidence));
        transaction.open_table(EVIDENCE)?.insert(&key[..], &value[..])?;
    }
    for (node, addresses) in &batch.addresses {
        let value = row::write(salt, Kind::Addresses, node.as_bytes(), &encode(addresses));
        transaction.open_table(ADDRESSES)?.insert(&node.as_bytes()[..], &value[..])?;
    }
    write_topics(transaction, salt, batch)?;
    write_dead_letters(transaction, salt, batch)?;
    for rows in pruned {
        write_pruned(transaction, rows)?;
    }
    for (chain, head) in &mark.heads {
        put_state(transaction, salt, &row::head_key(*chain), &head.write())?;
    }
    if batch.reserved.is_some() {
        put_state(transaction, salt, row::RESERVED_KEY, &encode(&mark.reserved))?;
    }
    Ok(())
}

pub(crate) fn write_groups(
    transaction: &WriteTransaction,
    salt: &Salt,
    groups: &[(ChainId, CommitGroup)],
    generation: u64,
) -> Result<(), redb::Error> {
    if groups.is_empty() {
        return Ok(());
    }
    let mut stored = transaction.open_table(GROUPS)?;
    let mut indexed = transaction.open_table(INDEX)?;
    for (chain, group) in groups {
        let commit = group.signed.decode().expect("BUG: decoded when the heads were compared");
        let key = row::numbered_key(*chain, commit.commit_no);
        let value = row::write(salt, Kind::Group, &key, &row::write_group(generation, commit.first_seq, group));
        stored.insert(&key[..], &value[..])?;
        for (seq, event) in (commit.first_seq..).zip(&group.events) {
            if let Some(record) = index::message_of(event) {
                let place = Place { chain: *chain, seq, leaf: WHOLE_EVENT };
                for key in index::keys(&mut NewTraces::default(), record.message, record.trace, place) {
                    indexed.insert(&key[..], &[][..])?;
                }
            }
        }
    }
    Ok(())
}

fn write_digests(transaction: &WriteTransaction, salt: &Salt, digests: &[DigestRow]) -> Result<(), redb::Error> {
    if digests.is_empty() {
        return Ok(());
    }
    let mut stored = transaction.open_table(DIGESTS)?;
    let mut indexed = transaction.open_table(INDEX)?;
    for digest in digests {
        let key = row::numbered_key(digest.chain, digest.seq);
        stored.insert(&key[..], &row::write(salt, Kind::Digest, &key, &encode(digest))[..])?;
        let places = (0..).map(|leaf| Place { chain: digest.chain, seq: digest.seq, leaf });
        let named = digest.records.iter().map(|leaf| names_of_leaf(digest.chain, leaf));
        let keys = named.zip(places).filter_map(|(named, place)| named.map(|(message, trace)| (message, trace, place)));
        let mut new_traces = NewTraces::default();
        let keys = keys.flat_map(|(message, trace, place)| index::keys(&mut new_traces, message, trace, place));
        let mut keys = keys.collect::<Vec<_>>();
        // In order, so that neighbours share a page.
        keys.sort_unstable();
        for key in keys {
            indexed.insert(&key[..], &[][..])?;
        }
    }
    Ok(())
}

fn write_topics(transaction: &WriteTransaction, salt: &Salt, batch: &Batch) -> Result<(), redb::Error> {
    if batch.topic_put.is_empty() && batch.topic_drop.is_empty() {
        return Ok(());
    }
    let mut topics = transaction.open_table(TOPICS)?;
    for logged in &batch.topic_put {
        let key = logged.place.0.to_be_bytes();
        topics.insert(&key[..], &row::write(salt, Kind::Topic, &key, &encode(logged))[..])?;
    }
    for place in &batch.topic_drop {
        topics.remove(&place.0.to_be_bytes()[..])?;
    }
    Ok(())
}

fn write_dead_letters(transaction: &WriteTransaction, salt: &Salt, batch: &Batch) -> Result<(), redb::Error> {
    if batch.dead_put.is_empty() && batch.dead_drop.is_empty() {
        return Ok(());
    }
    let mut letters = transaction.open_table(DEAD_LETTERS)?;
    for letter in &batch.dead_put {
        let key = letter.envelope.id.to_bytes();
        letters.insert(&key[..], &row::write(salt, Kind::DeadLetter, &key, &encode(letter))[..])?;
    }
    for message in &batch.dead_drop {
        letters.remove(&message.to_bytes()[..])?;
    }
    Ok(())
}

pub(crate) fn put_state(
    transaction: &WriteTransaction,
    salt: &Salt,
    key: &[u8],
    body: &[u8],
) -> Result<(), redb::Error> {
    transaction.open_table(STATE)?.insert(key, &row::write(salt, Kind::State, key, body)[..])?;
    Ok(())
}

/// The key of one piece of evidence: the hashes of both commits.
fn evidence_key(evidence: &Evidence) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(evidence.first.hash().as_bytes());
    key[32..].copy_from_slice(evidence.second.hash().as_bytes());
    key
}
