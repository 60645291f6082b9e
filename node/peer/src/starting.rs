//! The peer while its start is not decided: what members are asked and answer, and what the decision sets going.

use weft_discovery::Discovery;
use weft_kernel as kernel;
use weft_protocol::{ChainId, NodeId, SignedCommit, Statement, SyncResponse, Timestamp};
use weft_replication as replication;

use crate::event::{Output, Request};
use crate::peer::{Outbound, Peer};
use crate::start::Act;

impl Peer {
    /// Whether members are still being asked how much of this node's chain they hold, and nothing is appended to it.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.start.is_open()
    }

    /// Whether the chain goes on even when nobody answers.
    #[must_use]
    pub const fn is_sure(&self) -> bool {
        self.start.is_sure()
    }

    /// Goes on numbering requests where the peer before this one ended: their answers may still come.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.next_outbound = before.next_outbound;
        self
    }

    pub(crate) fn start_connected(&mut self, node: NodeId, out: &mut Vec<Output>) {
        let mut acts = Vec::new();
        self.start.connected(node, &mut acts);
        self.act(acts, out);
    }

    pub(crate) fn start_answered(
        &mut self,
        node: NodeId,
        content: Option<SyncResponse>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let mut acts = Vec::new();
        self.start.answered(node, content, now, &mut acts);
        self.act(acts, out);
    }

    /// Takes the answer to a comparison of the start's own; whether it was one.
    pub(crate) fn start_compared(
        &mut self,
        chain: ChainId,
        held: Option<&SignedCommit>,
        other: &Statement,
        out: &mut Vec<Output>,
    ) -> bool {
        if !self.start.is_open() || chain != self.chain {
            return false;
        }
        let mut acts = Vec::new();
        self.start.compared(held, other, &mut acts);
        self.act(acts, out);
        true
    }

    pub(crate) fn start_stored(&mut self, out: &mut Vec<Output>) {
        let mut acts = Vec::new();
        self.start.stored(&mut acts);
        self.act(acts, out);
    }

    /// Looks whether the start can be decided now, after everything that an input caused.
    pub(crate) fn look_at_start(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if !self.start.is_open() {
            return;
        }
        let members = Discovery::active_others(&self.discovery).collect();
        let mut acts = Vec::new();
        self.start.look(&members, now, &mut acts);
        self.act(acts, out);
        self.run_steps(now, out);
    }

    fn act(&mut self, acts: Vec<Act>, out: &mut Vec<Output>) {
        for act in acts {
            match act {
                Act::Ask { to, content } => self.request(to, Request::Sync(content), Outbound::Start { to }, out),
                Act::Compare { commit_no, other } => {
                    out.push(Output::ReadCommit { chain: self.chain, commit_no, other });
                }
                Act::Store(groups) => self.persist.add_lost(self.chain, groups),
                Act::Continue => {
                    self.tell_kernel(kernel::Input::Released);
                    self.tell_replication(replication::Input::OwnChainShown);
                    self.record_tails();
                }
                Act::Over(start_over) => out.push(Output::StartOver(start_over)),
            }
        }
    }
}
