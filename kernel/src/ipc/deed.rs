//! What a message does besides being a message: one that changes or shows the life of an agent is judged as that.

use weft_protocol::{Grant, LocalTarget, MessageId, Payload, Refusal, Role, Sender};

use super::send::Message;
use super::signal::{LifeSignal, life_signal};
use super::tools::KernelTool;
use crate::action::Action;
use crate::kernel::{Asker, Kernel, Permit};
use crate::syscall::AgentRef;

/// What the receiving kernel does itself.
#[derive(Debug)]
pub(super) enum Deed {
    /// It runs a tool of its own.
    Tool(KernelTool),
    /// It carries a signal out.
    Signal(LifeSignal, LocalTarget),
}

impl Deed {
    /// What a message with this target and payload does; none when it is for an agent, or only asks the kernel.
    pub(super) fn of(target: &LocalTarget, payload: &Payload) -> Result<Option<Self>, Refusal> {
        match (target, payload) {
            (LocalTarget::Kernel, Payload::ToolCall { name, args }) => {
                KernelTool::parse(name, args).map(|tool| Some(Self::Tool(tool)))
            }
            (target, payload) => Ok(life_signal(payload).map(|signal| Self::Signal(signal, target.clone()))),
        }
    }

    fn action(&self) -> Action {
        match self {
            Self::Tool(tool) => tool.action(),
            Self::Signal(signal, target) => {
                let target = target.to_string();
                match signal {
                    LifeSignal::Shutdown | LifeSignal::Kill => Action::Stop { target },
                    LifeSignal::Suspend => Action::Suspend { target },
                    LifeSignal::Resume => Action::Resume { target },
                }
            }
        }
    }

    /// The agent or process that it is about.
    fn subject(&self) -> LocalTarget {
        match self {
            Self::Tool(tool) => tool.subject(),
            Self::Signal(_, target) => target.clone(),
        }
    }
}

/// An agent or a process as a target.
pub(super) fn target_of(agent: &AgentRef) -> LocalTarget {
    match agent {
        AgentRef::Name(name) => LocalTarget::Agent(name.clone()),
        AgentRef::Process(process) => LocalTarget::Process(*process),
    }
}

impl Kernel {
    /// Judges what a message of this node does on another one; its permit's grant is the one that travels.
    pub(super) fn judge_deed(
        &mut self,
        by: &Asker,
        message: &Message,
        grants: &[Grant],
        id: MessageId,
    ) -> Result<Option<Permit>, Refusal> {
        let Some(deed) = Deed::of(&message.target.local, &message.payload)? else { return Ok(None) };
        let subject = deed.subject();
        let resource =
            message.target.node.as_ref().map_or_else(|| subject.to_string(), |node| format!("{subject}@{node}"));
        let permit = self.judge(&by.sender, &deed.action(), &[resource], grants, Some(id))?;
        if let Deed::Tool(KernelTool::Spawn(spec)) = &deed {
            self.check_sandbox_elsewhere(by, spec)?;
        }
        Ok(Some(permit))
    }

    /// Judges what a message of another node does here.
    pub(super) fn judge_foreign(
        &mut self,
        deed: &Deed,
        from: &Sender,
        role: Role,
        grants: &[Grant],
        message: MessageId,
    ) -> Result<Permit, Refusal> {
        let action = Action::Foreign { role, action: Box::new(deed.action()) };
        let resources = self.resources_of(&deed.subject());
        self.judge(from, &action, &resources, grants, Some(message))
    }
}
