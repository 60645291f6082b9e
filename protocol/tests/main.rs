//! What travels and what is signed, from outside: one encoding each, recorded bytes, proofs, chains, keys.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod chains;
mod codec;
mod golden;
mod later;
mod leaf;
mod merkle;
mod names;
mod rotations;
mod samples;
mod signatures;
mod ticks;
mod time;
mod tree;
mod vectors;
