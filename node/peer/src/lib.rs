//! The pure composition of kernel, discovery and replication: which of them gets which input, and whose output goes where.
//!
//! It owns no socket, disk, thread or clock, and decides nothing that one of the three can decide. What it adds is what only
//! the whole can know: that a message needs a route before the kernel may send it, that envelopes to one member leave
//! together, and that everything to be written goes to disk in one transaction.
//!
//! Modules in reading order: `event` (all that happens and all that is asked of the world), `peer` (the dispatcher), `start`
//! (whether the chain may be written on, with `tails`: what was lost of earlier ones), `learned` (what other chains say), `route`
//! and `waiting` (where a message goes, and messages that wait for a directory that is not complete), `links` (what waits for
//! each member), `inbound` (requests that wait for our receipts), `persist` (what waits for the disk), `mending` (what
//! rotted on it), `blobs` (large bodies),
//! `health` (whether anybody is reached); `services` (calls to services, with `balance`: which provider is taken, and
//! `breaker`: which is left alone for a while, and `providers`: who is asked for one that nobody advertises); `failover` (agents that outlive their nodes: fences and leases, with
//! `roaming`: what of that concerns the rest of the peer);
//! `versions` (what members of an older version are told).

mod balance;
mod blobs;
mod breaker;
mod config;
mod doorstep;
mod event;
mod failover;
mod fan_out;
mod health;
mod inbound;
mod large;
mod learned;
mod links;
mod mending;
mod parts;
mod peer;
mod persist;
mod providers;
mod rates;
mod roaming;
mod route;
mod services;
mod start;
mod starting;
mod tails;
mod versions;
mod waiting;
mod within_rate;

pub use breaker::BreakerState;
pub use config::{PeerConfig, PeerIdentity, RateLimits};
pub use event::{
    AskId, GossipTopic, InboundId, Input, OutboundId, Output, Prune, Question, Reply, Request, Response, StartOver,
};
pub use failover::FailoverView;
pub use mending::MendOutcome;
pub use peer::Peer;
pub use rates::{Bucket, Rate};
pub use services::ProviderView;
pub use start::{Memory, Said};
