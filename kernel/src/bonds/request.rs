//! Making and undoing bonds because somebody asked: the operator for any agent of this node, an agent for itself alone.

use weft_protocol::limits::BONDS_MAX;
use weft_protocol::{
    BondKind, Bonded, Demonitored, ExitReason, Fact, Linked, LocalTarget, Monitored, ProcessEnd, ProcessId, Refusal,
    Target, Unlinked, Watched,
};

use super::fire::text;
use crate::action::Action;
use crate::chain::Promise;
use crate::event::{Answer, AskId, Route};
use crate::gate::DEFAULT_CLOSED;
use crate::kernel::{Asker, Kernel};
use crate::status::ProcessState;
use crate::supervisor::Meant;
use crate::syscall::AgentRef;

/// What is to be monitored.
enum Goal {
    Living(Watched),
    /// It is no more, and this is why.
    Gone(Watched, String),
}

impl Kernel {
    /// Links two processes of this node; the answer follows when that is on disk.
    pub(crate) fn on_link(&mut self, ask: AskId, by: &Asker, agent: Option<&AgentRef>, with: &Target, route: Route) {
        if let Err(refusal) = self.link(ask, by, agent, with, route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn link(
        &mut self,
        ask: AskId,
        by: &Asker,
        agent: Option<&AgentRef>,
        with: &Target,
        route: Route,
    ) -> Result<(), Refusal> {
        let action = |target| Action::Link { target };
        if let Some(refusal) = self.not_here(&route, with) {
            self.judge(&by.sender, &action(with.to_string()), &[with.to_string()], &by.all_grants(), None)?;
            return Err(refusal);
        }
        let other = self.living_meant(by, &agent_ref(with)?, action)?;
        let one = self.tied(by, agent, action)?;
        if one == other {
            return Err(Refusal::Invalid { message: "a process is not linked to itself".to_owned() });
        }
        let answer = Answer::Linked { one, other };
        if self.bonds.are_linked(one, other) {
            self.answer_when_written(ask, answer);
            return Ok(());
        }
        self.check_bonds(one)?;
        self.check_bonds(other)?;
        let principal = by.sender.principal.clone();
        let (one_end, other_end) = (self.bonded(one)?, self.bonded(other)?);
        let source = principal.to_string();
        let fact = Fact::Linked(Linked { one: one_end, other: other_end, by: principal });
        let seq = self.chain.append(&source, &fact, self.now).seq;
        self.bonds.link(one, other);
        self.chain.hold(seq, Promise::Answer { ask, answer: Ok(answer) });
        Ok(())
    }

    /// Undoes a link; the answer follows when that is on disk.
    pub(crate) fn on_unlink(&mut self, ask: AskId, by: &Asker, agent: Option<&AgentRef>, with: &Target, route: Route) {
        if let Err(refusal) = self.unlink(ask, by, agent, with, &route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn unlink(
        &mut self,
        ask: AskId,
        by: &Asker,
        agent: Option<&AgentRef>,
        with: &Target,
        route: &Route,
    ) -> Result<(), Refusal> {
        let action = |target| Action::Unlink { target };
        if let Some(refusal) = self.not_here(route, with) {
            self.judge(&by.sender, &action(with.to_string()), &[with.to_string()], &by.all_grants(), None)?;
            return Err(refusal);
        }
        let other = self.living_meant(by, &agent_ref(with)?, action)?;
        let one = self.tied(by, agent, action)?;
        if !self.bonds.are_linked(one, other) {
            return Err(Refusal::Invalid { message: format!("{one} and {other} are not linked") });
        }
        let principal = by.sender.principal.clone();
        let (one_end, other_end) = (self.bonded(one)?, self.bonded(other)?);
        let source = principal.to_string();
        let fact = Fact::Unlinked(Unlinked { one: one_end, other: other_end, by: principal });
        let seq = self.chain.append(&source, &fact, self.now).seq;
        self.bonds.unlink(one, other);
        self.chain.hold(seq, Promise::Answer { ask, answer: Ok(Answer::Unlinked { one, other }) });
        Ok(())
    }

    /// Lets a process hear of the end of another, on whichever node; `seen` is what the directory says of a target elsewhere.
    pub(crate) fn on_monitor(
        &mut self,
        ask: AskId,
        by: &Asker,
        watcher: Option<&AgentRef>,
        target: &Target,
        seen: Option<Watched>,
        route: Route,
    ) {
        if let Err(refusal) = self.monitor(ask, by, watcher, target, seen, route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn monitor(
        &mut self,
        ask: AskId,
        by: &Asker,
        watcher: Option<&AgentRef>,
        target: &Target,
        seen: Option<Watched>,
        route: Route,
    ) -> Result<(), Refusal> {
        let action = |target| Action::Monitor { target };
        let goal = self.goal(by, target, seen, route)?;
        let watcher = self.tied(by, watcher, action)?;
        let (target, gone) = match goal {
            Goal::Living(target) => (target, None),
            Goal::Gone(target, reason) => (target, Some(reason)),
        };
        let (own, answer) = (self.identity.chain.node, Answer::Monitored { watcher, target: target.clone() });
        if target.node == own && target.process == watcher {
            return Err(Refusal::Invalid { message: "a process does not monitor itself".to_owned() });
        }
        if self.bonds.monitors_of(watcher).any(|watched| *watched == target) {
            self.answer_when_written(ask, answer);
            return Ok(());
        }
        self.check_bonds(watcher)?;
        let principal = by.sender.principal.clone();
        let (source, by) = (principal.to_string(), principal);
        let fact = Fact::Monitored(Monitored { watcher: self.bonded(watcher)?, target: target.clone(), by });
        let seq = self.chain.append(&source, &fact, self.now).seq;
        self.chain.hold(seq, Promise::Answer { ask, answer: Ok(answer) });
        let Some(reason) = gone else {
            self.bonds.monitor(watcher, target);
            return Ok(());
        };
        let Watched { node, agent, process } = target;
        let end = ProcessEnd { node, agent, process: Some(process), reason };
        self.tell_end(watcher, BondKind::Monitor, end, false);
        Ok(())
    }

    /// What a permitted target stands for.
    fn goal(&mut self, by: &Asker, target: &Target, seen: Option<Watched>, route: Route) -> Result<Goal, Refusal> {
        let own = self.identity.chain.node;
        let action = |target| Action::Monitor { target };
        match route {
            Route::Local => self.goal_here(by, &agent_ref(target)?),
            Route::Remote(node) if node == own => self.goal_here(by, &agent_ref(target)?),
            Route::Remote(node) => {
                let texts = [target.to_string(), format!("{}@{node}", target.local)];
                self.judge(&by.sender, &action(target.to_string()), &texts, &by.all_grants(), None)?;
                agent_ref(target)?;
                let Some(watched) = seen else {
                    return Err(match target.local {
                        LocalTarget::Process(process) => Refusal::Gone { process },
                        _ => Refusal::NoResponder { target: target.to_string() },
                    });
                };
                let end = self.bonds.end_elsewhere(node, watched.process).map(|exited| text(&exited.reason));
                Ok(end.map_or(Goal::Living(watched.clone()), |reason| Goal::Gone(watched, reason)))
            }
            Route::Nowhere(refusal) => {
                self.judge(&by.sender, &action(target.to_string()), &[target.to_string()], &by.all_grants(), None)?;
                Err(refusal)
            }
        }
    }

    fn goal_here(&mut self, by: &Asker, agent: &AgentRef) -> Result<Goal, Refusal> {
        let node = self.identity.chain.node;
        match self.find(by, agent, |target| Action::Monitor { target }) {
            Ok(Meant::Living(process)) => {
                let Bonded { agent, process } = self.bonded(process)?;
                Ok(Goal::Living(Watched { node, agent, process }))
            }
            Ok(Meant::Resting(agent)) => {
                let child = self.supervisors.get(&agent);
                let rest = child.and_then(|child| child.rest.as_ref().map(|rest| (child.process, &rest.exit)));
                let (process, exit) = rest.ok_or_else(|| Refusal::NoResponder { target: agent.to_string() })?;
                Ok(Goal::Gone(Watched { node, agent, process }, text(exit)))
            }
            // What is gone but not forgotten is told of at once.
            Err(refusal @ (Refusal::Gone { .. } | Refusal::NoResponder { .. })) => {
                let last = self.last_exited(agent).ok_or(refusal)?;
                let (Bonded { agent, process }, reason) = last;
                Ok(Goal::Gone(Watched { node, agent, process }, text(&reason)))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn last_exited(&self, agent: &AgentRef) -> Option<(Bonded, ExitReason)> {
        let is_meant = |life: &&crate::process::Life| match agent {
            AgentRef::Name(name) => life.spec.agent == *name,
            AgentRef::Process(process) => life.process == *process,
        };
        let life = self.processes.all().filter(is_meant).last()?;
        match life.state() {
            ProcessState::Exited(reason) => {
                Some((Bonded { agent: life.spec.agent.clone(), process: life.process }, reason.clone()))
            }
            ProcessState::Starting | ProcessState::Running | ProcessState::Suspended | ProcessState::Stopping => None,
        }
    }

    /// Undoes a monitor; the answer follows when that is on disk.
    pub(crate) fn on_demonitor(
        &mut self,
        ask: AskId,
        by: &Asker,
        watcher: Option<&AgentRef>,
        target: &Target,
        route: Route,
    ) {
        if let Err(refusal) = self.demonitor(ask, by, watcher, target, &route) {
            self.effects.answer(ask, Err(refusal));
        }
    }

    fn demonitor(
        &mut self,
        ask: AskId,
        by: &Asker,
        watcher: Option<&AgentRef>,
        target: &Target,
        route: &Route,
    ) -> Result<(), Refusal> {
        let action = |target| Action::Demonitor { target };
        self.judge(&by.sender, &action(target.to_string()), &[target.to_string()], &by.all_grants(), None)?;
        let watcher = self.tied(by, watcher, action)?;
        let own = self.identity.chain.node;
        let on = match route {
            Route::Local => Some(own),
            Route::Remote(node) => Some(*node),
            // The directory has forgotten it; the monitor may still stand.
            Route::Nowhere(_) => None,
        };
        let is_meant = |watched: &&Watched| {
            let named = match &target.local {
                LocalTarget::Agent(agent) => watched.agent == *agent,
                LocalTarget::Process(process) => watched.process == *process,
                LocalTarget::Topic(_)
                | LocalTarget::Service(_)
                | LocalTarget::ServiceMethod { .. }
                | LocalTarget::Broadcast
                | LocalTarget::Kernel => false,
            };
            named && on.is_none_or(|node| watched.node == node)
        };
        let Some(watched) = self.bonds.monitors_of(watcher).find(is_meant).cloned() else {
            return Err(Refusal::Invalid { message: format!("{watcher} does not monitor {target}") });
        };
        let principal = by.sender.principal.clone();
        let (source, by) = (principal.to_string(), principal);
        let fact = Fact::Demonitored(Demonitored { watcher: self.bonded(watcher)?, target: watched.clone(), by });
        let seq = self.chain.append(&source, &fact, self.now).seq;
        self.bonds.demonitor(watcher, &watched);
        let answer = Ok(Answer::Demonitored { watcher, target: watched });
        self.chain.hold(seq, Promise::Answer { ask, answer });
        Ok(())
    }

    /// Why a link cannot lead there, when its end is not on this node.
    fn not_here(&self, route: &Route, with: &Target) -> Option<Refusal> {
        match route {
            Route::Local => None,
            Route::Remote(node) if *node == self.identity.chain.node => None,
            Route::Remote(_) => {
                let what = format!("a link to {with}, which is on another node; monitor it instead");
                Some(Refusal::Unsupported { what })
            }
            Route::Nowhere(refusal) => Some(refusal.clone()),
        }
    }

    /// Whose bond it is: an agent's own, or whichever agent the operator names.
    fn tied(
        &mut self,
        by: &Asker,
        agent: Option<&AgentRef>,
        action: impl Fn(String) -> Action,
    ) -> Result<ProcessId, Refusal> {
        match (by.process(), agent) {
            (Some(process), None) => Ok(process),
            (Some(process), Some(AgentRef::Process(named))) if process == *named => Ok(process),
            (Some(_), Some(agent)) => {
                let target = match agent {
                    AgentRef::Name(name) => name.to_string(),
                    AgentRef::Process(process) => process.to_string(),
                };
                Err(self.deny(&by.sender, action(target.clone()).name(), &target, DEFAULT_CLOSED, None))
            }
            (None, Some(agent)) => self.living_meant(by, agent, action),
            (None, None) => Err(Refusal::Invalid { message: "it must be said whose bond it is".to_owned() }),
        }
    }

    /// A living process that is not on its way out.
    fn living_meant(
        &mut self,
        by: &Asker,
        agent: &AgentRef,
        action: impl FnOnce(String) -> Action,
    ) -> Result<ProcessId, Refusal> {
        match self.find(by, agent, action)? {
            Meant::Living(process) if self.processes.living(process).is_some_and(|life| life.stop.is_none()) => {
                Ok(process)
            }
            Meant::Living(process) => Err(Refusal::Gone { process }),
            Meant::Resting(agent) => {
                Err(self.restarting(&agent).unwrap_or(Refusal::NoResponder { target: agent.to_string() }))
            }
        }
    }

    pub(crate) fn bonded(&self, process: ProcessId) -> Result<Bonded, Refusal> {
        let life = self.processes.living(process).ok_or(Refusal::Gone { process })?;
        Ok(Bonded { agent: life.spec.agent.clone(), process })
    }

    fn check_bonds(&self, process: ProcessId) -> Result<(), Refusal> {
        if self.bonds.count(process) < BONDS_MAX {
            return Ok(());
        }
        let message = format!("{process} has {BONDS_MAX} links and monitors, at most so many are possible: undo some");
        Err(Refusal::Invalid { message })
    }

    /// Answers when all that was recorded so far is on disk: what the answer says may be among it.
    fn answer_when_written(&mut self, ask: AskId, answer: Answer) {
        let promise = Promise::Answer { ask, answer: Ok(answer) };
        if let Some(Promise::Answer { ask, answer }) = self.chain.hold_written(promise) {
            self.effects.answer(ask, answer);
        }
    }
}

/// The agent that a target names; bonds tie nothing else.
fn agent_ref(target: &Target) -> Result<AgentRef, Refusal> {
    match &target.local {
        LocalTarget::Agent(agent) => Ok(AgentRef::Name(agent.clone())),
        LocalTarget::Process(process) => Ok(AgentRef::Process(*process)),
        LocalTarget::Topic(_)
        | LocalTarget::Service(_)
        | LocalTarget::ServiceMethod { .. }
        | LocalTarget::Broadcast
        | LocalTarget::Kernel => {
            let message = format!("{target} is no process: a bond names an agent, or a process like #12.3");
            Err(Refusal::Invalid { message })
        }
    }
}
