//! Many peers in one process under virtual time, with faults: the real [`Peer`](weft_peer::Peer) on the real store, in a world
//! whose clocks, disks and links obey a seed.
//!
//! [`run`] plays a [`Scenario`] under a seed and says in a [`SimReport`] which properties were checked how often and which
//! faults struck. The same scenario and seed give the same trace hash. A configured fault that never struck fails the run, and
//! so does a check that was never made: what was not tried was not shown.
//!
//! It knows nothing of libp2p, of child processes, or of the local API, and measures no real time: that is for whoever calls it.
//!
//! Modules in reading order: `scenario` and `transition` (what may happen), `ranges` and `reading` (what is accepted, and what is said otherwise), `generate` (what does), `run` (from beginning to
//! end), `idle` (when nothing happens), `world` (nodes and the queue of events), `outside` (what users and disasters do to them), `node`, `carry` (what peers want done), `mesh` and `joining` (connections);
//! what is faked: `clock`, `disk`, `network`, `keys`, `dice`, `malice` (a member that lies); `starts` (nodes that do not know how far their chain went); what is shown: `checks`, `reference` (the model),
//! `publications`, `services`, `thresholds`, `elsewhere`, `stability`, `versions`, `invariants` (the judge), `faults`, `trace`, `ledger` (what it cost), `report`, `tally` (of many seeds), `replay` (a failed run in a file), `page` (for people); `mutation` (defects, for tests of the checks).
//! `membership` stands alone: the rules of who counts and what is stable, as a model without a peer.

mod carry;
mod checks;
mod clock;
mod dice;
mod disk;
mod elsewhere;
mod faults;
mod generate;
mod idle;
mod invariants;
mod joining;
mod keys;
mod ledger;
mod malice;
pub mod membership;
mod mesh;
mod mutation;
mod network;
mod node;
mod outside;
mod page;
mod partial;
mod publications;
mod ranges;
mod reading;
mod reference;
mod replay;
mod report;
mod roaming;
mod run;
mod scenario;
mod services;
mod stability;
mod starts;
mod tally;
mod thresholds;
mod trace;
mod transition;
mod versions;
mod world;

/// How to write a scenario, for people.
pub const MANUAL: &str = include_str!("../SCENARIOS.md");

pub use disk::Unsynced;
pub use idle::idle;
pub use ledger::{Latencies, Ledger, Moment, Sample};
pub use malice::Lie;
pub use mutation::Mutation;
pub use network::{LinkClass, LinkSettings};
pub use page::page;
pub use replay::{REPLAY_BYTES_MAX, Replay, ReplayError};
pub use report::{CheckReport, SimReport};
pub use run::{run, run_and_shrink, run_mutated, run_steps};
pub use scenario::{
    AgentSettings, ClockSettings, DiskSettings, Scenario, ScenarioError, Scripted, Weights, fault_names, names,
    scenario, text,
};
pub use tally::{Struck, Tally};
pub use thresholds::Thresholds;
pub use transition::{AgentKind, Remembers, Step, Transition};
