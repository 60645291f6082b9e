//! Where a message goes: a read of the kernel's own names, then of the directory.

use std::collections::BTreeSet;

use weft_discovery::{Discovery, Resolution};
use weft_kernel::{Kernel, Registration, Route, Syscall};
use weft_protocol::{AgentName, LocalTarget, NodeId, NodeRef, Refusal, Target, Watched};

use crate::failover::Failover;

/// Whether a route is known, or may become known when more adverts have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    /// Decided.
    Now(Route),
    /// The directory is not complete: wait, at most so many microseconds.
    Later {
        /// The message's own deadline.
        deadline_us: u64,
    },
}

/// The route of a syscall; of one without a target `Local`.
pub(crate) fn route(
    own: NodeId,
    kernel: &Kernel,
    discovery: &Discovery,
    failover: &Failover,
    syscall: &Syscall,
) -> Routed {
    match syscall {
        Syscall::Send { target, deadline_us, .. } => {
            route_target(own, kernel, discovery, failover, target, *deadline_us)
        }
        // Of one that is not there, the kernel says so.
        Syscall::RetryDeadLetter { message, deadline_us } => match kernel.dead_letter_target(message) {
            Some(target) => route_target(own, kernel, discovery, failover, &target, *deadline_us),
            None => Routed::Now(Route::Local),
        },
        Syscall::Grant { to, .. } => {
            Routed::Now(to.node.as_ref().map_or(Route::Local, |node| route_node(own, discovery, node)))
        }
        Syscall::Link { with: target, .. }
        | Syscall::Unlink { with: target, .. }
        | Syscall::Monitor { target, .. }
        | Syscall::Demonitor { target, .. } => Routed::Now(route_bond(own, kernel, discovery, target)),
        Syscall::Publish { .. }
        | Syscall::Subscribe { .. }
        | Syscall::Unsubscribe { .. }
        | Syscall::CallTool { .. }
        | Syscall::Stream { .. }
        | Syscall::ListDeadLetters
        | Syscall::DropDeadLetter { .. }
        | Syscall::Spawn { .. }
        | Syscall::Stop { .. }
        | Syscall::CronAdd { .. }
        | Syscall::CronRemove { .. }
        | Syscall::CronRun { .. }
        | Syscall::CronList
        | Syscall::Suspend { .. }
        | Syscall::Resume { .. }
        | Syscall::Restart { .. }
        | Syscall::Revoke { .. }
        | Syscall::UnregisterService { .. }
        | Syscall::Decide { .. }
        | Syscall::Amend { .. }
        | Syscall::Endorse { .. }
        | Syscall::Shutdown => Routed::Now(Route::Local),
        Syscall::RegisterService(registration) => Routed::Now(check_contract(discovery, registration)),
    }
}

fn route_target(
    own: NodeId,
    kernel: &Kernel,
    discovery: &Discovery,
    failover: &Failover,
    target: &Target,
    deadline_us: u64,
) -> Routed {
    match (&target.node, &target.local) {
        (_, LocalTarget::Topic(topic)) => {
            let message = format!("a topic has no single receiver; publish to it: weft pub {topic} TEXT");
            Routed::Now(Route::nowhere(Refusal::Invalid { message }))
        }
        (Some(node), _) => Routed::Now(route_node(own, discovery, node)),
        (None, LocalTarget::Process(_) | LocalTarget::Broadcast | LocalTarget::Kernel) => Routed::Now(Route::Local),
        // A call to a service without a node is balanced before it comes here.
        (None, LocalTarget::Service(_) | LocalTarget::ServiceMethod { .. }) => Routed::Now(Route::Local),
        (None, LocalTarget::Agent(agent)) => route_agent(own, kernel, discovery, failover, agent, deadline_us),
    }
}

/// Where the other end of a bond is. What nobody here or elsewhere is known to run, the kernel looks for among those that exited.
fn route_bond(own: NodeId, kernel: &Kernel, discovery: &Discovery, target: &Target) -> Route {
    match (&target.node, &target.local) {
        (Some(node), _) => route_node(own, discovery, node),
        (None, LocalTarget::Agent(agent)) if !kernel.has_agent(agent) => match discovery.resolve(agent) {
            Resolution::Found(node) => Route::Remote(node),
            Resolution::Ambiguous(_) | Resolution::Unknown { .. } => Route::Local,
        },
        (None, _) => Route::Local,
    }
}

/// Fills in which process a monitor means, when it is one of another node.
pub(crate) fn see_watched(own: NodeId, kernel: &Kernel, discovery: &Discovery, syscall: &mut Syscall) {
    let Syscall::Monitor { target, seen, .. } = syscall else { return };
    let Route::Remote(node) = route_bond(own, kernel, discovery, target) else { return };
    let mut agents = discovery.agents_of(&node).iter();
    let found = agents.find(|(agent, process)| match &target.local {
        LocalTarget::Agent(named) => agent == named,
        LocalTarget::Process(meant) => process == meant,
        LocalTarget::Topic(_)
        | LocalTarget::Service(_)
        | LocalTarget::ServiceMethod { .. }
        | LocalTarget::Broadcast
        | LocalTarget::Kernel => false,
    });
    *seen = found.map(|(agent, process)| Watched { node, agent: agent.clone(), process: *process });
}

/// Whether only the holder of a fence, and nodes that held it before, are said to run the agent.
fn is_of(resolved: &Resolution, holder: NodeId, past: &BTreeSet<NodeId>) -> bool {
    let of = |node: &NodeId| *node == holder || past.contains(node);
    match resolved {
        Resolution::Found(node) => of(node),
        Resolution::Ambiguous(nodes) => nodes.iter().all(of),
        Resolution::Unknown { .. } => true,
    }
}

fn route_node(own: NodeId, discovery: &Discovery, node: &NodeRef) -> Route {
    match discovery.node_by_ref(node) {
        Ok(node) if node == own => Route::Local,
        Ok(node) => Route::Remote(node),
        Err(refusal) => Route::nowhere(refusal),
    }
}

fn route_agent(
    own: NodeId,
    kernel: &Kernel,
    discovery: &Discovery,
    failover: &Failover,
    agent: &AgentName,
    deadline_us: u64,
) -> Routed {
    if kernel.has_agent(agent) {
        return Routed::Now(Route::Local);
    }
    let resolved = discovery.resolve(agent);
    match failover.holders(agent) {
        Some((holder, past)) if holder != own && is_of(&resolved, holder, &past) => {
            return Routed::Now(Route::Remote(holder));
        }
        Some(_) | None => {}
    }
    match resolved {
        Resolution::Found(node) => Routed::Now(Route::Remote(node)),
        Resolution::Ambiguous(nodes) => {
            let targets = nodes.iter().map(|node| format!("{agent}@{}", discovery.display_name(*node))).collect();
            Routed::Now(Route::nowhere(Refusal::Ambiguous { targets }))
        }
        Resolution::Unknown { complete: true } => Routed::Now(nowhere(agent)),
        Resolution::Unknown { complete: false } => Routed::Later { deadline_us },
    }
}

/// A version of a contract has one content in the whole cluster, as far as the directory knows it.
fn check_contract(discovery: &Discovery, registration: &Registration) -> Route {
    let Some(contract) = &registration.contract else { return Route::Local };
    let reference = contract.reference();
    let other = |(_, advert): &(NodeId, &weft_protocol::ServiceAdvert)| {
        let other = advert.contract.as_ref().filter(|other| other.version == reference.version);
        other.is_some_and(|other| other.hash != reference.hash)
    };
    match discovery.providers(&registration.service).into_iter().find(other) {
        None => Route::Local,
        Some((node, _)) => {
            let message = format!(
                "{} {} has another content on {}: a changed contract needs a new version",
                registration.service,
                reference.version,
                discovery.display_name(node)
            );
            Route::nowhere(Refusal::Invalid { message })
        }
    }
}

/// The route to an agent that nobody advertises.
pub(crate) fn nowhere(agent: &AgentName) -> Route {
    Route::nowhere(Refusal::NoResponder { target: agent.to_string() })
}

/// The route of a message that has waited long enough.
pub(crate) fn nowhere_for(syscall: &Syscall) -> Route {
    match syscall {
        Syscall::Send { target, .. } => Route::nowhere(Refusal::NoResponder { target: target.to_string() }),
        Syscall::RetryDeadLetter { message, .. } => {
            Route::nowhere(Refusal::NoResponder { target: format!("the target of {message}") })
        }
        Syscall::Publish { .. }
        | Syscall::Subscribe { .. }
        | Syscall::Unsubscribe { .. }
        | Syscall::CallTool { .. }
        | Syscall::Stream { .. }
        | Syscall::ListDeadLetters
        | Syscall::DropDeadLetter { .. }
        | Syscall::Spawn { .. }
        | Syscall::Stop { .. }
        | Syscall::CronAdd { .. }
        | Syscall::CronRemove { .. }
        | Syscall::CronRun { .. }
        | Syscall::CronList
        | Syscall::Suspend { .. }
        | Syscall::Resume { .. }
        | Syscall::Restart { .. }
        | Syscall::Grant { .. }
        | Syscall::Revoke { .. }
        | Syscall::RegisterService(_)
        | Syscall::UnregisterService { .. }
        | Syscall::Link { .. }
        | Syscall::Unlink { .. }
        | Syscall::Monitor { .. }
        | Syscall::Demonitor { .. }
        | Syscall::Decide { .. }
        | Syscall::Amend { .. }
        | Syscall::Endorse { .. }
        | Syscall::Shutdown => Route::Local,
    }
}
