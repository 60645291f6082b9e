//! Makes the same records appear on every node that should hold them.
//!
//! A state machine without IO: it hears what happened ([`Input`]) and says what must be done ([`Output`]). It compares heads
//! with connected members, fetches what is missing, has it verified outside ([`Job`], [`Verdict`]), asks for it to be stored,
//! and counts it only when it is on disk. It proves two histories of one chain when it meets them, and computes the
//! provisional order of events.
//!
//! It does not write our own chain (the kernel does), does not decide who is a member, never reads a clock or a disk, and
//! knows nothing of transports.
//!
//! In reading order: `event` (the contract), `replication` (the machine), `announce` (when others hear of what we wrote), `heads` (what others say they hold) with `stretch` (finding what
//! differs among many chains), `fetch` (getting
//! what is missing), `copy` (one foreign chain and what is on its way into it), `verify` (the checks), `serve` (answering
//! others), `fork` (what convicts), `forks` (what is proven), `evidence` (passing proof on, and the cut), `witnesses` (who vouches for
//! what), `seek` (who is asked to), `vouch` (what we are asked to),
//! `inquiry` (finding where two histories part), `order`, `standing` (who counts, and what of the order is stable) with `votes` and
//! `ticks` (what this node says about that), `status`, `config`;
//! `topic_log` (publications in order, none lost, and their history); `tree` (all resources that the chains tell of);
//! `prune` (what of the own chain's rows may go).

mod announce;
mod config;
mod copy;
mod event;
mod evidence;
mod fetch;
mod fork;
mod forks;
mod heads;
mod inquiry;
mod order;
mod prune;
mod replication;
mod seek;
mod serve;
mod standing;
mod status;
mod stretch;
mod ticks;
mod topic_log;
mod tree;
mod verify;
mod votes;
mod vouch;
mod witnesses;

pub use config::ReplicationConfig;
pub use event::{FetchId, Input, Output, RequestId};
pub use fork::{
    EvidenceError, ForkKind, ForkVerdict, check_evidence, check_evidence_by, claimed_verdict, weigh_evidence,
};
pub use order::{Merge, OrderKey, merge, order};
pub use prune::{Keeps, PruneTerms};
pub use replication::Replication;
pub use standing::{Epochs, Place, Placement, Policy, Proposal, Span, Standing, Step, Vote, Word};
pub use status::{ChainStatus, SyncStatus, Vouching};
pub use topic_log::{GatherId, TopicWant};
pub use tree::{FoldedState, StateOfChain, Tree};
pub use verify::{Job, Verdict, VerifyError};
