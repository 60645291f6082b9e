//! What a node says about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterJson {
    /// The name that every member derives from the id.
    pub name: String,
    /// The id.
    pub id: String,
}

/// What `up` and `join` say once the node serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpReport {
    /// Its id.
    pub node: String,
    /// Its name.
    pub name: String,
    /// Its home folder.
    pub home: String,
    /// Its process.
    pub pid: u32,
    /// Multiaddresses it listens on.
    pub listen: Vec<String>,
    /// Its cluster.
    pub cluster: ClusterJson,
    /// Members of the cluster, this node included.
    pub members: u64,
}

/// The answer to `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// Its home folder.
    pub home: String,
    /// Its cluster.
    pub cluster: ClusterJson,
    /// `booting`, `running`, `shutting-down`, or `damaged` when its store can no longer be written.
    pub state: String,
    /// Which of its chains it writes.
    pub incarnation: String,
    /// Living agents.
    pub agents: u64,
    /// Members of the cluster, this node included.
    pub members: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// `provisional`: no prefix of the total order is final yet.
    pub order: String,
    /// Multiaddresses it listens on.
    pub listen: Vec<String>,
    /// As what it was admitted.
    pub role: String,
    /// The program's version.
    pub version: String,
    /// `healthy`, `degraded`, or `unhealthy` when the node itself is.
    pub health: String,
    /// What is not well, one line each.
    pub health_reasons: Vec<String>,
    /// Handshakes that were refused lately, the newest first.
    pub refusals: Vec<RefusalRow>,
}

/// One refused handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusalRow {
    /// When.
    pub at: String,
    /// The other side, as its key says.
    pub node: String,
    /// Where from, or where to.
    pub address: String,
    /// Whether this node refused; otherwise it was refused.
    pub by_us: bool,
    /// Stable: `not-a-member`, `wrong-cluster`, …
    pub code: String,
    /// Why, in one line.
    pub message: String,
}

impl StatusReport {
    /// The part of it that `up` and `join` print.
    #[must_use]
    pub fn up(&self) -> UpReport {
        UpReport {
            node: self.node.clone(),
            name: self.name.clone(),
            home: self.home.clone(),
            pid: self.pid,
            listen: self.listen.clone(),
            cluster: self.cluster.clone(),
            members: self.members,
        }
    }
}

/// The answer to `POST /v1/down`: everything is on disk and sealed, the process ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DownReport {
    /// Its id.
    pub node: String,
    /// Its name.
    pub name: String,
    /// The process that ends.
    pub pid: u32,
}

/// The answer of `livez` and `readyz`: 200 when all is well, 503 otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProbeReport {
    /// Whether all is well.
    pub ok: bool,
    /// Where the node stands: `running`, `booting`, …; `stuck` when it does not answer.
    pub state: String,
    /// `healthy`, `degraded` or `unhealthy`; `unknown` when it does not answer.
    pub health: String,
    /// What is not well, one line each.
    pub reasons: Vec<String>,
}
