//! What this node was promised: fences that it asks for, leases that it renews, and the agents that it runs by them.

use std::collections::BTreeMap;

use weft_kernel::{Action, Leased};
use weft_protocol::{
    AgentName, ChainId, EpochId, Fact, FenceEnd, FenceHeld, FenceReleased, LeaseAnswer, Refusal, Sender, Timestamp,
};

use super::event::{Output, World};
use super::{COUNTING_MIN, Failover, LEASE_US, MARGIN_US, Ticket};

/// How often leases are renewed, in microseconds: three may get lost before one runs out.
const RENEW_US: u64 = 1_000_000;
/// How often whoever has not granted yet is asked again, in microseconds (guess: some round trips and commits).
const RETRY_US: u64 = 300_000;
/// How long a fence is asked for before it is given up, in microseconds: longer than granters let anybody wait.
const CLAIM_US_MAX: u64 = 10_000_000;
/// How long a fence that somebody refused is asked for, in microseconds (guess: some round trips and commits).
const SPLIT_US: u64 = 3 * RETRY_US;
/// After how long an unanswered round is forgotten, in microseconds: whatever it would bring has run out.
const ROUND_US_MAX: u64 = LEASE_US;

/// One question to one member.
#[derive(Debug)]
pub(crate) struct Round {
    to: ChainId,
    sent: Timestamp,
    fences: Vec<(AgentName, u64)>,
}

/// Who granted a fence, and when what they answered last was sent.
type Grants = BTreeMap<ChainId, Timestamp>;

/// A fence that is asked for.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) fence: u64,
    epoch: EpochId,
    since: Timestamp,
    asked: Timestamp,
    granted: Grants,
    /// Who promised it, or a later one, to somebody else.
    refused: BTreeMap<ChainId, (u64, ChainId)>,
}

/// How far a held fence has come.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// That it is held is on its way to the disk.
    Recording,
    /// The kernel was told to start the agent.
    Starting,
    Running,
    /// The kernel was told to end it; what is written then, if anything.
    Ending(Option<FenceEnd>),
    /// Nothing runs; that it is given up is on its way to the disk.
    Releasing,
}

/// A fence that more than half granted.
#[derive(Debug)]
struct Hold {
    fence: u64,
    epoch: EpochId,
    granted: Grants,
    /// Until when the agent may run: it never comes earlier, also when the epoch is over.
    until: Timestamp,
    stage: Stage,
    /// Whether somebody waits here for this agent to run for the first time.
    asked: bool,
}

/// What this node has to do with one agent.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    hold: Option<Hold>,
    pub(crate) claim: Option<Claim>,
    /// Since when somebody is wanted.
    pub(crate) wanted: Option<Timestamp>,
    /// Nothing is asked for before this: what was refused a moment ago would be refused again.
    pub(crate) not_before: Option<Timestamp>,
    /// When a grant to somebody else was last heard of.
    pub(crate) others_claim: Option<Timestamp>,
}

impl Seat {
    pub(crate) const fn holds(&self) -> bool {
        self.hold.is_some()
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.stage == Stage::Starting)
    }

    pub(crate) fn is_with_kernel(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| match hold.stage {
            Stage::Starting | Stage::Running | Stage::Ending(_) => true,
            Stage::Recording | Stage::Releasing => false,
        })
    }
}

/// Until when the agent may run: a lease after the moment since which more than half have answered. None when too few have.
fn lease_end(granted: &Grants, world: &World) -> Option<Timestamp> {
    if world.counting.len() < COUNTING_MIN {
        return None;
    }
    let mut sent: Vec<_> =
        granted.iter().filter(|(chain, _)| world.counting.contains(*chain)).map(|(_, at)| *at).collect();
    sent.sort_unstable_by(|one, other| other.cmp(one));
    sent.get(world.counting.len() / 2).map(|since| since.after_us(LEASE_US))
}

impl Failover {
    /// Asks everybody else who counts for the next fence of an agent. This node promises it to itself last: what others refuse
    /// leaves nothing on any chain.
    pub(super) fn claim(&mut self, agent: &AgentName, world: &World, out: &mut Vec<Output>) {
        let top = self.book.get(agent).map_or(0, |entry| entry.top().0);
        let promised = self.promises.get(agent).map_or(0, |promise| promise.fence);
        let fence = top.max(promised) + 1;
        let claim = Claim {
            fence,
            epoch: world.epoch,
            since: world.now,
            asked: world.now,
            granted: Grants::new(),
            refused: BTreeMap::new(),
        };
        self.seats.entry(agent.clone()).or_default().claim = Some(claim);
        self.ask_for(agent, world, out);
    }

    /// With its own promise more than half would have granted: it is made, once it may be.
    fn promise_own(&mut self, agent: &AgentName, world: &World, out: &mut Vec<Output>) {
        let own = self.own;
        let Some(claim) = self.seats.get(agent).and_then(|seat| seat.claim.as_ref()) else { return };
        let counting = claim.granted.keys().filter(|chain| world.counting.contains(*chain)).count();
        if claim.granted.contains_key(&own) || (counting + 1) * 2 <= world.counting.len() {
            return;
        }
        let fence = claim.fence;
        match self.grant(agent, fence, own, world, None, out) {
            Some(LeaseAnswer::Granted) => self.own_promised(agent, fence, world, out),
            Some(LeaseAnswer::Taken { fence: other, holder }) => {
                if let Some(claim) = self.seats.get_mut(agent).and_then(|seat| seat.claim.as_mut()) {
                    claim.refused.insert(own, (other, holder));
                }
            }
            Some(LeaseAnswer::NotYet { .. } | LeaseAnswer::OtherEpoch | LeaseAnswer::Unknown) | None => {}
        }
    }

    /// Our own promise is on disk.
    pub(super) fn own_promised(&mut self, agent: &AgentName, fence: u64, world: &World, out: &mut Vec<Output>) {
        let own = self.own;
        let Some(claim) = self.seats.get_mut(agent).and_then(|seat| seat.claim.as_mut()) else { return };
        if claim.fence == fence {
            claim.granted.insert(own, world.now);
            self.look_at_claim(agent, world, out);
        }
    }

    fn ask_for(&mut self, agent: &AgentName, world: &World, out: &mut Vec<Output>) {
        let Some(claim) = self.seats.get_mut(agent).and_then(|seat| seat.claim.as_mut()) else { return };
        claim.asked = world.now;
        let fence = claim.fence;
        let missing: Vec<_> =
            world.counting.iter().filter(|chain| !claim.granted.contains_key(chain)).copied().collect();
        for chain in missing {
            self.ask(chain, vec![(agent.clone(), fence)], world, out);
        }
    }

    fn ask(&mut self, to: ChainId, fences: Vec<(AgentName, u64)>, world: &World, out: &mut Vec<Output>) {
        if to == self.own || !world.members.contains_key(&to.node) {
            return;
        }
        let round = self.number();
        out.push(Output::Ask { to: to.node, round, fences: fences.clone() });
        self.rounds.insert(round, Round { to, sent: world.now, fences });
    }

    pub(super) fn on_lease_answered(
        &mut self,
        round: u64,
        answers: Option<Vec<LeaseAnswer>>,
        world: &World,
        out: &mut Vec<Output>,
    ) {
        let Some(Round { to, sent, fences }) = self.rounds.remove(&round) else { return };
        let Some(answers) = answers.filter(|answers| answers.len() == fences.len()) else { return };
        for ((agent, fence), answer) in fences.into_iter().zip(answers) {
            let Some(seat) = self.seats.get_mut(&agent) else { continue };
            let hold = seat.hold.as_mut().filter(|hold| hold.fence == fence).map(|hold| &mut hold.granted);
            let claim = seat.claim.as_mut().filter(|claim| claim.fence == fence);
            match answer {
                LeaseAnswer::Granted => {
                    let granted = claim.map(|claim| &mut claim.granted).into_iter().chain(hold);
                    for grants in granted {
                        let last = grants.entry(to).or_insert(sent);
                        *last = sent.max(*last);
                    }
                }
                LeaseAnswer::Taken { fence: other, holder } => {
                    claim.into_iter().for_each(|claim| _ = claim.refused.insert(to, (other, holder)));
                }
                LeaseAnswer::NotYet { .. } | LeaseAnswer::OtherEpoch | LeaseAnswer::Unknown => {}
            }
            self.promise_own(&agent, world, out);
            self.look_at_claim(&agent, world, out);
        }
    }

    /// A claim that more than half granted is held; one that more than half cannot grant any more is given up.
    fn look_at_claim(&mut self, agent: &AgentName, world: &World, out: &mut Vec<Output>) {
        let Some(seat) = self.seats.get_mut(agent) else { return };
        let Some(claim) = &seat.claim else { return };
        let until = lease_end(&claim.granted, world).filter(|end| world.now.after_us(MARGIN_US) < *end);
        if claim.epoch == world.epoch
            && let Some(until) = until
        {
            let Some(Claim { fence, epoch, granted, .. }) = seat.claim.take() else { return };
            let runs = seat.hold.take().map(|hold| (hold.stage, hold.asked));
            let (stage, asked) = match runs {
                Some((stage @ (Stage::Starting | Stage::Running | Stage::Ending(_)), asked)) => (stage, asked),
                Some((Stage::Recording | Stage::Releasing, _)) | None => (Stage::Recording, false),
            };
            seat.hold = Some(Hold { fence, epoch, granted, until, stage, asked });
            (seat.wanted, seat.others_claim) = (None, None);
            let declared = self.book.get(agent).and_then(|entry| entry.open()).map_or(self.own, |open| open.by);
            let fact = Fact::FenceHeld(FenceHeld { agent: agent.clone(), fence, epoch, declared });
            let action = Action::HoldFence { agent: agent.clone() };
            return self.record(Ticket::Hold { agent: agent.clone(), fence }, action, fact, out);
        }
        let left = world.counting.iter().filter(|chain| !claim.refused.contains_key(chain)).count();
        let hopeless = left * 2 <= world.counting.len();
        // Of two that ask for one number neither may ever get it, when others are silent.
        let split = !claim.refused.is_empty() && world.now >= claim.since.after_us(SPLIT_US);
        let old = world.now >= claim.since.after_us(CLAIM_US_MAX) || claim.epoch != world.epoch;
        if hopeless || split || old {
            self.abandon(agent, out);
        }
    }

    /// Gives a claim up, in writing unless this node still runs the agent under an earlier fence: who reads it starts at once.
    pub(super) fn abandon(&mut self, agent: &AgentName, out: &mut Vec<Output>) {
        let Some(seat) = self.seats.get_mut(agent) else { return };
        let Some(claim) = seat.claim.take() else { return };
        (seat.wanted, seat.not_before) = (None, Some(self.last.after_us(SPLIT_US)));
        if seat.hold.is_none() && !claim.granted.is_empty() {
            self.release(agent, claim.fence, FenceEnd::Abandoned, out);
        }
        // What this node held before it was away is refused by those who promised a later fence.
        let later = claim.refused.values().max_by_key(|(fence, _)| *fence).copied();
        if let Some((fence, holder)) = later {
            self.superseded(agent, fence, holder, out);
        }
    }

    fn release(&mut self, agent: &AgentName, fence: u64, end: FenceEnd, out: &mut Vec<Output>) {
        let fact = Fact::FenceReleased(FenceReleased { agent: agent.clone(), fence, end });
        let action = Action::HoldFence { agent: agent.clone() };
        self.record(Ticket::Release { agent: agent.clone(), fence }, action, fact, out);
    }

    /// Another chain holds a later fence than one that this chain held and never gave up.
    pub(super) fn look_if_superseded(&mut self, agent: &AgentName, out: &mut Vec<Output>) {
        let held = self.book.get(agent).and_then(|entry| entry.held());
        if let Some((fence, holder)) = held.filter(|(_, holder)| *holder != self.own) {
            self.superseded(agent, fence, holder, out);
        }
    }

    fn superseded(&mut self, agent: &AgentName, fence: u64, holder: ChainId, out: &mut Vec<Output>) {
        let entry = self.book.get(agent);
        let last = entry.and_then(|entry| Some((entry.last_held_by(&self.own)?, entry)));
        let Some((own, entry)) = last.filter(|(own, _)| *own < fence) else { return };
        let under_way = self
            .tickets
            .values()
            .any(|ticket| matches!(ticket, Ticket::Release { agent: it, fence } if it == agent && *fence == own));
        let holds = self.seats.get(agent).is_some_and(Seat::holds);
        if holder != self.own && entry.released(own, &self.own).is_none() && !under_way && !holds {
            self.release(agent, own, FenceEnd::Superseded { fence, holder }, out);
        }
    }

    /// That a fence is held is on disk: the agent starts, if its lease lasts.
    pub(super) fn hold_recorded(&mut self, agent: &AgentName, fence: u64, world: &World, out: &mut Vec<Output>) {
        let Some(hold) = self.seats.get_mut(agent).and_then(|seat| seat.hold.as_mut()) else { return };
        if hold.fence != fence || hold.stage != Stage::Recording {
            return;
        }
        let open = self.book.get(agent).and_then(|entry| entry.open()).cloned();
        let ask = self.asks.remove(agent).map(|(ask, _)| ask);
        let lasts = world.now.after_us(MARGIN_US) < hold.until;
        let declared = open.and_then(|open| Some((world.members.get(&open.by.node)?.role, open)));
        let Some((role, open)) = declared.filter(|_| lasts && self.drain.is_none()) else {
            hold.stage = Stage::Releasing;
            ask.into_iter().for_each(|ask| {
                out.push(Output::Refused { ask, refusal: Refusal::Deadline { maybe_executed: true } });
            });
            return self.release(agent, fence, FenceEnd::HandedOver, out);
        };
        (hold.stage, hold.asked) = (Stage::Starting, ask.is_some());
        out.push(Output::Start(Box::new(Leased {
            spec: open.said.spec,
            fence,
            by: Sender { node: open.by.node, principal: open.said.by },
            role: (open.by.node != self.own.node).then_some(role),
            ask: ask.map(|ask| weft_kernel::AskId(ask.0)),
        })));
    }

    pub(super) fn hold_not_recorded(&mut self, agent: &AgentName, fence: u64, out: &mut Vec<Output>) {
        let Some(seat) = self.seats.get_mut(agent) else { return };
        let Some(hold) = seat.hold.as_mut().filter(|hold| hold.fence == fence) else { return };
        match hold.stage {
            Stage::Recording | Stage::Releasing => seat.hold = None,
            Stage::Starting | Stage::Running => {
                hold.stage = Stage::Ending(None);
                let reason = format!("that fence {fence} is held could not be recorded");
                out.push(Output::Stop { agent: agent.clone(), reason, at_once: true });
            }
            Stage::Ending(_) => {}
        }
    }

    pub(super) fn on_here(&mut self, agent: &AgentName) {
        if let Some(hold) = self.seats.get_mut(agent).and_then(|seat| seat.hold.as_mut())
            && hold.stage == Stage::Starting
        {
            hold.stage = Stage::Running;
        }
    }

    /// Nothing runs any more: what follows from that is written, and then counts for everybody.
    pub(super) fn on_gone(&mut self, agent: &AgentName, never_ran: Option<String>, out: &mut Vec<Output>) {
        let Some(seat) = self.seats.get_mut(agent) else { return };
        let Some(hold) = seat.hold.as_mut() else { return };
        let end = match &hold.stage {
            Stage::Running if hold.asked => Some(FenceEnd::Ended),
            Stage::Running => Some(never_ran.map_or(FenceEnd::Ended, FenceEnd::Unfit)),
            Stage::Ending(end) => end.clone(),
            // It is not there yet, or is gone already.
            Stage::Recording | Stage::Starting | Stage::Releasing => return,
        };
        let fence = hold.fence;
        let Some(end) = end else {
            seat.hold = None;
            return;
        };
        hold.stage = Stage::Releasing;
        seat.claim = None;
        self.release(agent, fence, end, out);
    }

    pub(super) fn on_unused(&mut self, agent: &AgentName, fence: u64, refusal: &Refusal, out: &mut Vec<Output>) {
        let Some(hold) = self.seats.get_mut(agent).and_then(|seat| seat.hold.as_mut()) else { return };
        if hold.fence == fence && hold.stage == Stage::Starting {
            hold.stage = Stage::Releasing;
            let end = if hold.asked { FenceEnd::Ended } else { FenceEnd::Unfit(refusal.to_string()) };
            self.release(agent, fence, end, out);
        }
    }

    /// That a fence is given up is on disk.
    pub(super) fn written(&mut self, agent: &AgentName, fence: u64) {
        let known = self.book.get(agent).is_some_and(|entry| entry.released(fence, &self.own).is_some());
        self.let_go(agent, fence, known);
    }

    /// It could not be written: others wait until the lease has run out.
    pub(super) fn not_written(&mut self, agent: &AgentName, fence: u64) {
        self.let_go(agent, fence, true);
    }

    fn let_go(&mut self, agent: &AgentName, fence: u64, known: bool) {
        let Some(seat) = self.seats.get_mut(agent) else { return };
        let released = seat.hold.as_ref().is_some_and(|hold| hold.fence == fence && hold.stage == Stage::Releasing);
        if released && known {
            seat.hold = None;
        }
    }

    /// Ends all agents of this node in peace. Returns which, each with its fence.
    pub(super) fn hand_over(&mut self, out: &mut Vec<Output>) -> BTreeMap<AgentName, u64> {
        let claimed: Vec<_> =
            self.seats.iter().filter(|(_, seat)| seat.claim.is_some()).map(|(agent, _)| agent.clone()).collect();
        claimed.iter().for_each(|agent| self.abandon(agent, out));
        let mut handed = BTreeMap::new();
        for (agent, seat) in &mut self.seats {
            let Some(hold) = &mut seat.hold else { continue };
            match hold.stage {
                Stage::Starting | Stage::Running => {
                    hold.stage = Stage::Ending(Some(FenceEnd::HandedOver));
                    let reason = "the node leaves".to_owned();
                    out.push(Output::Stop { agent: agent.clone(), reason, at_once: false });
                }
                // One that is being recorded is given up as soon as it is.
                Stage::Recording | Stage::Ending(_) | Stage::Releasing => {}
            }
            handed.insert(agent.clone(), hold.fence);
        }
        handed
    }

    /// Ends what may not run any longer, renews what may, and asks again for what was not granted yet.
    pub(super) fn look_at_leases(&mut self, world: &World, out: &mut Vec<Output>) {
        self.rounds.retain(|_, round| world.now < round.sent.after_us(ROUND_US_MAX));
        for (agent, seat) in &mut self.seats {
            let Some(hold) = &mut seat.hold else { continue };
            // Grants of an earlier epoch cannot be renewed, and last as long as they were to.
            let renewed = lease_end(&hold.granted, world).filter(|_| hold.epoch == world.epoch);
            hold.until = renewed.map_or(hold.until, |renewed| hold.until.max(renewed));
            let lasts = world.now.after_us(MARGIN_US) < hold.until;
            let at_once = match hold.stage {
                Stage::Starting | Stage::Running => true,
                Stage::Ending(Some(_)) => true,
                Stage::Ending(None) | Stage::Recording | Stage::Releasing => false,
            };
            if !lasts && at_once {
                hold.stage = Stage::Ending(None);
                let reason = format!("too few members renewed the lease of fence {}", hold.fence);
                out.push(Output::Stop { agent: agent.clone(), reason, at_once: true });
            }
        }
        let claims: Vec<_> =
            self.seats.iter().filter(|(_, seat)| seat.claim.is_some()).map(|(agent, _)| agent.clone()).collect();
        for agent in claims {
            self.look_at_claim(&agent, world, out);
            self.ask_again(&agent, world, out);
        }
        if world.now >= self.renewed.after_us(RENEW_US) {
            self.renew(world, out);
        }
    }

    fn ask_again(&mut self, agent: &AgentName, world: &World, out: &mut Vec<Output>) {
        let asked = self.seats.get(agent).and_then(|seat| seat.claim.as_ref()).map(|claim| claim.asked);
        if asked.is_some_and(|asked| world.now >= asked.after_us(RETRY_US)) {
            self.promise_own(agent, world, out);
            self.ask_for(agent, world, out);
        }
    }

    /// Asks everybody who counts for more time, for all fences at once; this node as well.
    fn renew(&mut self, world: &World, out: &mut Vec<Output>) {
        self.renewed = world.now;
        let wanted = |seat: &Seat| {
            let hold = seat.hold.as_ref().filter(|hold| hold.epoch == world.epoch)?;
            let renews = match hold.stage {
                Stage::Recording | Stage::Starting | Stage::Running | Stage::Ending(Some(_)) => true,
                Stage::Ending(None) | Stage::Releasing => false,
            };
            renews.then_some(hold.fence)
        };
        let fences: Vec<_> =
            self.seats.iter().filter_map(|(agent, seat)| Some((agent.clone(), wanted(seat)?))).collect();
        if fences.is_empty() {
            return;
        }
        let own = self.own;
        for (agent, fence) in &fences {
            if self.grant(agent, *fence, own, world, None, out) == Some(LeaseAnswer::Granted)
                && let Some(hold) = self.seats.get_mut(agent).and_then(|seat| seat.hold.as_mut())
            {
                hold.granted.insert(own, world.now);
            }
        }
        for chain in world.counting.clone() {
            self.ask(chain, fences.clone(), world, out);
        }
    }

    /// Whether this node runs the agent under a fence of an epoch that is over: it needs the next one soon.
    pub(super) fn must_move(&self, agent: &AgentName, world: &World) -> bool {
        let hold = self.seats.get(agent).and_then(|seat| seat.hold.as_ref());
        hold.is_some_and(|hold| hold.epoch != world.epoch && matches!(hold.stage, Stage::Starting | Stage::Running))
    }
}
