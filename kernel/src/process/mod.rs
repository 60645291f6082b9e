//! The processes of this node: their lives, their mailboxes, and what a restart makes of those that ran before it.

mod history;
mod life;
mod lifecycle;
mod mailbox;
mod table;

pub(crate) use history::History;
pub(crate) use life::Life;
pub(crate) use table::{Found, ProcessTable};
