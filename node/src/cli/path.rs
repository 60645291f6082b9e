//! `weft path` and `weft ping`: how a member is reached, and whether it answers.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use weft_protocol::control::{CallReport, MemberRow, MembersReport};

use super::args::{PathArgs, PingArgs};
use super::client::Client;
use super::nearest::nearest;
use super::output::{Output, ago, dim, micros};
use super::{At, CliError};

/// What every ping of a run came to.
#[derive(Debug, Serialize)]
struct PingReport {
    node: String,
    name: String,
    sent: u32,
    answered: u32,
    /// Of those that were answered, in microseconds and in their order.
    latency_us: Vec<u64>,
}

/// `weft path NODE`.
pub(crate) async fn path(args: &PathArgs, at: &At) -> Result<(), CliError> {
    let row = member(&Client::of(at)?, &args.member).await?;
    Output::new(at.json).report(&row, described)
}

fn described(row: &MemberRow) -> String {
    let transport = row.transport.as_deref().unwrap_or("-");
    let rtt = row.rtt_us.map_or_else(|| "-".to_owned(), micros);
    let mut text = format!("{}  {}  {}", row.name, row.state, row.path);
    let line = match row.path.as_str() {
        "self" => "this node".to_owned(),
        "none" => {
            let seen = row.last_seen.as_deref().map_or_else(|| "never seen in this run".to_owned(), ago);
            format!("no connection, last seen {seen}; it is dialled again and again")
        }
        _ => format!("over {transport}  round trip {rtt}  {}", row.address.as_deref().unwrap_or("-")),
    };
    let _always_fits = write!(text, "\n{line}");
    text
}

/// `weft ping NODE`.
pub(crate) async fn ping(args: &PingArgs, at: &At) -> Result<(), CliError> {
    let client = Client::of(at)?;
    let row = member(&client, &args.member).await?;
    let output = Output::new(at.json);
    let mut report = PingReport { node: row.node, name: row.name, sent: 0, answered: 0, latency_us: Vec::new() };
    let deadline_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    let request = json!({
        "target": format!("kernel@{}", report.name),
        "payload": "ping",
        "deadline_ms": deadline_ms,
    });
    let mut beats = tokio::time::interval(args.interval.max(Duration::from_millis(1)));
    let mut last = None;
    for number in 1..=args.count {
        beats.tick().await;
        report.sent += 1;
        match client.post::<CallReport>("/v1/call", &request).await {
            Ok(answer) => {
                report.answered += 1;
                report.latency_us.push(answer.latency_us);
                output.remark(&dim(&format!("{number}  {}  {}", micros(answer.latency_us), answer.path)));
            }
            Err(error) => {
                output.remark(&dim(&format!("{number}  {}", error.detail().message)));
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if report.answered == 0 => Err(error),
        _ => output.report(&report, summary),
    }
}

fn summary(report: &PingReport) -> String {
    let mut times = report.latency_us.clone();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().map_or_else(|| "-".to_owned(), micros);
    format!("{}: {} of {} answered, the middle one after {middle}", report.name, report.answered, report.sent)
}

/// The member of that name, id, or beginning of an id.
async fn member(client: &Client, word: &str) -> Result<MemberRow, CliError> {
    let report: MembersReport = client.get("/v1/members").await?;
    let named = |row: &&MemberRow| row.name == word || (word.len() >= 6 && row.node.starts_with(word));
    let found: Vec<&MemberRow> = report.members.iter().filter(named).collect();
    match found[..] {
        [row] => Ok(row.clone()),
        [] => {
            let error = CliError::new("no-such-member", format!("no member is called {word}"));
            let names = report.members.iter().map(|row| row.name.as_str());
            Err(match nearest(word, names) {
                Some(name) => error.hint(format!("did you mean {name}? weft members shows all")),
                None => error.hint("weft members shows all"),
            })
        }
        _ => Err(CliError::new("ambiguous", format!("several members are called {word}"))
            .hint("give the id instead: weft members --json shows it")),
    }
}
