//! `weft topics` and `weft dlq`: what is published to, and what was given up.

use weft_protocol::control::{DeadLettersReport, DropReport, RetryReport, RetryRequest, TopicReport, TopicsReport};

use super::args::DlqCommand;
use super::client::Client;
use super::messages::{body_text, millis};
use super::output::{Output, ago, count, dim, micros, table};
use super::{At, CliError};

/// `weft topics`.
pub(crate) async fn topics(at: &At) -> Result<(), CliError> {
    let report: TopicsReport = Client::of(at)?.get("/v1/topics").await?;
    Output::new(at.json).report(&report, |report| {
        let row = |topic: &TopicReport| {
            let publisher = |it: &weft_protocol::control::PublisherRow| format!("{} {}", it.name, it.last);
            let publishers: Vec<String> = topic.publishers.iter().map(publisher).collect();
            let newest = topic.publishers.iter().filter_map(|publisher| publisher.at.as_deref()).max();
            [
                topic.topic.clone(),
                count(topic.subscribers),
                publishers.join(", "),
                newest.map_or_else(String::new, ago),
                format!("{}, {} bytes", count(topic.history.publications), count(topic.history.bytes)),
            ]
        };
        let rows = report.topics.iter().map(row).collect();
        table(
            ["topic", "subscribers", "publishers", "last", "history"],
            rows,
            "no topics; publish: weft pub TOPIC TEXT",
        )
    })
}

/// `weft dlq …`.
pub(crate) async fn dlq(command: &DlqCommand, before: &At) -> Result<(), CliError> {
    match command {
        DlqCommand::Ls(only) => list(&only.at.or(before)).await,
        DlqCommand::Retry { id, deadline, at } => {
            let at = at.or(before);
            let request = RetryRequest { deadline_ms: Some(millis(*deadline)) };
            let report: RetryReport = Client::of(&at)?.post(&format!("/v1/dead-letters/{id}/retry"), &request).await?;
            let output = Output::new(at.json);
            output.report(&report, |report| match &report.reply {
                Some(reply) => body_text(reply),
                None => report.id.clone(),
            })?;
            let RetryReport { latency_us, receipt, trace, .. } = &report;
            output.remark(&dim(&format!("{}  receipt {receipt}  trace {trace}", micros(*latency_us))));
            Ok(())
        }
        DlqCommand::Drop { id, at } => {
            let at = at.or(before);
            let report: DropReport = Client::of(&at)?.delete(&format!("/v1/dead-letters/{id}")).await?;
            Output::new(at.json).report(&report, |report| format!("{} is thrown away", report.id))
        }
    }
}

async fn list(at: &At) -> Result<(), CliError> {
    let report: DeadLettersReport = Client::of(at)?.get("/v1/dead-letters").await?;
    Output::new(at.json).report(&report, |report| {
        let rows = report.letters.iter().map(|letter| {
            [
                letter.id.clone(),
                letter.from.clone(),
                letter.target.clone(),
                letter.reason.clone(),
                ago(&letter.at),
                body_text(&letter.payload),
            ]
        });
        table(["id", "from", "target", "reason", "age", "content"], rows.collect(), "no dead letters")
    })
}
