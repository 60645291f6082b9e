//! What happens to nodes from outside: what users ask of them, and every disaster.

use std::collections::BTreeMap;

use weft_kernel::{AgentRef, Start, Syscall};
use weft_peer::{AskId, Question};
use weft_protocol::limits::ENVELOPE_BYTES_MAX;
use weft_protocol::{
    AgentName, AgentSpec, Backend, BuiltinKind, Delivery, Durability, Level, LocalTarget, NodeRef, Payload,
    RestartPolicy, Role, Target, TopicName, TopicPattern,
};

use crate::clock::WallClock;
use crate::disk::Unsynced;
use crate::faults::Fault;
use crate::generate::TOPICS;
use crate::node::Armed;
use crate::reference::Asked;
use crate::transition::{AgentKind, Transition};
use crate::world::{Event, INVITE_TTL_US, World};

impl World {
    /// One step of a plan.
    pub(crate) fn transit(&mut self, transition: Transition) {
        self.judge_stability();
        self.judge_deaths(&transition);
        self.ledger.happened(self.now_us, &transition);
        self.trace.add(self.now_us, None, format_args!("{transition:?}"));
        match transition {
            Transition::Spawn { node, agent } => self.when_running(node, |world| world.spawn(node, agent)),
            Transition::SpawnOn { node, on } => self.when_running(node, |world| world.spawn_on(node, on)),
            Transition::Roam { node } => self.when_running(node, |world| world.roam(node)),
            Transition::Leave { node } => self.when_running(node, |world| world.leave(node)),
            Transition::Serve { node } => self.when_running(node, |world| world.serve(node)),
            Transition::CallService { node, deadline_us } => {
                self.when_running(node, |world| world.call_service(node, deadline_us));
            }
            Transition::Stop { node, agent } => self.when_running(node, |world| world.stop_agent(node, agent)),
            Transition::Send { node, to, agent, durable } => {
                self.when_running(node, |world| world.send(node, Some(to), agent, durable, false));
            }
            Transition::Call { node, to, agent, durable } => {
                self.when_running(node, |world| world.send(node, to, agent, durable, true));
            }
            Transition::Publish { node, topic } => self.when_running(node, |world| world.publish(node, topic)),
            Transition::Subscribe { node, topic } => self.when_running(node, |world| {
                let (pattern, wall) = (topic_pattern(topic), world.nodes[node].wall(world.now_us));
                let syscall = Syscall::Subscribe { pattern: pattern.clone(), start: Start::Now };
                world.ask(node, Question::Kernel(Box::new(syscall)), Asked::Subscribe { pattern, wall });
            }),
            Transition::Invite { node } => self.when_running(node, |world| {
                let question = world.invite(1);
                world.ask(node, question, Asked::Other);
            }),
            Transition::Join { node } => self.begin_join(node),
            Transition::Shutdown { node } => self.when_running(node, |world| {
                world.ask(node, Question::Kernel(Box::new(Syscall::Shutdown)), Asked::Other);
            }),
            Transition::Crash { node, unsynced, writing } => self.strike(node, unsynced, writing),
            Transition::DiskError { node } => self.when_running(node, |world| {
                world.nodes[node].armed = Some(Armed::Disk);
            }),
            Transition::DiskFull { node } => self.nodes[node].disk.set_full(true),
            Transition::DiskRoom { node } => self.nodes[node].disk.set_full(false),
            Transition::SlowDisk { node, by_us } => self.nodes[node].slow_disk_us = by_us,
            Transition::Freeze { node } => self.when_running(node, |world| {
                world.nodes[node].held.get_or_insert_default();
            }),
            Transition::Thaw { node } => self.thaw(node),
            Transition::Churn { node, times, down_us, up_us } => self.churn(node, times, down_us, up_us),
            Transition::Lie { node, how } => self.begin_lie(node, how),
            Transition::Truth { node } => self.stop_lies(node),
            Transition::JoinStorm { joiners } => {
                let joiners = joiners.into_iter().filter(|node| self.nodes[*node].identity.is_none());
                self.storm = joiners.collect();
                for node in self.storm.clone() {
                    self.begin_join(node);
                }
            }
            Transition::CopyHome { node } => self.copy_home(node),
            Transition::RestoreHome { node, copy, memory } => self.restore_home(node, copy, memory),
            Transition::Restart { node } => self.restart(node),
            Transition::Partition { side } => self.network.partition(side),
            Transition::CutOneWay { from, to } => self.network.cut(from, to),
            Transition::Loss { per_mille } => self.network.set_loss(per_mille),
            Transition::Duplicate { per_mille } => self.network.set_duplication(per_mille),
            Transition::DelaySpike { up_to_us } => self.network.set_spike(up_to_us),
            Transition::Flap { side, apart_us, together_us } => {
                self.network.flap(side, self.now_us, apart_us, together_us);
            }
            Transition::Reorder { per_mille, by_us } => self.network.set_holding(per_mille, by_us),
            Transition::Corrupt { per_mille } => self.network.set_corruption(per_mille),
            Transition::SlowLink { node, bytes_per_s } => self.network.set_slow(node, bytes_per_s),
            Transition::Heal => self.network.heal(),
            Transition::ClockStep { node, by_us } => self.when_running(node, |world| {
                world.nodes[node].clock.step(by_us);
                world.faults.count(if by_us < 0 { Fault::ClockBack } else { Fault::ClockForward });
            }),
            Transition::ClockFreeze { node } => self.when_running(node, |world| {
                world.nodes[node].clock.freeze(world.now_us);
                world.faults.count(Fault::ClockFreeze);
            }),
            Transition::ClockThaw { node } => self.nodes[node].clock.thaw(),
            Transition::ClockSkew { node, offset_us, drift_ppm } => {
                self.nodes[node].clock = WallClock::new(offset_us, drift_ppm);
            }
        }
    }

    fn when_running(&mut self, node: usize, act: impl FnOnce(&mut Self)) {
        if self.nodes[node].running.is_some() {
            act(self);
        }
    }

    /// A process that was stopped goes on: what waited for it comes now, in the order in which it came.
    pub(crate) fn thaw(&mut self, node: usize) {
        for event in self.nodes[node].held.take().unwrap_or_default() {
            self.after(0, event);
        }
    }

    fn churn(&mut self, node: usize, times: u64, down_us: u64, up_us: u64) {
        self.when_running(node, |world| {
            world.faults.count(Fault::Churned);
            world.crash(node, Unsynced::Lost);
        });
        self.after(down_us, Event::Happen(Transition::Restart { node }));
        if times > 1 {
            let again = Transition::Churn { node, times: times - 1, down_us, up_us };
            self.after(down_us + up_us, Event::Happen(again));
        }
    }

    fn strike(&mut self, node: usize, unsynced: Unsynced, writing: bool) {
        self.when_running(node, |world| {
            if writing {
                world.nodes[node].armed = Some(Armed::Power(unsynced));
            } else {
                world.faults.count(Fault::Crash);
                world.crash(node, unsynced);
            }
        });
    }

    /// Starts what is down, and what runs on a failed disk after ending it; what was to strike a node does not any more.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node].armed = None;
        if self.nodes[node].running.as_ref().is_some_and(|running| running.damaged) {
            self.crash(node, Unsynced::Scattered);
        }
        self.start(node);
    }

    fn spawn(&mut self, node: usize, agent: AgentKind) {
        let backend = match agent {
            AgentKind::Echo => Backend::Builtin(BuiltinKind::Echo),
            AgentKind::Counter | AgentKind::Guest => Backend::Builtin(BuiltinKind::Counter),
            AgentKind::Clock => Backend::Builtin(BuiltinKind::Clock),
            AgentKind::Slow => {
                Backend::Command { command: vec!["slow".to_owned()], environment: BTreeMap::new(), trusted: false }
            }
        };
        let restart = match agent {
            AgentKind::Echo | AgentKind::Counter | AgentKind::Guest => RestartPolicy::Permanent,
            AgentKind::Clock | AgentKind::Slow => RestartPolicy::Temporary,
        };
        let spec = AgentSpec { restart, ..AgentSpec::new(agent_name(agent), backend) };
        let syscall = Syscall::Spawn { spec: Box::new(spec) };
        self.ask(node, Question::Kernel(Box::new(syscall)), Asked::Other);
    }

    fn stop_agent(&mut self, node: usize, agent: AgentKind) {
        if agent == AgentKind::Guest {
            self.guests.forget(node);
        }
        let syscall = Syscall::Stop { agent: AgentRef::Name(agent_name(agent)) };
        self.ask(node, Question::Kernel(Box::new(syscall)), Asked::Other);
    }

    fn send(&mut self, node: usize, to: Option<usize>, agent: AgentKind, durable: bool, wants_reply: bool) {
        let target = Target {
            node: to.map(|to| NodeRef::Name(self.nodes[to].name.clone())),
            local: LocalTarget::Agent(agent_name(agent)),
        };
        let rate = self.scenario.agents.large_per_mille;
        let large = rate > 0 && self.agent_dice.chance(rate);
        let payload = if large { self.large_text() } else { self.text() };
        let level = Level {
            delivery: if wants_reply { Delivery::Executed } else { Delivery::Received },
            durability: match (durable, self.nodes.len() > 2 && self.next_text.is_multiple_of(4)) {
                (true, true) => Durability::Witnessed { members: 1 },
                (true, false) => Durability::Durable,
                (false, _) => Durability::None,
            },
        };
        let deadline_us = self.agent_dice.between([1_000_000, 6_000_000]);
        let syscall = Syscall::Send {
            target,
            payload: payload.clone(),
            wants_reply,
            level,
            deadline_us,
            trace: None,
            cause: Vec::new(),
            idempotent: false,
            // Whoever takes them takes each at once.
            parts: wants_reply && self.next_text.is_multiple_of(3),
        };
        let asked = match (agent, to) {
            (AgentKind::Guest, Some(on)) => Asked::Guest { on, steady: self.steady_guest(node, on) },
            _ => Asked::Send { payload, durable },
        };
        if let Some(to) = to.filter(|_| wants_reply) {
            self.note_far_call(AskId(self.next_ask), node, to);
        }
        self.ask(node, Question::Kernel(Box::new(syscall)), asked);
    }

    fn publish(&mut self, node: usize, topic: u64) {
        let syscall = Syscall::Publish { topic: topic_name(topic), payload: self.text(), trace: None };
        self.ask(node, Question::Kernel(Box::new(syscall)), Asked::Other);
    }

    /// A text that nobody else sends.
    pub(crate) fn text(&mut self) -> Payload {
        self.next_text += 1;
        Payload::Text(format!("text {}", self.next_text))
    }

    /// A text that nobody else sends and that no frame holds.
    fn large_text(&mut self) -> Payload {
        let Payload::Text(mut text) = self.text() else { unreachable!("BUG: a text is a text") };
        text.push_str(&" and so on".repeat(ENVELOPE_BYTES_MAX / 10 + 1));
        Payload::Text(text)
    }

    /// A question for an invite with so many uses.
    pub(crate) fn invite(&mut self, uses: u32) -> Question {
        Question::Invite {
            role: Role::Worker,
            ttl_us: INVITE_TTL_US,
            uses,
            secret: self.peer_dice.bytes(),
            certificate_ttl_us: None,
        }
    }
}

/// The name under which an agent runs.
pub(crate) fn agent_name(agent: AgentKind) -> AgentName {
    agent.name().parse().expect("BUG: a name of letters")
}

/// Number of the pattern that means every topic of a run.
fn topic_pattern(topic: u64) -> TopicPattern {
    if topic < TOPICS { topic_name(topic).into() } else { "topic.*".parse().expect("BUG: a pattern") }
}

fn topic_name(topic: u64) -> TopicName {
    format!("topic.t{topic}").parse().expect("BUG: words joined by dots")
}
