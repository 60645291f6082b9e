//! What Landlock cannot take from a program: sockets of the network and the start of other programs, by filters on system calls.
//!
//! A filter stays for good and for everything that the program starts; it sees numbers, never what they point at. So sockets are
//! told by their family. A start names its program by an address, which says nothing: instead every start after the program's
//! own is refused. The kernel asks a tracer about it (`SECCOMP_RET_TRACE`), and refuses where there is none. The guard is that
//! tracer until the program runs, then leaves; a program that may not trace can put nobody in its place.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};
use weft_protocol::SandboxPolicy;

/// How long the guard and the program wait for each other.
const MEET_WITHIN: Duration = Duration::from_secs(3);
/// How often they look.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What a system call is refused with.
const REFUSED: SeccompAction = SeccompAction::Errno(libc::EACCES as u32);

/// Puts the filters of a policy on this process. Whoever traces it must have been waited for.
///
/// # Errors
/// What cannot be kept from the program here.
pub(super) fn seal(policy: &SandboxPolicy) -> Result<(), String> {
    if policy.allow_network && policy.allow_shell {
        return Ok(());
    }
    let filters = filters(policy).map_err(|error| format!("no filter for this machine: {error}"))?;
    filters.iter().try_for_each(|filter| apply_filter(filter)).map_err(|error| error.to_string())
}

fn filters(policy: &SandboxPolicy) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut all = Vec::new();
    if cfg!(target_arch = "x86_64") {
        all.push(without_second_abi());
    }
    if !policy.allow_network {
        // A queue of its own opens sockets too, past every filter.
        let rules = [
            (libc::SYS_socket, vec![other_than_unix()?]),
            (libc::SYS_socketpair, vec![other_than_unix()?]),
            (libc::SYS_io_uring_setup, Vec::new()),
        ];
        all.push(refuse(rules.into(), REFUSED)?);
    }
    if !policy.allow_shell {
        let starts = [(libc::SYS_execve, Vec::new()), (libc::SYS_execveat, Vec::new())];
        all.push(refuse(starts.into(), SeccompAction::Trace(0))?);
        all.push(refuse([(libc::SYS_ptrace, Vec::new())].into(), REFUSED)?);
    }
    Ok(all)
}

/// An address family other than that of this machine's own sockets: a list of the others would never be complete.
fn other_than_unix() -> Result<SeccompRule, seccompiler::BackendError> {
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, unix)?])
}

/// Calls of another machine than this, as 32-bit programs make them, end the program.
fn refuse(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    action: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let machine = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, action, machine)?.try_into()
}

/// The same processor has a second set of numbers for the same calls (x32), which are all above a bit.
fn without_second_abi() -> BpfProgram {
    const SECOND_ABI: u32 = 0x4000_0000;
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| seccompiler::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt,
        jf,
        k,
    };
    vec![
        // The number of the call is the first field.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, SECOND_ABI),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// Waits until the guard traces this process.
///
/// # Errors
/// That it does not.
#[expect(clippy::disallowed_methods, reason = "nothing tells a process that it is traced from now on")]
pub(super) fn wait_for_guard() -> Result<(), String> {
    let is_traced = || {
        let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        Ok::<_, String>(tracer.is_some_and(|pid| pid.trim() != "0"))
    };
    let rounds = MEET_WITHIN.as_millis() / LOOK_AGAIN.as_millis();
    for _ in 0..rounds {
        if is_traced()? {
            return Ok(());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Err("nobody may trace it, so that its own start could not be told from others".to_owned())
}

/// Lets the process `pid`, a child that waits for it, become its program, and nothing after that.
///
/// # Errors
/// Why it did not. The process is gone then.
pub(super) async fn usher(pid: u32) -> Result<(), String> {
    let pid = i32::try_from(pid).map(Pid::from_raw).map_err(|_| "it has no process id".to_owned())?;
    let options = Options::PTRACE_O_TRACESECCOMP | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).map_err(|error| format!("it cannot be traced: {error}"))?;
    let mut let_on = false;
    let rounds = MEET_WITHIN.as_millis() / LOOK_AGAIN.as_millis();
    for _ in 0..rounds {
        // Looked at, not taken: its end is for whoever waits for it.
        let look = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let flags = look | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        let go_on = match waitid(Id::Pid(pid), flags) {
            Ok(WaitStatus::PtraceEvent(_, _, event)) if let_on && event == Event::PTRACE_EVENT_EXEC as i32 => {
                return ptrace::detach(pid, None).map_err(|error| format!("its guard cannot leave it: {error}"));
            }
            // A start that failed is followed by none: a shell would be tried instead.
            Ok(WaitStatus::PtraceEvent(_, _, event)) if event == Event::PTRACE_EVENT_SECCOMP as i32 => {
                if std::mem::replace(&mut let_on, true) {
                    break;
                }
                Some(None)
            }
            Ok(WaitStatus::PtraceEvent(..)) => Some(None),
            Ok(WaitStatus::Stopped(_, signal)) => Some(Some(signal)),
            Ok(WaitStatus::PtraceSyscall(_) | WaitStatus::Continued(_) | WaitStatus::StillAlive) => None,
            // It has said why.
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => return Ok(()),
            Err(error) => return Err(format!("it cannot be waited for: {error}")),
        };
        match go_on {
            Some(signal) => ptrace::cont(pid, signal).map_err(|error| format!("it does not go on: {error}"))?,
            None => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    let _gone_already = ptrace::kill(pid);
    Err(format!("it did not start within {MEET_WITHIN:?}"))
}
