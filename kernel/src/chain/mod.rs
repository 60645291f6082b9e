//! The node's own chain: what happened is appended first, signed in groups, and only then promised to anybody.

mod group;
mod promise;
mod reserve;
mod vouched;
mod writer;

pub(crate) use promise::{Order, Promise};
pub(crate) use writer::Writer;
