//! How good something is, in six numbers, and how what is observed blends into them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;

/// A part of one in millionths, 0 to 1: a whole number, so that every machine blends to the same score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Millionths(u32);

impl Millionths {
    /// None of it.
    pub const ZERO: Self = Self(0);
    /// Half of it: what a score is before anything was observed (the reference system's).
    pub const HALF: Self = Self(500_000);
    /// All of it.
    pub const ONE: Self = Self(1_000_000);

    /// How many millionths.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// This part of `whole`; all of it when there is no whole or `part` is more.
    #[must_use]
    pub fn ratio(part: u64, whole: u64) -> Self {
        if part >= whole {
            return Self::ONE;
        }
        let scaled = u128::from(part) * u128::from(Self::ONE.0) / u128::from(whole);
        Self(u32::try_from(scaled).unwrap_or(Self::ONE.0))
    }

    /// `self·(1−weight) + other·weight`, rounded to the nearest, half up.
    #[must_use]
    pub fn blend(self, other: Self, weight: Self) -> Self {
        let one = u64::from(Self::ONE.0);
        let kept = u64::from(self.0) * (one - u64::from(weight.0));
        let new = u64::from(other.0) * u64::from(weight.0);
        Self(u32::try_from((kept + new + one / 2) / one).unwrap_or(Self::ONE.0))
    }
}

impl From<Millionths> for u32 {
    fn from(part: Millionths) -> Self {
        part.0
    }
}

impl TryFrom<u32> for Millionths {
    type Error = ParseError;

    fn try_from(part: u32) -> Result<Self, ParseError> {
        if part <= Self::ONE.0 {
            Ok(Self(part))
        } else {
            Err(ParseError::new(&part.to_string(), "a part of one in millionths (0 to 1000000)"))
        }
    }
}

impl fmt::Display for Millionths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / Self::ONE.0, format!("{:06}", self.0 % Self::ONE.0));
        let part = part.trim_end_matches('0');
        if part.is_empty() { write!(formatter, "{whole}") } else { write!(formatter, "{whole}.{part}") }
    }
}

impl FromStr for Millionths {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a part of one (0 to 1, with at most six digits behind the point)");
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() != 1 || part.len() > 6 || !digits(whole) || !digits(part) {
            return Err(refuse());
        }
        let number: u32 = format!("{whole}{part:0<6}").parse().map_err(|_| refuse())?;
        Self::try_from(number).map_err(|_| refuse())
    }
}

/// Six scores of one resource. Each begins at one half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the score of its name")]
pub struct Scoring {
    pub trust: Millionths,
    pub performance: Millionths,
    pub difficulty: Millionths,
    pub reward: Millionths,
    pub reliability: Millionths,
    pub velocity: Millionths,
}

impl Default for Scoring {
    fn default() -> Self {
        let half = Millionths::HALF;
        Self { trust: half, performance: half, difficulty: half, reward: half, reliability: half, velocity: half }
    }
}

/// What was observed of a resource: scores that it does not name stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the score of its name")]
pub struct Observation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Millionths>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Millionths>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<Millionths>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<Millionths>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Millionths>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub velocity: Option<Millionths>,
}

impl Observation {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it says, each by its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Millionths)> {
        let all = [
            ("trust", self.trust),
            ("performance", self.performance),
            ("difficulty", self.difficulty),
            ("reward", self.reward),
            ("reliability", self.reliability),
            ("velocity", self.velocity),
        ];
        all.into_iter().filter_map(|(name, score)| Some((name, score?)))
    }
}

impl Scoring {
    /// The scores after one more observation of this weight: each that it names becomes `old·(1−weight) + new·weight`.
    #[must_use]
    pub fn blend(self, seen: &Observation, weight: Millionths) -> Self {
        let one = |old: Millionths, new: Option<Millionths>| new.map_or(old, |new| old.blend(new, weight));
        Self {
            trust: one(self.trust, seen.trust),
            performance: one(self.performance, seen.performance),
            difficulty: one(self.difficulty, seen.difficulty),
            reward: one(self.reward, seen.reward),
            reliability: one(self.reliability, seen.reliability),
            velocity: one(self.velocity, seen.velocity),
        }
    }

    /// Each by its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Millionths); 6] {
        [
            ("trust", self.trust),
            ("performance", self.performance),
            ("difficulty", self.difficulty),
            ("reward", self.reward),
            ("reliability", self.reliability),
            ("velocity", self.velocity),
        ]
    }
}
