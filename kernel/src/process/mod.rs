//! The processes of this node: their lives, their mailboxes, and what a restart makes of those that ran before it.

mod history;
mod life;
mod lifecycle;
mod mailbox;
mod pause;
mod report;
mod score;
mod table;

pub(crate) use history::{History, Past};
pub(crate) use life::{Cause, Life};
pub(crate) use table::{Found, ProcessTable};
