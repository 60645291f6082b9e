//! Which plain messages a start says were let in before.

use weft_protocol::{Batch, MessageId, MessageRecord, Stage};
use weft_storage::Store;

use crate::chains::{Writer, one};
use crate::disk::Disk;

#[test]
fn a_start_names_the_plain_messages_of_others_that_were_received() {
    let disk = Disk::default();
    let (store, _) = Store::open_backend(disk.clone()).unwrap();
    let mut writer = Writer::new(1);
    let (chain, other) = (writer.chain(), Writer::new(2).chain());
    store.commit(&one(chain, writer.genesis())).unwrap();
    let step = |stage, of, counter| MessageRecord {
        stage,
        message: MessageId { chain: of, counter },
        ..writer.record(counter, None)
    };
    let first = [step(Stage::Received, other, 1), step(Stage::Answered, other, 1), step(Stage::Received, chain, 2)];
    let second = [step(Stage::Received, other, 7), step(Stage::Refused, other, 8), step(Stage::Sent, chain, 9)];
    for steps in [first, second] {
        let (group, row) = writer.digest_of(&steps);
        store.commit(&Batch { groups: vec![(chain, group)], digests: vec![row], ..Batch::default() }).unwrap();
    }
    drop(store);
    let (_, recovered) = Store::open_backend(disk).unwrap();
    let of_other = |counter| MessageId { chain: other, counter };
    assert_eq!(recovered.let_in, [(chain, vec![of_other(7), of_other(1)])], "the newest first, and no other step");
}
