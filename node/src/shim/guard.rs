//! The process above an agent: it waits for the program, the node or SIGTERM, and leaves nothing behind.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open, set_child_subreaper, waitpid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::runners::{ended_children, kill_members};
use crate::shim::seal::usher;
use crate::shim::{NotRun, PLAN_VARIABLE, Plan, Word, say};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(1);
/// How often the family is looked for again while it is being killed.
const KILL_AGAIN: Duration = Duration::from_millis(5);
/// How often at most: a process that the kernel itself holds up cannot be waited for.
const KILL_ROUNDS_MAX: u32 = 200;

/// Stands over the program until it has ended.
///
/// # Errors
/// Why it could not be started.
pub(super) fn run(plan: &Plan) -> Result<ExitCode, NotRun> {
    set_child_subreaper(Some(getpid())).map_err(|error| format!("orphans cannot be adopted: {error}"))?;
    let pid = i32::try_from(plan.node).ok().and_then(Pid::from_raw).ok_or("the node has no process id")?;
    let node = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| format!("the node cannot be watched: {error}"))?;
    // Checked after the node is watched: had it ended before, somebody else would be the parent by now.
    if std::os::unix::process::parent_id() != plan.node {
        return Err("the node is gone".into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let status = runtime.block_on(stand(plan, node))?;
    for path in &plan.confinement.sockets {
        // Nobody else is left to remove it when the node was killed.
        let _removed_by_the_node = std::fs::remove_file(path);
    }
    Ok(pass_on(status))
}

async fn stand(plan: &Plan, node: OwnedFd) -> Result<ExitStatus, NotRun> {
    let mut asked_to_end = signal(SignalKind::terminate())?;
    let mut somebody_ended = signal(SignalKind::child())?;
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, and asks only that the descriptor stays open: it is owned"
    )]
    let node = AsyncFd::with_interest(node, Interest::READABLE)?;
    let mut program = Command::new(std::env::current_exe()?);
    let plan_text = serde_json::to_string(plan).map_err(std::io::Error::from)?;
    program.args(["child", "confine"]).env_clear().env(PLAN_VARIABLE, plan_text);
    let mut program = program.spawn()?;
    if plan.starts_once()
        && let Err(reason) = usher(program.id().unwrap_or_default()).await
    {
        let _ended_already = program.kill().await;
        return Err(NotRun::Unenforceable(reason));
    }
    let mut kill_at: Option<Instant> = None;
    let status = loop {
        tokio::select! {
            status = program.wait() => break status?,
            _ = somebody_ended.recv() => bury_orphans(&program),
            _ = asked_to_end.recv(), if kill_at.is_none() => kill_at = Some(Instant::now() + GRACE),
            _ = node.readable(), if kill_at.is_none() => {
                let _nobody_is_left = kill_process_group(getpid(), Signal::TERM);
                kill_at = Some(Instant::now() + GRACE);
            }
            () = tokio::time::sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                kill_members(std::process::id());
                kill_at = Some(Instant::now() + KILL_AGAIN);
            }
        }
    };
    for _ in 0..KILL_ROUNDS_MAX {
        if kill_members(std::process::id()) == 0 {
            break;
        }
        tokio::time::sleep(KILL_AGAIN).await;
    }
    bury_orphans(&program);
    Ok(status)
}

/// Waits for adopted children that have ended; the program itself is waited for elsewhere.
fn bury_orphans(program: &Child) {
    let program = program.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    for orphan in ended_children(std::process::id()) {
        if Some(orphan) != program {
            let _buried_already = waitpid(Some(orphan), WaitOptions::NOHANG);
        }
    }
}

/// An exit code as it is; a signal as 128 + N, and said, so that it cannot be mistaken for a code.
fn pass_on(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        say(&Word::Ended { signal });
        return ExitCode::from(128_u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX)));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
