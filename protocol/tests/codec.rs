//! One encoding for each value, and no bytes that make the decoder work harder than they are long.

use proptest::prelude::*;
use weft_protocol::{
    A2aRequest, AuthFrame, CommitGroup, DecodeError, Event, Fact, Gossip, SyncResponse, decode, encode,
};

use crate::samples;

#[test]
fn a_second_encoding_is_refused_with_its_offset() {
    let cases: [(&[u8], usize, &str); 12] = [
        (&[0x18, 0x05], 0, "shortest"),
        (&[0x19, 0x00, 0xff], 0, "shortest"),
        (&[0x9f, 0xff], 0, "indefinite"),
        (&[0x5f, 0x41, 0x00, 0xff], 0, "indefinite"),
        (&[0xf9, 0x3c, 0x00], 0, "floats"),
        (&[0xc1, 0x00], 0, "tags"),
        (&[0xf7], 0, "simple"),
        (&[0x01, 0x01], 1, "follow"),
        (&[0x82, 0x41, 0x00], 3, "ends"),
        (&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0, "claims"),
        (&[0x5a, 0x7f, 0xff, 0xff, 0xff], 0, "claims"),
        (&[0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0], 0, "impossible"),
    ];
    for (bytes, expected_offset, word) in cases {
        match decode::<u64>(bytes, 64) {
            Err(DecodeError::Malformed { offset, reason }) => {
                assert_eq!(offset, expected_offset, "{bytes:x?}: {reason}");
                assert!(reason.contains(word), "{bytes:x?}: {reason}");
            }
            other => panic!("{bytes:x?}: {other:?}"),
        }
    }
    assert_eq!(decode::<u64>(&[0; 65], 64), Err(DecodeError::TooLarge { size: 65, max: 64 }));
    let deep = [vec![0x81; 17], vec![0x00]].concat();
    assert!(matches!(decode::<u64>(&deep, 64), Err(DecodeError::Malformed { offset: 16, .. })));
}

#[test]
fn fields_in_another_order_are_refused() {
    let swapped = [&[0xa2, 0x64], b"size".as_slice(), &[0x02, 0x65], b"index", &[0x01]].concat();
    let error = decode::<weft_protocol::InclusionProof>(&swapped, 64);
    assert!(error.is_err(), "{error:?}");
}

/// Decoding anything gives an error or a value that encodes to the very same bytes.
fn check<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes, 1 << 20) {
        assert_eq!(encode(&value), bytes);
    }
}

fn check_all(bytes: &[u8]) {
    check::<Event>(bytes);
    check::<CommitGroup>(bytes);
    check::<AuthFrame>(bytes);
    check::<A2aRequest>(bytes);
    check::<SyncResponse>(bytes);
    check::<Gossip>(bytes);
    for fact in ["genesis", "ipc.message", "effect.intent", "member.admitted"] {
        if let Ok(decoded) = Fact::decode(fact, bytes) {
            assert_eq!(decoded.encode(), bytes);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_never_decode_twice(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        check_all(&bytes);
    }

    #[test]
    fn damaged_values_never_panic_and_never_decode_twice(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let all = samples::all();
        let (_, bytes) = which.get(&all);
        let mut bytes = bytes.clone();
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] = byte;
        }
        check_all(&bytes);
    }

    /// Events are read by hand where there are many; whatever that accepts, the general decoder reads as the same.
    #[test]
    fn events_are_read_by_hand_as_they_are_in_general(
        numbers in any::<(u8, u64, u64)>(),
        source in "[a-zé]{0,8}",
        kind in "[a-z.]{0,30}",
        causes in 0..10_usize,
        payload in prop::collection::vec(any::<u8>(), 0..300),
        rule in prop::option::of("[a-z#0-9]{0,40}"),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        behind in prop::option::of(any::<u8>()),
    ) {
        let (version, seq, hlc) = numbers;
        let cause = vec![samples::digest(7); causes];
        let version = if version < 200 { 1 } else { version };
        let (hlc, payload) = (weft_protocol::Hlc(hlc), payload.into());
        let event = Event { version, seq, hlc, source, kind, cause, payload, rule };
        let mut bytes = event.encode();
        prop_assert_eq!(Event::kind_of(&bytes), Some(event.kind.as_str()));
        if let Some((place, byte)) = damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.extend(behind);
        let general = decode::<Event>(&bytes, 1 << 16);
        match Event::decode(&bytes) {
            Ok(read) => prop_assert_eq!(general, Ok(read)),
            Err(error) => {
                let out_of_bounds = general.as_ref().is_ok_and(|event| event.version != 1 || event.cause.len() > 8);
                prop_assert!(out_of_bounds || general == Err(error));
            }
        }
        if damage.is_none() && behind.is_none() && version == 1 && causes <= 8 {
            prop_assert_eq!(Event::decode(&bytes), Ok(event));
        }
    }
}
