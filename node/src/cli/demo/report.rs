//! What the demo has shown, as one object.

use serde::Serialize;
use serde_json::{Map, Value};
use weft_protocol::control::TraceHop;

/// The JSON of `weft demo`.
#[derive(Debug, Serialize)]
pub(crate) struct DemoReport {
    /// Nodes, each a process of its own.
    pub(super) nodes: u64,
    /// Calls that were answered.
    pub(super) calls: u64,
    /// Median time of a call to another node, answered, in microseconds.
    pub(super) call_p50_us: u64,
    /// Publications.
    pub(super) published: u64,
    /// How often one reached a subscriber on another node.
    pub(super) delivered: u64,
    /// Whether every chain verifies on every node, offline.
    pub(super) verified: bool,
    /// One call as both chains hold it.
    pub(super) trace: Vec<TraceHop>,
    /// Where each node's own chain stands.
    pub(super) chains: Map<String, Value>,
}

impl DemoReport {
    /// The last line for people.
    pub(super) fn summary(&self) -> String {
        let Self { nodes, calls, delivered, .. } = self;
        format!(
            "done       {nodes} nodes, {calls} calls, {delivered} publications delivered, all chains verified, nothing left behind"
        )
    }
}
