//! `status`, `boot-log` and `down`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use weft_kernel::{Answer, BootEntry, ProcessState, Syscall};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{
    BootLogReport, BootRow, ClusterJson, DownReport, ErrorBody, HandedRow, LeaveReport, LimitRow, MdnsReport,
    RefusalRow, ScrubReport, StatusReport, StoppedRow, UpReport,
};
use weft_protocol::limits::{CALLS_MAX, MAILBOX_MESSAGES_MAX, MEMBERS_MAX, PROCESSES_MAX};
use weft_protocol::{AgentName, BootPhase, ProcessId, Refusal, cluster_name};

use super::failure::Failure;
use super::{Served, mismatch, text};
use crate::ask::Asker;
use crate::boot::phase_row;
use crate::cli::CliError;
use crate::home::HomeDir;
use crate::network::RecentRefusal;

/// How long the first report waits for an address (guess: the operating system answers at once; without a network never).
pub(crate) const LISTEN_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often it looks.
const LISTEN_STEP: Duration = Duration::from_millis(5);

/// The node and where it stands.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = StatusReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn status(State(served): State<Arc<Served>>) -> Result<Json<StatusReport>, Failure> {
    let mut report = report(&served.control.asker, &served.home).await?;
    let cluster = served.home.cluster().ok().flatten();
    report.incarnation_reason = cluster.and_then(|cluster| cluster.reborn).map(|reborn| reborn.reason);
    report.uptime_s = served.started.elapsed().as_secs();
    let refusal = |refusal: RecentRefusal| RefusalRow {
        at: text::time(refusal.at),
        node: refusal.node.to_string(),
        address: refusal.address,
        by_us: refusal.by_us,
        code: refusal.refusal.code().to_owned(),
        message: refusal.refusal.to_string(),
        next: refusal.refusal.next().to_owned(),
    };
    report.phases = served.control.boot.log().phases().iter().map(phase_row).collect();
    report.scrub = served.control.scrub.report();
    report.mdns = served.control.mdns.report();
    report.limits.push(open_files());
    report.refusals = served.control.refusals.list().into_iter().map(refusal).collect();
    Ok(Json(report))
}

/// What `up` says of a node that serves. Waits a moment for the addresses it listens on, which the transport tells a little
/// after the start.
///
/// # Errors
/// `shutting-down`.
pub(crate) async fn up_report(asker: &Asker, home: &HomeDir) -> Result<UpReport, CliError> {
    let begun = tokio::time::Instant::now();
    loop {
        let report = report(asker, home).await.map_err(|refusal| CliError::from(&refusal))?;
        if !report.listen.is_empty() || begun.elapsed() > LISTEN_WAIT_MAX {
            return Ok(report.up());
        }
        tokio::time::sleep(LISTEN_STEP).await;
    }
}

async fn report(asker: &Asker, home: &HomeDir) -> Result<StatusReport, Refusal> {
    let home = home.path().display().to_string();
    let read = move |peer: &Peer| {
        let (kernel, discovery) = (peer.kernel(), peer.discovery());
        let (chain, health) = (kernel.chain_state(), kernel.health());
        let members: Vec<_> = discovery.members().collect();
        let own = members.iter().find(|member| member.node == peer.node());
        let living = |state: &ProcessState| !matches!(state, ProcessState::Exited(_));
        StatusReport {
            name: discovery.display_name(peer.node()),
            node: peer.node().to_string(),
            pid: std::process::id(),
            home,
            cluster: ClusterJson { name: cluster_name(&chain.cluster()), id: chain.cluster().to_string() },
            state: kernel.state().to_string(),
            incarnation: chain.chain().incarnation.to_string(),
            incarnation_reason: None,
            asking: peer.is_asking(),
            agents: kernel.processes().iter().filter(|process| living(&process.state)).count() as u64,
            members: members.len() as u64,
            uptime_s: 0,
            order: if super::order::is_stable(peer) { "stable" } else { "provisional" }.to_owned(),
            listen: own.map(|own| own.addresses.clone()).unwrap_or_default(),
            role: own.map(|own| own.role.to_string()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            health: health.health.name().to_owned(),
            health_reasons: health.reasons,
            refusals: Vec::new(),
            over_rate: peer.over_rate(),
            phases: Vec::new(),
            limits: limits(peer),
            scrub: ScrubReport::default(),
            mdns: MdnsReport::default(),
            clock_offset_ms: Some(crate::clock::offset_us() / 1_000).filter(|offset| *offset != 0),
        }
    };
    asker.read(read).await
}

/// The bounds that an operator may run into.
fn limits(peer: &Peer) -> Vec<LimitRow> {
    let (kernel, members) = (peer.kernel(), peer.discovery().members().count());
    let living = kernel.processes().iter().filter(|process| !matches!(process.state, ProcessState::Exited(_))).count();
    let row = |name: &str, used: Option<usize>, most: usize| LimitRow {
        name: name.to_owned(),
        used: used.map(|used| used as u64),
        most: most as u64,
    };
    vec![
        row("agents", Some(living), PROCESSES_MAX),
        row("members", Some(members), MEMBERS_MAX),
        row("messages-waiting-per-agent", None, MAILBOX_MESSAGES_MAX),
        row("messages-in-flight-per-agent", None, kernel.config().in_flight_max),
        row("calls-waiting", None, CALLS_MAX),
    ]
}

/// What the operating system lets this process open, and how much of it is open.
fn open_files() -> LimitRow {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let used = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
    LimitRow { name: "open-files".to_owned(), used, most }
}

/// What was said of the start of this run.
#[utoipa::path(get, path = "/v1/boot-log", responses((status = 200, body = BootLogReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn boot_log(State(served): State<Arc<Served>>) -> Json<BootLogReport> {
    let log = served.control.boot.log();
    let row = |entry: &BootEntry| BootRow {
        at: text::time(entry.at),
        level: entry.level.to_string(),
        phase: entry.phase.to_string(),
        message: entry.message.clone(),
    };
    Json(BootLogReport {
        ready: log.phases().last().is_some_and(|last| last.phase == BootPhase::Ready),
        phases: log.phases().iter().map(phase_row).collect(),
        entries: log.entries().map(row).collect(),
        forgotten: log.forgotten(),
    })
}

/// Lets other nodes run what outlives this one, then takes it down in order.
#[utoipa::path(post, path = "/v1/leave", responses((status = 200, body = LeaveReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn leave(State(served): State<Arc<Served>>) -> Result<Json<LeaveReport>, Failure> {
    let begun = tokio::time::Instant::now();
    let agents = match served.ask(Question::Drain).await? {
        Reply::Drained { agents } => agents,
        other => return Err(mismatch(&other)),
    };
    let named = move |peer: &Peer| {
        let name = |node: weft_protocol::NodeId| peer.discovery().display_name(node);
        agents.into_iter().map(|(agent, to)| HandedRow { agent: agent.to_string(), to: to.map(name) }).collect()
    };
    let handed: Vec<HandedRow> = served.read(named).await?;
    let Json(DownReport { node, name, pid, stopped, took_ms: _ }) = down(State(served)).await?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(LeaveReport { node, name, pid, handed, stopped, took_ms }))
}

/// Takes the node down in order. The process ends when everything is recorded, sealed and on disk.
#[utoipa::path(post, path = "/v1/down", responses((status = 200, body = DownReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn down(State(served): State<Arc<Served>>) -> Result<Json<DownReport>, Failure> {
    let own = |peer: &Peer| (peer.node().to_string(), peer.discovery().display_name(peer.node()));
    let (node, name) = served.read(own).await?;
    let begun = tokio::time::Instant::now();
    match served.ask(Question::Kernel(Box::new(Syscall::Shutdown))).await? {
        Reply::Kernel(Answer::ShuttingDown { stopped }) => {
            let row = |(agent, process): &(AgentName, ProcessId)| StoppedRow {
                agent: agent.to_string(),
                process: process.to_string(),
            };
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let stopped = stopped.iter().map(row).collect();
            Ok(Json(DownReport { node, name, pid: std::process::id(), stopped, took_ms }))
        }
        other => Err(mismatch(&other)),
    }
}
