//! Making and undoing bonds because somebody asked: the operator for any agent of this node, an agent for itself alone.

use weft_protocol::limits::BONDS_MAX;
use weft_protocol::{
    BondKind, Bonded, Demonitored, ExitReason, Fact, Linked, LocalTarget, Monitored, Principal, ProcessEnd, ProcessId,
    Refusal, Target, Unlinked, Watched,
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

/// What came of a request.
enum Done {
    /// It is recorded there; the answer follows when that is on disk.
    Recorded(u64, Answer),
    /// It was so already.
    Stands(Answer),
}

/// What is to be monitored.
enum Goal {
    Living(Watched),
    /// It is no more, and this is why.
    Gone(Watched, String),
}

impl Kernel {
    /// Links two processes of this node; the answer follows when that is on disk.
    pub(crate) fn on_link(&mut self, ask: AskId, by: &Asker, agent: Option<&AgentRef>, with: &Target, route: Route) {
        let done = self.link(by, agent, with, &route);
        self.conclude(ask, done);
    }

    /// Undoes a link; the answer follows when that is on disk.
    pub(crate) fn on_unlink(&mut self, ask: AskId, by: &Asker, agent: Option<&AgentRef>, with: &Target, route: Route) {
        let done = self.unlink(by, agent, with, &route);
        self.conclude(ask, done);
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
        let done = self.monitor(by, watcher, target, seen, &route);
        self.conclude(ask, done);
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
        let done = self.demonitor(by, watcher, target, &route);
        self.conclude(ask, done);
    }

    fn conclude(&mut self, ask: AskId, done: Result<Done, Refusal>) {
        match done {
            Ok(Done::Recorded(seq, answer)) => self.chain.hold(seq, Promise::Answer { ask, answer: Ok(answer) }),
            Ok(Done::Stands(answer)) => self.answer_when_written(ask, answer),
            Err(refusal) => self.effects.answer(ask, Err(refusal)),
        }
    }

    fn link(&mut self, by: &Asker, agent: Option<&AgentRef>, with: &Target, route: &Route) -> Result<Done, Refusal> {
        let (one, other) = self.ends_of_link(by, agent, with, route, |target| Action::Link { target })?;
        let answer = Answer::Linked { one: one.process, other: other.process };
        if one == other {
            return Err(Refusal::Invalid { message: "a process is not linked to itself".to_owned() });
        }
        if self.bonds.are_linked(one.process, other.process) {
            return Ok(Done::Stands(answer));
        }
        self.check_bonds(one.process)?;
        self.check_bonds(other.process)?;
        self.bonds.link(one.process, other.process);
        let seq = self.record_for(by, |by| Fact::Linked(Linked { one, other, by }));
        Ok(Done::Recorded(seq, answer))
    }

    fn unlink(&mut self, by: &Asker, agent: Option<&AgentRef>, with: &Target, route: &Route) -> Result<Done, Refusal> {
        let (one, other) = self.ends_of_link(by, agent, with, route, |target| Action::Unlink { target })?;
        if !self.bonds.are_linked(one.process, other.process) {
            let message = format!("{} and {} are not linked", one.process, other.process);
            return Err(Refusal::Invalid { message });
        }
        let answer = Answer::Unlinked { one: one.process, other: other.process };
        self.bonds.unlink(one.process, other.process);
        let seq = self.record_for(by, |by| Fact::Unlinked(Unlinked { one, other, by }));
        Ok(Done::Recorded(seq, answer))
    }

    /// The two living processes that a link is about.
    fn ends_of_link(
        &mut self,
        by: &Asker,
        agent: Option<&AgentRef>,
        with: &Target,
        route: &Route,
        action: impl Fn(String) -> Action,
    ) -> Result<(Bonded, Bonded), Refusal> {
        if let Some(refusal) = self.not_here(route, with) {
            self.judge_target(by, with, &action, Vec::new())?;
            return Err(refusal);
        }
        let other = self.living_meant(by, &agent_ref(with)?, &action)?;
        let one = self.tied(by, agent, action)?;
        Ok((self.bonded(one)?, self.bonded(other)?))
    }

    fn monitor(
        &mut self,
        by: &Asker,
        watcher: Option<&AgentRef>,
        target: &Target,
        seen: Option<Watched>,
        route: &Route,
    ) -> Result<Done, Refusal> {
        let goal = self.goal(by, target, seen, route)?;
        let watcher = self.tied(by, watcher, |target| Action::Monitor { target })?;
        let (target, gone) = match goal {
            Goal::Living(target) => (target, None),
            Goal::Gone(target, reason) => (target, Some(reason)),
        };
        let answer = Answer::Monitored { watcher, target: target.clone() };
        if target.node == self.identity.chain.node && target.process == watcher {
            return Err(Refusal::Invalid { message: "a process does not monitor itself".to_owned() });
        }
        if self.bonds.monitors_of(watcher).any(|watched| *watched == target) {
            return Ok(Done::Stands(answer));
        }
        self.check_bonds(watcher)?;
        let (bonded, watched) = (self.bonded(watcher)?, target.clone());
        let seq = self.record_for(by, |by| Fact::Monitored(Monitored { watcher: bonded, target: watched, by }));
        match gone {
            None => self.bonds.monitor(watcher, target),
            Some(reason) => {
                let Watched { node, agent, process } = target;
                let end = ProcessEnd { node, agent, process: Some(process), reason };
                self.tell_end(watcher, BondKind::Monitor, end, false);
            }
        }
        Ok(Done::Recorded(seq, answer))
    }

    fn demonitor(
        &mut self,
        by: &Asker,
        watcher: Option<&AgentRef>,
        target: &Target,
        route: &Route,
    ) -> Result<Done, Refusal> {
        let action = |target| Action::Demonitor { target };
        self.judge_target(by, target, action, Vec::new())?;
        let watcher = self.tied(by, watcher, action)?;
        let on = match route {
            Route::Local => Some(self.identity.chain.node),
            Route::Remote(node) => Some(*node),
            // The directory has forgotten it; the monitor may still stand.
            Route::Nowhere(_) => None,
        };
        let agent = agent_ref(target)?;
        let is_meant = |watched: &&Watched| {
            let named = match &agent {
                AgentRef::Name(name) => watched.agent == *name,
                AgentRef::Process(process) => watched.process == *process,
            };
            named && on.is_none_or(|node| watched.node == node)
        };
        let Some(watched) = self.bonds.monitors_of(watcher).find(is_meant).cloned() else {
            return Err(Refusal::Invalid { message: format!("{watcher} does not monitor {target}") });
        };
        let answer = Answer::Demonitored { watcher, target: watched.clone() };
        self.bonds.demonitor(watcher, &watched);
        let watcher = self.bonded(watcher)?;
        let seq = self.record_for(by, |by| Fact::Demonitored(Demonitored { watcher, target: watched, by }));
        Ok(Done::Recorded(seq, answer))
    }

    /// Records what somebody of this node asked for.
    fn record_for(&mut self, by: &Asker, fact: impl FnOnce(Principal) -> Fact) -> u64 {
        let principal = by.sender.principal.clone();
        let source = principal.to_string();
        self.chain.append(&source, &fact(principal), self.now).seq
    }

    /// Asks the gate about a target by what was written, and by these texts besides.
    fn judge_target(
        &mut self,
        by: &Asker,
        target: &Target,
        action: impl Fn(String) -> Action,
        besides: Vec<String>,
    ) -> Result<(), Refusal> {
        let texts = [vec![target.to_string()], besides].concat();
        self.judge(&by.sender, &action(target.to_string()), &texts, &by.all_grants(), None).map(drop)
    }

    /// What a permitted target stands for.
    fn goal(&mut self, by: &Asker, target: &Target, seen: Option<Watched>, route: &Route) -> Result<Goal, Refusal> {
        let own = self.identity.chain.node;
        let action = |target| Action::Monitor { target };
        match route {
            Route::Local => self.goal_here(by, &agent_ref(target)?),
            Route::Remote(node) if *node == own => self.goal_here(by, &agent_ref(target)?),
            Route::Remote(node) => {
                self.judge_target(by, target, action, vec![format!("{}@{node}", target.local)])?;
                agent_ref(target)?;
                let Some(watched) = seen else {
                    return Err(match target.local {
                        LocalTarget::Process(process) => Refusal::Gone { process },
                        _ => Refusal::NoResponder { target: target.to_string() },
                    });
                };
                let end = self.bonds.end_elsewhere(*node, watched.process).map(|exited| text(&exited.reason));
                Ok(end.map_or(Goal::Living(watched.clone()), |reason| Goal::Gone(watched, reason)))
            }
            Route::Nowhere(refusal) => {
                self.judge_target(by, target, action, Vec::new())?;
                Err((**refusal).clone())
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

    /// Why a link cannot lead there, when its end is not on this node.
    fn not_here(&self, route: &Route, with: &Target) -> Option<Refusal> {
        match route {
            Route::Local => None,
            Route::Remote(node) if *node == self.identity.chain.node => None,
            Route::Remote(_) => {
                let what = format!("a link to {with}, which is on another node; monitor it instead");
                Some(Refusal::Unsupported { what })
            }
            Route::Nowhere(refusal) => Some((**refusal).clone()),
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
