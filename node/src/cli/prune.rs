//! `weft chain snapshot` and `prune`: where this node's chain stands, and what need not be kept beside its events any more.

use weft_protocol::control::{PruneReport, PruneStay, SnapshotReport};

use super::args::PruneArgs;
use super::client::Client;
use super::output::{Output, card, count, dim, plural, table};
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

/// `weft chain prune`.
pub(crate) async fn prune(args: &PruneArgs, at: &At) -> Result<(), CliError> {
    let older_than_us = args.older_than.map(|age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    let request = serde_json::json!({ "older_than_us": older_than_us, "dry_run": args.dry_run });
    let report: PruneReport = Client::of(at)?.post("/v1/chain/prune", &request).await?;
    Output::new(at.json).report(&report, words)
}

fn words(report: &PruneReport) -> String {
    let verb = if report.dry_run { "would go" } else { "went" };
    let goes = match report.to {
        Some(to) => row(verb, &report.goes, format!("beside events below {to}; the events stay")),
        None => row(verb, &report.goes, "nothing".to_owned()),
    };
    let stays = report.stays.iter().map(|PruneStay { message, stays, .. }| row("stays", stays, message.clone()));
    let rows = table(["", "rows", "bodies", "bytes", ""], [goes].into_iter().chain(stays).collect(), "");
    let mut notes = String::new();
    if report.shared_bodies > 0 {
        let bodies = count(report.shared_bodies);
        notes.push_str(&dim(&format!("\n  bodies that stay because an event that stays names them too: {bodies}")));
    }
    if report.more {
        notes.push_str(&dim("\n  more may go: weft chain prune again"));
    }
    format!("{rows}{notes}")
}

fn row(what: &str, rows: &weft_protocol::control::PrunedCount, why: String) -> [String; 5] {
    [what.to_owned(), count(rows.rows), count(rows.bodies), count(rows.bytes), why]
}
