//! How a node is as a whole, from how everything in it is.

use weft_protocol::{Health, HealthSubject, ProbeCheck, ProbeTiming, Timestamp};

use crate::kernel::Kernel;
use crate::status::NodeState;

/// What one probe has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthRow {
    /// Of what.
    pub subject: HealthSubject,
    /// How it is probed; of the node itself without meaning.
    pub check: ProbeCheck,
    /// When it is probed.
    pub timing: ProbeTiming,
    /// How it is.
    pub health: Health,
    /// Failures in a row.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it was last probed; none before the first answer.
    pub checked: Option<Timestamp>,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// `Unhealthy` when the node itself is; `Degraded` when anything else is not well, `Unknown` until the node has answered
    /// each of its own checks once. With nothing to probe, `Healthy`.
    pub health: Health,
    /// What is not well, one line each.
    pub reasons: Vec<String>,
    /// Everything that is probed, the node first.
    pub rows: Vec<HealthRow>,
}

impl Kernel {
    /// How the node and its agents are.
    #[must_use]
    pub fn health(&self) -> HealthReport {
        let rows = self.monitors.rows().collect::<Vec<_>>();
        let damaged = self.state == NodeState::Damaged;
        let damage = damaged.then(|| "chain: the store cannot be written; nothing is promised any more".to_owned());
        let reasons = damage.into_iter().chain(rows.iter().filter_map(line)).collect::<Vec<_>>();
        let is_down = |row: &HealthRow| {
            matches!((&row.subject, &row.health), (HealthSubject::Node { .. }, Health::Unhealthy { .. }))
        };
        let is_unanswered =
            |row: &HealthRow| matches!(row.subject, HealthSubject::Node { .. }) && row.health == Health::Unknown;
        let reason = reasons.join("; ");
        let health = if damaged || rows.iter().any(is_down) {
            Health::Unhealthy { reason }
        } else if !reasons.is_empty() {
            Health::Degraded { reason }
        } else if rows.iter().any(is_unanswered) {
            Health::Unknown
        } else {
            Health::Healthy
        };
        HealthReport { health, reasons, rows }
    }
}

/// What is not well about it.
fn line(row: &HealthRow) -> Option<String> {
    let what = match &row.subject {
        HealthSubject::Node { check } => check.to_string(),
        HealthSubject::Process { process, agent, probe } => format!("{agent} {process} {probe}"),
    };
    row.health.reason().map(|reason| format!("{what}: {reason}"))
}
