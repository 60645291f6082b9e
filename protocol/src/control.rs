//! What the command line and other programs say to their own node, as JSON: requests, reports and errors.
//!
//! Field names are a promise: fields may be added, never renamed. Ids, hashes and levels stand here as their text forms, times
//! in RFC 3339 with microseconds, clock stamps as 16 hexadecimal digits beside them.

mod agents;
mod anchor;
mod body;
mod bonds;
mod chain;
mod config;
mod cron;
mod failure;
mod gate;
mod grants;
mod health;
mod identity;
mod members;
mod messages;
mod node;
mod services;
mod topics;
mod trace;
mod tree;

pub use agents::{
    AgentReport, AgentRow, AgentToolRequest, AgentsReport, LimitsJson, LogLine, LogReport, PauseReport, SandboxJson,
    SignalReport, SignalRequest, SpawnReport, SpawnRequest, StopReport,
};
pub use anchor::{
    AnchorCheckReport, AnchorRow, AnchorsReport, CheckpointFile, CheckpointReport, StampBlockRow, StampCalendarRow,
    StampCheckReport, StampRequest, StampRow, StampsReport,
};
pub use body::{Body, BodyError, TypedBody};
pub use bonds::{LinkReport, LinkRequest, MonitorReport, MonitorRequest};
pub use chain::{
    ChainHead, ChainStatus, ChainVerifyReport, ChainVerifyRow, CountingRow, EventRow, EventsPage, EvidenceCheckReport,
    EvidenceFile, EvidenceReport, EvidenceRow, ExportReport, ExportRequest, MemberChangeReport, MemberChangeRequest,
    OrderRow, OrderState, OrderWait, ProofCheckReport, ProofFile, PruneReport, PruneRequest, PruneStay, PrunedCount,
    SnapshotReport, WitnessRow, WitnessesReport,
};
pub use config::{ConfigReport, ReloadReport, SettingChangeRow, SettingRow};
pub use cron::{CronRemoveReport, CronReport, CronRequest, CronRow, CronRunReport, CronToolRequest};
pub use failure::{ErrorBody, ErrorDetail};
pub use gate::{
    AmendRequest, AmendmentRow, AmendmentsReport, CapabilityRuleRow, DecisionReport, DecisionRequest, DecisionRow,
    DeferralRow, GateExplainReport, GateLogReport, GatePendingReport, GateRulesReport, RuleRow,
};
pub use grants::{GrantRequest, GrantRevokeReport, GrantRow, GrantsReport};
pub use health::{HealthReport, HealthRow, ProbeJson};
pub use identity::{IdentityReport, IncarnationRow, RejoinReport, RotateReport};
pub use members::{InviteReport, InviteRequest, InviteRow, InvitesReport, MemberRow, MembersReport, RevokeReport};
pub use messages::{
    CallReport, CallRequest, PartEvent, PublicationEvent, PublishReport, PublishRequest, SendReport, SendRequest,
};
pub use node::{
    BootLogReport, BootRow, ClusterJson, DownReport, HandedRow, LeaveReport, LimitRow, MdnsReport, PhaseRow,
    ProbeReport, RefusalRow, ScrubFindRow, ScrubPassRow, ScrubReport, StatusReport, StoppedRow, UpReport,
};
pub use services::{RegisterRequest, ServiceReport, ServiceRow, ServicesReport, UnregisterReport};
pub use topics::{
    DeadLetterRow, DeadLettersReport, DropReport, HistoryReport, MemberEvent, PublisherRow, RetryReport, RetryRequest,
    TopicReport, TopicsReport,
};
pub use trace::{PrunedHop, TraceHop, TraceReport};
pub use tree::{
    ResourceRow, ScoreRequest, ScoringJson, StableRoot, TreeProofCheckReport, TreeProofFile, TreeReport, TreeRootReport,
};
