//! Chunks of large bodies: each is proven by the body's BLAKE3 hash alone, and nothing else is.

use proptest::prelude::*;
use weft_protocol::limits::BLOB_CHUNK_BYTES;
use weft_protocol::{Blob, BlobRef, Digest, Payload, content_address};

fn body(bytes: u64, seed: u8) -> Vec<u8> {
    (0..bytes).map(|place| (place % 251) as u8 ^ (place / 65_536) as u8 ^ seed).collect()
}

#[test]
fn the_name_is_the_plain_blake3_hash_by_which_records_name_a_body() {
    let payload = Payload::Text("x".repeat(700_000));
    let blob = Blob::of(&payload);
    assert_eq!(blob.name().address, payload.content_address());
    let content = body(1_000_000, 1);
    assert_eq!(Blob::new(content.clone()).name(), BlobRef { address: content_address(&content), bytes: 1_000_000 });
}

#[test]
fn every_chunk_of_every_shape_is_proven_and_the_chunks_are_the_body() {
    let chunk = BLOB_CHUNK_BYTES;
    for bytes in [
        0,
        1,
        1_024,
        chunk - 1,
        chunk,
        chunk + 1,
        2 * chunk,
        2 * chunk + 1,
        3 * chunk,
        4 * chunk,
        5 * chunk + 7,
        7 * chunk,
    ] {
        let content = body(bytes, 3);
        let blob = Blob::new(content.clone());
        let mut whole = Vec::new();
        for number in 0..blob.name().chunks() {
            let chunk = blob.chunk(number).expect("it has so many");
            assert!(chunk.proves(&blob.name(), number), "{number} of {bytes} bytes");
            whole.extend_from_slice(&chunk.content);
        }
        assert_eq!(whole, content);
        assert_eq!(blob.chunk(blob.name().chunks()), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_changed_proves_nothing(
        bytes in 1..6 * BLOB_CHUNK_BYTES,
        chunk: u64,
        other: u64,
        place: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        let blob = Blob::new(body(bytes, 5));
        let (name, number) = (blob.name(), chunk % blob.name().chunks());
        let good = blob.chunk(number).expect("it has so many");
        prop_assert!(good.proves(&name, number));
        let mut flipped = good.clone();
        flipped.content[place.index(good.content.len())] ^= 1 << bit;
        prop_assert!(!flipped.proves(&name, number));
        if !good.path.is_empty() {
            let mut elsewhere = good.clone();
            let step = place.index(good.path.len());
            let mut sibling = *good.path[step].as_bytes();
            sibling[3] ^= 1 << bit;
            elsewhere.path[step] = Digest::from_bytes(sibling);
            prop_assert!(!elsewhere.proves(&name, number));
            let mut short = good.clone();
            short.path.pop();
            prop_assert!(!short.proves(&name, number));
        }
        let other = other % (2 * name.chunks());
        prop_assert_eq!(good.proves(&name, other), other == number);
        // The last chunk alone knows where the body ends.
        let longer = BlobRef { bytes: name.bytes + 1, ..name };
        let last = blob.chunk(name.chunks() - 1).expect("the last one");
        prop_assert!(!last.proves(&longer, name.chunks() - 1));
    }
}
