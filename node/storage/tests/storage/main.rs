//! The store against disks that lose, tear, flip and refuse: what was acknowledged is there, or the damage is named.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chains;
mod crash;
mod cut;
mod disk;
mod export;
mod flip;
mod flips;
mod journal;
mod let_in;
mod lifecycle;
mod property;
mod prune;
mod reading;
mod received;
mod repair;
mod scrub;
mod snapshot;
