//! What an action does to the world, in numbers: named dimensions, their magnitude, and how much of it an environment lets pass.
//!
//! All numbers are thousandths in integers, so that everybody who computes a decision again computes the same one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::limits::{DIMENSION_BYTES_MAX, DIMENSIONS_MAX};

/// A part of one: 0.3 is 300. At most 1 in a dimension; a magnitude over several of them may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Thousandths(pub u16);

impl Thousandths {
    /// All of it.
    pub const ONE: Self = Self(1_000);

    /// The sum, at most one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0)).min(Self::ONE)
    }
}

impl fmt::Display for Thousandths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000, format!("{:03}", self.0 % 1_000));
        let part = part.trim_end_matches('0');
        if part.is_empty() { write!(formatter, "{whole}") } else { write!(formatter, "{whole}.{part}") }
    }
}

impl FromStr for Thousandths {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a part of one (0 to 1, with at most three digits behind the point)");
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() != 1 || part.len() > 3 || !digits(whole) || !digits(part) {
            return Err(refuse());
        }
        let number: u16 = format!("{whole}{part:0<3}").parse().map_err(|_| refuse())?;
        if number <= Self::ONE.0 { Ok(Self(number)) } else { Err(refuse()) }
    }
}

/// One way in which an action can touch the world: `risk`, `fairness`, `privacy`, `novelty` and `security`, and any other word
/// that an operator or an amendment uses. 1 to 24 of a-z 0-9 -.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Dimension(String);

impl Dimension {
    /// Those that every cluster knows.
    pub const DEFAULT: [&'static str; 5] = ["risk", "fairness", "privacy", "novelty", "security"];

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<Dimension> for String {
    fn from(dimension: Dimension) -> Self {
        dimension.0
    }
}

impl TryFrom<String> for Dimension {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        let fits = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if fits && (1..=DIMENSION_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(ParseError::new(&text, "a dimension (1 to 24 of a-z 0-9 -)"))
        }
    }
}

impl FromStr for Dimension {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.to_owned().try_into()
    }
}

/// How much an action does in each dimension; nothing where it is not named. At most 16 dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EffectVector(BTreeMap<Dimension, Thousandths>);

impl EffectVector {
    /// In these dimensions so much.
    ///
    /// # Panics
    /// When a name is no dimension: they are written in the program.
    #[must_use]
    pub fn of(parts: &[(&str, u16)]) -> Self {
        let named = |(name, part): &(&str, u16)| (name.parse().expect("BUG: a dimension"), Thousandths(*part));
        Self(parts.iter().filter(|(_, part)| *part > 0).map(named).collect())
    }

    /// How much it is in one dimension.
    #[must_use]
    pub fn part(&self, dimension: &Dimension) -> Thousandths {
        self.0.get(dimension).copied().unwrap_or_default()
    }

    /// Makes one dimension at least this much. A seventeenth dimension is left out: whoever configures them is told before.
    pub fn raise(&mut self, dimension: Dimension, least: Thousandths) {
        if self.0.len() < DIMENSIONS_MAX || self.0.contains_key(&dimension) {
            let part = self.0.entry(dimension).or_default();
            *part = (*part).max(least);
        }
    }

    /// Adds this much in one dimension, up to one.
    pub fn add(&mut self, dimension: Dimension, more: Thousandths) {
        let part = self.part(&dimension).plus(more);
        self.raise(dimension, part);
    }

    /// The length of the vector (L2 norm), in thousandths, rounded down.
    #[must_use]
    pub fn magnitude(&self) -> Thousandths {
        let squares = self.0.values().map(|part| u64::from(part.0) * u64::from(part.0)).sum::<u64>();
        Thousandths(u16::try_from(squares.isqrt()).unwrap_or(u16::MAX))
    }

    /// The dimensions it touches, by name.
    pub fn parts(&self) -> impl Iterator<Item = (&Dimension, Thousandths)> {
        self.0.iter().map(|(dimension, part)| (dimension, *part))
    }
}

impl fmt::Display for EffectVector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        let parts = self.0.iter().map(|(dimension, part)| format!("{dimension} {part}")).collect::<Vec<_>>();
        formatter.write_str(&parts.join(", "))
    }
}

/// How strict a node is: where it is tried out, where it is rehearsed, where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Little harm can be done.
    #[default]
    Development,
    /// As production, with nobody who depends on it.
    Staging,
    /// People depend on it.
    Production,
}

impl Environment {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Development, Self::Staging, Self::Production];
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        })
    }
}

impl FromStr for Environment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|environment| environment.to_string() == text);
        found.ok_or_else(|| ParseError::new(text, "an environment (development, staging or production)"))
    }
}

/// The magnitude above which an action is a large one, for each environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Of [`Environment::Development`].
    pub development: Thousandths,
    /// Of [`Environment::Staging`].
    pub staging: Thousandths,
    /// Of [`Environment::Production`].
    pub production: Thousandths,
}

impl Thresholds {
    /// That of one environment.
    #[must_use]
    pub const fn of(&self, environment: Environment) -> Thousandths {
        match environment {
            Environment::Development => self.development,
            Environment::Staging => self.staging,
            Environment::Production => self.production,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_are_read_as_they_are_written() {
        for (text, number) in [("0", 0), ("0.3", 300), ("0.05", 50), ("0.123", 123), ("1", 1_000), ("1.000", 1_000)] {
            assert_eq!(text.parse::<Thousandths>().expect(text), Thousandths(number));
        }
        assert_eq!(
            [0, 300, 50, 123, 1_000, 1_414].map(|number| Thousandths(number).to_string()),
            ["0", "0.3", "0.05", "0.123", "1", "1.414"]
        );
        for text in ["", ".3", "0.1234", "1.001", "2", "-1", "+0.1", "0,3", "1e1", "0.3 "] {
            assert!(text.parse::<Thousandths>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_magnitude_is_the_length_of_the_vector() {
        let vector = EffectVector::of(&[("risk", 300), ("security", 400)]);
        assert_eq!(vector.magnitude(), Thousandths(500));
        assert_eq!(EffectVector::default().magnitude(), Thousandths(0));
        let names = (0..DIMENSIONS_MAX).map(|number| format!("d{number}")).collect::<Vec<_>>();
        let mut full = EffectVector::default();
        names.iter().for_each(|name| full.raise(name.parse().expect("a dimension"), Thousandths::ONE));
        assert_eq!(full.magnitude(), Thousandths(4_000), "sixteen times one");
        full.raise("one-more".parse().expect("a dimension"), Thousandths::ONE);
        assert_eq!(full.magnitude(), Thousandths(4_000), "no seventeenth");
    }

    #[test]
    fn configuration_only_raises() {
        let mut vector = EffectVector::of(&[("risk", 300)]);
        let risk: Dimension = "risk".parse().expect("a dimension");
        vector.raise(risk.clone(), Thousandths(100));
        assert_eq!(vector.part(&risk), Thousandths(300));
        vector.add(risk.clone(), Thousandths(900));
        assert_eq!(vector.part(&risk), Thousandths::ONE);
    }
}
