//! SWIM: members probe one another, directly and through others, and tell each other whom they miss.
//!
//! The protocol is the crate `foca`'s (Das, Gupta, Motivala: SWIM, 2002, with suspicion and incarnations). Around it stand:
//! `identity` (who is meant, and in which run), `packet` (what of a packet is believed) and `pace` (its settings and timers).
//! What is added to it: a lost connection makes suspect at once, and a node that was not run itself judges nobody.

mod identity;
mod pace;
mod packet;

use std::collections::BTreeMap;
use std::fmt;

use foca::{Foca, Member, NoCustomBroadcast, PostcardCodec, State};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use weft_protocol::{Hlc, NodeId, Timestamp};

use self::pace::{Gathered, Timers, settings};
use crate::config::DiscoveryConfig;
use crate::event::Output;

pub(crate) use self::identity::SwimIdentity;

/// What the cluster says of one run of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    identity: SwimIdentity,
    /// How often that run refuted a suspicion.
    refutations: u16,
    state: State,
}

impl Verdict {
    pub(crate) fn state(&self) -> State {
        self.state
    }
}

/// A suspicion of our own, and when it is a death unless it is refuted.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    of: Verdict,
    due: Timestamp,
}

type Protocol = Foca<SwimIdentity, PostcardCodec, ChaCha8Rng, NoCustomBroadcast>;

/// This node's part in SWIM. Invariant: whoever is in it was believed to be a member when it came in.
pub(crate) struct Swim {
    foca: Protocol,
    timers: Timers,
    suspicions: BTreeMap<NodeId, Suspicion>,
    /// What a node said of itself on a connection of its own.
    heard: BTreeMap<NodeId, SwimIdentity>,
    dead_after_us: u64,
    pace: [u64; 3],
    seed: u64,
}

impl fmt::Debug for Swim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Swim").field("identity", self.foca.identity()).finish_non_exhaustive()
    }
}

impl Swim {
    /// Alone, in the run that began at `started`.
    pub(crate) fn new(node: NodeId, started: Hlc, config: &DiscoveryConfig, seed: u64) -> Self {
        Self::as_identity(SwimIdentity { node, started, renewed: 0 }, config, seed)
    }

    fn as_identity(identity: SwimIdentity, config: &DiscoveryConfig, seed: u64) -> Self {
        let generator = ChaCha8Rng::seed_from_u64(seed);
        Self {
            foca: Foca::new(identity, settings(config), generator, PostcardCodec),
            timers: Timers::new(config),
            suspicions: BTreeMap::new(),
            heard: BTreeMap::new(),
            dead_after_us: config.dead_after_us,
            pace: config.pace(),
            seed,
        }
    }

    /// What is said of a node; none when nobody that we listened to knows it.
    pub(crate) fn verdict(&self, node: &NodeId) -> Option<Verdict> {
        let member = self.foca.iter_membership_state().find(|member| member.id().node == *node)?;
        Some(Verdict { identity: *member.id(), refutations: member.incarnation(), state: member.state() })
    }

    /// The same of everybody that is known, by node.
    pub(crate) fn verdicts(&self) -> BTreeMap<NodeId, Verdict> {
        let members = self.foca.iter_membership_state();
        let verdict = |member: &Member<SwimIdentity>| Verdict {
            identity: *member.id(),
            refutations: member.incarnation(),
            state: member.state(),
        };
        members.map(|member| (member.id().node, verdict(member))).collect()
    }

    /// A connection to a node is open: it is asked whom it knows, and learns of us.
    pub(crate) fn greet(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let identity = self.heard.get(&node).copied().unwrap_or_else(|| SwimIdentity::unknown_run(node));
        self.run(now, outputs, |foca, gathered| foca.announce(identity, gathered));
    }

    /// A packet of that node came, `directly` on a connection of its own, or from a member that passed it on, who could say of its
    /// run what it likes. `belongs` tells a member that is not cut off, with the latest run of it
    /// that its own words tell of, if any do. Whether the packet was one.
    pub(crate) fn packet_arrived(
        &mut self,
        (from, directly): (NodeId, bool),
        packet: &[u8],
        belongs: impl Fn(&NodeId) -> Option<Option<Hlc>>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) -> bool {
        let heard = &self.heard;
        let believed = |identity: &SwimIdentity| {
            let Some(advertised) = belongs(&identity.node) else { return false };
            let told = heard.get(&identity.node).map(|heard| heard.started).max(advertised);
            told.is_none_or(|told| identity.started <= told)
        };
        let Some(sifted) = packet::sift(from, packet, believed) else { return false };
        if directly {
            let sender = self.heard.entry(from).or_insert(sifted.sender);
            *sender = sifted.sender.max(*sender);
        } else if !believed(&sifted.sender) {
            return false;
        }
        self.run(now, outputs, |foca, gathered| foca.handle_data(&sifted.packet, gathered))
    }

    /// Something says that this node is gone: it is asked to say that it is not, and is dead in a while if it does not.
    pub(crate) fn suspect(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(verdict) = self.verdict(&node).filter(|verdict| verdict.state == State::Alive) else { return };
        self.judge(verdict, State::Suspect, now, outputs);
        let of = Verdict { state: State::Suspect, ..verdict };
        self.suspicions.insert(node, Suspicion { of, due: now.after_us(self.dead_after_us) });
    }

    /// Tells everybody what we think of one run of a node.
    fn judge(&mut self, of: Verdict, state: State, now: Timestamp, outputs: &mut Vec<Output>) {
        let judged = Member::new(of.identity, of.refutations, state);
        self.run(now, outputs, |foca, gathered| foca.apply_many(std::iter::once(judged), true, gathered));
    }

    /// Everything whose time has come.
    pub(crate) fn do_due(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.timers.forgive_lateness(now);
        while let Some(timer) = self.timers.take_due(now, self.foca.updates_backlog() > 0) {
            self.run(now, outputs, |foca, gathered| foca.handle_timer(timer, gathered));
        }
        let due: Vec<NodeId> = self.suspicions.iter().filter(|(_, it)| it.due <= now).map(|(node, _)| *node).collect();
        for node in due {
            let suspicion = self.suspicions.remove(&node);
            let still = suspicion.filter(|suspicion| self.verdict(&node) == Some(suspicion.of));
            if let Some(Suspicion { of, .. }) = still {
                self.judge(of, State::Down, now, outputs);
            }
        }
    }

    /// When something is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let timer = self.timers.next_due(self.foca.updates_backlog() > 0);
        let death = self.suspicions.values().map(|suspicion| suspicion.due).min();
        timer.into_iter().chain(death).min()
    }

    /// Other times count from now on. Another pace begins with another identity, since nobody can change his under way.
    pub(crate) fn configure(
        &mut self,
        config: &DiscoveryConfig,
        connected: impl Iterator<Item = NodeId>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        if config.pace() == self.pace {
            self.dead_after_us = config.dead_after_us;
            self.foca.set_config(settings(config)).expect("BUG: the same pace may always be set");
            return;
        }
        *self = Self::as_identity(self.foca.identity().next(), config, self.seed);
        for node in connected {
            self.greet(node, now, outputs);
        }
    }

    /// Lets the protocol do one thing; whether it found nothing wrong.
    fn run(
        &mut self,
        now: Timestamp,
        outputs: &mut Vec<Output>,
        act: impl FnOnce(&mut Protocol, &mut Gathered) -> Result<(), foca::Error>,
    ) -> bool {
        let mut gathered = Gathered::default();
        let fine = act(&mut self.foca, &mut gathered).is_ok();
        self.timers.add(gathered.timers, now);
        outputs.extend(gathered.packets.into_iter().map(|(to, packet)| Output::SendSwim { to, packet }));
        fine
    }
}
