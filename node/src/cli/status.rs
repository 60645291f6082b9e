//! `weft status`, `weft boot-log`, `weft down`: a node as its operator sees it.

use std::time::Duration;

use weft_protocol::control::{
    BootLogReport, BootRow, DownReport, LeaveReport, RefusalRow, ScrubFindRow, ScrubPassRow, StatusReport,
};

use super::client::{Client, choose_home};
use super::output::{
    Output, address, ago, bad, card, clock, count, dim, doubtful, good, micros, plural, rough, short, table,
};
use super::{At, CliError};

/// How long `down` waits for the process to end after the node has answered; the node itself gives its agents 5 s.
const END_WAIT_MAX: Duration = Duration::from_secs(20);
/// Refused handshakes that are shown; `--json` lists all that are remembered.
const REFUSALS_SHOWN: usize = 5;
/// How often it looks.
const END_WAIT_STEP: Duration = Duration::from_millis(20);

/// `weft status`.
pub(crate) async fn status(at: &At) -> Result<(), CliError> {
    let status: StatusReport = Client::of(at)?.get("/v1/status").await?;
    Output::new(at.json).report(&status, |status| {
        let lines = card([
            ("node", format!("{}  {}  {}", status.name, status.node, status.role)),
            ("state", state_line(status)),
            ("health", health_line(status)),
            ("cluster", format!("{}  {}", status.cluster.name, plural(status.members, "member"))),
            ("chain", chain_line(status)),
            ("scrub", scrub_line(status)),
            ("listening", listening(&status.listen)),
            ("clock", clock_line(status)),
            ("start", start_line(status)),
            ("agents", status.agents.to_string()),
            ("order", status.order.clone()),
            ("home", status.home.clone()),
            ("version", status.version.clone()),
            ("limits", limits_line(status)),
        ]);
        let finds = status.scrub.finds.iter().map(|find| format!("  {}\n", bad(&find_line(find))));
        let lines = finds.fold(lines, |lines, line| lines + &line);
        let refused = status.refusals.iter().take(REFUSALS_SHOWN).map(refusal_line);
        refused.fold(lines, |lines, line| lines + &line)
    })
}

fn chain_line(status: &StatusReport) -> String {
    let asking = if status.asking { doubtful("  members are asked how much of it they hold") } else { String::new() };
    let reason =
        status.incarnation_reason.as_ref().map(|reason| format!("  begun because: {reason}")).unwrap_or_default();
    format!("incarnation {}{reason}{asking}", status.incarnation)
}

/// When everything that is stored was last read, and how much that was.
pub(crate) fn scrub_line(status: &StatusReport) -> String {
    let scrub = &status.scrub;
    let last = match &scrub.last {
        Some(ScrubPassRow { ended: Some(ended), rows, bytes, .. }) => {
            format!("the last pass ended {} ago and read {}, {}", ago(ended), plural(*rows, "row"), size(*bytes))
        }
        _ => "no pass has ended since the start, which verified everything".to_owned(),
    };
    let every = match scrub.period_s {
        Some(period) => format!("one pass in {}", humantime::format_duration(Duration::from_secs(period))),
        None => "off (storage.scrub_period)".to_owned(),
    };
    let running = scrub.done_percent.map(|done| format!("; {done} % of one is done")).unwrap_or_default();
    format!("{every}; {last}{running}")
}

/// What is wrong with something stored, and since when.
pub(crate) fn find_line(find: &ScrubFindRow) -> String {
    let place = match (&find.chain, find.commit) {
        (Some(chain), Some(commit)) => format!("commit {commit} of {}, table {}", short(chain), find.table),
        (Some(chain), None) => format!("{}, table {}", short(chain), find.table),
        (None, _) => format!("table {}", find.table),
    };
    let mended = match (&find.mended_at, &find.mended_by) {
        (Some(at), Some(by)) => format!("; it came back from {} {} ago", short(by), ago(at)),
        _ => String::new(),
    };
    format!("damaged {} ago: {place}: {}{mended}", ago(&find.since), find.reason)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        _ => format!("{} MiB", count(bytes / 1_048_576)),
    }
}

fn health_line(status: &StatusReport) -> String {
    let words = super::health::paint(&status.health);
    if status.health_reasons.is_empty() { words } else { format!("{words}  {}", status.health_reasons.join("; ")) }
}

fn refusal_line(refusal: &RefusalRow) -> String {
    let who = if refusal.by_us { "refused" } else { "refused by" };
    let RefusalRow { at, node, address: from, message, .. } = refusal;
    format!("  {}  {who} {} ({}): {message}\n", doubtful(&ago(at)), short(node), address(from))
}

fn state_line(status: &StatusReport) -> String {
    let state = if status.state == "running" { good(&status.state) } else { bad(&status.state) };
    format!("{state}  process {}, up {}", status.pid, rough(Duration::from_secs(status.uptime_s)))
}

/// Whether its clock is the machine's.
fn clock_line(status: &StatusReport) -> String {
    let offset_ms = status.clock_offset_ms.unwrap_or_default();
    let text = clock(offset_ms);
    if offset_ms == 0 { text } else { doubtful(&format!("set {text} (--clock-offset)")) }
}

/// How far the start is.
fn start_line(status: &StatusReport) -> String {
    let took_us = status.phases.iter().map(|phase| phase.duration_us).sum();
    let of_result = |result: &str| -> Vec<&str> {
        status.phases.iter().filter(|phase| phase.result == result).map(|phase| phase.phase.as_str()).collect()
    };
    let degraded = of_result("degraded");
    match status.phases.last() {
        Some(last) if last.phase == "ready" && degraded.is_empty() => good(&format!("ready in {}", micros(took_us))),
        Some(last) if last.phase == "ready" => {
            let said = format!("ready in {}, degraded: {}", micros(took_us), degraded.join(", "));
            format!("{}  weft boot-log says why", doubtful(&said))
        }
        Some(last) => doubtful(&format!("{} is over, {} of 8 phases", last.phase, status.phases.len())),
        None => doubtful("begun"),
    }
}

fn limits_line(status: &StatusReport) -> String {
    let used = status.limits.iter().filter_map(|limit| Some((limit, limit.used?)));
    let used = used.map(|(limit, used)| format!("{} {used} of {}", limit.name, count(limit.most)));
    let over =
        (status.over_rate > 0).then(|| doubtful(&format!("members over their rate {} times", count(status.over_rate))));
    used.chain(over).collect::<Vec<_>>().join("   ")
}

/// `weft boot-log`.
pub(crate) async fn boot_log(at: &At) -> Result<(), CliError> {
    let log: BootLogReport = Client::of(at)?.get("/v1/boot-log").await?;
    Output::new(at.json).report(&log, |log| {
        let line = |entry: &BootRow| {
            let level = match entry.level.as_str() {
                "warn" => doubtful(&entry.level),
                "error" => bad(&entry.level),
                level => level.to_owned(),
            };
            [dim(&entry.at), entry.phase.to_uppercase(), level, entry.message.clone()]
        };
        let lines = table(["at", "phase", "level", "message"], log.entries.iter().map(line).collect(), "nothing");
        let forgotten =
            if log.forgotten == 0 { String::new() } else { format!("{} older lines made room\n", log.forgotten) };
        let end = if log.ready { "" } else { "the start is not complete\n" };
        format!("{lines}\n{forgotten}{end}")
    })
}

/// Addresses as people read them, on one line.
pub(crate) fn listening(addresses: &[String]) -> String {
    addresses.iter().map(|one| address(one)).collect::<Vec<_>>().join("   ")
}

/// `weft down`: returns when the process has ended.
pub(crate) async fn down(at: &At) -> Result<(), CliError> {
    let home = choose_home(at)?;
    let report: DownReport = Client::at(home.clone())?.post("/v1/down", &serde_json::json!({})).await?;
    wait_for_end(&home, &report.name, report.pid).await?;
    Output::new(at.json).report(&report, |report| {
        let stopped: Vec<&str> = report.stopped.iter().map(|row| row.agent.as_str()).collect();
        let stopped =
            if stopped.is_empty() { "no agent ran".to_owned() } else { format!("stopped {}", stopped.join(", ")) };
        format!("{} is down after {} ms, {stopped}", report.name, report.took_ms)
    })
}

/// `weft leave`: returns when others hold what outlives the node, and its process has ended.
pub(crate) async fn leave(at: &At) -> Result<(), CliError> {
    let home = choose_home(at)?;
    let report: LeaveReport = Client::at(home.clone())?.post("/v1/leave", &serde_json::json!({})).await?;
    wait_for_end(&home, &report.name, report.pid).await?;
    Output::new(at.json).report(&report, |report| {
        let handed = report.handed.iter().map(|row| match &row.to {
            Some(to) => format!("{} runs on {to}", row.agent),
            None => format!("{} runs nowhere yet", row.agent),
        });
        let handed = handed.collect::<Vec<_>>().join(", ");
        let handed = if handed.is_empty() { "nothing outlives it".to_owned() } else { handed };
        format!("{} has left after {} ms: {handed}", report.name, report.took_ms)
    })
}

/// Returns when nobody uses the home any more.
async fn wait_for_end(home: &crate::home::HomeDir, name: &str, pid: u32) -> Result<(), CliError> {
    let waited = tokio::time::Instant::now();
    while is_locked(home)? {
        if waited.elapsed() > END_WAIT_MAX {
            let message = format!("{name} has recorded its end, but its process {pid} still runs");
            return Err(CliError::new("deadline", message).hint(format!("kill -9 {pid}")).changed());
        }
        tokio::time::sleep(END_WAIT_STEP).await;
    }
    Ok(())
}

/// Whether a process uses the home; the lock is given back at once.
fn is_locked(home: &crate::home::HomeDir) -> Result<bool, CliError> {
    match crate::home::Home::probe(home) {
        Ok(()) => Ok(false),
        Err(crate::home::HomeError::Locked { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
