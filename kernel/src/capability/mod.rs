//! What a process may do and use beyond the one question that a gate decides: its bounds, and what it has used of them.

mod limits;
mod usage;

pub(crate) use limits::check_limits;
pub(crate) use usage::Usage;
