//! The command `weft`: what was typed, then what is done, then an exit code.

mod anchor;
mod ask;
mod boot;
mod cli;
mod clock;
mod config;
mod control;
mod event_loop;
mod home;
mod identity;
mod loop_thread;
mod network;
mod repair;
mod run;
mod runners;
mod scrub;
mod shim;
mod sign_state;
mod since;
mod succession;

/// Messages are made in one thread and let go in another, which the system's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
