//! The tree of resources and proofs of it, for people and scripts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::tree::{Millionths, ResourceEntry, Scoring};

/// Six scores, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "each is the score of its name")]
pub struct ScoringJson {
    pub trust: f64,
    pub performance: f64,
    pub difficulty: f64,
    pub reward: f64,
    pub reliability: f64,
    pub velocity: f64,
}

impl From<Scoring> for ScoringJson {
    fn from(scoring: Scoring) -> Self {
        let part = |part: Millionths| f64::from(part.get()) / f64::from(Millionths::ONE.get());
        Self {
            trust: part(scoring.trust),
            performance: part(scoring.performance),
            difficulty: part(scoring.difficulty),
            reward: part(scoring.reward),
            reliability: part(scoring.reliability),
            velocity: part(scoring.velocity),
        }
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourceRow {
    /// Where it stands.
    pub path: String,
    /// The same with the names of nodes in place of their ids: for people.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// What is said of it, by key.
    pub metadata: BTreeMap<String, String>,
    /// How good it is.
    pub scoring: ScoringJson,
    /// How many stand directly below it.
    pub children: u64,
}

impl ResourceRow {
    /// A resource under the name that people are told.
    #[must_use]
    pub fn new(entry: &ResourceEntry, name: String, children: usize) -> Self {
        Self {
            path: entry.path.to_string(),
            name,
            kind: entry.kind.to_string(),
            metadata: entry.metadata.clone(),
            scoring: entry.scoring.into(),
            children: children as u64,
        }
    }
}

/// The answer to `GET /v1/tree`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TreeReport {
    /// Below what.
    pub path: String,
    /// The root of the tree it was read from.
    pub root: String,
    /// What stands directly below it, by the last name of its path; at most 1,000.
    pub resources: Vec<ResourceRow>,
    /// The name after which the next page begins; null when this is the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// The root of what is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StableRoot {
    /// The hash.
    pub root: String,
    /// The stamp up to which everything is in it.
    pub hlc: String,
}

/// The answer to `GET /v1/tree/root`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TreeRootReport {
    /// The hash over everything that is held.
    pub root: String,
    /// The hash over everything that is stable; null while nobody can say what is.
    pub stable: Option<StableRoot>,
    /// The hash over all chains: where it is equal, so is the root.
    pub vector_root: String,
    /// How many resources there are.
    pub resources: u64,
    /// How many have no place because the chain that tells of them tells of too many.
    pub left_out: u64,
}

/// The answer to `GET /v1/tree/proof`, and what `weft tree prove` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TreeProofFile {
    /// `weft-tree-proof-1`.
    pub format: String,
    /// Of which cluster.
    pub cluster: String,
    /// About which resource.
    pub path: String,
    /// Whether it is there.
    pub present: bool,
    /// The hash over all chains that the tree was folded from.
    pub vector_root: String,
    /// The root of the tree.
    pub root: String,
    /// The proof: canonical CBOR in base64.
    pub proof: String,
}

/// What `weft tree check-proof` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TreeProofCheckReport {
    /// Whether it holds under the root that was named.
    pub ok: bool,
    /// About which resource.
    pub path: String,
    /// Whether it is there.
    pub present: bool,
    /// Of which cluster it says to be.
    pub cluster: String,
    /// The hash over all chains that it says to be of.
    pub vector_root: String,
    /// The root under which it holds.
    pub root: String,
    /// The resource, when it is there.
    pub resource: Option<ResourceRow>,
}

/// The body of `POST /v1/tree/score`. Scores that it does not name stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is the score of its name")]
pub struct ScoreRequest {
    /// Which resource.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub velocity: Option<f64>,
    /// How much it counts beside what was observed before; 0.3 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}
