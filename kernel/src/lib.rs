//! The local operating system of agents.
//!
//! [`Kernel`] owns the processes of one node, their mailboxes and grants, the messages and publications they exchange, here
//! and with other nodes, and the chain on which all of it is recorded. It is a machine without IO: an [`Input`] goes in, it
//! says with [`Output`]s what the world must do, and in which order. It opens no socket, starts no process, reads no clock;
//! it does not know where an agent of another node is (the [`Route`] says), who is a member, or what other chains hold.
//!
//! What changes something waits for its record: it leaves in answer to the [`Input::Persisted`] that covers it.
//!
//! Modules in reading order: `event`, `syscall`, `action`, `config`, `status`; `kernel` (the dispatcher), `effects` (what
//! leaves at once), `chain` (what waits for its record), `gate` (who may), `deferral` (what waits for a person), `governance` (how rules change), `capability` (what of it is left), `process`
//! (lives and mailboxes), `bonds` (who ends, or hears of it, with whom), `supervisor` (who is started again), `ipc` (messages), `topic` (publications and the log of them),
//! `cron` (messages at certain times), `service` (what is served here), `health` (how everything is), `facts` (records for the
//! other machines), `failover` (agents that run for the time of a lease), `ahead` (what waits for our clock), `timers`, `boot`, `shutdown`, `builtin`; beside
//! them `boot_log` (what a start says of itself).

mod action;
mod ahead;
mod bonds;
mod boot;
mod boot_log;
mod builtin;
mod capability;
mod chain;
mod config;
mod cron;
mod deferral;
mod effects;
mod event;
mod facts;
mod failover;
mod gate;
mod governance;
mod health;
mod ipc;
mod kernel;
mod process;
mod rotation;
mod service;
mod shutdown;
mod status;
mod supervisor;
mod syscall;
mod text;
mod timers;
mod topic;

pub use action::{Action, ActionKind};
pub use boot_log::{BootEntry, BootLevel, BootLog};
pub use builtin::{Act, Builtin};
pub use config::{KernelConfig, KernelIdentity};
pub use cron::{CronJob, CronSpec, run_report};
pub use deferral::{DeferralInfo, DeferralState};
pub use event::{Answer, AskId, Delivery, Input, Leased, Measured, Output, Route, SendReport, Ticket};
pub use failover::check_failover;
pub use gate::{
    CAPABILITY_RULES, CapabilityGate, DEFAULT_CLOSED, Decision, Explanation, Gate, GateError, Gates, GovernanceGate,
    Hypothesis, Notes, RaisedEffect, Request, RuleMatch, genesis_rules,
};
pub use governance::{AdminTerm, Proposal, ProposalState};
pub use health::{HealthReport, HealthRow, ProbeAnswer, ProbeTarget};
pub use kernel::Kernel;
pub use service::ServiceInfo;
pub use status::{ChainStatus, GrantInfo, NodeState, ProcessInfo, ProcessState, Prospect, WrongState};
pub use syscall::{AgentRef, Registration, Syscall};
pub use text::time_text;
pub use topic::{Cursor, Gather, GatherId, Start, TopicInfo, TopicPublisher};
