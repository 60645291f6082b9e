//! `weft health`: how the node and its agents are, and how `--probe` is written.

use std::time::Duration;

use weft_protocol::control::{HealthReport, HealthRow, ProbeJson};
use weft_protocol::{ProbeCheck, ProbeKind};

use super::client::Client;
use super::output::{Output, ago, bad, doubtful, good, table};
use super::{At, CliError};

/// `weft health`: ends with the exit code of a failure when the node itself is unhealthy.
pub(crate) async fn health(at: &At) -> Result<(), CliError> {
    let report: HealthReport = Client::of(at)?.get("/v1/health").await?;
    Output::new(at.json).report(&report, |report| {
        let header = ["what", "process", "check", "health", "since", "probed", "every", "reason"];
        let lines = table(header, report.checks.iter().map(row).collect(), "nothing is probed");
        format!("{}\n{lines}", paint(&report.health))
    })?;
    if report.health == "unhealthy" {
        return Err(CliError::new("failed", report.reasons.join("; ")).reported(true));
    }
    Ok(())
}

fn row(row: &HealthRow) -> [String; 8] {
    let none = || "-".to_owned();
    [
        row.subject.clone(),
        row.process.clone().unwrap_or_else(none),
        row.check.clone(),
        paint(&row.health),
        ago(&row.since),
        row.checked_at.as_deref().map_or_else(none, ago),
        humantime::format_duration(Duration::from_millis(row.interval_ms)).to_string(),
        row.reason.clone().unwrap_or_else(none),
    ]
}

/// The word in its colour.
pub(super) fn paint(health: &str) -> String {
    match health {
        "healthy" => good(health),
        "unhealthy" => bad(health),
        _ => doubtful(health),
    }
}

/// A probe as it is typed: `liveness`, `liveness=message,interval=2s,timeout=500ms,failures=3,successes=1`.
pub(super) fn probe(text: &str) -> Result<ProbeJson, String> {
    let wrong = |word: &str| {
        format!("`{word}` does not fit; write liveness=message,interval=2s,timeout=500ms,failures=3,successes=1")
    };
    let mut words = text.split(',');
    let first = words.next().unwrap_or_default();
    let (kind, check) = first.split_once('=').unwrap_or((first, "message"));
    let _known: ProbeKind = kind.parse().map_err(|_| wrong(first))?;
    let _known: ProbeCheck = check.parse().map_err(|_| wrong(first))?;
    let mut probe = ProbeJson {
        kind: kind.to_owned(),
        check: Some(check.to_owned()),
        interval_ms: None,
        timeout_ms: None,
        failures: None,
        successes: None,
    };
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| wrong(word))?;
        match name {
            "interval" => probe.interval_ms = Some(millis(value).ok_or_else(|| wrong(word))?),
            "timeout" => probe.timeout_ms = Some(millis(value).ok_or_else(|| wrong(word))?),
            "failures" => probe.failures = Some(value.parse().map_err(|_| wrong(word))?),
            "successes" => probe.successes = Some(value.parse().map_err(|_| wrong(word))?),
            _ => return Err(wrong(word)),
        }
    }
    Ok(probe)
}

fn millis(text: &str) -> Option<u64> {
    u64::try_from(humantime::parse_duration(text).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read() {
        let full = probe("readiness=process,interval=2s,timeout=500ms,failures=4,successes=2").expect("a probe");
        let expected = ProbeJson {
            kind: "readiness".to_owned(),
            check: Some("process".to_owned()),
            interval_ms: Some(2_000),
            timeout_ms: Some(500),
            failures: Some(4),
            successes: Some(2),
        };
        assert_eq!(full, expected);
        let short = probe("liveness").expect("a probe");
        assert_eq!((short.check.as_deref(), short.interval_ms), (Some("message"), None));
        for text in ["", "life", "liveness=ping", "liveness,interval", "liveness,interval=2", "liveness,often=1"] {
            assert!(probe(text).expect_err(text).contains("write liveness=message,interval=2s"), "{text}");
        }
    }
}
