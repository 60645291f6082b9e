//! `weft chain snapshot`: where this node's chain stands, in one event of it.

use weft_protocol::control::SnapshotReport;

use super::client::Client;
use super::output::{Output, card, plural};
use super::{At, CliError};

/// `weft chain snapshot`.
pub(crate) async fn snapshot(at: &At) -> Result<(), CliError> {
    let report: SnapshotReport = Client::of(at)?.post("/v1/chain/snapshot", &serde_json::json!({})).await?;
    Output::new(at.json).report(&report, |report| {
        card([
            ("snapshot", format!("event {}, of {} before it", report.seq, plural(report.events, "event"))),
            ("root", report.root.clone()),
            ("state", report.state.clone()),
        ])
    })
}
