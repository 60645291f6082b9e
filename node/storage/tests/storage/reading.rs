//! What the rest of the node reads.

use weft_protocol::{
    Batch, Blake3, Event, Fact, MessageBatch, MessageId, MessageRecord, SignedCommit, TraceId, inclusion_root,
    verify_event_proof,
};
use weft_storage::{OrderKey, Store};

use crate::chains::{Writer, cluster, one, script};
use crate::disk::Disk;

fn filled() -> (Store, Vec<Batch>, weft_protocol::ChainId, weft_protocol::ChainId) {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let (batches, own, peer) = script();
    batches.iter().for_each(|batch| store.commit(batch).unwrap());
    (store, batches, own, peer)
}

#[test]
fn ranges_hold_whole_groups_within_their_bytes() {
    let (store, batches, own, peer) = filled();
    let of =
        |chain| batches.iter().flat_map(|batch| &batch.groups).filter(move |it| it.0 == chain).map(|it| it.1.clone());
    let all: Vec<_> = of(own).collect();
    assert_eq!(store.range(own, 0, u64::MAX).unwrap(), all);
    assert_eq!(store.range(own, 3, u64::MAX).unwrap(), all[3..]);
    assert_eq!(store.range(own, 0, 0).unwrap(), all[..1]);
    assert_eq!(store.range(own, 5, 1000).unwrap(), []);
    let two = (all[0].size() + all[1].size() + 200) as u64;
    assert_eq!(store.range(own, 0, two).unwrap(), all[..2]);
    assert_eq!(store.range(peer, 0, u64::MAX).unwrap(), of(peer).collect::<Vec<_>>());
    let header: Option<SignedCommit> = store.commit_header(own, 2).unwrap();
    assert_eq!(header.as_ref(), Some(&all[2].signed));
    assert_eq!(store.commit_header(own, 5).unwrap(), None);
    let mut chains = vec![own, peer];
    chains.sort();
    assert_eq!(store.chains().unwrap(), chains);
}

#[test]
fn events_are_found_by_their_place() {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    let mut events = Vec::new();
    for number in 0..40_u64 {
        let group = match number {
            0 => writer.genesis(),
            _ if number % 7 == 0 => writer.group(&[], true),
            _ if number % 5 == 0 => writer.group(&[crate::chains::boot("a"), crate::chains::boot("b")], false),
            _ => writer.says(number, "hi"),
        };
        events.extend(group.events.iter().map(|event| event.to_vec()));
        store.commit(&one(chain, group)).unwrap();
    }
    for (seq, event) in events.iter().enumerate() {
        assert_eq!(store.event(chain, seq as u64).unwrap().as_ref(), Some(event));
    }
    assert_eq!(store.event(chain, events.len() as u64).unwrap(), None);
    assert_eq!(store.events(chain, 3, 9).unwrap(), events[3..12]);
    assert_eq!(store.events(chain, 0, usize::MAX).unwrap(), events);
    assert_eq!(store.event(Writer::new(2).chain(), 0).unwrap(), None);
}

#[test]
fn a_conversation_is_found_with_proofs() {
    let (store, batches, own, peer) = filled();
    // Counters 2n and 2n+1 share a trace: 10 and 11 are leaves of one batch, 1 stands alone.
    let rows = store.trace(own, TraceId(5), 256).unwrap();
    assert_eq!(rows.iter().map(|row| row.record.message.counter).collect::<Vec<_>>(), [10, 11]);
    let seq = batches[2].digests[0].seq;
    let event = Event::decode(&store.event(own, seq).unwrap().unwrap()).unwrap();
    let Ok(Fact::Batch(MessageBatch { root, count })) = Fact::decode(&event.kind, &event.payload) else { panic!() };
    for row in &rows {
        assert_eq!(row.seq, seq);
        let proof = row.inclusion.as_ref().unwrap();
        assert_eq!(proof.size, count);
        assert_eq!(inclusion_root::<Blake3>(&row.record.leaf(own), proof), Some(root));
    }
    assert_eq!(store.trace(own, TraceId(5), 1).unwrap(), rows[..1]);
    let alone = store.message(own, MessageId { chain: own, counter: 1 }, 9).unwrap();
    assert_eq!((alone.len(), alone[0].seq, &alone[0].inclusion), (1, 2, &None));
    assert_eq!(store.trace(own, TraceId(0), 9).unwrap(), alone);
    // The other chain has a conversation of the same number: it is not mixed in.
    assert_eq!(store.trace(peer, TraceId(0), 9).unwrap().len(), 1);
    assert_eq!(store.trace(own, TraceId(77), 9).unwrap(), []);
}

#[test]
fn a_message_that_began_its_conversation_is_found_by_it() {
    let (store, _) = Store::open_backend(Disk::default()).unwrap();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    store.commit(&one(chain, writer.genesis())).unwrap();
    let first = MessageId { chain, counter: 40 };
    let step = |counter| MessageRecord { trace: first.new_trace(), ..writer.record(counter, None) };
    let steps = [step(40), step(41), step(40)];
    let (group, row) = writer.digest_of(&steps);
    store.commit(&Batch { groups: vec![(chain, group)], digests: vec![row], ..Batch::default() }).unwrap();
    let places = |message, limit| {
        let rows = store.message(chain, message, limit).unwrap();
        rows.iter().map(|row| (row.record.message.counter, row.inclusion.as_ref().unwrap().index)).collect::<Vec<_>>()
    };
    assert_eq!(places(first, 9), [(40, 0), (40, 2)], "another message of the conversation is left out");
    assert_eq!(places(first, 1), [(40, 0)]);
    assert_eq!(places(MessageId { chain, counter: 41 }, 9), [(41, 1)], "it did not begin it");
    assert_eq!(store.trace(chain, first.new_trace(), 9).unwrap().len(), 3);
}

#[test]
fn proofs_verify_and_say_what_is_sealed() {
    let (store, _, own, peer) = filled();
    // Own: commits 0 (2 events), 1, 2 (checkpoint), 3 (checkpoint), 4; events 0 to 5.
    for seq in 0..5 {
        let proof = store.prove(own, seq).unwrap().unwrap();
        let (event, commit) = verify_event_proof(&proof).unwrap();
        assert_eq!((event.seq, commit.cluster, commit.commit_no, commit.chain), (seq, cluster(), 3, own));
        assert!(store.sealed(own, seq).unwrap());
        let mut wrong = proof.clone();
        wrong.event[10] ^= 1;
        assert!(verify_event_proof(&wrong).is_err());
    }
    assert_eq!(store.prove(own, 5).unwrap(), None);
    assert!(!store.sealed(own, 5).unwrap());
    let first = |seq| store.first_checkpoint(own, seq).unwrap();
    assert_eq!((0..7).map(first).collect::<Vec<_>>(), [Some(0), Some(0), Some(2), Some(2), Some(3), None, None]);
    assert_eq!(store.first_checkpoint(peer, 2).unwrap(), None);
    assert_eq!(store.prove(Writer::new(5).chain(), 0).unwrap(), None);
}

#[test]
fn the_order_is_a_merge_of_all_chains() {
    let (store, batches, ..) = filled();
    let by_key = |key: &OrderKey, _| key.clone();
    let keys: Vec<OrderKey> = store.order_keys(by_key).unwrap().map(|key| key.unwrap().1).collect();
    let mut expected: Vec<OrderKey> = batches
        .iter()
        .flat_map(|batch| &batch.groups)
        .flat_map(|(chain, group)| group.events.iter().map(|event| (*chain, Event::decode(event).unwrap())))
        .map(|(chain, event)| OrderKey { hlc: event.hlc, chain, seq: event.seq, kind: event.kind })
        .collect();
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(keys.len(), 10);
}
