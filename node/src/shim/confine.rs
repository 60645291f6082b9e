//! The last step before an agent's program runs: limits, Landlock, nothing inherited, then `exec`.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{Resource, Rlimit, Signal, getpgrp, set_parent_process_death_signal, setrlimit};
use weft_protocol::{PathMode, Resource as Measured, ResourceLimits, SandboxPolicy};

use crate::runners::Confinement;
use crate::shim::seal::{seal, wait_for_guard};
use crate::shim::{NotRun, Plan, Word, say};

/// The least that must be enforced: reading, writing, renaming and truncating (Linux 6.2).
const REQUIRED: ABI = ABI::V3;
/// What is used where the kernel has it: devices, signals to others, abstract and named sockets.
const WANTED: ABI = ABI::V10;

/// Becomes the program. Returns only when it cannot, with the reason.
pub(super) fn run(plan: &Plan) -> NotRun {
    match prepare(plan) {
        Err(reason) => reason,
        Ok(mut program) => {
            let error = program.exec();
            NotRun::Failed(format!("{} cannot be run: {error}", plan.program.display()))
        }
    }
}

fn prepare(plan: &Plan) -> Result<Command, NotRun> {
    // Should even the guard be killed, the program goes with it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("no death signal: {error}"))?;
    if i32::try_from(std::os::unix::process::parent_id()) != Ok(getpgrp().as_raw_nonzero().get()) {
        return Err("the guard is gone".into());
    }
    if plan.starts_once() {
        wait_for_guard().map_err(NotRun::Unenforceable)?;
    }
    limit(Resource::Core, Some(0))?;
    limit_time(&plan.limits)?;
    match (confine(plan), &plan.sandbox) {
        (Ok(()), Some(sandbox)) => seal(sandbox).map_err(NotRun::Unenforceable)?,
        (Ok(()), None) => {}
        (Err(reason), Some(_)) => return Err(NotRun::Unenforceable(reason)),
        (Err(reason), None) if plan.trusted => eprintln!("weft: this trusted agent runs unconfined: {reason}"),
        (Err(reason), None) => {
            let hint = "nothing keeps an agent from the node's keys here; --trusted runs it all the same";
            return Err(format!("{reason}: {hint}").into());
        }
    }
    let mut program = Command::new(&plan.program);
    program.args(&plan.arguments).env_clear().envs(&plan.environment);
    say(&Word::Started { pid: std::process::id() });
    // Last, because it binds this process as well.
    limit(Resource::As, plan.limits.bound(Measured::Memory).map(address_space))?;
    Ok(program)
}

fn limit(resource: Resource, bound: Option<u64>) -> Result<(), String> {
    if bound.is_none() && resource != Resource::Core {
        return Ok(());
    }
    setrlimit(resource, Rlimit { current: bound, maximum: bound })
        .map_err(|error| format!("{resource:?} limit: {error}"))
}

/// The hard end of memory, behind the node's own measuring: what a process may reserve at all, in bytes. Programs reserve far
/// more than they touch (libraries, stacks, arenas of 64 MiB a thread), so twice the bound and 1 GiB (guess). It bites when one
/// process asks for so much between two looks.
const fn address_space(memory_bytes: u64) -> u64 {
    memory_bytes.saturating_mul(2).saturating_add(1 << 30)
}

/// The hard end of processor time, behind the node's own measuring: whole seconds, twice the bound and one more. SIGXCPU at
/// that, SIGKILL a second later. It bites when the node does not come to look.
fn limit_time(limits: &ResourceLimits) -> Result<(), String> {
    let Some(cpu_us) = limits.bound(Measured::Cpu) else { return Ok(()) };
    let seconds = cpu_us.saturating_mul(2).div_ceil(1_000_000).saturating_add(1);
    let bound = Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) };
    setrlimit(Resource::Cpu, bound).map_err(|error| format!("processor time limit: {error}"))
}

/// From here on this process, and all it starts, can touch what is allowed and nothing else.
fn confine(plan: &Plan) -> Result<(), String> {
    let given = plan.sandbox.as_ref().map_or_else(|| Ok(Vec::new()), open_given)?;
    let apart = plan.sandbox.as_ref().is_some_and(|sandbox| !sandbox.allow_network);
    let status = restrict(&plan.confinement, given, apart)
        .map_err(|error| format!("this kernel cannot confine an agent: {error}"))?;
    match status {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("this kernel has no Landlock".to_owned()),
    }
}

/// Whether this kernel can confine an agent as far as is required; confines nothing.
pub(crate) fn can_confine() -> Result<(), String> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))
        .and_then(Ruleset::create);
    ruleset.map(|_never_enforced| ()).map_err(|error| error.to_string())
}

/// What the sandbox allows, opened without following a link: what was found to be harmless is what is allowed.
fn open_given(sandbox: &SandboxPolicy) -> Result<Vec<(OwnedFd, PathMode)>, String> {
    let open =
        |path: &str| openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let given = sandbox.allowed_paths.iter().map(|allowed| match open(&allowed.path) {
        Ok(opened) => Ok((opened, allowed.mode)),
        Err(error) => Err(format!("{} cannot be allowed: {error}", allowed.path)),
    });
    given.collect()
}

/// With `apart` also where the kernel cannot keep sockets without a name in the file system from it: then it fails.
fn restrict(
    allowed: &Confinement,
    given: Vec<(OwnedFd, PathMode)>,
    apart: bool,
) -> Result<RulesetStatus, RulesetError> {
    let make_device = AccessFs::MakeChar | AccessFs::MakeBlock;
    let reading = AccessFs::from_read(WANTED);
    let everything = AccessFs::from_all(WANTED) & !make_device & !AccessFs::Execute & !AccessFs::IoctlDev;
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?;
    let ruleset = if apart {
        ruleset.set_compatibility(CompatLevel::HardRequirement).scope(Scope::AbstractUnixSocket)?
    } else {
        ruleset
    };
    let ruleset = ruleset.set_compatibility(CompatLevel::BestEffort).create()?;
    let ruleset = allow(ruleset, &allowed.readable, reading)?;
    let ruleset = allow(ruleset, &allowed.devices, device)?;
    let ruleset = allow(ruleset, &allowed.writable, everything)?;
    let mut ruleset = allow(ruleset, &allowed.sockets, AccessFs::ResolveUnix.into())?;
    for (opened, mode) in given {
        // Data, nothing of which is executed.
        let access = match mode {
            PathMode::ReadOnly => reading & !AccessFs::Execute,
            PathMode::ReadWrite => everything,
        };
        let is_folder =
            rustix::fs::fstat(&opened).is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir());
        let access = if is_folder { access } else { access & AccessFs::from_file(WANTED) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, access))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// What is no longer there needs no permission. Rights that only folders have are left out for files.
fn allow(
    mut ruleset: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    for path in paths {
        let Ok(opened) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(WANTED) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, access))?;
    }
    Ok(ruleset)
}
