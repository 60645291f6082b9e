//! Starts of nodes that may not know how far their chain went: what their machine remembers, and the peer that follows one that was
//! ended before it began.

use weft_peer::{Memory, Said, StartOver};
use weft_protocol::{Batch, ChainId, ChainState, Incarnation, Recovered, Signer as _};
use weft_storage::Store;

use crate::checks::Check;
use crate::disk::{Disk, Unsynced};
use crate::faults::Fault;
use crate::mutation::Mutation;
use crate::node::{HomeCopy, Node};
use crate::transition::Remembers;
use crate::world::{World, read_chains};

/// Most copies of one home that are kept; no further one is taken.
const COPIES_MAX: usize = 32;
/// How long after a start another one must have begun to count as one that could be asked, in microseconds: half of the time that
/// is waited for members, so that the two find each other in the rest.
const ASKED_US: u64 = 1_000_000;

impl Node {
    /// What is remembered outside the home, compared with what is in it.
    pub(crate) fn compare(&self, store: &Store, recovered: &Recovered) -> Memory {
        let Some(chain) = self.identity.as_ref().map(|identity| identity.chain(self.id())) else {
            return Memory::Fresh;
        };
        let commits = recovered.chains.iter().find(|it| it.state.chain() == chain).map_or(0, |it| it.state.commits());
        let elsewhere = self.memo.said.as_ref().filter(|(_, disk)| *disk != Some(self.memo.disk));
        let elsewhere = elsewhere.map(|_| "its home is a copy");
        let said = self.memo.said.as_ref().map(|(said, _)| said);
        Memory::compare(said, chain, commits, elsewhere, |number| store.commit_header(chain, number).ok().flatten())
    }
}

impl World {
    /// Reads a copy of a node's disk as its start will, is cut off, and reads it once more.
    pub(crate) fn read_twice(&mut self, node: usize) -> Result<(), String> {
        let copy = self.nodes[node].disk.durable_copy();
        let read = || {
            let (store, recovered) = read_disk(copy.clone(), self.mutation)?;
            store.abandon();
            Ok::<_, String>(recovered)
        };
        let (first, second) = (read()?, read()?);
        self.judge.read_twice(node, &first, &second);
        Ok(())
    }

    /// A batch is on disk, and nothing of it has left the process.
    pub(crate) fn remember(&mut self, node: usize, batch: &Batch) {
        let now_us = self.now_us;
        let sim = &mut self.nodes[node];
        let (Some(identity), Some(running)) = (&sim.identity, &sim.running) else { return };
        let (chain, doubtful) = (identity.chain(sim.id()), running.peer.is_asking());
        let own = batch.groups.iter().rfind(|(of, _)| *of == chain).map(|(_, group)| &group.signed);
        if let Some(reserved) = batch.reserved {
            sim.memo.clock = reserved.clock;
        }
        let clock = sim.memo.clock;
        if let Some((signed, commit)) = own.and_then(|signed| Some((signed, signed.decode().ok()?))) {
            let said = Said { chain, commits: commit.commit_no + 1, last_commit: signed.hash(), clock };
            sim.memo.note(said, doubtful, now_us);
        } else if let Some((said, _)) = sim.memo.said.clone().filter(|(said, disk)| said.commits > 0 && disk.is_some())
            && batch.reserved.is_some()
            && !doubtful
        {
            sim.memo.note(Said { clock, ..said }, false, now_us);
        }
    }

    /// A peer is ended before it went on with its chain; the next one begins with what the disk holds.
    pub(crate) fn start_over(&mut self, node: usize, over: StartOver) {
        self.trace.add(self.now_us, Some(node), format_args!("{over:?}"));
        self.stop(node);
        let known = match over {
            StartOver::Fetched { .. } => {
                self.faults.count(Fault::Refetched);
                Memory::Unknown("a part of its chain came back from a member".to_owned())
            }
            StartOver::Behind { clock } => {
                self.nodes[node].memo.clock = self.nodes[node].memo.clock.max(clock);
                Memory::Unknown("members heard it at a later time than this home knows of".to_owned())
            }
            StartOver::Reincarnate { disown, .. } => {
                self.faults.count(Fault::Reborn);
                self.reincarnate(node, disown);
                Memory::Fresh
            }
        };
        self.start_knowing(node, Some(known));
    }

    fn reincarnate(&mut self, node: usize, disown: bool) {
        let incarnation = Incarnation(self.peer_dice.bits());
        let keys = self.nodes[node].keys.public_keys().clone();
        let chain = ChainId { node: keys.node(), incarnation };
        let Some(identity) = self.nodes[node].identity.as_mut() else { return };
        identity.disowned.extend(disown.then_some(identity.incarnation));
        identity.incarnation = incarnation;
        let cluster = identity.charter.cluster_id();
        self.judge.open_chain(node, ChainState::new(chain, cluster, keys));
        self.nodes[node].memo.begin(chain);
    }

    /// Takes a copy of what a node has on its disk.
    pub(crate) fn copy_home(&mut self, node: usize) {
        let sim = &mut self.nodes[node];
        if let Some(identity) = sim.identity.clone().filter(|_| sim.copies.len() < COPIES_MAX) {
            let copy = HomeCopy { disk: sim.disk.durable_copy(), identity, memo: sim.memo.clone() };
            sim.copies.push(copy);
        }
    }

    /// Kills a node and puts a copy in the place of its home.
    pub(crate) fn restore_home(&mut self, node: usize, copy: usize, memory: Remembers) {
        self.crash(node, Unsynced::Kept);
        let Some(HomeCopy { disk, identity, memo }) = self.nodes[node].copies.get(copy) else { return };
        let (identity, memo, own) = (identity.clone(), memo.clone(), self.nodes[node].id());
        let Some(held) = chains_on(disk) else {
            self.judge.book.complain(format!("copy {copy} of the home of node {node} cannot be read"));
            return;
        };
        let before = self.nodes[node].identity.as_ref().map(|identity| identity.chain(own));
        let chain = identity.chain(own);
        let commits = |chain| self.judge.reference.commits_held(node, &chain);
        let lacks = before != Some(chain) || held.get(&chain).map_or(0, Vec::len) < commits(chain);
        if !self.judge.reference.restore(node, own, &held) {
            self.trace.add(self.now_us, Some(node), format_args!("copy {copy} holds what never was"));
            return;
        }
        if lacks {
            self.faults.count(Fault::Restored);
        }
        let sim = &mut self.nodes[node];
        sim.disk.become_copy_of(&sim.copies[copy].disk);
        let cluster = identity.charter.cluster_id();
        let keys = sim.keys.public_keys().clone();
        sim.identity = Some(identity);
        match memory {
            Remembers::Kept => sim.memo.move_home(),
            Remembers::Gone => sim.memo.forget(),
            Remembers::RolledBack => sim.memo = memo,
        }
        self.judge.open_chain(node, ChainState::new(chain, cluster, keys));
    }

    /// Whether what a node wrote is a second history of its chain; one that somebody could have prevented fails the run.
    pub(crate) fn forks(&mut self, node: usize, batch: &Batch) -> bool {
        let own = self.nodes[node].id();
        let restored = !self.nodes[node].copies.is_empty();
        for (chain, group) in batch.groups.iter().filter(|(chain, _)| chain.node == own && restored) {
            let Some(number) = self.judge.reference.contradicts(chain, group) else {
                self.judge.book.check(Check::NoForkToPrevent, true, String::new);
                continue;
            };
            let begun_us = self.nodes[node].running.as_ref().map_or(0, |running| running.begun_us);
            let could = (0..self.nodes.len()).filter(|other| *other != node).find(|other| {
                let there = self.nodes[*other].running.as_ref();
                let in_time = there.is_some_and(|running| running.begun_us <= begun_us + ASKED_US);
                in_time && self.judge.reference.commits_held(*other, chain) > number
            });
            self.judge.book.check(Check::NoForkToPrevent, could.is_none(), || {
                format!("node {node} wrote another commit {number} of {chain}, and node {could:?} held the first")
            });
            self.faults.count(Fault::Forked);
            self.judge.forked = true;
            return true;
        }
        false
    }

    /// In the end nobody holds proof of two histories.
    pub(crate) fn judge_evidence(&mut self) {
        let liar = self.judge.liar;
        for node in (0..self.nodes.len()).filter(|node| Some(*node) != liar) {
            let convicted = self.convicted_by(node);
            if let Some(liar) = liar {
                self.judge.book.check(Check::LiarIsConvicted, convicted.contains(&liar), || {
                    format!("node {node} holds no proof that node {liar} wrote two histories")
                });
            }
            let innocent: Vec<usize> = convicted.into_iter().filter(|it| Some(*it) != liar).collect();
            self.judge.book.check(Check::NobodyIsConvicted, innocent.is_empty(), || {
                format!("node {node} holds proof of two histories of {innocent:?}, who wrote one each")
            });
        }
    }

    /// Against whom a running node holds proof of two histories.
    pub(crate) fn convicted_by(&self, node: usize) -> std::collections::BTreeSet<usize> {
        let running = self.nodes[node].running.as_ref();
        let evidence = running.into_iter().flat_map(|running| running.peer.replication().evidence());
        let of = evidence.filter_map(|evidence| evidence.first.decode().ok());
        of.filter_map(|body| self.number_of(body.chain().node)).collect()
    }
}

/// Every chain on a disk, which is left as it is.
fn chains_on(disk: &Disk) -> Option<std::collections::BTreeMap<ChainId, Vec<weft_protocol::CommitGroup>>> {
    let (store, recovered) = Store::open_backend(disk.durable_copy()).ok()?;
    let chains = read_chains(&store, &recovered).ok()?;
    store.abandon();
    Some(chains)
}

/// Opens the store on a disk as a start does.
pub(crate) fn read_disk(disk: Disk, mutation: Option<Mutation>) -> Result<(Store, Recovered), String> {
    let (store, recovered) = Store::open_backend(disk).map_err(|error| error.to_string())?;
    if let Some(batch) = mutation.and_then(|mutation| mutation.tidy_up(&recovered)) {
        store.commit(&batch).map_err(|error| error.to_string())?;
    }
    Ok((store, recovered))
}
