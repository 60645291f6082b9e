//! Services: names under which processes of this node answer, what they promise, and who waits for whom before it starts.
//!
//! Modules in reading order: `registry` (the tables, rebuilt from the own chain), `register` (how entries begin and end),
//! `schema` (which schemas are accepted) with `contract` (checking calls and answers), `needs` (spawns that wait for a
//! service, and circles among them), `load` (what is told of them).

mod contract;
mod load;
mod needs;
mod register;
mod registry;
mod schema;

pub(crate) use contract::Bound;
pub(crate) use needs::{Held, Needs, Waiting};
pub use registry::ServiceInfo;
pub(crate) use registry::{ServiceHistory, Services};
