//! Messages between processes, here and across nodes: each one is judged, recorded, delivered once and always answered.

mod answer;
mod call;
mod incoming;
mod receipts;
mod receive;
mod record;
mod send;
mod settle;
mod validate;
mod window;

pub(crate) use call::{Call, Calls};
pub(crate) use incoming::{Answered, Incoming, Inbox};
pub(crate) use receipts::Receipts;
pub(crate) use validate::check_payload;
pub(crate) use window::{Seen, Windows};
