//! What a process may do and use beyond the one question that a gate decides: its grants, as far as they stand,
//! its bounds, and what it has used of them.

mod grants;
mod ledger;
mod limits;
mod sandbox;
mod scope;
mod usage;

pub(crate) use ledger::{Ledger, Void};
pub(crate) use limits::check_limits;
pub(crate) use sandbox::check_sandbox;
pub(crate) use scope::{Reach, refuses};
pub(crate) use usage::Usage;
