//! What `up` and `join` have in common: which home, under which name, in the foreground or behind it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;
use weft_protocol::control::{ErrorBody, StatusReport, UpReport};
use weft_protocol::{BootPhase, NodeName};

use super::args::RunArgs;
use super::client::{Client, home_of_environment};
use super::output::{Output, dim};
use super::{At, CliError, log};
use crate::boot::Boot;
use crate::config::{self, Config, Flags, Live};
use crate::control::LISTEN_WAIT_MAX;
use crate::home::{Choice, Home, HomeDir, choose_or_create};
use crate::run::{RunOptions, run_node};

/// How long a node in the background may take until its door answers: a store of 100,000 events is verified meanwhile (guess).
const READY_WAIT_MAX: Duration = Duration::from_secs(120);
/// How often it is asked.
const READY_STEP: Duration = Duration::from_millis(20);
/// Lines of the log that are shown when a node in the background did not start.
const LOG_TAIL_LINES: usize = 20;

/// Where a node is to run, and as whom.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its home.
    pub(crate) home: HomeDir,
    /// Its name: its own when it has a cluster, the one that was asked for otherwise.
    pub(crate) name: NodeName,
    /// Its settings.
    pub(crate) config: Config,
    /// What was typed of them.
    pub(crate) flags: Flags,
    /// What is said of the start.
    pub(crate) boot: Boot,
}

impl Place {
    /// The place that the arguments mean.
    ///
    /// # Errors
    /// `several-nodes`, `bad-config`, and `other-name` when the home's node goes by another name.
    pub(crate) fn choose(name: Option<&NodeName>, run: &RunArgs, at: &At) -> Result<Self, CliError> {
        run.end_with.map(end_with).transpose()?;
        crate::clock::set_offset(run.clock_offset.unwrap_or(0).saturating_mul(1_000));
        let boot = Boot::new();
        let by_name = at.node.as_ref().or(name);
        let folder = at.home.clone().or_else(|| if by_name.is_none() { home_of_environment() } else { None });
        let configured = config::configured_name()?;
        let otherwise = configured.clone().unwrap_or_else(host_name);
        let home = choose_or_create(Choice { home: folder.as_deref(), node: by_name }, &otherwise)?;

        boot.info(&format!("version {}, home {}", env!("CARGO_PKG_VERSION"), home.path().display()));
        boot.begin(BootPhase::Config);
        if let Some(offset_ms) = run.clock_offset.filter(|offset_ms| *offset_ms != 0) {
            boot.warn(&format!("the clock is set {offset_ms} ms off this machine's (--clock-offset)"));
        }
        let flags = flags(name, run);
        let mut config = config::load(&home, &flags)?;
        let set = config::KEYS.iter().filter(|key| *config.origin(key) != config::Origin::Default).count();
        boot.info(&format!("{set} of {} settings are not at their defaults", config::KEYS.len()));
        let own = home.cluster()?.map(|cluster| cluster.name);
        if let (Some(own), Some(asked)) = (&own, name)
            && own != asked
        {
            let message =
                format!("the node in {} goes by the name {own}, and a name does not change", home.path().display());
            return Err(CliError::new("other-name", message).hint("leave --name out, or name another --home"));
        }
        let folder_name = home.path().file_name().and_then(|folder| folder.to_str()?.parse().ok());
        let name = own.or(at.node.clone()).or(config.name.take()).or(folder_name).unwrap_or(otherwise);
        config.name = Some(name.clone());
        Ok(Self { home, name, config, flags, boot })
    }
}

/// From now on this process ends when that one does, which must be its parent.
fn end_with(parent: u32) -> Result<(), CliError> {
    let failed = |what: String| CliError::new("failed", what);
    let set = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    set.map_err(|error| failed(format!("no death signal: {error}")))?;
    // Had it ended before, somebody else would be the parent by now.
    if std::os::unix::process::parent_id() == parent {
        return Ok(());
    }
    Err(failed(format!("process {parent}, with which this node is to end, is not its parent")))
}

fn flags(name: Option<&NodeName>, run: &RunArgs) -> Flags {
    let mut flags = Flags::default();
    for (key, value) in &run.set {
        flags.add(&format!("--set {key}"), key, value);
    }
    if let Some(name) = name {
        flags.add("--name", "name", name);
    }
    if !run.listen.is_empty() {
        flags.add("--listen", "listen", run.listen.join(","));
    }
    if let Some(filter) = &run.log {
        flags.add("--log", "log", filter);
    }
    if let Some(format) = run.log_format {
        flags.add("--log-format", "log_format", log_format(format));
    }
    flags
}

const fn log_format(format: config::LogFormat) -> &'static str {
    match format {
        config::LogFormat::Text => "text",
        config::LogFormat::Json => "json",
    }
}

/// What of a place outlives the choice of its home.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) config: Config,
    pub(crate) flags: Flags,
    pub(crate) boot: Boot,
}

fn host_name() -> NodeName {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy().to_ascii_lowercase();
    let first = host.split('.').next().unwrap_or_default();
    first.parse().unwrap_or_else(|_| "node".parse().expect("BUG: `node` is a name"))
}

/// Runs the node in this process until it ends.
///
/// # Errors
/// Why it did not start, or did not end well.
pub(crate) async fn foreground(
    home: Home,
    place: Running,
    background: bool,
    on_ready: impl FnOnce(&UpReport) + Send + 'static,
) -> Result<(), CliError> {
    if background {
        // Fails only for the leader of a process group, which a child process never is.
        let _own_session = rustix::process::setsid();
    }
    let Running { config, flags, boot } = place;
    let filter = log::start(&config)?;
    boot.hear();
    let live = Live::new(HomeDir::new(home.path())?, flags, Some(filter), config);
    run_node(RunOptions { home, live, boot, on_ready: Box::new(on_ready) }).await
}

/// Starts the node in a process of its own and returns when its door answers.
///
/// # Errors
/// What the node said when it ended; `deadline` when it neither answers nor ends.
pub(crate) async fn detach(place: &Place, run: &RunArgs, output: Output) -> Result<StatusReport, CliError> {
    // Creates the folder for the log, and finds a running node before anything is started.
    drop(Home::open(place.home.clone())?);
    let log = place.home.log();
    let failed = |error: std::io::Error| CliError::new("failed", format!("{}: {error}", log.display()));
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&log).map_err(failed)?;
    let begins = file.metadata().map_err(failed)?.len();
    let program = std::env::current_exe().map_err(|error| CliError::new("failed", error.to_string()))?;
    let mut command = Command::new(program);
    command
        .args(["up", "--json", "--background", "--home"])
        .arg(place.home.path())
        .args(["--name", place.name.as_str()]);
    for address in &run.listen {
        command.args(["--listen", address]);
    }
    command.args(run.log.iter().flat_map(|filter| ["--log", filter]));
    command.args(run.log_format.iter().flat_map(|format| ["--log-format", log_format(*format)]));
    for (key, value) in &run.set {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
    let mut child = command.spawn().map_err(failed)?;
    let begun = Instant::now();
    let mut answered = None;
    loop {
        if let Some(status) = answers(&place.home, child.id()).await {
            let answered = *answered.get_or_insert_with(Instant::now);
            if !status.listen.is_empty() || answered.elapsed() > LISTEN_WAIT_MAX {
                return Ok(status);
            }
        }
        if let Some(exit) = child.try_wait().map_err(failed)? {
            return Err(why_it_ended(place, begins, exit, output));
        }
        if begun.elapsed() > READY_WAIT_MAX {
            return Err(gave_up(&child, &log));
        }
        tokio::time::sleep(READY_STEP).await;
    }
}

/// The status of the node with this process number, once its door answers.
async fn answers(home: &HomeDir, pid: u32) -> Option<StatusReport> {
    let client = Client::at(home.clone()).ok()?;
    client.get::<StatusReport>("/v1/status").await.ok().filter(|status| status.pid == pid)
}

fn gave_up(child: &Child, log: &std::path::Path) -> CliError {
    let message = format!("the node (process {}) runs, but its door does not answer yet", child.id());
    CliError::new("deadline", message).hint(format!("tail {}", log.display())).changed().retry()
}

/// The error that the node printed last; without one, the end of its log is shown.
fn why_it_ended(place: &Place, begins: u64, exit: std::process::ExitStatus, output: Output) -> CliError {
    let log = std::fs::read(place.home.log()).unwrap_or_default();
    let begins = usize::try_from(begins).unwrap_or(usize::MAX).min(log.len());
    let text = String::from_utf8_lossy(&log[begins..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..] {
        output.remark(&dim(line));
    }
    let said = lines.iter().rev().find_map(|line| serde_json::from_str::<ErrorBody>(line).ok());
    match said {
        Some(body) => body.error.into(),
        None => {
            let message = format!("the node ended before its door answered: {exit}");
            CliError::new("failed", message).hint(format!("tail {}", place.home.log().display())).changed()
        }
    }
}
