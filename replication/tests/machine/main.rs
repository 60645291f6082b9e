//! Replication seen from outside: whole machines that exchange requests through a world without sockets, disks or clocks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod announce;
mod bounds;
mod catch_up;
mod cost;
mod evidence;
mod forks;
mod gossip;
mod mutations;
mod order;
mod prune;
mod rotations;
mod serve;
mod ticks;
mod topics;
mod tree;
mod verify;
mod witnesses;
mod world;
mod writer;
