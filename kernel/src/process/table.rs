//! The process table: places with generations, one living process per name, and a bounded memory of those that exited.

use std::collections::{BTreeMap, VecDeque};

use weft_protocol::limits::{EXITED_MAX, PROCESSES_MAX};
use weft_protocol::{AgentName, ExitReason, ProcessId};

use super::life::Life;
use crate::status::ProcessState;

/// What a process id stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A process that is not over.
    Living,
    /// One that is.
    Gone,
    /// None that ever was.
    Never,
}

/// Invariant: names and living agree; a living process's generation is the last that its place was given.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    living: BTreeMap<u32, Life>,
    names: BTreeMap<AgentName, ProcessId>,
    exited: VecDeque<Life>,
    /// The last generation of each place that was ever taken.
    generations: BTreeMap<u32, u32>,
    /// Below this are the generations of earlier chains.
    first: u32,
}

impl ProcessTable {
    /// An empty table whose places were taken before by these generations, and may have been by all below `first`.
    pub(crate) fn restored(generations: BTreeMap<u32, u32>, first: u32) -> Self {
        Self { generations, first, ..Self::default() }
    }

    /// The id that the next process gets, the lowest free place in its next generation; `None` when all are taken.
    pub(crate) fn next_id(&self) -> Option<ProcessId> {
        let mut index = 0;
        for taken in self.living.keys() {
            if *taken != index {
                break;
            }
            index += 1;
        }
        let limit = u32::try_from(PROCESSES_MAX).unwrap_or(u32::MAX);
        let free = |index: &u32| !self.living.contains_key(index) && self.generations.get(index) != Some(&u32::MAX);
        let index = (index..limit).find(free)?;
        let generation = self.generations.get(&index).map_or(0, |last| last + 1).max(self.first);
        Some(ProcessId { index, generation })
    }

    /// The id of another life in the place of `last`, or wherever there is one when somebody else took that place.
    pub(crate) fn next_life_of(&self, last: ProcessId) -> Option<ProcessId> {
        let taken = self.living.contains_key(&last.index);
        let generation = self.generations.get(&last.index).and_then(|generation| generation.checked_add(1));
        let generation = generation.map(|generation| generation.max(self.first));
        let same = generation.filter(|_| !taken).map(|generation| ProcessId { generation, ..last });
        same.or_else(|| self.next_id())
    }

    /// Takes in a process under the id that was next.
    pub(crate) fn insert(&mut self, life: Life) {
        let process = life.process;
        self.generations.insert(process.index, process.generation);
        self.names.insert(life.spec.agent.clone(), process);
        self.living.insert(process.index, life);
    }

    pub(crate) fn find(&self, process: ProcessId) -> Found {
        match self.generations.get(&process.index) {
            None => Found::Never,
            Some(last) if process.generation > *last => Found::Never,
            Some(_) if self.living(process).is_some() => Found::Living,
            Some(_) => Found::Gone,
        }
    }

    pub(crate) fn named(&self, agent: &AgentName) -> Option<ProcessId> {
        self.names.get(agent).copied()
    }

    pub(crate) fn living(&self, process: ProcessId) -> Option<&Life> {
        self.living.get(&process.index).filter(|life| life.process == process)
    }

    pub(crate) fn living_mut(&mut self, process: ProcessId) -> Option<&mut Life> {
        self.living.get_mut(&process.index).filter(|life| life.process == process)
    }

    /// Moves a process to those that exited; the oldest of them is forgotten when there are too many.
    pub(crate) fn exit(&mut self, process: ProcessId, reason: ExitReason) {
        if self.living(process).is_none() {
            return;
        }
        let Some(mut life) = self.living.remove(&process.index) else { return };
        self.names.remove(&life.spec.agent);
        life.enter(ProcessState::Exited(reason));
        self.exited.push_back(life);
        if self.exited.len() > EXITED_MAX {
            self.exited.pop_front();
        }
    }

    pub(crate) fn all_living(&self) -> impl Iterator<Item = &Life> {
        self.living.values()
    }

    pub(crate) fn all_living_mut(&mut self) -> impl Iterator<Item = &mut Life> {
        self.living.values_mut()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.living.is_empty()
    }

    /// The living by place, then those that exited, the last of them last.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Life> {
        self.living.values().chain(&self.exited)
    }
}

#[cfg(test)]
mod tests;
