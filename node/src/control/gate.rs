//! Rules and what they decide: told, explained, decided by a person, listed from the chain.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use weft_kernel::{
    Action, ActionKind, Answer, CAPABILITY_RULES, Decision, DeferralInfo, DeferralState, Explanation, Hypothesis,
    Proposal, ProposalState, Syscall,
};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{
    AmendRequest, AmendmentRow, AmendmentsReport, CapabilityRuleRow, DecisionReport, DecisionRequest, DecisionRow,
    DeferralRow, ErrorBody, GateExplainReport, GateLogReport, GatePendingReport, GateRulesReport, RuleRow,
};
use weft_protocol::{
    AgentName, DeferralId, Environment, Event, Fact, NodeId, PersonName, Principal, ProcessId, Role, Rule, RuleChange,
    Sender,
};
use weft_storage::{Store, StoreError};

use super::failure::Failure;
use super::request::{JsonBody, Parameters};
use super::{Served, fact, mismatch, text};
use crate::cli::nearest;

/// Events looked at for one page of decisions.
const PAGE_EVENTS: u64 = 1_000;
/// Most decisions in one answer, and how many without a number.
const DECISIONS_MAX: usize = 1_000;
const DECISIONS_DEFAULT: usize = 50;

/// The rules in force.
#[utoipa::path(get, path = "/v1/gate/rules",
    responses((status = 200, body = GateRulesReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn rules(State(served): State<Arc<Served>>) -> Result<Json<GateRulesReport>, Failure> {
    Ok(Json(served.read(rules_of).await?))
}

fn rules_of(peer: &Peer) -> GateRulesReport {
    let (kernel, gate) = (peer.kernel(), peer.kernel().governance());
    let described =
        |(id, description): (&str, &str)| CapabilityRuleRow { id: id.to_owned(), description: description.to_owned() };
    GateRulesReport {
        version: gate.rules().version,
        hash: gate.rules_hash().to_string(),
        genesis_hash: kernel.identity().governance_hash.to_string(),
        environment: gate.environment().to_string(),
        threshold: gate.threshold().0,
        capability: CAPABILITY_RULES.into_iter().map(described).collect(),
        rules: gate.rules().rules.iter().map(rule_row).collect(),
        effects: kernel.config().effects.iter().map(ToString::to_string).collect(),
    }
}

fn rule_row(rule: &Rule) -> RuleRow {
    RuleRow {
        id: rule.id.to_string(),
        branch: rule.branch.to_string(),
        severity: rule.severity.to_string(),
        description: rule.description.clone(),
        when: rule.conditions(),
    }
}

/// What is to be explained.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainParameters {
    /// Who would act: `operator`, or an agent's name.
    agent: String,
    /// What: `spawn`, `call`.
    action: String,
    /// On what.
    resource: String,
    /// In which environment; as this node is configured, without one.
    environment: Option<String>,
    /// From another node that is such a member; from this one, without it.
    role: Option<String>,
}

/// Which rule decides, and why; nothing changes.
#[utoipa::path(get, path = "/v1/gate/explain", params(ExplainParameters),
    responses((status = 200, body = GateExplainReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn explain(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<ExplainParameters>,
) -> Result<Json<GateExplainReport>, Failure> {
    let ExplainParameters { agent, action: name, resource, environment, role } = parameters;
    let environment = environment.map(|text| text.parse::<Environment>()).transpose()?;
    let role = role.map(|text| text.parse::<Role>()).transpose()?;
    let who = match &*agent {
        "operator" => None,
        agent => Some(agent.parse::<AgentName>()?),
    };
    let Some(kind) = ActionKind::ALL.iter().find(|kind| kind.name() == name) else {
        let failure = Failure::new("usage", format!("there is no action `{name}`"));
        return Err(match nearest(&name, ActionKind::ALL.iter().map(|kind| kind.name())) {
            Some(near) => failure.hint(format!("weft gate explain {agent} {near} {resource}")),
            None => failure.hint("weft gate explain --help lists the actions"),
        });
    };
    let action = Action::named(kind.name(), &resource, role)?;
    let what = resource.clone();
    let read = move |peer: &Peer| {
        let node = if role.is_some() { NodeId::from_bytes([0; 32]) } else { peer.node() };
        let principal = who.map_or(Principal::Operator, |agent| {
            // An agent that does not live holds nothing.
            let process = peer.kernel().agent(&agent).filter(|_| role.is_none());
            let process = process.unwrap_or(ProcessId { index: u32::MAX, generation: u32::MAX });
            Principal::Agent { agent, process }
        });
        let hypothesis = Hypothesis { by: Sender { node, principal }, action, resource: what, environment };
        peer.kernel().explain(&hypothesis)
    };
    let explained = served.read(read).await?;
    let role = role.map(|role| role.to_string());
    Ok(Json(GateExplainReport { agent, role, action: name, resource, ..report(explained) }))
}

fn report(explained: Explanation) -> GateExplainReport {
    let (decision, rule, grant) = match explained.decision {
        Decision::Permit { rule, grant, notes: _ } => ("permit", rule.into_owned(), grant),
        Decision::Deny { rule } => ("deny", rule.into_owned(), None),
        Decision::Defer { rule, permitted_by: _, grant } => ("defer", rule.as_ref().to_owned(), grant),
    };
    let applying = explained.applying.into_iter().map(|one| RuleRow {
        id: one.id,
        branch: one.branch.to_string(),
        severity: one.severity.to_string(),
        description: one.description,
        when: one.conditions,
    });
    GateExplainReport {
        agent: String::new(),
        role: None,
        action: String::new(),
        resource: String::new(),
        environment: explained.environment.to_string(),
        decision: decision.to_owned(),
        rule,
        grant: grant.map(|grant| grant.id.to_string()),
        applying: applying.collect(),
        effects: explained.effects.parts().map(|(dimension, part)| (dimension.to_string(), part.0)).collect(),
        magnitude: explained.magnitude.0,
        threshold: explained.threshold.0,
        rules_version: explained.rules_version,
    }
}

/// What waits for a person.
#[utoipa::path(get, path = "/v1/gate/pending",
    responses((status = 200, body = GatePendingReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn pending(State(served): State<Arc<Served>>) -> Result<Json<GatePendingReport>, Failure> {
    let now = crate::clock::wall();
    let read = move |peer: &Peer| {
        let open = peer.kernel().deferrals().filter(|info| now < info.deferral.expires);
        open.map(deferral_row).collect()
    };
    Ok(Json(GatePendingReport { pending: served.read(read).await? }))
}

fn deferral_row(info: &DeferralInfo) -> DeferralRow {
    let (state, decided) = match &info.state {
        DeferralState::Waiting => ("waiting", None),
        DeferralState::Approved(decided) => ("approved", Some(decided)),
        DeferralState::Denied(decided) => ("denied", Some(decided)),
    };
    let (by, process) = match &info.deferral.by.principal {
        Principal::Operator => ("operator".to_owned(), None),
        Principal::Agent { agent, process } => (format!("agent/{agent}"), Some(process.to_string())),
    };
    DeferralRow {
        id: info.id.to_string(),
        by,
        process,
        action: info.deferral.action.clone(),
        resource: info.deferral.resource.clone(),
        rule: info.deferral.rule.clone(),
        asked_at: text::time(info.asked),
        expires_at: text::time(info.deferral.expires),
        state: state.to_owned(),
        decided_by: decided.map(|decided| decided.name.to_string()),
        why: decided.and_then(|decided| decided.why.clone()),
    }
}

/// Approves what waits: whoever asked may repeat it once.
#[utoipa::path(post, path = "/v1/gate/pending/{id}/approve", params(("id" = String, Path, description = "Which: d12")),
    request_body = DecisionRequest, responses((status = 200, body = DecisionReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn approve(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<DecisionRequest>,
) -> Result<Json<DecisionReport>, Failure> {
    decide(&served, &id, request, true).await
}

/// Denies what waits, and says why.
#[utoipa::path(post, path = "/v1/gate/pending/{id}/deny", params(("id" = String, Path, description = "Which: d12")),
    request_body = DecisionRequest, responses((status = 200, body = DecisionReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn deny(
    State(served): State<Arc<Served>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<DecisionRequest>,
) -> Result<Json<DecisionReport>, Failure> {
    decide(&served, &id, request, false).await
}

async fn decide(
    served: &Served,
    id: &str,
    request: DecisionRequest,
    approve: bool,
) -> Result<Json<DecisionReport>, Failure> {
    let deferral: DeferralId = id.parse()?;
    let name: PersonName = request.name.parse()?;
    let find = move |peer: &Peer| peer.kernel().deferrals().find(|info| info.id == deferral).cloned();
    let Some(info) = served.read(find).await? else {
        // The kernel knows what became of it, and says so.
        let refused = served.ask(kernel(Syscall::Decide { deferral, approve, name, why: request.why })).await;
        return Err(match refused {
            Err(failure) => failure.hint("weft gate pending"),
            Ok(other) => mismatch(&other),
        });
    };
    match served.ask(kernel(Syscall::Decide { deferral, approve, name, why: request.why })).await? {
        Reply::Kernel(Answer::Decided { deferral, approved, name }) => Ok(Json(DecisionReport {
            id: deferral.to_string(),
            state: if approved { "approved" } else { "denied" }.to_owned(),
            name: name.to_string(),
            action: info.deferral.action,
            resource: info.deferral.resource,
        })),
        other => Err(mismatch(&other)),
    }
}

fn kernel(syscall: Syscall) -> Question {
    Question::Kernel(Box::new(syscall))
}

/// What is proposed for the next version of the rules.
#[utoipa::path(get, path = "/v1/gate/amendments",
    responses((status = 200, body = AmendmentsReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn amendments(State(served): State<Arc<Served>>) -> Result<Json<AmendmentsReport>, Failure> {
    let read = |peer: &Peer| AmendmentsReport {
        version: peer.kernel().governance().rules().version,
        amendments: peer.kernel().amendments().iter().map(|state| amendment_row(peer, state)).collect(),
    };
    Ok(Json(served.read(read).await?))
}

fn amendment_row(peer: &Peer, state: &ProposalState) -> AmendmentRow {
    let Proposal { digest, proposer, amendment, .. } = &state.proposal;
    AmendmentRow {
        id: digest.to_string(),
        version: amendment.version,
        branch: amendment.branch.to_string(),
        change: amendment.change.to_string(),
        proposer: peer.discovery().display_name(*proposer),
        support: state.support.len(),
        admins: state.admins,
        in_force: peer.kernel().governance().rules().version >= amendment.version && state.has_quorum(),
        refused: state.refused.clone(),
    }
}

/// Proposes an amendment: this node wants it, and other admins are asked to.
#[utoipa::path(post, path = "/v1/gate/amendments", request_body = AmendRequest,
    responses((status = 200, body = AmendmentRow), (status = "default", body = ErrorBody)))]
pub(crate) async fn amend(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<AmendRequest>,
) -> Result<Json<AmendmentRow>, Failure> {
    let branch = request.branch.parse()?;
    let wrong = |message: String| Failure::new("invalid", message).hint("weft gate amend --help");
    let change = match (&*request.change, request.rule, request.id) {
        ("retire", None, Some(id)) => RuleChange::Retire(id.parse()?),
        ("add" | "replace", Some(rule), None) => {
            let rule: Rule = serde_json::from_value(rule).map_err(|error| wrong(format!("the rule: {error}")))?;
            if request.change == "add" { RuleChange::Add(rule) } else { RuleChange::Replace(rule) }
        }
        _ => return Err(wrong("a change adds or replaces a rule, or retires an id".to_owned())),
    };
    amended(&served, Syscall::Amend { branch, change: Box::new(change) }).await
}

/// Endorses the amendment to that version, or, where several are proposed, that with this id.
#[utoipa::path(post, path = "/v1/gate/amendments/{which}/endorse",
    params(("which" = String, Path, description = "Its version, or the beginning of its id")),
    responses((status = 200, body = AmendmentRow), (status = "default", body = ErrorBody)))]
pub(crate) async fn endorse(
    State(served): State<Arc<Served>>,
    Path(which): Path<String>,
) -> Result<Json<AmendmentRow>, Failure> {
    let wanted = which.clone();
    let find = move |peer: &Peer| {
        let open = peer.kernel().amendments().into_iter();
        let named = |state: &ProposalState| {
            state.proposal.amendment.version.to_string() == wanted
                || wanted.len() >= 6 && state.proposal.digest.to_string().starts_with(&wanted)
        };
        open.filter(named).map(|state| state.proposal.digest).collect::<Vec<_>>()
    };
    match served.read(find).await?[..] {
        [amendment] => amended(&served, Syscall::Endorse { amendment }).await,
        [] => Err(Failure::new("not-found", format!("no amendment {which} is proposed")).hint("weft gate amendments")),
        _ => Err(Failure::new("ambiguous", format!("several amendments to version {which} are proposed"))
            .hint("weft gate amendments shows their ids: weft gate endorse ID")),
    }
}

async fn amended(served: &Served, syscall: Syscall) -> Result<Json<AmendmentRow>, Failure> {
    match served.ask(kernel(syscall)).await? {
        Reply::Kernel(Answer::Amended { state, version }) => {
            let row = served.read(move |peer| AmendmentRow {
                in_force: version >= state.proposal.amendment.version && state.has_quorum(),
                ..amendment_row(peer, &state)
            });
            Ok(Json(row.await?))
        }
        other => Err(mismatch(&other)),
    }
}

/// Which decisions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogParameters {
    /// How many of the last; 50 without a number, at most 1,000.
    last: Option<usize>,
}

/// The last decisions on this node's chain.
#[utoipa::path(get, path = "/v1/gate/log", params(LogParameters),
    responses((status = 200, body = GateLogReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn log(
    State(served): State<Arc<Served>>,
    Parameters(parameters): Parameters<LogParameters>,
) -> Result<Json<GateLogReport>, Failure> {
    let last = parameters.last.unwrap_or(DECISIONS_DEFAULT);
    if !(1..=DECISIONS_MAX).contains(&last) {
        return Err(
            Failure::new("invalid", format!("the log shows the last 1 to {DECISIONS_MAX} decisions")).hint("--last 50")
        );
    }
    let status = served.read(|peer| peer.kernel().chain_status()).await?;
    let collect = move |store: &Store| {
        let (mut end, mut found) = (status.events, Vec::new());
        while end > 0 && found.len() < last {
            let from = end.saturating_sub(PAGE_EVENTS);
            let page = store.events(status.chain, from, usize::try_from(end - from).unwrap_or(usize::MAX))?;
            for bytes in page.iter().rev() {
                let event = Event::decode(bytes).map_err(|error| StoreError::Read { reason: error.to_string() })?;
                if is_decision(&event) && found.len() < last {
                    found.push(decision_row(&event));
                }
            }
            end = from;
        }
        found.reverse();
        Ok(found)
    };
    Ok(Json(GateLogReport { decisions: served.stored(collect).await? }))
}

/// What a gate or a person decided, and what was permitted by a rule that its event names.
fn is_decision(event: &Event) -> bool {
    event.rule.is_some() || ["gate.", "governance."].iter().any(|beginning| event.kind.starts_with(beginning))
}

fn decision_row(event: &Event) -> DecisionRow {
    let decoded = Fact::decode(&event.kind, &event.payload);
    let rules = match &decoded {
        Ok(Fact::Denied(denial)) => vec![denial.rule.clone()],
        Ok(Fact::Deferred(deferral)) => vec![deferral.rule.clone()],
        Ok(Fact::Warned(warned)) => warned.rules.clone(),
        _ => event.rule.iter().cloned().collect(),
    };
    let (summary, detail) = match &decoded {
        Ok(decoded) => fact::describe(decoded),
        Err(error) => (format!("cannot be read: {error}"), serde_json::Value::Null),
    };
    let (seq, kind, at) = (event.seq, event.kind.clone(), text::time(event.hlc.to_wall()));
    DecisionRow { seq, at, kind, rules, summary, detail }
}
