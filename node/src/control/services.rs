//! Services: what is served in the cluster, registering and unregistering on this node.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;
use weft_kernel::{Answer, Registration, ServiceInfo, Syscall};
use weft_peer::{Peer, Question, Reply};
use weft_protocol::control::{ErrorBody, RegisterRequest, ServiceReport, ServiceRow, ServicesReport, UnregisterReport};
use weft_protocol::limits::DEADLINE_DEFAULT_US;
use weft_protocol::{
    AuditLevel, Contract, ContractRef, Delivery, Durability, Level, LocalTarget, NodeId, NodeRef, Payload,
    ServiceAdvert, ServiceName, Target,
};

use super::agents::check_agent;
use super::failure::Failure;
use super::request::JsonBody;
use super::{Served, mismatch, text};
use crate::cli::nearest;

/// Everything that is served in the cluster, as far as this node knows.
#[utoipa::path(get, path = "/v1/services",
    responses((status = 200, body = ServicesReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(State(served): State<Arc<Served>>) -> Result<Json<ServicesReport>, Failure> {
    Ok(Json(ServicesReport { services: served.read(rows).await? }))
}

fn rows(peer: &Peer) -> Vec<ServiceRow> {
    let (node, name) = (peer.node(), peer.discovery().display_name(peer.node()));
    let own = peer.kernel().services().into_iter().map(|info| own_row(&info, node, &name));
    let others = peer.discovery().members().filter(|member| member.node != node).flat_map(|member| {
        let state = if member.state.is_there() { "serving" } else { "unknown" };
        let (node, name) = (member.node, member.name.to_string());
        member.services.into_iter().map(move |advert| other_row(&advert, node, &name, state))
    });
    let mut rows = own.chain(others).collect::<Vec<_>>();
    rows.sort_by(|one, other| (&one.service, &one.name).cmp(&(&other.service, &other.name)));
    rows
}

fn own_row(info: &ServiceInfo, node: NodeId, name: &str) -> ServiceRow {
    let entry = &info.entry;
    ServiceRow {
        service: entry.name.to_string(),
        node: node.to_string(),
        name: name.to_owned(),
        agent: entry.endpoint.agent().to_string(),
        state: if info.process.is_some() { "serving" } else { "no-agent" }.to_owned(),
        version: entry.contract.as_ref().map(|contract| contract.version.to_string()),
        contract: entry.contract.as_ref().map(|contract| contract.hash.to_string()),
        audit: Some(entry.audit_level.to_string()),
        owner: Some(entry.owner.to_string()),
        load: info.load,
        registered_at: Some(text::time(entry.registered_at)),
    }
}

fn other_row(advert: &ServiceAdvert, node: NodeId, name: &str, state: &str) -> ServiceRow {
    ServiceRow {
        service: advert.service.to_string(),
        node: node.to_string(),
        name: name.to_owned(),
        agent: advert.agent.to_string(),
        state: state.to_owned(),
        version: advert.contract.as_ref().map(|contract| contract.version.to_string()),
        contract: advert.contract.as_ref().map(|contract| contract.hash.to_string()),
        audit: None,
        owner: None,
        load: advert.load,
        registered_at: None,
    }
}

/// Who serves it and what it promises, wherever in the cluster that is.
#[utoipa::path(get, path = "/v1/services/{service}", params(("service" = String, Path, description = "Its name")),
    responses((status = 200, body = ServiceReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn inspect(
    State(served): State<Arc<Served>>,
    Path(service): Path<String>,
) -> Result<Json<ServiceReport>, Failure> {
    let service: ServiceName = service.parse()?;
    report(&served, service).await.map(Json)
}

async fn report(served: &Served, service: ServiceName) -> Result<ServiceReport, Failure> {
    let wanted = service.clone();
    let read = move |peer: &Peer| {
        let all = rows(peer);
        let own = peer.kernel().service(&wanted).and_then(|info| info.entry.contract);
        let own = own.and_then(|own| peer.kernel().contract(&wanted, &own.version).map(Contract::to_json));
        let other = || {
            peer.discovery()
                .providers(&wanted)
                .into_iter()
                .find_map(|(node, advert)| Some((node, advert.contract.clone()?)))
        };
        let other = if own.is_none() { other() } else { None };
        (all, own, other)
    };
    let (all, own, other) = served.read(read).await?;
    let providers: Vec<ServiceRow> = all.iter().filter(|row| row.service == service.as_str()).cloned().collect();
    if providers.is_empty() {
        return Err(not_found(service.as_str(), all.iter().map(|row| row.service.as_str())));
    }
    let contract = match (own, other) {
        (Some(own), _) => Some(own),
        (None, Some((node, contract))) => Some(fetch(served, node, &service, &contract).await?),
        (None, None) => None,
    };
    Ok(ServiceReport { service: service.to_string(), providers, contract })
}

/// The contract as the node that serves it answers, checked against the hash that it advertises.
async fn fetch(served: &Served, node: NodeId, service: &ServiceName, contract: &ContractRef) -> Result<Value, Failure> {
    let call = Syscall::Send {
        target: Target { node: Some(NodeRef::Id(node)), local: LocalTarget::Kernel },
        payload: Payload::Text(format!("contract {service} {}", contract.version)),
        wants_reply: true,
        level: Level { delivery: Delivery::Executed, durability: Durability::None },
        deadline_us: DEADLINE_DEFAULT_US,
        trace: None,
        cause: Vec::new(),
        idempotent: true,
        parts: false,
    };
    let reply = match served.ask(Question::Kernel(Box::new(call))).await? {
        Reply::Kernel(Answer::Sent(report)) => report.reply,
        other => return Err(mismatch(&other)),
    };
    let told = match reply {
        Some(Payload::Json(text)) => serde_json::from_str::<Value>(&text).ok(),
        _ => None,
    };
    let right = |told: &Value| {
        let read = Contract::read(service.clone(), told.clone());
        read.is_ok_and(|read| read.reference() == *contract)
    };
    told.filter(right).ok_or_else(|| {
        Failure::new("failed", format!("{node} gave another contract of svc:{service} than the one it advertises"))
    })
}

/// That this node does not serve it, with who does.
fn not_here(service: &ServiceName, rows: &[ServiceRow]) -> Failure {
    let failure = Failure::new("not-found", format!("{service} is not served by this node"));
    match rows.iter().find(|row| row.service == service.as_str()) {
        Some(row) => failure.hint(format!("weft services unregister {service}, on {}", row.name)),
        None => failure.hint("weft services"),
    }
}

/// That nothing goes by that name, with the nearest one that does.
fn not_found<'a>(service: &str, names: impl Iterator<Item = &'a str>) -> Failure {
    let failure = Failure::new("not-found", format!("nobody serves {service}"));
    match nearest(service, names) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("weft services"),
    }
}

/// Serves under a name by an agent of this node; answers when that is recorded.
#[utoipa::path(post, path = "/v1/services", request_body = RegisterRequest,
    responses((status = 200, body = ServiceReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn register(
    State(served): State<Arc<Served>>,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<Json<ServiceReport>, Failure> {
    let registration = registration(request)?;
    let contract = registration.contract.as_ref().map(Contract::to_json);
    if let Some(agent) = registration.agent.clone() {
        check_agent(&served, agent).await?;
    }
    match served.ask(Question::Kernel(Box::new(Syscall::RegisterService(Box::new(registration))))).await? {
        Reply::Kernel(Answer::ServiceRegistered(entry)) => {
            let name = entry.name.clone();
            let own = move |peer: &Peer| {
                let info = peer.kernel().service(&name)?;
                Some(own_row(&info, peer.node(), &peer.discovery().display_name(peer.node())))
            };
            let providers = served.read(own).await?.into_iter().collect();
            Ok(Json(ServiceReport { service: entry.name.to_string(), providers, contract }))
        }
        other => Err(mismatch(&other)),
    }
}

fn registration(request: RegisterRequest) -> Result<Registration, Failure> {
    let service: ServiceName = request.service.parse()?;
    let contract = request.contract.map(|contract| Contract::read(service.clone(), contract)).transpose();
    let contract = contract.map_err(|error| Failure::new("invalid", error.to_string()))?;
    let audit_level = request.audit.as_deref().map_or(Ok(AuditLevel::GateOnly), str::parse)?;
    Ok(Registration { service, agent: Some(request.agent.parse()?), contract, audit_level })
}

/// Serves under that name on this node no longer; answers when that is recorded.
#[utoipa::path(delete, path = "/v1/services/{service}", params(("service" = String, Path, description = "Its name")),
    responses((status = 200, body = UnregisterReport), (status = "default", body = ErrorBody)))]
pub(crate) async fn unregister(
    State(served): State<Arc<Served>>,
    Path(service): Path<String>,
) -> Result<Json<UnregisterReport>, Failure> {
    let service: ServiceName = service.parse()?;
    let wanted = service.clone();
    let read = move |peer: &Peer| peer.kernel().service(&wanted).map_or_else(|| Some(rows(peer)), |_served| None);
    if let Some(rows) = served.read(read).await? {
        return Err(not_here(&service, &rows));
    }
    match served.ask(Question::Kernel(Box::new(Syscall::UnregisterService { service }))).await? {
        Reply::Kernel(Answer::ServiceUnregistered { service }) => {
            Ok(Json(UnregisterReport { service: service.to_string() }))
        }
        other => Err(mismatch(&other)),
    }
}
