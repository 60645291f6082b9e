//! Agents that outlive their nodes: who may run one is agreed by more than half of those who count, for the time of a lease.
//!
//! A fence is a number of an agent. Of each number every member promises one holder, on its chain before it says so. The
//! holder renews what it was promised once a second; its lease lasts [`LEASE_US`] from when it *sent* what more than half
//! answered, and it ends the agent [`MARGIN_US`] before that. A member grants the next number to somebody else only when it has
//! renewed nothing for [`QUIET_US`] on its own clock, or the holder gave its number up in writing. After its start it waits as
//! long, since it does not know when it renewed last; and in a new epoch, since it does not know when others did.
//! ARCHITECTURE.md, "Fences", says why that suffices.
//!
//! `book` is what chains say, `granter` what this node promises, `holder` what it was promised, `successor` when it wants more.

mod book;
mod event;
mod granter;
mod holder;
mod successor;

use std::collections::{BTreeMap, BTreeSet};

use weft_kernel::Action;
use weft_protocol::limits::FENCES_MAX;
use weft_protocol::{AgentName, ChainId, EpochId, Fact, FailoverDeclared, Hlc, NodeId, PlacedFact, Refusal, Timestamp};

use crate::event::AskId;

use book::Book;
pub(crate) use book::is_of_failover;
pub(crate) use event::{Input, MemberSeen, Output, World};
use granter::{Pending, Promise};
use holder::{Round, Seat};

/// How long a holder may run an agent after it asked, in microseconds. Derived: a node is called dead after five seconds.
pub(crate) const LEASE_US: u64 = 5_000_000;
/// How long before that it ends the agent, in microseconds: the intent's way to the disk and a kill take milliseconds, and what
/// its clock is slow by in five seconds is less than one (guess).
pub(crate) const MARGIN_US: u64 = 1_000_000;
/// How long a granter lets others wait after it granted or renewed, in microseconds: a lease, and a second for what clocks differ
/// by in that time.
pub(crate) const QUIET_US: u64 = LEASE_US + 1_000_000;
/// How often what is due is looked for, in microseconds.
const TICK_US: u64 = 250_000;
/// Most that one step of our clock counts, in microseconds: a clock that jumps does not make time pass. One jump is less than the
/// second that granters wait beyond a lease.
const STEP_US_MAX: u64 = 2 * TICK_US;
/// How long whoever asked for an agent waits for it to run, in microseconds (guess).
const PLACED_US_MAX: u64 = 10_000_000;
/// How many members must count.
const COUNTING_MIN: usize = 3;
/// Most ends of epochs that are remembered, the latest (guess: one is asked about).
const ENDED_MAX: usize = 64;

/// For what something was to be recorded.
#[derive(Debug)]
enum Ticket {
    Declare { ask: AskId, agent: AgentName },
    Grant { agent: AgentName, fence: u64 },
    Hold { agent: AgentName, fence: u64 },
    Release { agent: AgentName, fence: u64 },
}

/// See the module's description. Invariant: an agent of this node runs only in a seat whose lease lasts.
#[derive(Debug)]
pub(crate) struct Failover {
    own: ChainId,
    book: Book,
    promises: BTreeMap<AgentName, Promise>,
    pending: Pending,
    seats: BTreeMap<AgentName, Seat>,
    rounds: BTreeMap<u64, Round>,
    tickets: BTreeMap<u64, Ticket>,
    next_number: u64,
    /// Who waits for an agent to run, and until when.
    asks: BTreeMap<AgentName, (AskId, Timestamp)>,
    /// Epochs that this node said end.
    ended: BTreeSet<EpochId>,
    epoch: Option<EpochId>,
    /// Since when that epoch is known, on the steady clock.
    epoch_since_us: u64,
    /// Microseconds since this run began, in which a jump of the clock does not count.
    steady_us: u64,
    last: Timestamp,
    renewed: Timestamp,
    drain: Option<Drain>,
}

/// This node lets go of everything.
#[derive(Debug)]
struct Drain {
    ask: Option<AskId>,
    agents: BTreeMap<AgentName, u64>,
    until: Timestamp,
}

/// One agent as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverView {
    /// Its name.
    pub agent: AgentName,
    /// The last fence that was held.
    pub fence: u64,
    /// By whom.
    pub holder: NodeId,
    /// Whether this node holds it now.
    pub here: bool,
    /// How this node gave its last fence up, in words.
    pub refused: Option<String>,
    /// Whether the agent is to run.
    pub open: bool,
}

impl Failover {
    /// A machine that knows what chains say.
    pub(crate) fn new<'a>(
        own: ChainId,
        facts: impl Iterator<Item = (ChainId, &'a PlacedFact)>,
        now: Timestamp,
    ) -> Self {
        let (mut book, mut ended) = (Book::default(), BTreeSet::new());
        for (chain, placed) in facts {
            book.learn(chain, placed.hlc, &placed.fact);
            match &placed.fact {
                Fact::EpochProposed(proposed) if chain == own => _ = ended.insert(proposed.epoch),
                Fact::EpochEndorsed(endorsed) if chain == own => _ = ended.insert(endorsed.epoch),
                _ => {}
            }
        }
        let last = |(agent, entry): (&AgentName, &book::Entry)| {
            let (fence, holder, epoch) = entry.last_of(&own)?;
            Some((agent.clone(), Promise::restored(fence, holder, epoch)))
        };
        let promises = book.iter().filter_map(last).collect();
        Self {
            own,
            book,
            promises,
            pending: Pending::new(),
            seats: BTreeMap::new(),
            rounds: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_number: 0,
            asks: BTreeMap::new(),
            ended,
            epoch: None,
            epoch_since_us: 0,
            steady_us: 0,
            last: now,
            renewed: now,
            drain: None,
        }
    }

    /// Applies one input; what is wanted then follows in order.
    pub(crate) fn handle(&mut self, input: Input, world: &World, out: &mut Vec<Output>) {
        self.steady_us = self.steady_us.saturating_add(world.now.since_us(self.last).min(STEP_US_MAX));
        self.last = self.last.max(world.now);
        if self.epoch != Some(world.epoch) {
            (self.epoch, self.epoch_since_us) = (Some(world.epoch), self.steady_us);
        }
        match input {
            Input::Asked { ask, declared } => self.on_asked(ask, *declared, world, out),
            Input::Learned { chain, placed } => self.on_learned(chain, &placed, world, out),
            Input::Recorded { ticket } => self.on_recorded(ticket, world, out),
            Input::NotRecorded { ticket, refusal } => self.on_not_recorded(ticket, refusal, out),
            Input::LeaseAsked { request, from, holder, epoch, mut fences } => {
                fences.truncate(FENCES_MAX);
                self.on_lease_asked(request, from, holder, epoch, fences, world, out);
            }
            Input::LeaseAnswered { round, answers } => self.on_lease_answered(round, answers, world, out),
            Input::EndEndorsed { epoch } => {
                self.ended.insert(epoch);
                while self.ended.len() > ENDED_MAX {
                    // Never the one that is now.
                    let Some(old) = self.ended.iter().find(|ended| **ended != epoch).copied() else { break };
                    self.ended.remove(&old);
                }
            }
            Input::Here { agent } => self.on_here(&agent),
            Input::Gone { agent, never_ran } => self.on_gone(&agent, never_ran, out),
            Input::Unused { agent, fence, refusal } => self.on_unused(&agent, fence, &refusal, out),
            Input::DrainAsked { ask } => self.on_drain_asked(ask, world, out),
            Input::Woken => {}
        }
        self.look_at_leases(world, out);
        self.look_for_work(world, out);
        self.look_at_asks(world, out);
        self.look_at_drain(world, out);
    }

    /// When it wants to be woken: often while an agent is to run, for time passes in its steps alone.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        let open = self.book.iter().any(|(_, entry)| entry.open().is_some());
        (open || !self.seats.is_empty() || self.drain.is_some()).then(|| self.last.after_us(TICK_US))
    }

    /// Agents of this node that were handed to the kernel, and whether it has not begun them yet.
    pub(crate) fn seated(&self) -> impl Iterator<Item = (&AgentName, bool)> {
        let seated = self.seats.iter().filter(|(_, seat)| seat.is_with_kernel());
        seated.map(|(agent, seat)| (agent, seat.is_starting()))
    }

    /// All agents that are or were held by anybody, by name.
    pub(crate) fn views(&self) -> impl Iterator<Item = FailoverView> {
        self.book.iter().filter_map(|(agent, entry)| {
            let (fence, holder) = entry.held()?;
            let last = entry.last_held_by(&self.own);
            let refused = last.and_then(|fence| entry.released(fence, &self.own)).map(ToString::to_string);
            let here = self.seats.get(agent).is_some_and(Seat::is_with_kernel);
            Some(FailoverView {
                agent: agent.clone(),
                fence,
                holder: holder.node,
                here,
                refused,
                open: entry.open().is_some(),
            })
        })
    }

    /// Who is known to run an agent that outlives its node, with the nodes that ran it before: what these say of it is of the past.
    pub(crate) fn holders(&self, agent: &AgentName) -> Option<(NodeId, BTreeSet<NodeId>)> {
        let entry = self.book.get(agent).filter(|entry| entry.open().is_some())?;
        let (_, holder) = entry.held()?;
        Some((holder.node, entry.holders().filter(|node| *node != holder.node).collect()))
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn record(&mut self, ticket: Ticket, action: Action, fact: Fact, out: &mut Vec<Output>) {
        let number = self.number();
        self.tickets.insert(number, ticket);
        out.push(Output::Record { ticket: number, action, fact });
    }

    fn on_asked(&mut self, ask: AskId, declared: FailoverDeclared, world: &World, out: &mut Vec<Output>) {
        let agent = declared.spec.agent.clone();
        if let Err(refusal) = self.check(&declared, world) {
            return out.push(Output::Refused { ask, refusal });
        }
        let action = Action::Spawn { agent: agent.clone() };
        self.record(Ticket::Declare { ask, agent }, action, Fact::FailoverDeclared(Box::new(declared)), out);
    }

    fn check(&self, declared: &FailoverDeclared, world: &World) -> Result<(), Refusal> {
        let agent = &declared.spec.agent;
        weft_kernel::check_failover(&declared.spec)?;
        if world.counting.len() < COUNTING_MIN {
            return Err(Refusal::NoMajority { counting: world.counting.len() as u64 });
        }
        let under_way =
            self.tickets.values().any(|ticket| matches!(ticket, Ticket::Declare { agent: it, .. } if it == agent));
        let known = self.book.get(agent).is_some_and(|entry| entry.open().is_some());
        if known || under_way {
            let message =
                format!("{agent} outlives its node already: weft ps shows where it runs, weft agent stop ends it");
            return Err(Refusal::Invalid { message });
        }
        if self.book.is_full_for(agent) || self.drain.is_some() {
            return Err(Refusal::Busy { retry_after_us: PLACED_US_MAX });
        }
        Ok(())
    }

    fn on_learned(&mut self, chain: ChainId, placed: &PlacedFact, world: &World, out: &mut Vec<Output>) {
        self.book.learn(chain, placed.hlc, &placed.fact);
        match &placed.fact {
            Fact::FenceGranted(granted) if granted.holder != self.own && self.book.get(&granted.agent).is_some() => {
                let seat = self.seats.entry(granted.agent.clone()).or_default();
                seat.others_claim = Some(world.now);
            }
            Fact::FenceHeld(held) if chain != self.own => self.look_if_superseded(&held.agent, out),
            Fact::FenceReleased(released) if chain == self.own => self.written(&released.agent, released.fence),
            _ => {}
        }
    }

    fn on_recorded(&mut self, ticket: u64, world: &World, out: &mut Vec<Output>) {
        match self.tickets.remove(&ticket) {
            Some(Ticket::Declare { ask, agent }) => {
                self.asks.insert(agent, (ask, world.now.after_us(PLACED_US_MAX)));
            }
            Some(Ticket::Grant { agent, fence }) => self.promised(&agent, fence, world, out),
            Some(Ticket::Hold { agent, fence }) => self.hold_recorded(&agent, fence, world, out),
            Some(Ticket::Release { agent, fence }) => self.written(&agent, fence),
            None => {}
        }
    }

    fn on_not_recorded(&mut self, ticket: u64, refusal: Refusal, out: &mut Vec<Output>) {
        match self.tickets.remove(&ticket) {
            Some(Ticket::Declare { ask, .. }) => out.push(Output::Refused { ask, refusal }),
            Some(Ticket::Grant { agent, fence }) => self.not_promised(&agent, fence, out),
            Some(Ticket::Hold { agent, fence }) => self.hold_not_recorded(&agent, fence, out),
            Some(Ticket::Release { agent, fence }) => self.not_written(&agent, fence),
            None => {}
        }
    }

    /// Whoever waits too long is told so; the agent is declared all the same.
    fn look_at_asks(&mut self, world: &World, out: &mut Vec<Output>) {
        let placed = |agent: &AgentName| {
            let entry = self.book.get(agent)?;
            let (fence, holder) = entry.held()?;
            let since = entry.open()?;
            (holder != self.own && entry.held_since(fence) > since.hlc).then_some((fence, holder.node))
        };
        let told: Vec<_> = self
            .asks
            .iter()
            .filter_map(|(agent, (ask, until))| {
                let answer = match placed(agent) {
                    Some((fence, node)) => Output::Placed { ask: *ask, agent: agent.clone(), fence, node },
                    None if world.now >= *until => {
                        Output::Refused { ask: *ask, refusal: Refusal::Deadline { maybe_executed: true } }
                    }
                    None => return None,
                };
                Some((agent.clone(), answer))
            })
            .collect();
        for (agent, answer) in told {
            self.asks.remove(&agent);
            out.push(answer);
        }
    }

    fn on_drain_asked(&mut self, ask: AskId, world: &World, out: &mut Vec<Output>) {
        if let Some(drain) = &mut self.drain {
            if drain.ask.is_some() {
                return out.push(Output::Refused { ask, refusal: Refusal::Busy { retry_after_us: PLACED_US_MAX } });
            }
            drain.ask = Some(ask);
            return;
        }
        let agents = self.hand_over(out);
        self.drain = Some(Drain { ask: Some(ask), agents, until: world.now.after_us(PLACED_US_MAX) });
    }

    /// Whoever wants this node empty is told when others hold what it held, or when that takes too long.
    fn look_at_drain(&mut self, world: &World, out: &mut Vec<Output>) {
        let Some(drain) = &mut self.drain else { return };
        let holder = |(agent, fence): (&AgentName, &u64)| {
            let held = self.book.get(agent).and_then(book::Entry::held).filter(|(now, _)| now > fence);
            (agent.clone(), held.map(|(_, holder)| holder.node))
        };
        let agents: Vec<_> = drain.agents.iter().map(holder).collect();
        let done = agents.iter().all(|(agent, node)| node.is_some() && !self.seats.get(agent).is_some_and(Seat::holds));
        if (done || world.now >= drain.until)
            && let Some(ask) = drain.ask.take()
        {
            out.push(Output::Drained { ask, agents });
        }
    }
}

/// A stamp before every other, for what was not there yet.
const NEVER: Hlc = Hlc(0);

#[cfg(test)]
mod tests;
