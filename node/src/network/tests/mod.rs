//! Real sockets on loopback: members that talk, and everybody else, who does not get that far.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod announced;
mod attack;
mod cluster;
mod kept;
mod key_exchange;
mod lookup;
mod members;
mod noise;
mod providers;
mod relays;
mod repair;
mod strangers;
mod versions;
mod watched;
