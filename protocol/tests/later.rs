//! What a program of a later version writes on its chain, and what this one makes of it: how fields and kinds may be added.

use serde_bytes::ByteBuf;
use weft_protocol::{ChainError, DecodeError, Event, Fact, KeyPair, KeyRotation, RotationError, Signer as _, encode};

use crate::chains::{Writer, begun, fact};

/// The same map with one field more behind its last.
fn with_field(map: &[u8]) -> Vec<u8> {
    let (head, rest) = map.split_first().unwrap();
    assert!((0xa0..0xb7).contains(head), "a map of few fields");
    [&[head + 1], rest, &encode("later"), &encode(&1_u64)].concat()
}

/// What a later program says under that kind with a field that this one does not know.
fn later(known: &Fact) -> Fact {
    Fact::Opaque { kind: known.kind().to_owned(), payload: ByteBuf::from(with_field(&known.encode())) }
}

fn refused(writer: &Writer, said: Fact) -> ChainError {
    let group = writer.group(&[said], true, |_, _| {});
    writer.state.clone().extend(&group).unwrap_err()
}

#[test]
fn an_unknown_kind_and_an_unknown_field_of_a_known_one_are_verified_and_sealed_like_others() {
    let mut writer = begun();
    let unknown_kind = Fact::Opaque { kind: "future.kind".to_owned(), payload: ByteBuf::from(b"whatever") };
    writer.append(&[unknown_kind.clone(), later(&fact(1)), fact(2)], true);
    assert_eq!((writer.state.size(), writer.state.sealed_size()), (4, 4));

    let Fact::Opaque { kind, payload } = &unknown_kind else { panic!("made so") };
    assert_eq!(Fact::decode(kind, payload), Ok(unknown_kind.clone()), "carried as it is");
    let Fact::Opaque { kind, payload } = later(&fact(1)) else { panic!("made so") };
    let unread = Fact::decode(&kind, &payload);
    assert!(
        matches!(unread, Err(DecodeError::NotCanonical { .. })),
        "nothing is read that would be half of it: {unread:?}"
    );
    assert_eq!(Fact::decode(&kind, &fact(1).encode()), Ok(fact(1)), "without it the same bytes are");
}

#[test]
fn what_a_chain_is_verified_by_has_no_field_that_is_not_known() {
    let writer = Writer::new();
    assert!(matches!(refused(&writer, later(&writer.genesis())), ChainError::Genesis));

    let writer = begun();
    let next = KeyPair::generate([1; 32]);
    assert_eq!(next.public_keys().node(), writer.keys.public_keys().node());
    let rotation = Fact::KeyRotated(Box::new(KeyRotation::new(writer.state.chain(), &writer.keys, &next)));
    let error = refused(&writer, later(&rotation));
    assert!(matches!(error, ChainError::Rotation { error: RotationError::Decode(_), .. }), "{error}");

    let group = writer.group(&[fact(1)], true, |_, _| {});
    let mut with_event = group.clone();
    with_event.events[0] = with_field(&group.events[0]).into();
    assert!(Event::decode(&group.events[0]).is_ok());
    let error = writer.state.clone().extend(&with_event).unwrap_err();
    assert!(matches!(error, ChainError::Event { seq: 1, error: DecodeError::NotCanonical { .. } }), "{error}");

    let next_layout = writer.group(&[fact(1)], true, |_, events| events[0].version += 1);
    let error = writer.state.clone().extend(&next_layout).unwrap_err();
    assert!(matches!(error, ChainError::Event { seq: 1, error: DecodeError::Unexpected { .. } }), "{error}");

    let mut with_header = group.clone();
    with_header.signed.commit = with_field(&group.signed.commit).into();
    let error = writer.state.clone().extend(&with_header).unwrap_err();
    assert!(matches!(error, ChainError::Commit(DecodeError::NotCanonical { .. })), "{error}");
}
