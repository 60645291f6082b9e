//! Reads the store in the background, and does what is to be done about damage: nothing more is promised when it is the node's own,
//! and what can be had from members is put back when it is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use weft_peer::{Input, MendOutcome};
use weft_protocol::{ChainId, ChainState, CommitGroup, NodeId, Timestamp};
use weft_storage::{Damage, RepairError, ScrubSlice, StoreError};

use super::EventLoop;
use crate::scrub::{SLICE, ScrubBoard, Scrubber, Turn};

/// Results that wait for the loop: one slice and one mend are out at a time for each chain, and who finds no room waits.
const RESULTS_MAX: usize = 4;

/// What a thread beside the loop came to.
pub(super) enum Scrubbed {
    Slice { turn: Turn, result: Result<ScrubSlice, StoreError> },
    Mended { chain: ChainId, from: NodeId, first: u64, result: Result<u64, RepairError> },
}

/// What the loop needs for it.
pub(crate) struct Scrubbing {
    pub(super) scrubber: Scrubber,
    pub(super) board: ScrubBoard,
    pub(super) results: mpsc::Receiver<Scrubbed>,
    done: mpsc::Sender<Scrubbed>,
    /// Foreign chains with damage, as they are verified up to it.
    before: BTreeMap<ChainId, ChainState>,
    /// Slices and mends that are on their way: each holds the store.
    out: usize,
    /// Whether the own part of the store is damaged: nothing is promised any more.
    pub(super) distrusted: bool,
}

impl Scrubbing {
    /// Scrubs as this says, and tells this.
    pub(crate) fn new(scrubber: Scrubber, board: ScrubBoard) -> Self {
        let (done, results) = mpsc::channel(RESULTS_MAX);
        Self { scrubber, board, results, done, before: BTreeMap::new(), out: 0, distrusted: false }
    }

    /// Waits until nothing is on its way any more: whoever comes next wants to open the store.
    pub(super) async fn rest(&mut self) {
        while self.out > 0 {
            self.out -= 1;
            let _nobody_wants_it = self.results.recv().await;
        }
    }
}

impl EventLoop {
    /// Begins the next slice when it is due, and hears what reads came upon.
    pub(super) fn scrub_on(&mut self, now: Timestamp) {
        if let Some(noted) = self.store.take_noted() {
            let is_named = !noted.finds.is_empty();
            for damage in noted.finds {
                match damage.chain {
                    // What is before it is verified first; it is told then.
                    Some(chain) if !self.is_own(&damage) => self.scrubbing.scrubber.look_at(chain),
                    Some(_) | None => self.found(damage, now),
                }
            }
            if let Some(reason) = noted.failed.filter(|_| !is_named) {
                tracing::warn!(reason, "a read of the store failed; everything that is stored is read once");
                self.scrubbing.scrubber.look_at_all(now);
            }
        }
        let Some(turn) = self.scrubbing.scrubber.take_due(now) else { return };
        self.scrubbing.out += 1;
        let (store, done) = (Arc::clone(&self.store), self.scrubbing.done.clone());
        tokio::task::spawn_blocking(move || {
            let mut turn = turn;
            let result = store.scrub(&mut turn.cursor, SLICE);
            let _loop_has_ended = done.blocking_send(Scrubbed::Slice { turn, result });
        });
    }

    pub(super) fn scrubbed(&mut self, scrubbed: Scrubbed) {
        let now = self.clock.now();
        self.scrubbing.out -= 1;
        match scrubbed {
            Scrubbed::Slice { turn, result: Ok(mut slice) } => {
                let finds = std::mem::take(&mut slice.finds);
                self.scrubbing.scrubber.give_back(turn, &slice, now);
                finds.into_iter().for_each(|damage| self.found(damage, now));
            }
            // A write failed, which is told elsewhere.
            Scrubbed::Slice { result: Err(_), .. } => self.scrubbing.scrubber.end(),
            Scrubbed::Mended { chain, from, first, result } => self.mended(chain, from, first, result, now),
        }
    }

    /// What belongs to no other node's chain is this node's own.
    fn is_own(&self, damage: &Damage) -> bool {
        damage.chain.is_none_or(|chain| chain.node == self.peer.node())
    }

    fn found(&mut self, damage: Damage, now: Timestamp) {
        let is_new = self.scrubbing.board.add(&damage, now);
        let is_own = self.is_own(&damage);
        let Damage { table, chain, commit, reason, before } = damage;
        if is_new {
            let shown = chain.map(|chain| chain.to_string()).unwrap_or_default();
            tracing::error!(table, chain = shown, commit, reason, "what is stored is not what was written");
        }
        if is_own {
            return self.distrust();
        }
        // The first damaged group of a foreign chain: what is behind it is told once that is mended.
        if let (Some(chain), Some(from_commit), "groups") = (chain, commit, table)
            && (before.is_some() || from_commit == 0)
        {
            self.scrubbing.before.extend(before.map(|before| (chain, *before)));
            self.inputs.push_back(Input::ChainDamaged { chain, from_commit });
        } else if is_new {
            tracing::error!("the next start puts it in order: weft down, weft up");
        }
    }

    /// As after a failed write; but the next start may fetch from members what is missing.
    fn distrust(&mut self) {
        if std::mem::replace(&mut self.scrubbing.distrusted, true) {
            return;
        }
        let reason = self.scrubbing.board.open_find().unwrap_or_default();
        self.store.distrust(&reason);
        self.scrubbing.scrubber.end();
        tracing::error!(
            "nothing is promised any more; the next start fetches from members what is missing: weft down, weft up"
        );
        if let Err(error) = self.home.note_damage(&reason) {
            tracing::error!(%error, "the next start will not know of the damage until it finds it");
        }
        // Whatever is on its way to the disk ends first.
        if !self.disk.busy {
            self.inputs.push_back(Input::PersistFailed);
        }
    }

    /// Proves what a member gave and writes it, beside the loop.
    pub(super) fn mend(&mut self, chain: ChainId, from: NodeId, groups: Vec<CommitGroup>) {
        let Some(before) = self.scrubbing.before.get(&chain).cloned() else {
            return self.inputs.push_back(Input::Mended { chain, from, outcome: MendOutcome::Hopeless });
        };
        self.scrubbing.out += 1;
        let (store, done) = (Arc::clone(&self.store), self.scrubbing.done.clone());
        tokio::task::spawn_blocking(move || {
            let result = store.mend(&before, &groups);
            let first = before.commits();
            let _loop_has_ended = done.blocking_send(Scrubbed::Mended { chain, from, first, result });
        });
    }

    fn mended(&mut self, chain: ChainId, from: NodeId, first: u64, result: Result<u64, RepairError>, now: Timestamp) {
        let outcome = match result {
            Ok(count) => {
                self.scrubbing.board.mended(chain, first, count, from, now);
                self.scrubbing.before.remove(&chain);
                tracing::warn!(%chain, first, count, %from, "commits came back from a member");
                // More may be damaged behind it.
                self.scrubbing.scrubber.look_at(chain);
                MendOutcome::Done(count)
            }
            // It was cut meanwhile; what is still wrong the next pass tells.
            Err(RepairError::NotDamaged { .. }) => {
                self.scrubbing.board.forget(chain);
                self.scrubbing.before.remove(&chain);
                MendOutcome::Done(0)
            }
            Err(error @ (RepairError::Refused { .. } | RepairError::Conflict { .. })) => {
                tracing::warn!(%from, %error, "what this member gave does not fit and was not taken");
                MendOutcome::Unfit
            }
            Err(error) => {
                self.scrubbing.before.remove(&chain);
                tracing::error!(%chain, %error, "it cannot be mended while the node runs: weft down, weft up");
                MendOutcome::Hopeless
            }
        };
        self.inputs.push_back(Input::Mended { chain, from, outcome });
    }
}
