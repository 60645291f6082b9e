//! The last step before an agent's program runs: limits, Landlock, nothing inherited, then `exec`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, Signal, getpgrp, set_parent_process_death_signal, setrlimit};
use weft_protocol::{Resource as Measured, ResourceLimits};

use crate::runners::Confinement;
use crate::shim::{Plan, Word, say};

/// The least that must be enforced: reading, writing, renaming and truncating (Linux 6.2).
const REQUIRED: ABI = ABI::V3;
/// What is used where the kernel has it: devices, signals to others, abstract and named sockets.
const WANTED: ABI = ABI::V10;

/// Becomes the program. Returns only when it cannot, with the reason.
pub(crate) fn run(plan: &Plan) -> String {
    match prepare(plan) {
        Err(reason) => reason,
        Ok(mut program) => {
            let error = program.exec();
            format!("{} cannot be run: {error}", plan.program.display())
        }
    }
}

fn prepare(plan: &Plan) -> Result<Command, String> {
    // Should even the guard be killed, the program goes with it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("no death signal: {error}"))?;
    if i32::try_from(std::os::unix::process::parent_id()) != Ok(getpgrp().as_raw_nonzero().get()) {
        return Err("the guard is gone".to_owned());
    }
    limit(Resource::Core, Some(0))?;
    limit_time(&plan.limits)?;
    match confine(&plan.confinement) {
        Ok(()) => {}
        Err(reason) if plan.trusted => eprintln!("weft: this trusted agent runs unconfined: {reason}"),
        Err(reason) => {
            return Err(format!(
                "{reason}: nothing keeps an agent from the node's keys here; --trusted runs it all the same"
            ));
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
fn confine(allowed: &Confinement) -> Result<(), String> {
    let status = restrict(allowed).map_err(|error| format!("this kernel cannot confine an agent: {error}"))?;
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

fn restrict(allowed: &Confinement) -> Result<RulesetStatus, RulesetError> {
    let make_device = AccessFs::MakeChar | AccessFs::MakeBlock;
    let reading = AccessFs::from_read(WANTED);
    let everything = AccessFs::from_all(WANTED) & !make_device & !AccessFs::Execute & !AccessFs::IoctlDev;
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?;
    let ruleset = allow(ruleset, &allowed.readable, reading)?;
    let ruleset = allow(ruleset, &allowed.devices, device)?;
    let ruleset = allow(ruleset, &allowed.writable, everything)?;
    let ruleset = allow(ruleset, &allowed.sockets, AccessFs::ResolveUnix.into())?;
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
