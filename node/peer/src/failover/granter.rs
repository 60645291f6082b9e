//! What this node promises others: of each fence one holder, durable before it is said, and nobody else's while a lease may last.

use std::collections::BTreeMap;

use weft_kernel::Action;
use weft_protocol::limits::FENCE_AHEAD_MAX;
use weft_protocol::{AgentName, ChainId, EpochId, Fact, FenceGranted, LeaseAnswer, NodeId};

use super::event::{Output, World};
use super::{Failover, QUIET_US, Ticket};
use crate::event::InboundId;

/// The last fence of an agent that this node granted.
#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) fence: u64,
    pub(crate) holder: ChainId,
    pub(crate) epoch: EpochId,
    /// Whether it is on disk: until then nobody is told.
    pub(crate) durable: bool,
    /// When it was last granted or renewed, on the steady clock. After a start that is when it began.
    pub(crate) renewed_us: u64,
    /// Who waits for it to be on disk: which answer of which request.
    waiters: Vec<(InboundId, usize)>,
}

impl Promise {
    /// One that an earlier run made.
    pub(crate) const fn restored(fence: u64, holder: ChainId, epoch: EpochId) -> Self {
        Self { fence, holder, epoch, durable: true, renewed_us: 0, waiters: Vec::new() }
    }
}

/// A request of which some answers wait for the disk.
pub(crate) type Pending = BTreeMap<InboundId, Vec<Option<LeaseAnswer>>>;

/// What becomes of one wish.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    /// It holds that already.
    Renew,
    /// It gets it.
    New,
    No(LeaseAnswer),
}

impl Failover {
    /// A member asks; who speaks for another node's chain is told that it does not count.
    pub(super) fn on_lease_asked(
        &mut self,
        request: InboundId,
        from: NodeId,
        holder: ChainId,
        epoch: EpochId,
        fences: Vec<(AgentName, u64)>,
        world: &World,
        out: &mut Vec<Output>,
    ) {
        let mut answers = Vec::with_capacity(fences.len());
        for (place, (agent, fence)) in fences.into_iter().enumerate() {
            let answer = if holder.node == from && epoch == world.epoch {
                self.grant(&agent, fence, holder, world, Some((request, place)), out)
            } else {
                Some(LeaseAnswer::OtherEpoch)
            };
            answers.push(answer);
        }
        if let Some(answers) = answers.iter().copied().collect::<Option<Vec<_>>>() {
            return out.push(Output::Respond { request, answers });
        }
        self.pending.insert(request, answers);
    }

    /// Grants or renews a fence if that may be. None when the answer waits for the disk.
    pub(super) fn grant(
        &mut self,
        agent: &AgentName,
        fence: u64,
        holder: ChainId,
        world: &World,
        waiter: Option<(InboundId, usize)>,
        out: &mut Vec<Output>,
    ) -> Option<LeaseAnswer> {
        let steady_us = self.steady_us;
        match self.judge(agent, fence, holder, world) {
            Judged::No(answer) => Some(answer),
            Judged::Renew => {
                let promise = self.promises.get_mut(agent)?;
                promise.renewed_us = steady_us;
                promise.waiters.extend(waiter.filter(|_| !promise.durable));
                promise.durable.then_some(LeaseAnswer::Granted)
            }
            Judged::New => {
                let epoch = world.epoch;
                let waiters = waiter.into_iter().collect();
                let promise = Promise { fence, holder, epoch, durable: false, renewed_us: steady_us, waiters };
                if let Some(earlier) = self.promises.insert(agent.clone(), promise) {
                    self.answer_waiters(&earlier.waiters, LeaseAnswer::Taken { fence, holder }, out);
                }
                let fact = Fact::FenceGranted(FenceGranted { agent: agent.clone(), fence, holder, epoch });
                let action = Action::GrantFence { agent: agent.clone() };
                self.record(Ticket::Grant { agent: agent.clone(), fence }, action, fact, out);
                None
            }
        }
    }

    /// How long this node would let a holder of another fence wait, in microseconds; none when it would not grant it anyway.
    pub(super) fn wait_us(&self, agent: &AgentName, fence: u64, holder: ChainId, world: &World) -> Option<u64> {
        match self.judge(agent, fence, holder, world) {
            Judged::Renew | Judged::New => Some(0),
            Judged::No(LeaseAnswer::NotYet { wait_us }) => Some(wait_us),
            Judged::No(_) => None,
        }
    }

    fn judge(&self, agent: &AgentName, fence: u64, holder: ChainId, world: &World) -> Judged {
        let counts = world.counting.contains(&self.own) && world.counting.contains(&holder);
        if !counts || self.ended.contains(&world.epoch) {
            return Judged::No(LeaseAnswer::OtherEpoch);
        }
        if self.book.is_full_for(agent) {
            return Judged::No(LeaseAnswer::Unknown);
        }
        let entry = self.book.get(agent);
        let released = |fence, holder| entry.is_some_and(|entry| entry.released(fence, &holder).is_some());
        let promise = self.promises.get(agent);
        if let Some(promise) = promise.filter(|promise| fence <= promise.fence) {
            let same = (promise.fence, promise.holder, promise.epoch) == (fence, holder, world.epoch);
            if same && !released(fence, holder) {
                return Judged::Renew;
            }
            return Judged::No(LeaseAnswer::Taken { fence: promise.fence, holder: promise.holder });
        }
        let (top, of) = entry.map_or((0, None), super::book::Entry::top);
        let outside = entry.is_some_and(|entry| entry.granted_outside(fence, world.epoch));
        if let Some(of) = of.filter(|_| fence < top || outside) {
            return Judged::No(LeaseAnswer::Taken { fence: top, holder: of });
        }
        if fence == 0 || fence > top.saturating_add(FENCE_AHEAD_MAX) {
            return Judged::No(LeaseAnswer::Unknown);
        }
        let owed = promise.filter(|promise| {
            promise.epoch == world.epoch && promise.holder != holder && !released(promise.fence, promise.holder)
        });
        let until_us = owed.map(|promise| promise.renewed_us.saturating_add(QUIET_US));
        let outside = entry.is_some_and(|entry| entry.owed_outside(&holder, world.epoch, world.counting.len()));
        let outside_us = outside.then(|| self.epoch_since_us.saturating_add(QUIET_US));
        let wait_us = until_us.max(outside_us).unwrap_or(0).saturating_sub(self.steady_us);
        if wait_us > 0 { Judged::No(LeaseAnswer::NotYet { wait_us }) } else { Judged::New }
    }

    /// A promise is on disk: whoever waits for it is told, this node itself too.
    pub(super) fn promised(&mut self, agent: &AgentName, fence: u64, world: &World, out: &mut Vec<Output>) {
        let Some(promise) = self.promises.get_mut(agent).filter(|promise| promise.fence == fence) else { return };
        promise.durable = true;
        let waiters = std::mem::take(&mut promise.waiters);
        let own = promise.holder == self.own;
        self.answer_waiters(&waiters, LeaseAnswer::Granted, out);
        if own {
            self.own_promised(agent, fence, world, out);
        }
    }

    /// It could not be recorded: nothing is promised.
    pub(super) fn not_promised(&mut self, agent: &AgentName, fence: u64, out: &mut Vec<Output>) {
        if self.promises.get(agent).is_some_and(|promise| promise.fence == fence && !promise.durable)
            && let Some(promise) = self.promises.remove(agent)
        {
            self.answer_waiters(&promise.waiters, LeaseAnswer::Unknown, out);
        }
        // What was promised before stands on the chain.
        let last = self.book.get(agent).and_then(|entry| entry.last_of(&self.own));
        if let Some((fence, holder, epoch)) = last {
            let restored = Promise { renewed_us: self.steady_us, ..Promise::restored(fence, holder, epoch) };
            self.promises.entry(agent.clone()).or_insert(restored);
        }
    }

    fn answer_waiters(&mut self, waiters: &[(InboundId, usize)], answer: LeaseAnswer, out: &mut Vec<Output>) {
        for (request, place) in waiters {
            let Some(answers) = self.pending.get_mut(request) else { continue };
            if let Some(open) = answers.get_mut(*place) {
                *open = Some(answer);
            }
            if let Some(answers) = answers.iter().copied().collect::<Option<Vec<_>>>() {
                self.pending.remove(request);
                out.push(Output::Respond { request: *request, answers });
            }
        }
    }
}
