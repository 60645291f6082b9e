//! Many peers in one process under virtual time, with faults.
#![allow(dead_code)]
mod clock;
mod dice;
mod disk;
mod generate;
mod keys;
mod network;
mod report;
mod scenario;
mod transition;
pub use disk::Unsynced;
pub use network::LinkSettings;
pub use report::*;
pub use scenario::*;
pub use transition::*;
