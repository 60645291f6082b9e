//! What a peer says to a member of an older version of the wire, and what it makes of what that says.

use weft_protocol::{
    Delivery, Durability, Envelope, LargeEnvelope, LargeReceipt, Level, LocalTarget, MessageRecord, Outcome,
    PartsProof, PartsTaken, Payload, Publication, ReplyPart, Sender, Stage, TraceId, TraceRow,
};

use super::*;

const BETA: NodeId = NodeId::from_bytes([8; 32]);

fn id(counter: u64) -> MessageId {
    MessageId { chain: ChainId { node: BETA, incarnation: Incarnation(1) }, counter }
}

fn envelope(parts: bool) -> Box<Envelope> {
    Box::new(Envelope {
        id: id(1),
        hlc: Hlc::from_wall(NOW),
        trace: TraceId(1),
        from: Sender { node: BETA, principal: Principal::Operator },
        target: LocalTarget::Agent("echo".parse().expect("a name")),
        payload: Payload::Text("x".to_owned()),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability: Durability::None },
        deadline_us: 1_000_000,
        hops: 8,
        grant: None,
        cause: Vec::new(),
        parts,
    })
}

fn publication() -> Box<Publication> {
    Box::new(Publication {
        id: id(1),
        hlc: Hlc::from_wall(NOW),
        trace: TraceId(1),
        from: Sender { node: BETA, principal: Principal::Operator },
        topic: "jobs.new".parse().expect("a topic"),
        seq: 1,
        prev: 0,
        forgetful: false,
        payload: Payload::Text("x".to_owned()),
        grant: None,
        ed25519: None,
    })
}

fn proof() -> PartsProof {
    let mut proof = PartsProof::default();
    proof.add(&Payload::Text("to be".to_owned()));
    proof
}

fn receipt(outcome: Outcome, parts: Option<PartsProof>) -> Box<Receipt> {
    Box::new(Receipt { message: id(1), hlc: Hlc::from_wall(NOW), outcome, record: None, parts })
}

/// A peer that is connected to beta, on which that version was agreed.
fn connected(wire: Option<u16>) -> World {
    let mut world = World::new(|_| Recovered::default());
    if let Some(wire) = wire {
        let path = discovery::Path { address: "/sim/beta".to_owned(), transport: "tcp", dialled: true, wire };
        let mut outputs = Vec::new();
        world.peer.handle(Input::Connected { node: BETA, path }, NOW, &mut outputs);
    }
    assert_eq!(world.peer.wire(&BETA), wire);
    world
}

#[test]
fn a_member_of_the_first_version_is_sent_what_that_has_and_others_everything() {
    let executed = || Outcome::Executed { reply: Some(Payload::Text("x".to_owned())) };
    let cancelled = || Outcome::Refused(Refusal::Cancelled { maybe_executed: true });
    let deadline = Outcome::Refused(Refusal::Deadline { maybe_executed: true });
    let body = weft_protocol::BlobRef { address: weft_protocol::content_address(b"x"), bytes: 1 };
    let part = ReplyPart { message: id(1), number: 0, payload: Payload::Text("x".to_owned()) };
    let large = |parts| A2aItem::LargeEnvelope(Box::new(LargeEnvelope { envelope: *envelope(parts), body }));
    let large_receipt = |parts| {
        let receipt = *receipt(executed(), parts);
        A2aItem::LargeReceipt(Box::new(LargeReceipt { receipt, body }))
    };
    let same = |item: A2aItem| (item.clone(), Some(item));
    let cases = [
        same(A2aItem::Envelope(envelope(false))),
        (A2aItem::Envelope(envelope(true)), None),
        same(large(false)),
        (large(true), None),
        same(A2aItem::Receipt(receipt(executed(), None))),
        (A2aItem::Receipt(receipt(executed(), Some(proof()))), Some(A2aItem::Receipt(receipt(executed(), None)))),
        (A2aItem::Receipt(receipt(cancelled(), None)), Some(A2aItem::Receipt(receipt(deadline, None)))),
        (large_receipt(Some(proof())), Some(large_receipt(None))),
        (A2aItem::Part(Box::new(part)), None),
        (A2aItem::PartsTaken(PartsTaken { message: id(1), count: 1 }), None),
        (A2aItem::Publication(publication()), None),
        same(A2aItem::Cancel(id(1))),
    ];
    for (item, at_first) in cases {
        assert_eq!(connected(Some(1)).peer.item_for(BETA, item.clone()), at_first, "{item:?}");
        for wire in [Some(2), None] {
            assert_eq!(connected(wire).peer.item_for(BETA, item.clone()), Some(item.clone()));
        }
    }
}

#[test]
fn a_message_of_a_member_of_the_first_version_asks_for_no_parts() {
    let asks = |wire| match connected(wire).peer.item_from(BETA, A2aItem::Envelope(envelope(true))) {
        A2aItem::Envelope(envelope) => envelope.parts,
        item => panic!("{item:?}"),
    };
    assert_eq!([Some(1), Some(2), None].map(asks), [false, true, true]);
}

/// What beta is answered that asks for the steps of a conversation, one of which is the end of an answer with or without parts.
fn traced(wire: u16, parts: Option<PartsProof>) -> SyncResponse {
    let mut world = connected(Some(wire));
    let (request, mut outputs) = (InboundId(1), Vec::new());
    let content = Request::Sync(SyncRequest::Trace { trace: TraceId(1) });
    world.peer.handle(Input::RequestArrived { request, from: BETA, content }, NOW, &mut outputs);
    assert!(outputs.iter().any(|output| matches!(output, Output::ReadTrace { .. })), "{outputs:?}");
    let record = MessageRecord {
        stage: Stage::Answered,
        message: id(1),
        trace: TraceId(1),
        hlc: Hlc::from_wall(NOW),
        from: Sender { node: BETA, principal: Principal::Operator },
        target: "echo".to_owned(),
        peer: BETA,
        rule: "executed".to_owned(),
        body_hash: weft_protocol::content_address(b"x"),
        body_bytes: 1,
        body: None,
        parts,
    };
    let rows = vec![TraceRow { record, seq: 1, inclusion: None }];
    outputs.clear();
    world.peer.handle(Input::TraceRead { request, rows, pruned: Vec::new() }, NOW, &mut outputs);
    let answered = outputs.into_iter().find_map(|output| match output {
        Output::Respond { content: Response::Sync(content), .. } => Some(content),
        _ => None,
    });
    assert!(world.peer.traces_for_older.is_empty(), "nothing is remembered of what was answered");
    answered.expect("an answer")
}

#[test]
fn a_conversation_with_parts_is_not_cut_for_a_member_that_cannot_read_them() {
    assert!(matches!(traced(2, Some(proof())), SyncResponse::Trace(rows) if rows.len() == 1));
    assert!(matches!(traced(1, None), SyncResponse::Trace(rows) if rows.len() == 1));
    let SyncResponse::Refused(reason) = traced(1, Some(proof())) else { panic!("it cannot read that") };
    assert!(reason.contains("upgrade the node that asks"), "{reason}");
}
