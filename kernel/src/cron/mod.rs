//! Jobs that send a message at certain times: kept on the chain, run at most once for each time, missed by rule.
//!
//! `schedule` says when; `job` is one job and `crontab` the machine that owns all of them, pure and without a gate;
//! `history` rebuilds it from the chain; `report` is how jobs are asked for and told; `duties` is what the kernel does about it: the gate, the records, the messages.
//!
//! A run is recorded as an intent that is on disk before its message leaves, so a crash in between loses the message and
//! never doubles it: at most once for each scheduled time.

mod crontab;
mod duties;
mod history;
mod job;
mod report;
mod schedule;

pub(crate) use crontab::Crontab;
pub(crate) use duties::Firings;
pub(crate) use history::History;
pub use job::{CronJob, CronSpec};
pub use report::run_report;
