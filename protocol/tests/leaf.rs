//! The short form of steps: what comes back, what is refused, and that it is what the general encoder writes.

use proptest::prelude::*;
use weft_protocol::{
    AgentName, Blake3, ChainId, Digest, Hlc, Incarnation, Leaves, MessageId, MessageRecord, NodeId, PartsProof,
    Payload, Principal, ProcessId, Sender, Stage, TraceId, content_address, decode, encode, names_of_leaf,
};

fn chain(byte: u8) -> ChainId {
    ChainId { node: NodeId::from_bytes([byte; 32]), incarnation: Incarnation(u64::from(byte)) }
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, any::<u64>(), Just(0xffff_ffff), Just(0x1_0000_0000), Just(0xffff), Just(0x1_0000)]
}

fn any_stage() -> impl Strategy<Value = Stage> {
    prop::sample::select(vec![
        Stage::Sent,
        Stage::Received,
        Stage::Answered,
        Stage::Acknowledged,
        Stage::Refused,
        Stage::Published,
        Stage::Delivered,
    ])
}

fn any_principal() -> impl Strategy<Value = Principal> {
    let agent = ("[a-z][a-z0-9-]{0,40}", any::<u32>(), any::<u32>()).prop_filter_map(
        "a reserved name",
        |(name, index, generation)| {
            let agent = name.parse::<AgentName>().ok()?;
            Some(Principal::Agent { agent, process: ProcessId { index, generation } })
        },
    );
    prop_oneof![Just(Principal::Operator), agent]
}

fn any_record() -> impl Strategy<Value = MessageRecord> {
    let ids = (any_stage(), 0_u8..3, any_number(), any_number(), any_number());
    let who = (0_u8..3, any_principal(), ".{0,40}", 0_u8..3, ".{0,300}");
    let parts = prop::option::of(any::<u32>());
    (ids, who, any::<[u8; 32]>(), any_number(), prop::option::of(".{0,30}"), parts).prop_map(
        |(ids, who, hash, body_bytes, body, parts)| {
            let (stage, message, counter, trace, hlc) = ids;
            let (from, principal, target, peer, rule) = who;
            MessageRecord {
                stage,
                message: MessageId { chain: chain(message), counter },
                trace: TraceId(trace),
                hlc: Hlc(hlc),
                from: Sender { node: chain(from).node, principal },
                target,
                peer: chain(peer).node,
                rule,
                body_hash: Digest::from_bytes(hash),
                body_bytes,
                body: body.map(Payload::Text),
                parts: parts.map(|count| PartsProof { count, digest: Digest::from_bytes(hash) }),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_packed_comes_back_and_is_canonical(record in any_record()) {
        let bytes = record.pack(chain(1));
        prop_assert_eq!(&MessageRecord::unpack(chain(1), &bytes).expect("its own bytes"), &record);
        prop_assert_eq!(names_of_leaf(chain(1), &bytes), Some((record.message, record.trace)));
        let other = MessageRecord::unpack(chain(2), &bytes);
        prop_assert!(other.map_or(true, |other| other != record || other.pack(chain(2)) == bytes));
        prop_assert_eq!(record.leaf(chain(1)), Blake3::leaf(&bytes));
    }

    #[test]
    fn leaves_keep_their_order_on_the_wire(records in prop::collection::vec(any_record(), 0..8)) {
        let mut leaves = Leaves::default();
        let hashes: Vec<_> = records.iter().map(|record| leaves.push(chain(0), &record.step())).collect();
        let again: Leaves = decode(&encode(&leaves), 1 << 20).expect("what was encoded");
        prop_assert_eq!(&again, &leaves);
        prop_assert_eq!(again.hashes(), hashes);
        prop_assert_eq!(again.records(chain(0)).expect("records"), records);
    }

    #[test]
    fn a_changed_byte_is_another_record_or_none(record in any_record(), place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = record.pack(chain(1));
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(other) = MessageRecord::unpack(chain(1), &bytes) {
            prop_assert_ne!(&other, &record);
            prop_assert_eq!(other.pack(chain(1)), bytes);
        }
    }

    #[test]
    fn the_address_of_a_text_is_that_of_its_encoding(text in ".{0,400}") {
        let payload = Payload::Text(text);
        prop_assert_eq!(payload.content_address(), content_address(&encode(&payload)));
    }
}

#[test]
fn what_goes_without_saying_is_not_said() {
    let record = MessageRecord {
        stage: Stage::Received,
        message: MessageId { chain: chain(1), counter: 7 },
        trace: TraceId(8),
        hlc: Hlc(9),
        from: Sender { node: chain(1).node, principal: Principal::Operator },
        target: "echo".into(),
        peer: chain(1).node,
        rule: "operator-local#1".into(),
        body_hash: content_address(b"x"),
        body_bytes: 1,
        body: None,
        parts: None,
    };
    let bytes = record.pack(chain(1));
    // The array, stage, number, no chain, trace, stamp, no node, no agent: eight bytes before the target.
    assert_eq!(bytes[..8], [0x8d, 1, 7, 0xf6, 8, 9, 0xf6, 0xf6]);
    // The own node written out is refused: one form counts.
    let mut long = bytes[..6].to_vec();
    long.extend_from_slice(&encode(&chain(1).node));
    long.extend_from_slice(&bytes[7..]);
    assert!(MessageRecord::unpack(chain(1), &long).is_err());
    assert!(MessageRecord::unpack(chain(2), &long).is_ok(), "for another chain it is another node");
}
