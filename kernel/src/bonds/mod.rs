//! Bonds between processes: links that let two end together, and monitors that tell one of another's end.
//!
//! A link ties two processes of this node to each other, both ways. When one of them fails the other is told (`link-exit`) and
//! ended too, for a reason that names the link; its supervisor deals with that like with any failure. A process that traps
//! exits is told of every end instead, and lives on. No failure is an end with code 0, and one that somebody asked for: a stop,
//! a restart, the end of the node. A monitor goes one way and across nodes: its watcher is told (`monitor-down`) of its target's
//! end, whatever that was, exactly once; at once when the target is gone already. Of a process of another node the end is what
//! that node's verified chain says, or that the node is lost: dead by discovery's word, or cut off.
//!
//! A bond belongs to processes, not to names: an agent that is started again is another process and has none. But when a whole
//! node goes down and comes back, bonds of processes that went down with it stand again between those that were started in their
//! places; a watcher whose target does not come back with it is told. Of an agent that waits for what it needs they stand already
//! with its last process, and pass on to the next when it starts. Whoever is told hears of it once the record is on disk, and
//! while it starts or stands still what it is to hear waits.
//!
//! Modules in reading order: `table` (which bonds there are), `request` (making and undoing them), `fire` (what an end does),
//! `history` (what of them outlives the node).

mod fire;
mod history;
mod request;
mod table;

pub(crate) use history::BondHistory;
pub(crate) use table::Bonds;
