//! A node that answers: its state, its start, its ports, its clock, its members, its agents.

use std::time::Duration;

use tokio::net::TcpStream;
use weft_protocol::control::{AgentsReport, MdnsReport, MemberRow, MembersReport, ScrubFindRow, StatusReport};
use weft_protocol::limits::CLOCK_MERGE_US_MAX;

use super::Check;
use crate::cli::client::Client;
use crate::cli::output::{micros, plural};

/// How long a connection to an own port may take.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// All of it.
pub(super) async fn check(client: &Client, status: &StatusReport) -> Vec<Check> {
    let mut checks = vec![state(status), scrub(status), start(status), ports(status).await];
    match client.get::<MembersReport>("/v1/members").await {
        Ok(report) => checks.extend([clock(&report), members(&report), mdns(&status.mdns, &report)]),
        Err(error) => checks.push(Check::of_error("members", &error)),
    }
    match client.get::<AgentsReport>("/v1/agents").await {
        Ok(report) => checks.push(agents(&report)),
        Err(error) => checks.push(Check::of_error("agents", &error)),
    }
    checks
}

fn state(status: &StatusReport) -> Check {
    let message = format!("{} is {}, process {}", status.name, status.state, status.pid);
    match status.state.as_str() {
        "running" => Check::ok("node", message),
        "damaged" if open_finds(status).next().is_some() => {
            Check::damaged("node", message, "weft down, then weft up: it fetches from members what is missing")
        }
        "damaged" => {
            Check::damaged("node", message, "look at the disk, then weft down, weft doctor --storage, weft up")
        }
        _ => Check::warn("node", message, "wait for it"),
    }
}

fn open_finds(status: &StatusReport) -> impl Iterator<Item = &ScrubFindRow> {
    status.scrub.finds.iter().filter(|find| find.mended_at.is_none())
}

/// What the scrub has found, or when it last read everything.
fn scrub(status: &StatusReport) -> Check {
    let found: Vec<String> = open_finds(status).map(crate::cli::status::find_line).collect();
    if !found.is_empty() {
        return Check::damaged(
            "scrub",
            found.join("; "),
            "weft down, then weft up: it fetches from members what is missing",
        );
    }
    let message = crate::cli::status::scrub_line(status);
    match status.scrub.period_s {
        Some(_) => Check::ok("scrub", message),
        None => Check::warn(
            "scrub",
            message,
            "weft config show storage.scrub_period; weft chain verify reads everything now",
        ),
    }
}

fn start(status: &StatusReport) -> Check {
    let degraded: Vec<&str> =
        status.phases.iter().filter(|phase| phase.result == "degraded").map(|phase| phase.phase.as_str()).collect();
    let ready = status.phases.last().is_some_and(|last| last.phase == "ready");
    let took_us = status.phases.iter().map(|phase| phase.duration_us).sum();
    match (ready, degraded.as_slice()) {
        (true, []) => Check::ok("start", format!("ready in {}", micros(took_us))),
        (true, degraded) => Check::warn("start", format!("degraded: {}", degraded.join(", ")), "weft boot-log"),
        (false, _) => Check::warn("start", "the start is not complete yet", "weft boot-log"),
    }
}

/// Whether the node listens, and answers at its TCP ports from here.
async fn ports(status: &StatusReport) -> Check {
    if status.listen.is_empty() {
        let fix = "is the network up? weft config show listen";
        return Check::warn("ports", "no address is known at which others find this node", fix);
    }
    let mut silent = Vec::new();
    for address in &status.listen {
        if let Some(socket) = tcp_address(address) {
            let connected = tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(&socket)).await;
            if !matches!(connected, Ok(Ok(_))) {
                silent.push(socket);
            }
        }
    }
    if silent.is_empty() {
        return Check::ok("ports", format!("listening at {}", crate::cli::status::listening(&status.listen)));
    }
    let message = format!("nothing answers at {}, where the node says to listen", silent.join(", "));
    Check::fail("ports", message, "does a firewall close the port?")
}

fn tcp_address(multiaddr: &str) -> Option<String> {
    let parts: Vec<&str> = multiaddr.split('/').collect();
    match parts.as_slice() {
        ["", "ip4", host, "tcp", port, ..] => Some(format!("{host}:{port}")),
        ["", "ip6", host, "tcp", port, ..] => Some(format!("[{host}]:{port}")),
        _ => None,
    }
}

/// A member whose newest stamp lies in our future has a clock ahead of ours, or ours is behind.
fn clock(report: &MembersReport) -> Check {
    let ahead = report.members.iter().filter(|member| member.path != "self");
    let most = ahead.filter_map(|member| Some((member, member.ahead_us?))).max_by_key(|(_, ahead_us)| *ahead_us);
    match most {
        Some((member, ahead_us)) if ahead_us > CLOCK_MERGE_US_MAX => {
            let message = format!("{} is {} ahead of this machine's clock", member.name, micros(ahead_us));
            Check::warn("clock", message, "set the clocks of both: timedatectl set-ntp true")
        }
        Some(_) | None => Check::ok("clock", "no member is ahead of this machine's clock by more than 500 ms"),
    }
}

fn members(report: &MembersReport) -> Check {
    let others: Vec<&MemberRow> =
        report.members.iter().filter(|member| member.path != "self" && member.state != "left").collect();
    let missing: Vec<String> = others
        .iter()
        .filter(|member| member.state != "alive")
        .map(|member| format!("{} ({})", member.name, member.state))
        .collect();
    if missing.is_empty() {
        return Check::ok("members", format!("{} reached", plural(others.len() as u64, "other member")));
    }
    let message = format!("{} of {} not reached: {}", missing.len(), others.len(), missing.join(", "));
    Check::warn("members", message, "weft status there; is it up, and its port open?")
}

/// Whether missed members are asked for on the LAN. That nobody answers matters only while somebody is missed.
fn mdns(mdns: &MdnsReport, members: &MembersReport) -> Check {
    let places = mdns.places.join(" and ");
    let asked = format!("asked {}, found {}, answered {}", mdns.asked, mdns.found, mdns.answered);
    let missed = members.members.iter().any(|member| member.path == "none" && member.state != "left");
    match mdns.state.as_str() {
        "on" if missed && mdns.asked > 0 && mdns.heard == 0 => {
            let message = format!("asked {} at {places}, and heard no other machine at all", mdns.asked);
            let fix =
                "do a VPN, the Wi-Fi's isolation or a firewall keep multicast (UDP 5353) away? seeds work without";
            Check::warn("mdns", message, fix)
        }
        "on" => {
            let but = mdns.reason.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
            Check::ok("mdns", format!("on at {places}: {asked}{but}"))
        }
        "idle" => Check::ok("mdns", "the node listens for this machine alone"),
        "failed" => Check::warn("mdns", mdns.reason.as_deref().unwrap_or("failed"), "or set network.mdns = false"),
        _ => Check::ok("mdns", "off (network.mdns)"),
    }
}

/// Agents that could not be started, such as one whose program is not there.
fn agents(report: &AgentsReport) -> Check {
    let failed = report.agents.iter().filter_map(|row| {
        let reason = row.reason.as_deref().filter(|reason| reason.contains("start"))?;
        Some(format!("{}: {reason}", row.agent))
    });
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() {
        return Check::ok("agents", format!("{} known here", plural(report.agents.len() as u64, "agent")));
    }
    Check::warn("agents", failed.join("; "), "is the program installed? weft agent inspect NAME")
}
