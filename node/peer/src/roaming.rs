//! Agents that outlive their nodes, as the rest of the peer has to do with them: what the machine is told, and what it gets done.

use weft_kernel::{self as kernel, NodeState};
use weft_protocol::{
    AgentName, ChainId, CommitGroup, Event, ExitReason, Fact, FailoverDeclared, PlacedFact, Principal, Refusal,
    SyncRequest, SyncResponse, Timestamp,
};

use crate::event::{AskId, Output, Reply, Request, Response};
use crate::failover::{self, FailoverView, MemberSeen, World, is_of_failover};
use crate::peer::{FactsOwner, Outbound, Peer};

impl Peer {
    /// Agents that outlive their nodes, by name.
    pub fn failovers(&self) -> impl Iterator<Item = FailoverView> {
        self.failover.views()
    }

    fn world(&self, now: Timestamp) -> World {
        let (standing, discovery) = (self.replication.standing(), &self.discovery);
        let members = discovery.active_others().chain([self.node]).filter_map(|node| {
            let alive = discovery.state_of(&node).is_there();
            let labels = discovery.labels_of(&node);
            Some((node, MemberSeen { role: discovery.role_of(node)?, alive, labels }))
        });
        World {
            now,
            epoch: standing.epoch(),
            counting: standing.epochs().active().keys().copied().collect(),
            members: members.collect(),
            running: self.kernel().state() == NodeState::Running,
        }
    }

    pub(crate) fn tell_failover(&mut self, input: failover::Input, now: Timestamp, out: &mut Vec<Output>) {
        let (world, mut wanted) = (self.world(now), Vec::new());
        self.failover.handle(input, &world, &mut wanted);
        for output in wanted {
            self.failover_asked(output, &world, out);
        }
    }

    fn failover_asked(&mut self, output: failover::Output, world: &World, out: &mut Vec<Output>) {
        use failover::Output as From;
        match output {
            From::Record { ticket, action, fact } => {
                self.record(FactsOwner::Failover(ticket), Principal::Operator, action, vec![fact]);
            }
            From::Ask { to, round, fences } => {
                let content = SyncRequest::Lease { holder: self.chain, epoch: world.epoch, fences };
                self.request(to, Request::Sync(content), Outbound::Lease { round }, out);
            }
            From::Respond { request, answers } => {
                out.push(Output::Respond { request, content: Response::Sync(SyncResponse::Lease(answers)) });
            }
            From::Start(leased) => self.tell_kernel(kernel::Input::LeaseGained(leased)),
            From::Stop { agent, reason, at_once } => {
                self.tell_kernel(kernel::Input::LeaseLost { agent, reason, at_once });
            }
            From::Placed { ask, agent, fence, node } => {
                out.push(Output::Answer { ask, answer: Ok(Reply::Placed { agent, fence, node }) });
            }
            From::Refused { ask, refusal } => out.push(Output::Answer { ask, answer: Err(refusal) }),
            From::Drained { ask, agents } => out.push(Output::Answer { ask, answer: Ok(Reply::Drained { agents }) }),
        }
    }

    /// An agent of an agent would have nobody to answer to once both have moved.
    pub(crate) fn failover_wanted(
        &mut self,
        ask: AskId,
        by: &Principal,
        declared: Box<FailoverDeclared>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let agent = declared.spec.agent.clone();
        let message = match by {
            Principal::Agent { .. } => "only an operator starts what outlives its node".to_owned(),
            Principal::Operator if self.kernel().is_named(&agent) => {
                format!("{agent} is alive already: stop it first, or choose another name")
            }
            Principal::Operator => {
                return self.tell_failover(failover::Input::Asked { ask, declared }, now, out);
            }
        };
        out.push(Output::Answer { ask, answer: Err(Refusal::Invalid { message }) });
    }

    /// A chain, our own or another one, says something about such agents.
    pub(crate) fn failover_learned(
        &mut self,
        chain: ChainId,
        facts: &[PlacedFact],
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        for placed in facts.iter().filter(|placed| is_of_failover(&placed.fact)) {
            self.tell_failover(failover::Input::Learned { chain, placed: Box::new(placed.clone()) }, now, out);
        }
    }

    /// What is on our own chain now.
    pub(crate) fn failover_announced(&mut self, group: &CommitGroup, now: Timestamp, out: &mut Vec<Output>) {
        let of_failover = |bytes: &&serde_bytes::ByteBuf| {
            let kind = Event::kind_of(bytes);
            kind.is_some_and(|kind| kind.starts_with("failover.") || kind.starts_with("fence."))
        };
        let events = group.events.iter().filter(of_failover).filter_map(|bytes| Event::decode(bytes).ok());
        let facts = events.filter_map(|event| {
            let fact = Fact::decode(&event.kind, &event.payload).ok()?;
            Some(PlacedFact { seq: event.seq, hlc: event.hlc, fact })
        });
        let facts: Vec<_> = facts.collect();
        self.failover_learned(self.chain, &facts, now, out);
    }

    /// This node is about to say that an epoch ends: from here on it grants nothing in it.
    pub(crate) fn failover_voted(&mut self, fact: &Fact, now: Timestamp, out: &mut Vec<Output>) {
        let epoch = match fact {
            Fact::EpochProposed(proposed) => proposed.epoch,
            Fact::EpochEndorsed(endorsed) => endorsed.epoch,
            _ => return,
        };
        self.tell_failover(failover::Input::EndEndorsed { epoch }, now, out);
    }

    /// Which agents the kernel has begun, and which have come to an end.
    pub(crate) fn look_at_failover(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.failover.next_wakeup().is_some_and(|at| at <= now) {
            self.tell_failover(failover::Input::Woken, now, out);
        }
        let seated: Vec<(AgentName, bool)> =
            self.failover.seated().map(|(agent, starting)| (agent.clone(), starting)).collect();
        for (agent, starting) in seated {
            match (self.kernel().is_named(&agent), starting) {
                (true, true) => self.tell_failover(failover::Input::Here { agent }, now, out),
                (false, false) if self.kernel().state() == NodeState::Running => {
                    let never_ran = self.why_never_ran(&agent);
                    self.tell_failover(failover::Input::Gone { agent, never_ran }, now, out);
                }
                (true, false) | (false, _) => {}
            }
        }
        self.run_steps(now, out);
    }

    fn why_never_ran(&self, agent: &AgentName) -> Option<String> {
        let processes = self.kernel().processes();
        let last = processes.into_iter().rfind(|process| process.agent == *agent)?;
        match last.state {
            kernel::ProcessState::Exited(reason) => {
                let reason: ExitReason = reason;
                reason.never_ran().then(|| reason.to_string())
            }
            kernel::ProcessState::Starting
            | kernel::ProcessState::Running
            | kernel::ProcessState::Suspended
            | kernel::ProcessState::Stopping => None,
        }
    }
}
