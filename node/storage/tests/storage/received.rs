//! Which steps of durable messages a start is told of: those by which a second copy is answered.

use weft_protocol::{ChainId, Fact, MessageId, MessageRecord, NodeId, Payload, Stage, leaf_hash};
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
