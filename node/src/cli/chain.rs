//! `weft chain …`, `weft order`: the record of everything, from a running node.

use std::path::Path;
use std::time::Duration;

use weft_protocol::control::{
    ChainStatus, ChainVerifyReport, ChainVerifyRow, EventRow, ExportReport, OrderRow, OrderState, OrderWait, ProofFile,
    WitnessRow, WitnessesReport,
};

use super::args::{ChainCommand, ChainLogArgs, OrderArgs};
use super::client::{Client, Pieces, segment};
use super::output::{Output, bad, card, count, dim, good, plural, short, table};
use super::{At, CliError, anchor, evidence, offline, prune};

/// How often `--follow` asks for new events.
const FOLLOW_STEP: Duration = Duration::from_millis(200);
/// Events asked for at once.
const PAGE_EVENTS: u64 = 1_000;

/// `weft chain …`.
pub(crate) async fn chain(command: &ChainCommand, before: &At) -> Result<(), CliError> {
    match command {
        ChainCommand::Status(only) => status(&only.at.or(before)).await,
        ChainCommand::Log(args) => log(args, &At::from(&args.at).or(before)).await,
        ChainCommand::Verify(args) => match &args.offline {
            Some(path) => offline::verify(path, args.at.json || before.json),
            None => verify(&args.at.or(before)).await,
        },
        ChainCommand::Prove { seq, at } => prove(*seq, &at.or(before)).await,
        ChainCommand::Witnesses { place, at } => witnesses(place.as_deref(), &at.or(before)).await,
        ChainCommand::CheckProof(args) => offline::check_proof(args, args.json || before.json),
        ChainCommand::Evidence(args) => evidence::evidence(args, &args.at.or(before)).await,
        ChainCommand::CheckEvidence(args) => evidence::check(args, args.json || before.json),
        ChainCommand::Checkpoint { output, at } => anchor::checkpoint(output.as_deref(), &at.or(before)).await,
        ChainCommand::Anchors(only) => anchor::anchors(&only.at.or(before)).await,
        ChainCommand::CheckAnchor(args) => anchor::check_anchor(args, args.json || before.json),
        ChainCommand::Stamp { calendar, at } => anchor::stamp(calendar, &at.or(before)).await,
        ChainCommand::Stamps(only) => anchor::stamps(&only.at.or(before)).await,
        ChainCommand::CheckStamp(args) => anchor::check_stamp(args, args.json || before.json),
        ChainCommand::Prune(args) => prune::prune(args, &args.at.or(before)).await,
        ChainCommand::Snapshot(only) => prune::snapshot(&only.at.or(before)).await,
        ChainCommand::Export { path, at } => export(path, &at.or(before)).await,
    }
}

async fn status(at: &At) -> Result<(), CliError> {
    let status: ChainStatus = Client::of(at)?.get("/v1/chain").await?;
    Output::new(at.json).report(&status, |status| {
        let unsealed = status.events - status.sealed_events;
        card([
            ("chain", format!("{} / {}", status.node, status.incarnation)),
            ("events", format!("{}, {} not sealed yet", count(status.events), count(unsealed))),
            ("commits", format!("{}, {} with both signatures", count(status.commits), count(status.checkpoints))),
            ("head", status.head.clone()),
            ("root", status.root.clone()),
        ])
    })
}

async fn log(args: &ChainLogArgs, at: &At) -> Result<(), CliError> {
    let client = Client::of(at)?;
    let output = Output::new(at.json);
    let (mut from, mut printed) = (args.from, 0);
    let left = |printed: u64| args.count.map_or(u64::MAX, |count| count.saturating_sub(printed));
    while left(printed) > 0 {
        let mut path = format!("/v1/chain/events?from={from}&count={}", PAGE_EVENTS.min(left(printed)));
        for (name, value) in [("node", &args.node), ("kind", &args.kind)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        let page: weft_protocol::control::EventsPage = client.get(&path).await?;
        for event in &page.events {
            output.report(event, event_line)?;
            printed += 1;
        }
        from = page.next;
        if !page.more {
            if !args.follow {
                return Ok(());
            }
            tokio::time::sleep(FOLLOW_STEP).await;
        }
    }
    Ok(())
}

fn event_line(event: &EventRow) -> String {
    let place = format!("{}#{}", event.name, event.seq);
    let sealed = if event.sealed { "" } else { "  (not sealed yet)" };
    format!("{}  {place:<14} {:<16} {:<14} {}{sealed}", dim(&event.at), event.kind, event.source, event.summary)
}

async fn verify(at: &At) -> Result<(), CliError> {
    let report: ChainVerifyReport = Client::of(at)?.post("/v1/chain/verify", &serde_json::json!({})).await?;
    print_verified(&report, Output::new(at.json))
}

/// Prints what became of each chain.
///
/// # Errors
/// `damaged` when one does not verify.
pub(crate) fn print_verified(report: &ChainVerifyReport, output: Output) -> Result<(), CliError> {
    let faults: Vec<&ChainVerifyRow> = report.chains.iter().filter(|chain| !chain.ok).collect();
    if output.json() {
        output.object(report)?;
    } else {
        let header = ["node", "id", "events", "commits", "checkpoints", "root", ""];
        output.text(&table(header, report.chains.iter().map(verified_row).collect(), "no chains"))?;
    }
    match faults.first() {
        None if report.ok => Ok(()),
        None => Err(CliError::new("damaged", "the chains do not verify").reported(output.json())),
        Some(fault) => {
            let reason = fault.error.as_deref().unwrap_or("does not verify");
            let message = format!("the chain of {} is damaged: {reason}", fault.name);
            let hint = "start the node while another member is up: it fetches what is missing";
            Err(CliError::new("damaged", message).hint(hint).reported(output.json()))
        }
    }
}

fn verified_row(chain: &ChainVerifyRow) -> [String; 7] {
    [
        chain.name.clone(),
        short(&chain.node),
        count(chain.events),
        count(chain.commits),
        count(chain.checkpoints),
        short(&chain.root),
        if chain.ok { ok_words(chain) } else { bad(chain.error.as_deref().unwrap_or("does not verify")) },
    ]
}

fn ok_words(chain: &ChainVerifyRow) -> String {
    let snapshots =
        if chain.snapshots > 0 { format!(", {}", plural(chain.snapshots, "snapshot")) } else { String::new() };
    let pruned = if chain.pruned > 0 { format!(", {} pruned", plural(chain.pruned, "row")) } else { String::new() };
    format!("{}{snapshots}{pruned}", good("ok"))
}

async fn prove(seq: u64, at: &At) -> Result<(), CliError> {
    let proof: ProofFile = Client::of(at)?.get(&format!("/v1/chain/proof/{seq}")).await?;
    Output::new(at.json).object(&proof)
}

async fn witnesses(place: Option<&str>, at: &At) -> Result<(), CliError> {
    let query = place.map_or_else(String::new, |place| format!("?place={}", segment(place)));
    let report: WitnessesReport = Client::of(at)?.get(&format!("/v1/chain/witnesses{query}")).await?;
    Output::new(at.json).report(&report, |report| {
        let row = |row: &WitnessRow| {
            let state = if row.agrees { good("agrees") } else { bad("names another commit than this node holds") };
            [
                row.name.clone(),
                short(&row.node),
                count(row.events),
                row.commit_no.to_string(),
                short(&row.commit),
                state,
            ]
        };
        let nobody = match report.wanted_events {
            Some(_) => "no member vouches for it yet; a message with --receipt executed+witnessed asks one to",
            None => "no member vouches for this chain yet; a message with --receipt executed+witnessed asks one to",
        };
        let header = ["member", "id", "events", "commit", "hash", ""];
        let rows = table(header, report.witnesses.iter().map(row).collect(), nobody);
        format!("of {} events:\n{rows}", count(report.events))
    })
}

async fn export(path: &Path, at: &At) -> Result<(), CliError> {
    let absolute = std::path::absolute(path).map_err(|error| CliError::new("failed", error.to_string()))?;
    let request = serde_json::json!({ "path": absolute });
    let report: ExportReport = Client::of(at)?.post("/v1/chain/export", &request).await?;
    Output::new(at.json).report(&report, |report| {
        let chains = plural(report.chains, "chain");
        let apart = match (report.bodies, report.bodies_omitted) {
            (0, 0) => String::new(),
            (held, 0) => format!(", bodies beside events: {}", count(held)),
            (held, omitted) => format!(
                ", bodies beside events: {}, omitted {} that this node does not hold",
                count(held),
                count(omitted)
            ),
        };
        format!("{}: {chains}, {}, {} bytes{apart}", report.path, plural(report.events, "event"), count(report.bytes))
    })
}

/// `weft order`.
pub(crate) async fn order(args: &OrderArgs, at: &At) -> Result<(), CliError> {
    let count = args.count.map_or_else(String::new, |count| format!("&count={count}"));
    let client = Client::of(at)?;
    let body = client.stream(&format!("/v1/order?stable={}{count}", args.stable)).await?;
    let output = Output::new(at.json);
    let mut lines = Pieces::lines(body);
    while let Some(line) = lines.next().await? {
        let row: OrderRow = serde_json::from_str(&line)
            .map_err(|error| CliError::new("failed", format!("the node sent no event: {error}")))?;
        output.report(&row, |row| {
            let stable = if row.stable { "stable" } else { "provisional" };
            format!("{}  {}#{}  {:<16} {stable}", row.hlc, short(&row.node), row.seq, row.kind)
        })?;
    }
    let state: OrderState = client.get("/v1/order/state").await?;
    output.remark(&dim(&order_words(&state)));
    Ok(())
}

/// What is said under an order.
fn order_words(state: &OrderState) -> String {
    let until =
        state.stable_until.as_ref().map_or_else(|| "nothing is stable".to_owned(), |at| format!("stable until {at}"));
    let waits = |wait: &OrderWait| match &wait.heard_until {
        Some(at) => format!("{} (heard until {at})", wait.name),
        None => format!("{} (not heard yet)", wait.name),
    };
    let waits: Vec<String> = state.waits_for.iter().map(waits).collect();
    let waits = if waits.is_empty() { String::new() } else { format!("; the rest waits for {}", waits.join(", ")) };
    let undecided = if state.undecided > 0 { "; a change of who counts is not decided" } else { "" };
    format!("  {until}, {} count{waits}{undecided}", plural(state.counting.len() as u64, "member"))
}
