//! The kernel's own tools over the agents and jobs of its node, called like any tool: by an operator or an agent, here or
//! elsewhere.
//!
//! `agent.spawn` takes what `POST /v1/agents` takes; `agent.stop`, `agent.suspend`, `agent.resume`, `agent.restart` and
//! `agent.inspect` take `{"agent": "echo"}` or `{"agent": "#12.3"}`. `cron.add` takes what
//! `POST /v1/cron` takes, `cron.list` takes `{}`, `cron.remove` and `cron.run` take `{"job": "c12"}`; jobs are for their own
//! node alone. The answer is the JSON of the same report that the local API gives. What a tool does is judged as its own action by the gate of the node on which it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use weft_protocol::control::{
    AgentToolRequest, CronRemoveReport, CronReport, CronToolRequest, PauseReport, SpawnReport, SpawnRequest, StopReport,
};
use weft_protocol::{
    AgentSpec, CronId, Digest, Envelope, Level, LocalTarget, MessageId, NodeId, Outcome, Payload, ProcessId, Receipt,
    Refusal, Role, Sender, Stage, Target, TraceId,
};

use super::deed::target_of;
use super::record::{Step, end_of};
use super::{failed, shortened};
use crate::action::Action;
use crate::cron::{CronJob, CronSpec, run_report};
use crate::event::{Answer, AskId};
use crate::kernel::{Asker, BUSY_RETRY_US, Kernel};
use crate::status::{NodeState, ProcessInfo};
use crate::syscall::AgentRef;

/// Most tools of the kernel that run at a time; one more is answered `busy` (guess: four for each of 256 members).
const RUNS_MAX: usize = 1_024;

const TOOLS: &str = "agent.spawn, agent.stop, agent.suspend, agent.resume, agent.restart, agent.inspect, cron.add, \
                     cron.list, cron.remove and cron.run";

/// One call, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KernelTool {
    Spawn(Box<AgentSpec>),
    Stop(AgentRef),
    Suspend(AgentRef),
    Resume(AgentRef),
    Restart(AgentRef),
    Inspect(AgentRef),
    CronAdd(Box<CronSpec>),
    CronList,
    CronRemove(CronId),
    CronRun(CronId),
}

impl KernelTool {
    /// The call of this tool with these arguments; otherwise what is wrong with it.
    pub(super) fn parse(name: &str, args: &str) -> Result<Self, Refusal> {
        match name {
            "agent.spawn" => {
                let request: SpawnRequest = read(name, args)?;
                if request.on.is_some() || request.deadline_ms.is_some() {
                    let message = "agent.spawn starts where it is called, within the call's deadline".to_owned();
                    return Err(Refusal::Invalid { message });
                }
                request.into_spec().map(|spec| Self::Spawn(Box::new(spec)))
            }
            "agent.stop" => agent(name, args).map(Self::Stop),
            "agent.suspend" => agent(name, args).map(Self::Suspend),
            "agent.resume" => agent(name, args).map(Self::Resume),
            "agent.restart" => agent(name, args).map(Self::Restart),
            "agent.inspect" => agent(name, args).map(Self::Inspect),
            "cron.add" => read(name, args).and_then(CronSpec::of).map(|spec| Self::CronAdd(Box::new(spec))),
            "cron.list" => read(name, args).map(|Nothing {}| Self::CronList),
            "cron.remove" => job(name, args).map(Self::CronRemove),
            "cron.run" => job(name, args).map(Self::CronRun),
            _ => {
                let name: String = name.chars().take(64).collect();
                Err(Refusal::Unsupported { what: format!("the tool {name}; the kernel has {TOOLS}") })
            }
        }
    }

    /// What the gate judges.
    pub(super) fn action(&self) -> Action {
        let target = self.subject().to_string();
        match self {
            Self::Spawn(spec) => Action::Spawn { agent: spec.agent.clone() },
            Self::Stop(_) => Action::Stop { target },
            Self::Suspend(_) => Action::Suspend { target },
            Self::Resume(_) => Action::Resume { target },
            Self::Restart(_) => Action::Restart { target },
            Self::Inspect(_) => Action::Inspect { target },
            Self::CronAdd(spec) => Action::CronAdd { target: spec.target.to_string() },
            Self::CronList => Action::CronList,
            Self::CronRemove(job) => Action::CronRemove { job: *job },
            Self::CronRun(job) => Action::CronRun { job: *job },
        }
    }

    /// Which agent or process it is about; of a job, whom its messages are for, or the kernel that keeps it.
    pub(super) fn subject(&self) -> LocalTarget {
        match self {
            Self::Spawn(spec) => LocalTarget::Agent(spec.agent.clone()),
            Self::Stop(agent)
            | Self::Suspend(agent)
            | Self::Resume(agent)
            | Self::Restart(agent)
            | Self::Inspect(agent) => target_of(agent),
            Self::CronAdd(spec) => spec.target.local.clone(),
            Self::CronList | Self::CronRemove(_) | Self::CronRun(_) => LocalTarget::Kernel,
        }
    }
}

fn read<T: DeserializeOwned>(tool: &str, args: &str) -> Result<T, Refusal> {
    let wrong = |error: serde_json::Error| Refusal::Invalid { message: shortened(&format!("{tool}: {error}")) };
    serde_json::from_str(args).map_err(wrong)
}

/// The arguments of a tool that takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn job(tool: &str, args: &str) -> Result<CronId, Refusal> {
    let CronToolRequest { job } = read(tool, args)?;
    Ok(job.parse()?)
}

fn agent(tool: &str, args: &str) -> Result<AgentRef, Refusal> {
    let request: AgentToolRequest = read(tool, args)?;
    let target: Target = request.agent.parse()?;
    match (target.node, target.local) {
        (None, LocalTarget::Agent(name)) => Ok(AgentRef::Name(name)),
        (None, LocalTarget::Process(process)) => Ok(AgentRef::Process(process)),
        _ => Err(Refusal::Invalid { message: format!("{tool}: `{}` is not an agent of this node", request.agent) }),
    }
}

/// Whether an envelope calls a tool of the kernel.
pub(super) const fn is_tool_call(target: &LocalTarget, payload: &Payload) -> bool {
    matches!((target, payload), (LocalTarget::Kernel, Payload::ToolCall { .. }))
}

/// A tool that runs, and whom to tell.
#[derive(Debug)]
pub(crate) struct ToolRun {
    from: NodeId,
    message: MessageId,
    trace: TraceId,
    sender: Sender,
    target: String,
    level: Level,
    cause: Vec<Digest>,
}

/// Invariant: both maps name the same runs.
#[derive(Debug, Default)]
pub(crate) struct ToolRuns {
    runs: BTreeMap<AskId, ToolRun>,
    messages: BTreeMap<MessageId, AskId>,
}

impl ToolRuns {
    /// Whether the answer to this call is still to come.
    pub(crate) fn works_on(&self, message: &MessageId) -> bool {
        self.messages.contains_key(message)
    }

    /// The run that this question of the kernel belongs to, forgotten here.
    pub(crate) fn take(&mut self, ask: AskId) -> Option<ToolRun> {
        let run = self.runs.remove(&ask)?;
        self.messages.remove(&run.message);
        Some(run)
    }

    fn insert(&mut self, ask: AskId, run: ToolRun) {
        self.messages.insert(run.message, ask);
        self.runs.insert(ask, run);
    }
}

impl Kernel {
    /// Runs a tool that the gate permitted; the caller is answered when what it does is done and recorded.
    pub(super) fn run_tool(
        &mut self,
        from: NodeId,
        role: Option<Role>,
        envelope: &Envelope,
        rule: &str,
    ) -> Result<(), Refusal> {
        let Payload::ToolCall { name, args } = &envelope.payload else { return Ok(()) };
        let tool = KernelTool::parse(name, args)?;
        let sender = envelope.from.clone();
        let by = match role {
            None => self.asker(&sender.principal)?,
            Some(_) => Asker {
                sender,
                grants: Arc::new(envelope.grant.iter().cloned().collect()),
                foreign: Vec::new(),
                role,
                reach: None,
            },
        };
        if self.tool_runs.runs.len() >= RUNS_MAX {
            return Err(Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        }
        let run = ToolRun {
            from,
            message: envelope.id,
            trace: envelope.trace,
            sender: envelope.from.clone(),
            target: envelope.target.to_string(),
            level: envelope.level,
            cause: envelope.cause.clone(),
        };
        self.record_tool_step(&run, Stage::Received, rule, Some(&envelope.payload));
        let ask = self.next_own_ask();
        match tool {
            KernelTool::Inspect(agent) => {
                let report = self.inspect(&by, &agent);
                let report = report.map(|info| json(&info.report(self.identity.chain.node)));
                self.end_tool_run(run, report);
            }
            tool => {
                self.tool_runs.insert(ask, run);
                self.start_tool(ask, &by, tool);
            }
        }
        Ok(())
    }

    fn start_tool(&mut self, ask: AskId, by: &Asker, tool: KernelTool) {
        match tool {
            KernelTool::Spawn(spec) => self.on_spawn(ask, by, *spec),
            KernelTool::Stop(agent) => self.on_stop(ask, by, &agent),
            KernelTool::Suspend(agent) => self.on_suspend(ask, by, &agent),
            KernelTool::Resume(agent) => self.on_resume(ask, by, &agent),
            KernelTool::Restart(agent) => self.on_restart(ask, by, &agent),
            KernelTool::Inspect(_) => {}
            KernelTool::CronAdd(spec) => self.on_cron_add(ask, by, *spec),
            KernelTool::CronList => self.on_cron_list(ask, by),
            KernelTool::CronRemove(job) => self.on_cron_remove(ask, by, job),
            KernelTool::CronRun(job) => self.on_cron_run(ask, by, job),
        }
    }

    /// Everything about one agent: the living one of that name, else the last that exited.
    fn inspect(&mut self, by: &Asker, agent: &AgentRef) -> Result<ProcessInfo, Refusal> {
        let target = target_of(agent);
        let action = by.wants(Action::Inspect { target: target.to_string() });
        let resources = self.resources_of(&target);
        let permit = self.judge(&by.sender, &action, &resources, &by.grants, None)?;
        self.use_grant(&by.sender, &permit);
        let found = match agent {
            AgentRef::Process(process) => self.process(*process),
            AgentRef::Name(name) => match self.agent(name) {
                Some(process) => self.process(process),
                None => self.processes().into_iter().rfind(|process| process.agent == *name),
            },
        };
        found.ok_or_else(|| Refusal::NoResponder { target: target.to_string() })
    }

    /// What a tool asked for was answered.
    pub(crate) fn on_tool_answered(&mut self, run: ToolRun, answer: Result<Answer, Refusal>) {
        let node = self.identity.chain.node.to_string();
        let reply = answer.and_then(|answer| match answer {
            Answer::Spawned { process } => {
                let (agent, state) = self.shown(process);
                Ok(json(&SpawnReport { agent, process: process.to_string(), node, state }))
            }
            Answer::Stopped { process, reason } => {
                let (agent, reason) = (self.shown(process).0, reason.to_string());
                Ok(json(&StopReport { agent, process: process.to_string(), node, reason }))
            }
            Answer::Suspended { process } => {
                let (agent, state) = (self.shown(process).0, "suspended".to_owned());
                Ok(json(&PauseReport { agent, process: process.to_string(), node, state }))
            }
            Answer::Resumed { process } => {
                let (agent, state) = (self.shown(process).0, "running".to_owned());
                Ok(json(&PauseReport { agent, process: process.to_string(), node, state }))
            }
            Answer::CronAdded(job) => Ok(json(&job.row())),
            Answer::CronJobs(jobs) => Ok(json(&CronReport { jobs: jobs.iter().map(CronJob::row).collect() })),
            Answer::CronRemoved { job } => Ok(json(&CronRemoveReport { id: job.to_string() })),
            Answer::CronRan { job, message, result } => Ok(json(&run_report(job, message, &result))),
            other => Err(failed(&format!("BUG: the tool was answered with {other:?}"))),
        });
        self.end_tool_run(run, reply);
    }

    /// The name and the state of a process.
    fn shown(&self, process: ProcessId) -> (String, String) {
        self.process(process)
            .map_or_else(|| ("?".to_owned(), "exited".to_owned()), |info| (info.agent.to_string(), info.shown_state()))
    }

    fn end_tool_run(&mut self, run: ToolRun, reply: Result<Payload, Refusal>) {
        let (from, message) = (run.from, run.message);
        let outcome = match reply {
            Ok(reply) => Outcome::Executed { reply: Some(reply) },
            Err(refusal) => Outcome::Refused(refusal),
        };
        if self.ending || self.state == NodeState::Damaged {
            // Nothing is recorded any more; what was done is.
            let hlc = self.chain.stamp_refusal(self.now);
            return self.release_receipt(from, Receipt { message, hlc, outcome, record: None, parts: None });
        }
        let (stage, rule, body) = end_of(&outcome);
        let (hlc, record) = self.record_tool_step(&run, stage, rule, body.as_ref());
        self.give_receipt(from, Receipt { message, hlc, outcome, record, parts: None });
    }

    /// The caller does not wait any more: a start that waits for what it needs does not happen, all else goes on.
    pub(super) fn withdraw_tool_run(&mut self, message: &MessageId) {
        let Some(ask) = self.tool_runs.messages.get(message).copied() else { return };
        if self.withdraw_waiting(ask)
            && let Some(run) = self.tool_runs.take(ask)
        {
            self.end_tool_run(run, Err(Refusal::Deadline { maybe_executed: false }));
        }
    }

    /// As an event of its own: what it does to agents stands beside it.
    fn record_tool_step(
        &mut self,
        run: &ToolRun,
        stage: Stage,
        rule: &str,
        body: Option<&Payload>,
    ) -> (weft_protocol::Hlc, Option<weft_protocol::RecordRef>) {
        let step = Step {
            stage,
            message: run.message,
            trace: run.trace,
            from: &run.sender,
            target: &run.target,
            peer: run.from,
            rule,
            body,
            durability: run.level.durability,
            cause: &run.cause,
            parts: None,
        };
        self.record_audited(&step, true)
    }
}

fn json(report: &impl Serialize) -> Payload {
    Payload::Json(serde_json::to_string(report).expect("BUG: a report that is no JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, args: &str) -> String {
        KernelTool::parse(name, args).expect_err("wrong").to_string()
    }

    #[test]
    fn what_is_no_tool_or_has_wrong_arguments_is_refused_with_the_reason() {
        assert!(refused("fs.read", "{}").ends_with(&format!("the tool fs.read; the kernel has {TOOLS}")));
        assert!(refused("agent.stop", "{}").contains("missing field `agent`"));
        assert!(refused("agent.stop", r#"{"agent":"a","force":true}"#).contains("unknown field `force`"));
        assert_eq!(refused("agent.stop", r#"{"agent":"a@beta"}"#), "agent.stop: `a@beta` is not an agent of this node");
        assert_eq!(
            refused("agent.stop", r#"{"agent":"topic:a"}"#),
            "agent.stop: `topic:a` is not an agent of this node"
        );
        assert!(refused("agent.spawn", r#"{"agent":"a"}"#).starts_with("exactly one of"));
        let on = refused("agent.spawn", r#"{"agent":"a","builtin":"echo","on":"beta"}"#);
        assert_eq!(on, "agent.spawn starts where it is called, within the call's deadline");
    }
}
