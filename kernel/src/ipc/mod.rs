//! Messages between processes, here and across nodes: each one is judged, recorded, delivered once and always answered.

mod answer;
mod broadcast;
mod call;
mod dead_letters;
mod deed;
mod incoming;
mod kernel_calls;
mod receipts;
mod receive;
mod record;
mod send;
mod settle;
mod signal;
mod stream;
mod taking;
mod tools;
mod validate;
mod window;
mod witness;

pub(crate) use answer::{failed, shortened};
pub(crate) use call::{Call, Calls};
pub(crate) use dead_letters::DeadLetters;
pub(crate) use incoming::{Inbox, Incoming};
pub(crate) use receipts::Receipts;
pub(crate) use record::{Step, is_durable};
pub(crate) use send::Message;
pub(crate) use stream::Streams;
pub(crate) use tools::ToolRuns;
pub(crate) use validate::check_payload;
pub(crate) use window::{Seen, Windows};
pub(crate) use witness::Witnesses;

use crate::service::Bound;
