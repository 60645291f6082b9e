//! What one event, one commit and one checkpoint cost at the least: hashes, links, tree nodes and signatures.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use weft_protocol::{COMMIT_LABEL, Frontier, KeyPair, Shake, Signer, content_address, hash, leaf_hash, link_hash};

fn hashes(criterion: &mut Criterion) {
    let event = [7_u8; 256];
    let leaf = leaf_hash(&event);
    criterion.bench_function("leaf of 256 bytes", |bencher| bencher.iter(|| leaf_hash(black_box(&event))));
    criterion.bench_function("link", |bencher| bencher.iter(|| link_hash(black_box(&leaf), black_box(&leaf))));
    criterion.bench_function("content address of 256 bytes", |bencher| {
        bencher.iter(|| content_address(black_box(&event)));
    });
    criterion.bench_function("tree push", |bencher| {
        let mut frontier = Frontier::default();
        bencher.iter(|| frontier.push::<Shake>(black_box(leaf)));
    });
}

fn signatures(criterion: &mut Criterion) {
    let keys = KeyPair::generate([7; 32]);
    let digest = hash("bench", &[]);
    let signature = keys.sign(COMMIT_LABEL, &digest);
    criterion.bench_function("ed25519 sign", |bencher| bencher.iter(|| keys.sign_ed25519(COMMIT_LABEL, &digest)));
    criterion.bench_function("ml-dsa-65 sign", |bencher| bencher.iter(|| keys.sign_mldsa65(COMMIT_LABEL, &digest)));
    criterion.bench_function("dual verify", |bencher| {
        bencher.iter(|| signature.verify(keys.public_keys(), COMMIT_LABEL, black_box(&digest)));
    });
}

criterion_group!(benches, hashes, signatures);
criterion_main!(benches);
