//! Where each resource stands, and which stand from the beginning.

use std::fmt::Display;

use weft_protocol::{AgentName, Environment, NodeId, ResourceKind, ResourcePath};

/// The namespaces that there are before anything has happened. Agents, services and topics stand at the top because
/// they are what people look for; the kernel's own are below `/kernel`.
const NAMESPACES: [&str; 22] = [
    "/",
    "/agents",
    "/apps",
    "/containers",
    "/environments",
    "/kernel",
    "/kernel/agents",
    "/kernel/containers",
    "/kernel/jobs",
    "/kernel/nodes",
    "/kernel/processes",
    "/kernel/services",
    "/kernel/tools",
    "/kernel/tools/agent",
    "/kernel/tools/fs",
    "/kernel/tools/ipc",
    "/kernel/tools/sys",
    "/network",
    "/network/peers",
    "/services",
    "/tools",
    "/topics",
];

/// Everything that stands from the beginning, with its kind; what is above stands before what is below.
pub(super) fn genesis() -> impl Iterator<Item = (ResourcePath, ResourceKind)> {
    let namespaces = NAMESPACES.into_iter().map(|path| (at(path), ResourceKind::Namespace));
    let environments = Environment::ALL.iter().map(|it| (below("/environments", it), ResourceKind::Environment));
    namespaces.chain(environments)
}

/// What a resource is of which no event says that: a place for what is below it, or a topic that somebody listens to.
pub(super) fn implied_kind(path: &ResourcePath) -> ResourceKind {
    let mut names = path.names();
    match (names.next(), names.next(), names.next()) {
        (Some("topics"), Some(_), None) => ResourceKind::Topic,
        (Some("environments"), Some(_), None) => ResourceKind::Environment,
        (Some("services"), Some(_), None) => ResourceKind::Service,
        _ => ResourceKind::Namespace,
    }
}

fn at(path: &str) -> ResourcePath {
    path.parse().expect("BUG: a path")
}

/// A name that has been checked below a namespace; names and ids fit into a path.
fn below(above: &str, name: impl Display) -> ResourcePath {
    format!("{above}/{name}").parse().expect("BUG: a name that does not fit into a path")
}

/// Names of agents, services and jobs are each node's own: they stand with it.
fn of(above: &str, name: impl Display, node: &NodeId) -> ResourcePath {
    below(above, format_args!("{name}@{node}"))
}

pub(super) fn agent(name: &AgentName, node: &NodeId) -> ResourcePath {
    ResourcePath::of_agent(name, node)
}

pub(super) fn service(name: impl Display, node: &NodeId) -> ResourcePath {
    of("/services", name, node)
}

pub(super) fn contract(service: impl Display, node: &NodeId, version: impl Display) -> ResourcePath {
    below("/services", format_args!("{service}@{node}/v{version}"))
}

pub(super) fn job(job: impl Display, node: &NodeId) -> ResourcePath {
    of("/kernel/jobs", job, node)
}

pub(super) fn check(check: impl Display, node: &NodeId) -> ResourcePath {
    of("/kernel/services", check, node)
}

pub(super) fn subscription(pattern: impl Display, agent: impl Display, node: &NodeId) -> ResourcePath {
    below("/topics", format_args!("{pattern}/{agent}@{node}"))
}

pub(super) fn peer(node: &NodeId) -> ResourcePath {
    below("/network/peers", node)
}

pub(super) fn node(node: &NodeId) -> ResourcePath {
    below("/kernel/nodes", node)
}

pub(super) fn in_environment(environment: Environment, node: &NodeId) -> ResourcePath {
    below("/environments", format_args!("{environment}/{node}"))
}

pub(super) fn settings(node: &NodeId) -> ResourcePath {
    below("/kernel/nodes", format_args!("{node}/settings"))
}
