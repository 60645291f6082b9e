//! Which steps of durable messages a start is told of: those by which a second copy is answered.

use weft_protocol::{
    ChainId, Fact, MessageId, MessageRecord, NodeId, Payload, Stage, content_address, encode, leaf_hash,
};
use weft_storage::Store;

use crate::chains::{Writer, one};
use crate::disk::Disk;

#[test]
fn what_other_nodes_sent_is_told_with_its_place_and_the_answer() {
    let disk = Disk::default();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    let stranger = ChainId { node: NodeId::from_bytes([9; 32]), ..chain };
    let step = |writer: &Writer, stage, sender: ChainId, text: &str| MessageRecord {
        stage,
        message: MessageId { chain: sender, counter: 4 },
        ..writer.record(4, Some(text))
    };
    let records = [
        step(&writer, Stage::Received, stranger, "in"),
        step(&writer, Stage::Answered, stranger, "out"),
        step(&writer, Stage::Acknowledged, stranger, "x"),
        step(&writer, Stage::Received, chain, "local"),
    ];
    let facts = records.map(|record| Fact::Message(Box::new(record)));
    let (first, second) = (writer.genesis(), writer.group(&facts, false));
    {
        let (store, _) = Store::open_backend(disk.clone()).unwrap();
        store.commit(&one(chain, first.clone())).unwrap();
        store.commit(&one(chain, second.clone())).unwrap();
    }
    let (_, recovered) = Store::open_backend(disk).unwrap();
    let told = recovered.messages.iter().map(|placed| {
        let place = (placed.chain, placed.seq - first.events.len() as u64, placed.leaf);
        (place, placed.record.stage, placed.record.body.clone())
    });
    let place = |number: usize| (chain, number as u64, leaf_hash(&second.events[number]));
    let expected = [(place(0), Stage::Received, None), (place(1), Stage::Answered, Some(Payload::Text("out".into())))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn an_answer_that_stands_beside_its_event_is_told_with_its_text() {
    let disk = Disk::default();
    let mut writer = Writer::new(1);
    let chain = writer.chain();
    let stranger = ChainId { node: NodeId::from_bytes([9; 32]), ..chain };
    let answer = |writer: &Writer, counter, body_hash, body_bytes| MessageRecord {
        stage: Stage::Answered,
        message: MessageId { chain: stranger, counter },
        body_hash,
        body_bytes,
        ..writer.record(counter, None)
    };
    let large = Payload::Text("x".repeat(100_000));
    let bytes = encode(&large);
    let facts = [
        answer(&writer, 1, large.content_address(), large.size() as u64),
        answer(&writer, 2, content_address(b"forgotten"), 9),
        answer(&writer, 3, content_address(&[]), 0),
    ];
    let facts = facts.map(|record| Fact::Message(Box::new(record)));
    let genesis = writer.genesis();
    let mut batch = one(chain, writer.group(&facts, false));
    batch.bodies = vec![(content_address(&bytes), bytes.into())];
    {
        let (store, _) = Store::open_backend(disk.clone()).unwrap();
        store.commit(&one(chain, genesis)).unwrap();
        store.commit(&batch).unwrap();
    }
    let (_, recovered) = Store::open_backend(disk).unwrap();
    let told = recovered.messages.into_iter().map(|placed| placed.record.body);
    assert_eq!(told.collect::<Vec<_>>(), [Some(large), None, None]);
}
