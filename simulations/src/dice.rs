//! The one source of chance: a seeded generator with separate streams, so that what one part draws never moves another.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Which part of the world draws. Each has its own stream of the same seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Keys, nonces and incarnations of nodes.
    Keys = 1,
    /// What happens and when.
    Plan = 2,
    /// Links.
    Network = 3,
    /// Disks.
    Disk = 4,
    /// Clocks.
    Clock = 5,
    /// Agents.
    Agents = 6,
    /// Seeds of peers and secrets of invites.
    Peers = 7,
    /// What is checked at random.
    Checks = 8,
    /// Histories of the membership model.
    Membership = 9,
    /// What links do besides, when a scenario wants it.
    Rare = 10,
}

/// A generator that gives the same numbers for the same seed and stream on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The generator of one stream of `seed`.
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream as u64);
        Self(generator)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; zero when the bound is zero. The bias of the remainder is far below anything measured here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, [least, most]: [u64; 2]) -> u64 {
        least.saturating_add(self.below(most.saturating_sub(least).saturating_add(1)))
    }

    /// A place in a list of this length; zero for an empty one.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("BUG: below a usize")
    }

    /// True in `per_mille` of 1,000 cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// Random bytes.
    pub(crate) fn bytes<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
