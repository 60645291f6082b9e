//! A chain of many events, written as an honest node would have, to be caught up with.

use serde_bytes::{ByteArray, ByteBuf};
use weft_protocol::limits::COMMIT_EVENTS_MAX;
use weft_protocol::{
    Batch, COMMIT_LABEL, ChainState, Commit, CommitGroup, EVENT_VERSION, Event, Fact, Hlc, KeyPair, SUITE, Shake,
    SignedCommit, Signer as _, Timestamp, commit_hash, encode, leaf_hash, link_hash,
};
use weft_storage::Store;

use super::disk_limits::ENTRY_BYTES;
use super::failed;
use crate::cli::CliError;

/// Groups in one transaction.
const GROUPS_PER_BATCH: usize = 32;

/// Appends `first` and then as many opaque events of 256 bytes as make `size` in all; their bytes.
pub(super) fn write(
    store: &Store,
    mut state: ChainState,
    keys: &KeyPair,
    first: &[Fact],
    size: u64,
    mut now: Timestamp,
) -> Result<Vec<ByteBuf>, CliError> {
    let filler = Fact::Opaque { kind: "bench.entry".to_owned(), payload: ByteBuf::from(vec![7; ENTRY_BYTES]) };
    let mut batch = Batch::default();
    let mut all = Vec::new();
    let mut facts = first.to_vec();
    while state.size() < size {
        let room = COMMIT_EVENTS_MAX - facts.len();
        let left = usize::try_from(size - state.size()).unwrap_or(usize::MAX).saturating_sub(facts.len());
        facts.extend(std::iter::repeat_n(filler.clone(), room.min(left)));
        let group = group(&state, keys, &facts, &mut now);
        facts.clear();
        state.extend(&group).map_err(|error| failed("the chain", &error))?;
        all.extend(group.events.iter().cloned());
        batch.groups.push((state.chain(), group));
        if batch.groups.len() == GROUPS_PER_BATCH || state.size() == size {
            store.commit(&batch).map_err(|error| failed("the chain", &error))?;
            batch = Batch::default();
        }
    }
    Ok(all)
}

fn group(state: &ChainState, keys: &KeyPair, facts: &[Fact], now: &mut Timestamp) -> CommitGroup {
    let (mut link, mut frontier) = (state.link(), state.frontier().clone());
    let mut events = Vec::with_capacity(facts.len());
    let hlc_first = Hlc::from_wall(now.after_us(1));
    let mut hlc_last = hlc_first;
    for fact in facts {
        *now = now.after_us(1);
        hlc_last = Hlc::from_wall(*now);
        let event = Event {
            version: EVENT_VERSION,
            seq: frontier.size(),
            hlc: hlc_last,
            source: "kernel".to_owned(),
            kind: fact.kind().to_owned(),
            cause: Vec::new(),
            payload: ByteBuf::from(fact.encode()),
            rule: None,
        };
        let bytes = event.encode();
        let leaf = leaf_hash(&bytes);
        link = link_hash(&link, &leaf);
        frontier.push::<Shake>(leaf);
        events.push(ByteBuf::from(bytes));
    }
    let commit = Commit {
        suite: SUITE,
        cluster: state.cluster(),
        chain: state.chain(),
        commit_no: state.commits(),
        prev_commit: state.last_commit(),
        first_seq: state.size(),
        count: events.len() as u64,
        head_link: link,
        tree_size: frontier.size(),
        root: frontier.root::<Shake>(),
        hlc_first,
        hlc_last,
        anchors: Vec::new(),
    };
    let commit = encode(&commit);
    let digest = commit_hash(&commit);
    let signed = SignedCommit {
        ed25519: ByteArray::new(keys.sign_ed25519(COMMIT_LABEL, &digest)),
        mldsa65: Some(ByteBuf::from(keys.sign_mldsa65(COMMIT_LABEL, &digest))),
        commit: ByteBuf::from(commit),
    };
    CommitGroup { signed, events }
}
