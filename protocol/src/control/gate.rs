//! Rules, decisions, and what waits for a person.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /v1/gate/rules`. Thresholds and effects are thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateRulesReport {
    /// One when the cluster was founded, one more with each amendment in force.
    pub version: u32,
    /// Hash of the rules in force.
    pub hash: String,
    /// Hash of the rules the cluster was founded on; the same on every member.
    pub genesis_hash: String,
    /// How strict this node is: `development`, `staging` or `production`.
    pub environment: String,
    /// Above this magnitude an action is a large one here.
    pub threshold: u16,
    /// The rules about roles and grants, in the order in which they are tried.
    pub capability: Vec<CapabilityRuleRow>,
    /// What is asked of an action that those permit, in order.
    pub rules: Vec<RuleRow>,
    /// Actions that have a greater effect on this node than the program says: `spawn.risk=0.6`.
    pub effects: Vec<String>,
}

/// One rule about roles and grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CapabilityRuleRow {
    /// Its name.
    pub id: String,
    /// What it says.
    pub description: String,
}

/// One governance rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleRow {
    /// Its name.
    pub id: String,
    /// Whose it is: `legislative`, `executive` or `judicial`.
    pub branch: String,
    /// What it does: `advisory`, `warning`, `blocking` or `critical`.
    pub severity: String,
    /// What it is for.
    pub description: String,
    /// When it applies, in words.
    pub when: String,
}

/// The answer to `GET /v1/gate/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateExplainReport {
    /// Who would act.
    pub agent: String,
    /// From another node that is such a member; null from this one.
    pub role: Option<String>,
    /// What.
    pub action: String,
    /// On what.
    pub resource: String,
    /// Where.
    pub environment: String,
    /// `permit`, `deny` or `defer`.
    pub decision: String,
    /// The deciding rule.
    pub rule: String,
    /// The grant that allows it; null without one.
    pub grant: Option<String>,
    /// The governance rules that apply, in order; of something that roles and grants deny, those that would.
    pub applying: Vec<RuleRow>,
    /// What the action does in each dimension, in thousandths.
    pub effects: BTreeMap<String, u16>,
    /// How much that is together, in thousandths.
    pub magnitude: u16,
    /// Above this it is large there, in thousandths.
    pub threshold: u16,
    /// Which version of the rules is in force.
    pub rules_version: u32,
}

/// The answer to `GET /v1/gate/pending`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatePendingReport {
    /// What waits for a person, and what was decided and waits to be repeated; the oldest first.
    pub pending: Vec<DeferralRow>,
}

/// One deferred action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeferralRow {
    /// By which it is decided: `d12`.
    pub id: String,
    /// Who asked: `operator`, `agent/words`.
    pub by: String,
    /// The process of an agent; null of an operator.
    pub process: Option<String>,
    /// What for.
    pub action: String,
    /// On what.
    pub resource: String,
    /// The deciding rule.
    pub rule: String,
    /// When it was asked.
    pub asked_at: String,
    /// Until when it can be decided and repeated.
    pub expires_at: String,
    /// `waiting`, `approved` or `denied`.
    pub state: String,
    /// Who decided; null while it waits.
    pub decided_by: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// The body of `POST /v1/gate/pending/{id}/approve` and of `…/deny`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// The name of the person who decides.
    pub name: String,
    /// Why; whoever denies says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The answer to both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecisionReport {
    /// Which.
    pub id: String,
    /// `approved` or `denied`.
    pub state: String,
    /// Who decided.
    pub name: String,
    /// What waited.
    pub action: String,
    /// On what.
    pub resource: String,
}

/// The body of `POST /v1/gate/amendments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AmendRequest {
    /// Whose rule it is: `legislative`, `executive` or `judicial`.
    pub branch: String,
    /// `add`, `replace` or `retire`.
    pub change: String,
    /// The rule as it is to be, as `weft gate rules --json` and files write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub rule: Option<serde_json::Value>,
    /// The name of the rule that is to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The answer to `GET /v1/gate/amendments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AmendmentsReport {
    /// Which version of the rules is in force.
    pub version: u32,
    /// What is proposed for the next one, in the order of the proposals.
    pub amendments: Vec<AmendmentRow>,
}

/// One amendment; also the answer to proposing and endorsing one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AmendmentRow {
    /// By which it is endorsed, besides its version.
    pub id: String,
    /// The version that it makes.
    pub version: u32,
    /// Whose rule it changes.
    pub branch: String,
    /// What: `replace GOV-001 (blocking)`.
    pub change: String,
    /// The name of the node that proposed it.
    pub proposer: String,
    /// How many admins want it.
    pub support: usize,
    /// How many there were before it; more than half must want it.
    pub admins: usize,
    /// Whether it is in force.
    pub in_force: bool,
    /// Why it can never be; null when it can.
    pub refused: Option<String>,
}

/// The answer to `GET /v1/gate/log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateLogReport {
    /// The last decisions on this node's chain, in their order; those about plain messages stand beside their steps.
    pub decisions: Vec<DecisionRow>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecisionRow {
    /// Its place on the chain.
    pub seq: u64,
    /// When.
    pub at: String,
    /// What kind of event: `gate.denied`, `gate.approved`.
    pub kind: String,
    /// The rules that it names.
    pub rules: Vec<String>,
    /// In words.
    pub summary: String,
    /// The same as JSON.
    pub detail: serde_json::Value,
}
