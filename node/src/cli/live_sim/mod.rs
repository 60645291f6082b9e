//! `weft sim up`: a cluster of real nodes on this machine, between which faults can be put, without any rights.
//!
//! Modules in reading order: `name` and `fault` (who there is, and what can be done to them), `rules` (what becomes of what is
//! sent, without a socket), `forward` (the sockets between the nodes), `folder` (what is on the disk, and how it goes),
//! `cluster` (the processes), `act` (carries a fault out), `converged` (whether all agree), `control` (how other commands reach
//! the one that runs), `table` (what is shown), `run` (all of it together), and `commands` (the other commands).

mod act;
mod cluster;
mod commands;
mod control;
mod converged;
pub(crate) mod fault;
mod folder;
mod forward;
mod name;
mod rules;
mod run;
mod table;

pub(crate) use self::commands::{down, fault, wait};
pub(crate) use self::name::{NODES_MAX, SimNode};
pub(crate) use self::run::up;
