//! What discovery and the handshake do, input by input, through their public face.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod directory;
mod handshake;
mod handshake_tampering;
mod invite;
mod join;
mod join_repeated;
mod liveness;
mod members;
mod own_advert;
mod partial;
mod place;
mod quarantine;
mod reach;
mod recovery;
mod redial;
mod renewal;
mod rotations;
mod swim;
mod versions;
mod world;
