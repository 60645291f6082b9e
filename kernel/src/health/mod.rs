//! How agents and the node itself are: probes with their own deadlines, states, and records of changes alone.
//!
//! `monitor` is what one probe has found so far; `monitors` the machine that owns all of them, pure and without a chain;
//! `duties` is what the kernel does about it: asking the world, recording changes, ending a process that does not live.
//!
//! A probe that is not answered is answered by its deadline; nothing waits for it, and its late answer means nothing.

mod duties;
mod monitor;
mod monitors;
mod report;

pub(crate) use duties::check_probes;
pub(crate) use monitors::Monitors;
pub use monitors::{ProbeAnswer, ProbeTarget};
pub use report::{HealthReport, HealthRow};
