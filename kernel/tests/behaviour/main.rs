//! What a kernel does, behaviour by behaviour: one input, the exact outputs; two kernels in one hand where nodes talk.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod node;
mod pair;

mod ahead;
mod amendments;
mod bonds;
mod boot;
mod call;
mod commit;
mod cron;
mod damage;
mod dead_letters;
mod deadline;
mod decisions;
mod deferral;
mod durable;
mod every_change;
mod facts;
mod failover;
mod gate;
mod grants;
mod health;
mod held;
mod incarnations;
mod liar;
mod limits;
mod mailbox;
mod needs;
mod parts;
mod recovery;
mod replay;
mod reservation;
mod rotation;
mod sandbox;
mod scope;
mod score;
mod service;
mod shutdown;
mod signal;
mod spawn;
mod supervision;
mod targets;
mod tools;
mod topic;
mod witness;
