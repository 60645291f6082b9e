//! The whole program from outside: real processes, real sockets, and the boundaries of the code.
#![expect(clippy::disallowed_methods, reason = "what is seen from outside is seen on the real clock")]

mod agents;
mod anchors;
mod bad_input;
mod bonds;
mod cluster;
mod cron;
mod damage;
mod demo;
mod failover;
mod forks;
mod gate;
mod grants;
mod health;
mod journey;
mod kill;
mod large;
mod limits;
mod load;
mod prune;
mod refusals;
mod remote;
mod restore;
mod rotation;
mod sandbox;
mod scope;
mod services;
mod settings;
mod stable;
mod strangers;
mod supervision;
mod tidy;
mod topics;
mod tree;
mod witnesses;
