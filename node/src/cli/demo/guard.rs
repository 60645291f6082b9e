//! The process that tidies up after a demo, whatever became of it: it waits for the demo's end, ends its nodes, removes its
//! folder.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::cli::CliError;

/// How long nodes may take to go down in order before they are ended.
const ORDERLY: Duration = Duration::from_secs(4);
/// How long to look for processes that were just being started.
const LAST_LOOK: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK: Duration = Duration::from_millis(50);

/// `weft demo-guard`, started by the demo.
#[derive(Debug, Args)]
pub(crate) struct GuardArgs {
    /// The demo's folder
    folder: PathBuf,
    /// The demo's process
    #[arg(long)]
    demo: u32,
    /// Leave the folder
    #[arg(long)]
    keep: bool,
}

/// The demo's end of the guard: when it is closed, by will or by death, the guard acts.
pub(super) struct Guard {
    process: Child,
    lifeline: ChildStdin,
}

impl Guard {
    /// Starts the guard in a process group of its own, so that an interrupt of the terminal does not reach it.
    pub(super) fn start(folder: &Path, keep: bool) -> Result<Self, CliError> {
        let failed = |error| CliError::new("failed", format!("the demo's guard: {error}"));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("demo-guard").arg(folder).args(["--demo", &std::process::id().to_string()]);
        if keep {
            command.arg("--keep");
        }
        let quiet = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut process = quiet.spawn().map_err(failed)?;
        let lifeline = process.stdin.take().ok_or_else(|| CliError::new("failed", "the demo's guard has no input"))?;
        Ok(Self { process, lifeline })
    }

    /// Lets the guard act and waits until it is done.
    pub(super) async fn finish(self) {
        let Self { mut process, lifeline } = self;
        drop(lifeline);
        let _done = tokio::task::spawn_blocking(move || process.wait()).await;
    }
}

/// What the guard does: waits for the end of its input, then tidies up.
pub(crate) fn guard(args: &GuardArgs) {
    let mut nothing = Vec::new();
    let _closed = std::io::stdin().read_to_end(&mut nothing);
    let begin = Instant::now();
    let (_keep, never) = mpsc::sync_channel::<()>(0);
    let mut asked = BTreeSet::new();
    while begin.elapsed() < LAST_LOOK {
        let running = processes_of(&args.folder, args.demo);
        if running.is_empty() {
            break;
        }
        for pid in running {
            // Asked once: a second request would cut the orderly end short.
            if begin.elapsed() > ORDERLY {
                let _gone_already = kill_process(pid, Signal::KILL);
            } else if asked.insert(pid.as_raw_nonzero()) {
                let _gone_already = kill_process(pid, Signal::TERM);
            }
        }
        let _pause = never.recv_timeout(LOOK);
    }
    if !args.keep {
        let _gone_already = std::fs::remove_dir_all(&args.folder);
    }
}

/// Processes whose command line names something in the folder, besides the demo and this guard.
fn processes_of(folder: &Path, demo: u32) -> Vec<Pid> {
    let spared = [demo, std::process::id()];
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| !spared.contains(pid))
        .filter(|pid| names(*pid, folder))
        .filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        .collect()
}

fn names(pid: u32, folder: &Path) -> bool {
    let Ok(words) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let folder = folder.as_os_str().as_bytes();
    words.split(|byte| *byte == 0).any(|word| word.starts_with(folder))
}
