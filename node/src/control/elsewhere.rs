//! What is asked here about agents of another node: its kernel does it, under that node's gate and on that node's chain.

use axum::Json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weft_kernel::{Answer, Syscall};
use weft_peer::{Question, Reply};
use weft_protocol::control::AgentToolRequest;
use weft_protocol::{Delivery, Durability, Level, LocalTarget, NodeId, NodeRef, Payload, Target};

use super::failure::Failure;
use super::members::find;
use super::{Served, mismatch};

/// How long another node may take over one of its agents, in microseconds: a start that waits 10 s for what it needs, 5 s for
/// the program's first answer, and as much again (guess).
pub(super) const ELSEWHERE_US: u64 = 30_000_000;

/// Where an agent that is asked about is.
pub(super) enum Place<'a> {
    /// On this node.
    Here(Target),
    /// On another one.
    There(There<'a>),
}

/// Another node, and the agent there.
pub(super) struct There<'a> {
    served: &'a Served,
    pub(super) node: NodeId,
    written: NodeRef,
    agent: Option<LocalTarget>,
    deadline_us: u64,
}

/// Finds out where an agent is, by the node in its name: without one it is here.
pub(super) async fn place<'a>(served: &'a Served, agent: &str) -> Result<Place<'a>, Failure> {
    let target: Target = agent.parse()?;
    let Some(node) = target.node else { return Ok(Place::Here(target)) };
    match There::of(served, node, Some(target.local.clone()), ELSEWHERE_US).await? {
        Some(there) => Ok(Place::There(there)),
        None => Ok(Place::Here(Target { node: None, local: target.local })),
    }
}

/// A denial by the node of that name, with what can be done there; as it is, when that is this node.
pub(super) async fn denied(served: &Served, failure: Failure, node: &NodeRef, tool: Option<&str>) -> Failure {
    let text = node.to_string();
    let there = move |peer: &weft_peer::Peer| {
        let node = find(peer, &text).ok().filter(|node| *node != peer.node())?;
        Some(peer.discovery().display_name(node))
    };
    let Ok(Some(name)) = served.read(there).await else { return failure };
    let command = match tool {
        Some("cron.add") => "weft cron add",
        Some("cron.list") => "weft cron ls",
        Some("cron.remove") => "weft cron rm",
        Some("cron.run") => "weft cron run",
        _ => return failure.hint(format!("{name} says no: ask an admin of that node for the right")),
    };
    failure.hint(format!("jobs are for their own node: ask an admin of {name} to type there: {command}"))
}

impl<'a> There<'a> {
    /// The member of that name or id; none when that is this node.
    pub(super) async fn of(
        served: &'a Served,
        written: NodeRef,
        agent: Option<LocalTarget>,
        deadline_us: u64,
    ) -> Result<Option<Self>, Failure> {
        let text = written.to_string();
        let (node, own) = served.read(move |peer| (find(peer, &text), peer.node())).await?;
        let node = node?;
        Ok((node != own).then_some(Self { served, node, written, agent, deadline_us }))
    }

    /// Lets a tool over the agent run there.
    pub(super) async fn agent<T: DeserializeOwned>(&self, tool: &str) -> Result<Json<T>, Failure> {
        let agent = self.agent.as_ref().map(ToString::to_string).unwrap_or_default();
        self.call(tool, &AgentToolRequest { agent }).await
    }

    /// Lets a tool of that node's kernel run.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        tool: &str,
        args: &impl Serialize,
    ) -> Result<Json<T>, Failure> {
        let args = serde_json::to_string(args).expect("BUG: a request that is no JSON");
        let call = Syscall::Send {
            target: Target { node: Some(self.written.clone()), local: LocalTarget::Kernel },
            payload: Payload::ToolCall { name: tool.to_owned(), args },
            wants_reply: true,
            level: Level { delivery: Delivery::Executed, durability: Durability::None },
            deadline_us: self.deadline_us,
            trace: None,
            cause: Vec::new(),
            idempotent: false,
            parts: false,
        };
        let reply = match self.served.ask(Question::Kernel(Box::new(call))).await {
            Ok(Reply::Kernel(Answer::Sent(report))) => report.reply,
            Ok(other) => return Err(mismatch(&other)),
            Err(failure) if failure.code() == "denied" => {
                return Err(denied(self.served, failure, &self.written, Some(tool)).await);
            }
            Err(failure) => return Err(failure),
        };
        let report = match &reply {
            Some(Payload::Json(text)) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let other_version = || {
            let message = format!("{} did it, but its answer is not one that this version knows", self.written);
            Failure::new("failed", message).changed().hint("weft ps shows what runs")
        };
        report.map(Json).ok_or_else(other_version)
    }
}
