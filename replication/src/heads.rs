//! What others say they hold: comparisons in one hash, heads when they differ, and announcements of new commits.

use weft_protocol::limits::{GOSSIP_COMMIT_BYTES_MAX, HEADS_MAX};
use weft_protocol::{
    ChainId, Commit, CommitGroup, Digest, Event, Fact, Head, HeadGossip, NodeId, PlacedFact, SignedCommit, SyncRequest,
    SyncResponse, Timestamp, verify_commit_by,
};

use crate::config::{GOSSIP_WAITING_MAX, GOSSIP_WAITING_TOTAL_MAX};
use crate::copy::ChainCopy;
use crate::event::Output;
use crate::fetch::Fetch;
use crate::replication::Replication;
use crate::stretch::Stretched;

impl Replication {
    /// Compares with a connected member, unless a comparison is out or the last one was just now.
    pub(crate) fn say_hello(&mut self, node: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let pause_us = self.config.hello_pause_us;
        let Some(link) = self.links.get_mut(&node) else { return };
        link.hello_due = None;
        if link.hello.is_some() || link.hello_after > now {
            return;
        }
        link.hello_after = now.after_us(pause_us);
        let fetch = self.new_fetch();
        let root = self.vector_root();
        if let Some(link) = self.links.get_mut(&node) {
            link.hello = Some(fetch);
        }
        self.fetches.insert(fetch, (node, Fetch::Hello { root }));
        outputs.push(Output::Request { fetch, to: node, content: SyncRequest::Hello { vector_root: root } });
    }

    /// What a member said to our comparison; `None` when it did not respond.
    pub(crate) fn on_hello_answered(
        &mut self,
        from: NodeId,
        root: Digest,
        content: Option<SyncResponse>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let loss_pause_us = self.config.loss_pause_us;
        let Some(link) = self.links.get_mut(&from) else { return };
        link.hello = None;
        match content {
            Some(SyncResponse::Same) => link.agreed = Some(root),
            Some(SyncResponse::Heads(heads)) => {
                link.agreed = None;
                for head in heads.into_iter().take(HEADS_MAX) {
                    self.on_head(from, &head, now, outputs);
                }
            }
            Some(SyncResponse::Stretches(stretches)) => {
                link.agreed = None;
                self.on_stretches(from, Stretched::everything(), &stretches, outputs);
            }
            Some(SyncResponse::Refused(_)) => {}
            Some(_) => self.refused += 1,
            None => {
                let due = now.after_us(loss_pause_us);
                link.hello_after = due;
                link.hello_due = Some(due);
            }
        }
    }

    /// A claim, signed by nobody: it may make us ask, and nothing else.
    pub(crate) fn on_head(&mut self, from: NodeId, head: &Head, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(commits) = head.commit_no.checked_add(1) else {
            self.refused += 1;
            return;
        };
        let held = self.copies.get_mut(&head.chain).filter(|copy| copy.durable().commits() >= commits);
        let Some(copy) = held else { return self.note_ahead(head.chain, from, commits) };
        if copy.is_paused(from, now) {
            return;
        }
        let level = copy.durable().commits() == commits;
        let differs = copy.durable().last_commit() != head.commit_hash;
        let suspicious = if level { differs } else { copy.is_stuck(from, head.commit_no, head.commit_hash) };
        if suspicious {
            let pause_us = self.config.fault_pause_us;
            copy.pause(from, now.after_us(pause_us), now);
            self.inquire(head.chain, from, head.commit_no, outputs);
        }
    }

    /// Our own chain grew on disk: only now may others hear of it.
    pub(crate) fn on_own_chain_grew(
        &mut self,
        group: CommitGroup,
        commit: &Commit,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let facts = own_facts(&group);
        self.tree.learn(self.own.chain, &facts);
        self.snapshots.learn(&facts);
        self.learn_rotations(self.own.chain.node, &facts);
        self.own.grow(&group, commit.head(group.signed.hash()), commit.hlc_last);
        self.learn_anchors(self.own.chain.node, &commit.anchors, outputs);
        if let Some(head) = self.own.head.clone() {
            let anchors = commit.anchors.iter().map(|anchor| (anchor.chain, anchor.commit_no)).collect();
            self.stand(&head, [commit.hlc_first, commit.hlc_last], anchors, &facts);
        }
        self.announcing.grew(commit.commit_no, group, &self.config, now);
    }

    /// An announcement passed on by `from`. What continues our copy exactly is verified and stored; a gap is fetched; what we
    /// hold already is compared.
    pub(crate) fn on_gossiped(&mut self, from: NodeId, gossip: HeadGossip, now: Timestamp, outputs: &mut Vec<Output>) {
        let (signed, group) = match gossip {
            HeadGossip::Group(group) => {
                (group.signed.clone(), Some(group).filter(|group| group.size() <= GOSSIP_COMMIT_BYTES_MAX))
            }
            HeadGossip::Head(signed) => (signed, None),
            HeadGossip::Fork(evidence) => return self.on_evidence(from, *evidence, outputs),
            HeadGossip::Tick(tick) => return self.on_tick(from, &tick, now, outputs),
        };
        let Ok(commit) = signed.decode() else {
            self.refused += 1;
            return;
        };
        let chain = commit.chain;
        if commit.cluster != self.cluster || !self.accepts(&chain) {
            return self.on_foreign_gossip(from, &commit);
        }
        let Some(copy) = self.copies.get(&chain) else { return self.on_new_chain(from, signed, &commit, group) };
        let (held, expected) = (copy.durable().commits(), copy.expected());
        if commit.commit_no < held {
            return self.on_old_commit(chain, from, signed, &commit, outputs);
        }
        // Remembered even when it is on its way already: should what is on its way be refused, this member is asked.
        let holder = self.holder(&chain, from, group.as_ref());
        self.note_ahead(chain, holder, commit.commit_no.saturating_add(1));
        if group.is_none() && holder != chain.node {
            let until = now.after_us(self.config.loss_pause_us);
            self.copies.get_mut(&chain).into_iter().for_each(|copy| copy.pause(holder, until, now));
        }
        if commit.commit_no == expected {
            self.on_next_commit(chain, from, group);
        }
    }

    /// Who can be asked for what is announced: whoever passed it on whole, and of a header its writer, because who passes that on
    /// does not hold the rest yet, and is asked a little later when its writer is not connected.
    fn holder(&self, chain: &ChainId, from: NodeId, group: Option<&CommitGroup>) -> NodeId {
        if group.is_none() && self.links.contains_key(&chain.node) { chain.node } else { from }
    }

    /// Of a writer without keys, of another cluster, of us, or of a chain that does not grow any more.
    fn on_foreign_gossip(&mut self, from: NodeId, commit: &Commit) {
        if commit.cluster == self.cluster && self.is_keyless(&commit.chain) {
            self.note_ahead(commit.chain, from, commit.commit_no.saturating_add(1));
        }
    }

    /// The first we hear of a chain. Its signature is checked at once, so that nobody but its writer can fill our table.
    fn on_new_chain(&mut self, from: NodeId, signed: SignedCommit, commit: &Commit, group: Option<CommitGroup>) {
        if verify_commit_by(&signed, self.member_keys(&commit.chain.node)).is_err() {
            self.refused += 1;
            return;
        }
        self.note_ahead(
            commit.chain,
            self.holder(&commit.chain, from, group.as_ref()),
            commit.commit_no.saturating_add(1),
        );
        if commit.commit_no == 0 && self.copy_or_new(commit.chain).is_some() {
            self.on_next_commit(commit.chain, from, group);
        }
    }

    /// Exactly what our copy lacks. When too much waits already, or only the header came, it is fetched as part of a range.
    fn on_next_commit(&mut self, chain: ChainId, from: NodeId, group: Option<CommitGroup>) {
        let total: usize =
            self.active.iter().filter_map(|chain| self.copies.get(chain)).map(ChainCopy::gossip_waiting).sum();
        self.active.insert(chain);
        let (Some(group), Some(copy)) = (group, self.copies.get_mut(&chain)) else { return };
        if copy.gossip_waiting() < GOSSIP_WAITING_MAX && total < GOSSIP_WAITING_TOTAL_MAX {
            copy.take_gossip(from, group);
        }
    }

    /// A commit under a number that we hold on disk: the same one, or proof of a second history.
    fn on_old_commit(
        &mut self,
        chain: ChainId,
        from: NodeId,
        signed: SignedCommit,
        commit: &Commit,
        outputs: &mut Vec<Output>,
    ) {
        let last = self.copies.get(&chain).and_then(|copy| copy.durable().head());
        let is_last = last.is_some_and(|head| (head.commit_no, head.commit_hash) == (commit.commit_no, signed.hash()));
        if !is_last {
            self.suspect(chain, commit.commit_no, from, signed.into(), outputs);
        }
    }
}

/// What a commit of ours says, but messages and batches: those are told by their kinds and not read.
fn own_facts(group: &CommitGroup) -> Vec<PlacedFact> {
    let others =
        group.events.iter().filter(|bytes| !matches!(Event::kind_of(bytes), Some("ipc.message" | "ipc.batch")));
    let read = others.filter_map(|bytes| {
        let event = Event::decode(bytes).ok()?;
        let fact = Fact::decode(&event.kind, &event.payload).ok()?;
        (!matches!(fact, Fact::Opaque { .. })).then_some(PlacedFact { seq: event.seq, hlc: event.hlc, fact })
    });
    read.collect()
}
