//! Whom an agent with a narrowed scope reaches, and who reaches it: asked besides the gate, on sending and on receiving.

use weft_protocol::{
    AgentName, AgentSpec, IpcScope, LocalTarget, MessageId, NodeId, Principal, Refusal, ScopedAgent, Sender, TopicName,
    TopicPattern,
};

use crate::kernel::{Asker, Kernel};
use crate::process::Life;

/// A scope that is not the whole, with whose it is and who spawned that agent.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    agent: AgentName,
    scope: IpcScope,
    parent: Sender,
}

impl Reach {
    /// That of a process; none when it reaches everybody.
    pub(crate) fn of(life: &Life) -> Option<Box<Self>> {
        match &life.spec.ipc_scope {
            None | Some(IpcScope::All) => None,
            Some(scope) => {
                let (agent, scope, parent) = (life.spec.agent.clone(), scope.clone(), life.by.clone());
                Some(Box::new(Self { agent, scope, parent }))
            }
        }
    }

    /// Whether it reaches that agent, and is reached by it; `own` is the node of the agent whose scope it is.
    fn includes(&self, own: NodeId, node: NodeId, agent: &AgentName) -> bool {
        match &self.scope {
            IpcScope::All => true,
            IpcScope::ParentOnly => match &self.parent.principal {
                Principal::Agent { agent: parent, .. } => self.parent.node == node && parent == agent,
                Principal::Operator => false,
            },
            IpcScope::Restricted(agents) => {
                let named = |one: &ScopedAgent| one.agent == *agent && one.node.unwrap_or(own) == node;
                agents.iter().any(named)
            }
            IpcScope::Topic(_) | IpcScope::None => false,
        }
    }

    fn admits(&self, own: NodeId, from: &Sender) -> bool {
        match &from.principal {
            Principal::Operator => from.node == own || self.scope == IpcScope::ParentOnly && self.parent == *from,
            Principal::Agent { agent, .. } => self.includes(own, from.node, agent),
        }
    }

    fn refusal(&self, what: String) -> Refusal {
        Refusal::OutOfScope { agent: self.agent.clone(), scope: self.scope.to_string(), what }
    }
}

/// Why a process takes nothing from that sender, when its scope is why.
pub(crate) fn refuses(life: &Life, own: NodeId, from: &Sender) -> Option<Refusal> {
    match &life.spec.ipc_scope {
        None | Some(IpcScope::All) => None,
        Some(_) => {
            let reach = Reach::of(life)?;
            let what = match &from.principal {
                Principal::Operator => format!("the operator of {}", from.node),
                Principal::Agent { agent, .. } if from.node == own => agent.to_string(),
                Principal::Agent { agent, .. } => format!("{agent}@{}", from.node),
            };
            (!reach.admits(own, from)).then(|| reach.refusal(what))
        }
    }
}

impl Kernel {
    /// Whether an agent's scope lets a message of it go to that target; `node` is where that is.
    pub(crate) fn check_reach(
        &mut self,
        by: &Asker,
        reach: &Reach,
        target: &LocalTarget,
        node: NodeId,
        message: MessageId,
    ) -> Result<(), Refusal> {
        let own = self.identity.chain.node;
        let agent = match target {
            LocalTarget::Agent(agent) => Some(agent.clone()),
            LocalTarget::Process(process) if node == own => {
                self.processes.living(*process).map(|life| life.spec.agent.clone())
            }
            LocalTarget::Kernel if node == own => return Ok(()),
            // Who answers there is not known here.
            LocalTarget::Process(_)
            | LocalTarget::Topic(_)
            | LocalTarget::Service(_)
            | LocalTarget::ServiceMethod { .. }
            | LocalTarget::Broadcast
            | LocalTarget::Kernel => None,
        };
        if agent.is_some_and(|agent| reach.includes(own, node, &agent)) {
            return Ok(());
        }
        let what = if node == own { target.to_string() } else { format!("{target}@{node}") };
        Err(self.deny_scope(&by.sender, reach, "send", what, Some(message)))
    }

    /// Whether an agent's scope lets it publish there.
    pub(crate) fn check_topic(&mut self, by: &Asker, topic: &TopicName, message: MessageId) -> Result<(), Refusal> {
        match by.reach.as_deref() {
            Some(reach) if !reach.scope.has_topic(topic) => {
                Err(self.deny_scope(&by.sender, reach, "publish", format!("topic:{topic}"), Some(message)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an agent's scope lets it listen there.
    pub(crate) fn check_topics(&mut self, by: &Asker, pattern: &TopicPattern) -> Result<(), Refusal> {
        match by.reach.as_deref() {
            Some(reach) if !reach.scope.has_topics(pattern) => {
                Err(self.deny_scope(&by.sender, reach, "subscribe", format!("topic:{pattern}"), None))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A spawned agent has its parent's scope, or a narrower one.
    pub(crate) fn narrow_scope(&mut self, by: &Asker, spec: &mut AgentSpec) -> Result<(), Refusal> {
        let Some(reach) = by.reach.as_deref() else { return Ok(()) };
        match &spec.ipc_scope {
            None => spec.ipc_scope = Some(reach.scope.clone()),
            Some(wanted) if reach.scope.includes(wanted) => {}
            Some(wanted) => {
                let (asked, held) = (format!("ipc scope {wanted}"), format!("ipc scope {}", reach.scope));
                self.deny(&by.sender, "widen-scope", &spec.agent.to_string(), &held, None);
                return Err(Refusal::Wider { asked, held });
            }
        }
        Ok(())
    }

    /// Records that a scope said no, and returns the refusal.
    fn deny_scope(
        &mut self,
        by: &Sender,
        reach: &Reach,
        action: &str,
        what: String,
        message: Option<MessageId>,
    ) -> Refusal {
        self.deny(by, action, &what, &format!("ipc scope {}", reach.scope), message);
        reach.refusal(what)
    }
}
