//! Two nodes' bodies in one hand: what one keeps the other fetches, whatever gets lost, and nothing outgrows its bound.

use weft_protocol::limits::{BLOB_BYTES_MAX, BLOB_CHUNK_BYTES};
use weft_protocol::{
    Blob, BlobRef, BlobRequest, BlobResponse, ChainId, Delivery, Digest, Durability, Envelope, Hlc, Incarnation, Level,
    LocalTarget, MessageId, NodeId, Payload, Principal, Refusal, Role, Sender, Timestamp, TraceId,
};

use super::fetches::MEMBER_BYTES_MAX;
use super::offers::OFFERED_BYTES_MAX;
use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

fn message(counter: u64) -> MessageId {
    MessageId { chain: ChainId { node: node(1), incarnation: Incarnation(1) }, counter }
}

fn text(bytes: usize, seed: u8) -> Payload {
    Payload::Text(char::from(b'a' + seed).to_string().repeat(bytes))
}

fn wanted(counter: u64) -> Wanted {
    let echo = "echo".parse().expect("a name");
    Wanted::Envelope(
        Role::Worker,
        Box::new(Envelope {
            id: message(counter),
            hlc: Hlc(1),
            trace: TraceId(7),
            from: Sender { node: node(1), principal: Principal::Operator },
            target: LocalTarget::Agent(echo),
            payload: text(0, 0),
            wants_reply: true,
            level: Level { delivery: Delivery::Executed, durability: Durability::None },
            deadline_us: 5_000_000,
            hops: 8,
            grant: None,
            cause: Vec::new(),
            parts: false,
        }),
    )
}

/// Serves everything that is asked for, but what `lose` says gets lost.
fn carry(
    offers: &mut Offers,
    fetches: &mut Fetches,
    key: FetchKey,
    now: Timestamp,
    mut lose: impl FnMut(u64) -> bool,
) -> Option<Arrived> {
    loop {
        let requests = fetches.ask(&key);
        if requests.is_empty() {
            return None;
        }
        let mut lost = false;
        for request in requests {
            if lose(request.chunk) {
                fetches.failed(&key, request.chunk);
                lost = true;
                continue;
            }
            let response = offers.serve(node(2), &request, now);
            if let Some(arrived) = fetches.arrived(&key, request.chunk, response, now) {
                return Some(arrived);
            }
        }
        if lost {
            return None;
        }
    }
}

#[test]
fn a_body_arrives_whole_and_the_time_it_took_is_taken_from_its_deadline() {
    let (mut offers, mut fetches) = (Offers::default(), Fetches::default());
    let payload = text(1_000_000, 1);
    let body = offers.keep(node(2), message(1), &payload, NOW.after_us(5_000_000)).expect("there is room");
    fetches.begin(node(1), wanted(1), body, NOW).expect("there is room");
    let later = NOW.after_us(30_000);
    let key = (node(1), message(1), false);
    let Some(Arrived::Whole(from, Wanted::Envelope(_, envelope))) =
        carry(&mut offers, &mut fetches, key, later, |_| false)
    else {
        panic!("it did not arrive")
    };
    assert_eq!((from, envelope.payload, envelope.deadline_us), (node(1), payload, 4_970_000));
    assert_eq!(fetches.next_wakeup(), None, "nothing is kept of it");
}

#[test]
fn what_was_lost_is_asked_for_again_and_nothing_else_is() {
    let (mut offers, mut fetches) = (Offers::default(), Fetches::default());
    let payload = text(1_000_000, 2);
    let body = offers.keep(node(2), message(1), &payload, NOW.after_us(5_000_000)).expect("there is room");
    let key = (node(1), message(1), false);
    fetches.begin(node(1), wanted(1), body, NOW).expect("there is room");
    assert!(carry(&mut offers, &mut fetches, key, NOW, |chunk| chunk == 2).is_none());
    // The message is named again.
    fetches.begin(node(1), wanted(1), body, NOW).expect("it is there already");
    let mut asked = Vec::new();
    let arrived = carry(&mut offers, &mut fetches, key, NOW, |chunk| {
        asked.push(chunk);
        false
    });
    assert!(matches!(arrived, Some(Arrived::Whole(..))), "{arrived:?}");
    assert_eq!(asked, [2]);
}

#[test]
fn a_member_that_serves_something_else_is_told_so() {
    let (mut offers, mut fetches) = (Offers::default(), Fetches::default());
    let payload = text(700_000, 3);
    offers.keep(node(2), message(1), &payload, NOW.after_us(5_000_000)).expect("there is room");
    let other = Blob::of(&text(700_000, 4)).name();
    let key = (node(1), message(1), false);
    fetches.begin(node(1), wanted(1), other, NOW).expect("there is room");
    let request = BlobRequest { address: Blob::of(&payload).name().address, chunk: 0 };
    let lie = offers.serve(node(2), &request, NOW);
    assert_eq!(fetches.ask(&key).len(), 3);
    let arrived = fetches.arrived(&key, 0, lie, NOW);
    assert!(matches!(arrived, Some(Arrived::Refused(_, _, Refusal::Invalid { .. }))), "{arrived:?}");
    assert_eq!(fetches.ask(&key), [], "and forgotten");
}

#[test]
fn bytes_that_are_no_payload_are_refused() {
    let mut fetches = Fetches::default();
    let blob = Blob::new(vec![0xff; 10]);
    let key = (node(1), message(1), false);
    fetches.begin(node(1), wanted(1), blob.name(), NOW).expect("there is room");
    assert_eq!(fetches.ask(&key).len(), 1);
    let chunk = blob.chunk(0).expect("the only one");
    let arrived = fetches.arrived(&key, 0, BlobResponse::Chunk(chunk), NOW);
    assert!(matches!(arrived, Some(Arrived::Refused(_, _, Refusal::Invalid { .. }))), "{arrived:?}");
}

#[test]
fn only_the_member_it_was_named_to_may_fetch_a_body() {
    let mut offers = Offers::default();
    let body = offers.keep(node(2), message(1), &text(700_000, 5), NOW.after_us(5_000_000)).expect("there is room");
    let request = BlobRequest { address: body.address, chunk: 0 };
    assert_eq!(offers.serve(node(3), &request, NOW), BlobResponse::Unknown);
    assert!(matches!(offers.serve(node(2), &request, NOW), BlobResponse::Chunk(_)));
    assert_eq!(offers.serve(node(2), &BlobRequest { chunk: 9, ..request }, NOW), BlobResponse::Unknown);
}

#[test]
fn a_body_goes_with_its_answer_its_deadline_or_a_moment_after_it_was_served() {
    let mut blobs = Blobs::default();
    let until = NOW.after_us(60_000_000);
    let answered = blobs.offers.keep(node(2), message(1), &text(10, 1), until).expect("there is room");
    let served = blobs.offers.keep(node(2), message(2), &text(10, 2), until).expect("there is room");
    blobs.offers.keep(node(2), message(3), &text(10, 3), NOW.after_us(5)).expect("there is room");
    blobs.offers.answered(node(2), &message(1));
    let ask = |body: BlobRef| BlobRequest { address: body.address, chunk: 0 };
    assert_eq!(blobs.offers.serve(node(2), &ask(answered), NOW), BlobResponse::Unknown);
    assert_eq!(blobs.next_wakeup(), Some(NOW.after_us(5)));
    assert!(matches!(blobs.offers.serve(node(2), &ask(served), NOW), BlobResponse::Chunk(_)));
    blobs.expire(NOW.after_us(5));
    assert_eq!(blobs.next_wakeup(), Some(NOW.after_us(1_000_000)), "a lost response may be asked for again");
    blobs.expire(NOW.after_us(1_000_000));
    assert_eq!((blobs.next_wakeup(), blobs.offers.bytes()), (None, 0));
}

#[test]
fn neither_side_outgrows_its_bound() {
    let mut blobs = Blobs::default();
    let megabyte = 1_000_000;
    let fit = OFFERED_BYTES_MAX / (megabyte as u64 + 16);
    for counter in 0..fit {
        let payload = Payload::Text(format!("{counter:09}").repeat(megabyte / 9 + 1));
        let kept = blobs.offers.keep(node(2), message(counter), &payload, NOW.after_us(5));
        assert_eq!(kept.is_some(), blobs.offers.bytes() <= OFFERED_BYTES_MAX);
    }
    assert!(blobs.offers.bytes() > OFFERED_BYTES_MAX - 2 * megabyte as u64);
    assert_eq!(blobs.offers.keep(node(2), message(fit), &text(2 * megabyte, 9), NOW), None);

    let body = |bytes| BlobRef { address: Digest::from_bytes([7; 32]), bytes };
    let too_large = blobs.fetches.begin(node(1), wanted(0), body(BLOB_BYTES_MAX as u64 + 1), NOW);
    assert!(matches!(too_large, Err(Refusal::TooLarge { .. })), "{too_large:?}");
    let fit = MEMBER_BYTES_MAX / BLOB_CHUNK_BYTES;
    for counter in 0..fit {
        blobs.fetches.begin(node(1), wanted(counter), body(BLOB_CHUNK_BYTES), NOW).expect("there is room");
    }
    let busy = blobs.fetches.begin(node(1), wanted(fit), body(BLOB_CHUNK_BYTES), NOW);
    assert!(matches!(busy, Err(Refusal::Busy { .. })), "{busy:?}");
    blobs.fetches.begin(node(3), wanted(fit), body(BLOB_CHUNK_BYTES), NOW).expect("others are served");
    blobs.expire(NOW.after_us(5_000_000));
    assert_eq!(blobs.fetches.next_wakeup(), None, "whatever does not come is let go of");
}
