//! The whole program from outside: real processes, real sockets, and the boundaries of the code.

mod agents;
mod bad_input;
mod cluster;
mod damage;
mod demo;
mod journey;
mod kill;
mod refusals;
mod strangers;
mod tidy;
