//! Signals as messages: those that change a life are judged and carried out by the kernel, `ping` is answered by it, and all
//! others reach their agent in the order of its mailbox.

use weft_protocol::{
    Effect, Grant, LocalTarget, MessageId, Outcome, Payload, Principal, ProcessId, Refusal, Sender, Signal,
};

use crate::action::Action;
use crate::chain::Promise;
use crate::kernel::Kernel;
use crate::process::Cause;

/// What a signal does to a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LifeSignal {
    /// Stop it, with the time that it is given.
    Shutdown,
    /// End it at once.
    Kill,
    Suspend,
    Resume,
}

/// What the signal that a message carries does to a life; none when it carries none, or one that is for the agent.
pub(crate) const fn life_signal(payload: &Payload) -> Option<LifeSignal> {
    match payload {
        Payload::Signal(signal) => match **signal {
            Signal::Shutdown => Some(LifeSignal::Shutdown),
            Signal::Kill => Some(LifeSignal::Kill),
            Signal::Suspend => Some(LifeSignal::Suspend),
            Signal::Resume => Some(LifeSignal::Resume),
            Signal::Ping
            | Signal::Pong
            | Signal::ReloadConfig
            | Signal::DumpState
            | Signal::UserDefined(_)
            | Signal::LinkExit(_)
            | Signal::MonitorDown(_)
            | Signal::ResourceWarning { .. } => None,
        },
        Payload::Text(_)
        | Payload::Json(_)
        | Payload::Binary(_)
        | Payload::ToolCall { .. }
        | Payload::ToolResult { .. } => None,
    }
}

impl Kernel {
    /// Judges a signal as what it does, besides the message that carries it. What only a kernel knows no agent may say.
    pub(crate) fn judge_signal(
        &mut self,
        payload: &Payload,
        from: &Sender,
        target: &LocalTarget,
        grants: &[Grant],
        message: MessageId,
    ) -> Result<(), Refusal> {
        let Payload::Signal(signal) = payload else { return Ok(()) };
        let text = target.to_string();
        let action = match **signal {
            Signal::Shutdown | Signal::Kill => Action::Stop { target: text.clone() },
            Signal::Suspend => Action::Suspend { target: text.clone() },
            Signal::Resume => Action::Resume { target: text.clone() },
            Signal::LinkExit(_) | Signal::MonitorDown(_) | Signal::ResourceWarning { .. } => {
                let own_operator = from.principal == Principal::Operator && from.node == self.identity.chain.node;
                if own_operator {
                    return Ok(());
                }
                let rule = crate::gate::DEFAULT_CLOSED;
                return Err(self.deny(from, &signal.to_string(), &text, rule, Some(message)));
            }
            Signal::Ping | Signal::Pong | Signal::ReloadConfig | Signal::DumpState | Signal::UserDefined(_) => {
                return Ok(());
            }
        };
        let mut resources = vec![text];
        if let LocalTarget::Process(process) = target {
            let life = self.processes.living(*process);
            resources.extend(life.map(|life| life.spec.agent.to_string()));
        }
        self.judge(from, &action, &resources, grants, Some(message)).map(drop)
    }

    /// The process that a signal is for; one that is ending can still be told to hurry.
    pub(super) fn resolve_signal(&self, target: &LocalTarget) -> Result<ProcessId, Refusal> {
        let living = match target {
            LocalTarget::Agent(agent) => self.processes.named(agent),
            LocalTarget::Process(process) => self.processes.living(*process).map(|life| life.process),
            LocalTarget::Topic(_) => None,
            LocalTarget::Service(_)
            | LocalTarget::ServiceMethod { .. }
            | LocalTarget::Broadcast
            | LocalTarget::Kernel => {
                let what = format!("a signal to {target}; name the agent");
                return Err(Refusal::Unsupported { what });
            }
        };
        living.map_or_else(|| self.resolve(target), Ok)
    }

    /// Carries out a signal whose message is recorded; its sender is told when the intent is on disk.
    pub(super) fn act_on_signal(&mut self, message: MessageId, process: ProcessId, by: &Sender, signal: LifeSignal) {
        let done = match signal {
            LifeSignal::Shutdown => Ok(self.end_by_signal(process, by, self.config.grace_us)),
            LifeSignal::Kill => Ok(self.end_by_signal(process, by, 0)),
            LifeSignal::Suspend => self.pause(process, by, false, None),
            LifeSignal::Resume => self.pause(process, by, true, None),
        };
        match done {
            Ok(Some(seq)) => self.chain.hold(seq, Promise::Signalled { message }),
            Ok(None) => self.on_signalled(&message),
            Err(refusal) => self.end_incoming(&message, &Outcome::Refused(refusal)),
        }
    }

    fn end_by_signal(&mut self, process: ProcessId, by: &Sender, grace_us: u64) -> Option<u64> {
        let agent = self.processes.living(process)?.spec.agent.clone();
        let effect = Effect::Stop { process, agent, by: by.principal.clone(), from: self.abroad(by) };
        self.end(&self.source(by), process, effect, Cause::Asked, grace_us, None)
    }

    /// What a signal asked for is under way.
    pub(crate) fn on_signalled(&mut self, message: &MessageId) {
        self.end_incoming(message, &Outcome::Executed { reply: None });
    }

    /// Hands a signal to its agent, or answers it.
    pub(super) fn deliver_signal(&mut self, message: &MessageId, process: ProcessId, signal: Signal, from: Sender) {
        let reply = if signal == Signal::Ping {
            Some(Payload::Signal(Box::new(Signal::Pong)))
        } else {
            self.effects.signal(process, signal, Some(from));
            None
        };
        self.end_incoming(message, &Outcome::Executed { reply });
    }
}
