//! What travels between nodes and what is signed; no IO, no async, no clock.
//!
//! Every value here has exactly one encoding (canonical CBOR, see `codec`), a bound (see [`limits`]) and, where it must be
//! believed, two signatures (see `signature`). Nothing in this crate decides anything: whether an event may be written, who
//! is a member or where a message goes is the business of the machines that use it.
//!
//! Modules in reading order: [`limits`], `id` with `topic`, `time`, `hash`, `codec`, `signature`; then the chain: `record`,
//! `merkle`, `rotation`, `fact`, `leaf`, `chain`; then what is said: `address`, `capability`, `service`, `process`, `boot`, `envelope`,
//! `membership`, `auth`, `sync`; `effect` with `governance`, `deferral` and `amendment` (what rules say); `tree` (resources and proofs of them); `blob`, `cron` (what happens by itself), `health`; last what one node keeps, `batch`, what it says of all it kept, `snapshot`, and
//! what it tells its own operator, [`control`].

pub mod control;
pub mod limits;

mod address;
mod amendment;
mod auth;
mod batch;
mod blob;
mod bond;
mod boot;
mod capability;
mod chain;
mod codec;
mod cron;
mod deferral;
mod detour;
mod effect;
mod envelope;
mod epoch;
mod error;
mod evidence;
mod fact;
mod failover;
mod governance;
mod hash;
mod health;
mod id;
mod leaf;
mod membership;
mod merkle;
mod parts;
mod process;
mod record;
mod rotation;
mod sandbox;
mod scope;
mod service;
mod signature;
mod snapshot;
mod sync;
mod time;
mod topic;
mod tree;
mod wire;

pub use address::{LocalTarget, NodeRef, Target};
pub use amendment::{Amendment, Endorsement, RuleChange};
pub use auth::{
    AUTH_LABEL, Admission, AuthFrame, AuthRefusal, Credential, Hello, Join, RotationFault, check_proof, prove,
    statement,
};
pub use batch::{
    Batch, Cut, DeadLetter, DigestRow, LoggedPublication, OutboxEntry, PlacedFact, PlacedMessage, PrunedRows,
    PrunedStep, Recovered, RecoveredChain, Reserved,
};
pub use blob::{Blob, BlobChunk, BlobRef, BlobRequest, BlobResponse, LargeEnvelope, LargeReceipt};
pub use bond::{BondFired, BondKind, Bonded, Demonitored, Linked, Monitored, Unlinked, Watched};
pub use boot::{BootPhase, PhaseRecord, PhaseResult};
pub use capability::{Grant, GrantRef, GrantSpec, GrantTerms, Pattern, Right, Role};
pub use chain::{ChainError, ChainState, CheckedGroup, verify_commit, verify_commit_by, verify_event_proof};
pub use codec::{decode, encode};
pub use cron::{CronAdded, CronFired, CronId, CronMissed, CronRemoved, CronResult, MissedRule};
pub use deferral::{Decided, Deferral, DeferralEnded, DeferralId, PersonName, Warned};
pub use detour::SwimDetour;
pub use effect::{Dimension, EffectVector, Environment, Thousandths, Thresholds};
pub use envelope::{
    ContractPart, Delivery, Durability, Envelope, Level, Outcome, Payload, Principal, ProcessEnd, Publication, Receipt,
    RecordRef, Refusal, Sender, Signal,
};
pub use epoch::{
    Ballot, CommitRef, EpochAsked, EpochEndorsed, EpochId, EpochPromised, EpochProposed, MemberChange,
    MemberChangeWanted, MemberVerb, SignedTick, SignedTickClaim, Tick, TickClaim, TickError,
};
pub use error::{DecodeError, ParseError};
pub use evidence::{Evidence, Statement, StatementBody, StatementError};
pub use fact::{
    Admitted, AnchorBackend, AnchorStep, Anchored, Boot, Booted, Configured, DeadLetterRemoved, DeadLetterRetried,
    DeadLettered, Denial, Effect, EffectOutcome, EffectResult, Escalated, Fact, ForkSeen, GaveUp, GrantHolder,
    GrantIssued, GrantRevoked, GrantUsed, InviteBurnt, InviteIssued, InviteRevoked, MessageBatch, MessageRecord,
    ProcessExited, Repaired, ResourceUse, RestartPlanned, SettingChange, Shutdown, Stage, TailReturned,
    TopicSubscribed, TopicUnsubscribed,
};
pub use failover::{
    Failover, FailoverDeclared, FenceEnd, FenceGranted, FenceHeld, FenceReleased, LeaseAnswer, are_labels,
};
pub use governance::{Branch, LeastEffect, Matcher, Rule, RuleId, RuleSet, Severity};
pub use hash::{Digest, content_address, content_address_of, hash};
pub use health::{Health, HealthChanged, HealthSubject, NodeCheck, ProbeCheck, ProbeKind, ProbeSpec, ProbeTiming};
pub use id::{
    AgentName, ChainId, ClusterId, ContractVersion, GrantId, GroupName, Incarnation, InviteId, MessageId, MethodName,
    NewTraces, NodeId, NodeName, ProcessId, ServiceName, TopicName, TopicPattern, TraceId,
};
pub use leaf::{Leaves, RecordedStep, names_of_leaf, stage_of_leaf};
pub use membership::{Certificate, Charter, Genesis, Token, TokenError, cluster_name, invite_id, secret_hash};
pub use merkle::{
    Blake3, Frontier, InclusionProof, Shake, TreeHash, inclusion_root, prove_consistency, prove_inclusion, root,
    verify_consistency,
};
pub use parts::{PartsProof, PartsTaken, ReplyPart};
pub use process::{
    AgentSpec, Backend, BuiltinKind, ExitReason, Membership, Resource, ResourceLimits, RestartPolicy, Strategy,
};
pub use record::{
    Anchor, COMMIT_LABEL, Commit, CommitGroup, EVENT_VERSION, Event, EventProof, Head, SUITE, SignedCommit,
    chain_root_hash, commit_hash, leaf_hash, link_hash,
};
pub use rotation::{KeyRotation, MemberKeys, Rotation, RotationError, follow_rotations};
pub use sandbox::{AllowedPath, PathMode, SandboxPolicy, is_within};
pub use scope::{IpcScope, ScopedAgent};
pub use service::{
    AuditLevel, Contract, ContractError, ContractRef, ContractRegistered, Endpoint, MethodContract, ServiceEnd,
    ServiceEnded, ServiceEntry,
};
pub use signature::{
    DualSignature, KeyPair, MLDSA65_PUBLIC_KEY_BYTES, MLDSA65_SECRET_KEY_BYTES, MLDSA65_SIGNATURE_BYTES, PublicKeys,
    Signable, SignatureError, Signed, SignedError, Signer, verify_ed25519, verify_mldsa65,
};
pub use snapshot::{BeginFold, EventPlace, Pruned, Replay, STATE_FOLD, Snapshot, SnapshotFault, StateFold};
pub use sync::{
    A2aItem, A2aRequest, A2aResponse, Advert, AdvertError, AdvertVersion, Gossip, HeadGossip, Numbered,
    PublicationsFrom, ServiceAdvert, SignedAdvert, StreamHead, Stretch, SyncRequest, SyncResponse, TraceRow,
    vector_root,
};
pub use time::{Hlc, HybridClock, StampVerdict, Timestamp, judge_stamp};
pub use tree::{
    Millionths, Observation, ResourceEntry, ResourceKind, ResourcePath, ResourceScored, Scoring, TreeClaim,
    TreeNeighbour, TreeProof, TreeProofError, TreeSibling, TreeStatement, TreeStep, branch_hash, child_hash, name_bit,
    name_key, no_children, node_hash, parting_bit,
};
pub use wire::{WIRE_VERSION, WIRE_VERSION_MIN, WIRE_VERSION_PARTS, WIRE_VERSION_PUBLICATIONS, WireVersions};
