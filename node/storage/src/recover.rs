//! What a start reads: every chain verified from its first event, and what stands beside the chains.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use weft_protocol::limits::DEDUPLICATION_WINDOW;
use weft_protocol::{
    ChainError, ChainId, ChainState, CheckedGroup, CommitGroup, DeadLetter, Digest, DigestRow, Event, Evidence, Fact,
    LoggedPublication, MessageId, MessageRecord, NodeId, OutboxEntry, PlacedFact, PlacedMessage, Recovered,
    RecoveredChain, Replay, Reserved, SnapshotFault, Stage, decode, leaf_hash, names_of_leaf, stage_of_leaf,
};

use crate::error::{OpenError, StoreError};
use crate::row::{self, BODY_BYTES_MAX, BadRow, GroupView, Kind, Salt, StoredHead};
use crate::store::Writer;
use crate::table::{ADDRESSES, DEAD_LETTERS, DIGESTS, EVIDENCE, GROUPS, OUTBOX, STATE, TOPICS, Table};
use crate::verify::{ChainFault, body_apart};

/// Everything a start reads.
pub(crate) struct Reading {
    pub(crate) recovered: Recovered,
    pub(crate) writer: Writer,
    /// Digest rows without their event.
    pub(crate) orphans: u64,
    /// Below which place rows of each chain may be gone.
    pub(crate) pruned: BTreeMap<ChainId, u64>,
}

impl From<BadRow> for StoreError {
    fn from(error: BadRow) -> Self {
        Self::read(error)
    }
}

/// Reads and verifies all that is stored; changes nothing.
pub(crate) fn read_all(database: &Database, salt: &Salt) -> Result<Reading, OpenError> {
    let transaction = database.begin_read().map_err(OpenError::damaged)?;
    let writer = read_state(&transaction, salt)?;
    let stored = Stored { transaction: &transaction, salt };
    let mut chains: BTreeSet<ChainId> = stored.chains()?;
    chains.extend(writer.heads.iter().filter(|(_, head)| head.commits > 0).map(|(chain, _)| chain));
    let mut recovered = Recovered { reserved: writer.reserved, ..Recovered::default() };
    let (mut orphans, mut pruned) = (0, BTreeMap::new());
    for chain in chains {
        let Walked { chain, messages, unclaimed, digests, named } =
            recover_chain(&stored, chain, writer.heads.get(&chain))?;
        let let_in = stored.let_in(chain.state.chain())?;
        recovered.let_in.extend((!let_in.is_empty()).then_some((chain.state.chain(), let_in)));
        let said = chain.facts.iter().filter_map(|placed| match &placed.fact {
            Fact::Pruned(pruned) => Some(pruned.to),
            _ => None,
        });
        if let Some(to) = said.max() {
            let (chain, below) = (chain.state.chain(), digests.into_iter().filter(|seq| *seq < to).collect());
            pruned.insert(chain, to);
            recovered.unpruned.extend(stored.unpruned(chain, to, below, &named, writer.generation)?);
        }
        recovered.chains.push(chain);
        recovered.messages.extend(messages);
        orphans += unclaimed;
    }
    stored.fill_answers(&mut recovered.messages);
    orphans += stored.digests_of_other_chains(&writer.heads)?;
    stored.each(OUTBOX, Kind::Outbox, |_, body| {
        recovered.outbox.push(decode::<OutboxEntry>(body, BODY_BYTES_MAX).map_err(StoreError::read)?);
        Ok(())
    })?;
    stored.each(EVIDENCE, Kind::Evidence, |_, body| {
        recovered.evidence.push(decode::<Evidence>(body, BODY_BYTES_MAX).map_err(StoreError::read)?);
        Ok(())
    })?;
    stored.each(ADDRESSES, Kind::Addresses, |key, body| {
        let node = NodeId::from_bytes(key.try_into().map_err(StoreError::read)?);
        recovered.addresses.push((node, decode::<Vec<String>>(body, BODY_BYTES_MAX).map_err(StoreError::read)?));
        Ok(())
    })?;
    stored.each_if_there(TOPICS, Kind::Topic, |_, body| {
        recovered.topic_log.push(decode::<LoggedPublication>(body, BODY_BYTES_MAX).map_err(StoreError::read)?);
        Ok(())
    })?;
    stored.each_if_there(DEAD_LETTERS, Kind::DeadLetter, |_, body| {
        recovered.dead_letters.push(decode::<DeadLetter>(body, BODY_BYTES_MAX).map_err(StoreError::read)?);
        Ok(())
    })?;
    Ok(Reading { recovered, writer, orphans, pruned })
}

/// The last transaction that the database knows of.
pub(crate) fn generation_of(database: &Database, salt: &Salt) -> Result<u64, OpenError> {
    let transaction = database.begin_read().map_err(OpenError::damaged)?;
    Ok(read_state(&transaction, salt)?.generation)
}

fn read_state(transaction: &ReadTransaction, salt: &Salt) -> Result<Writer, OpenError> {
    let mut writer = Writer::default();
    Stored { transaction, salt }.each(STATE, Kind::State, |key, body| {
        match key {
            row::GENERATION_KEY => writer.generation = row::parse_number(body)?,
            row::RESERVED_KEY => {
                writer.reserved = decode::<Reserved>(body, BODY_BYTES_MAX).map_err(StoreError::read)?;
            }
            key => {
                let chain = row::split_head_key(key).ok_or(BadRow("an unknown key"))?;
                writer.heads.insert(chain, StoredHead::parse(body)?);
            }
        }
        Ok(())
    })?;
    Ok(writer)
}

/// What a start reads of one chain.
struct Walked {
    chain: RecoveredChain,
    messages: VecDeque<PlacedMessage>,
    /// Digest rows without their event.
    unclaimed: u64,
    /// Places of the others.
    digests: Vec<u64>,
    /// The last event that names each body beside its event.
    named: BTreeMap<Digest, u64>,
}

fn recover_chain(stored: &Stored<'_>, chain: ChainId, head: Option<&StoredHead>) -> Result<Walked, OpenError> {
    let damaged = |fault: ChainFault| OpenError::Damaged {
        chain: Some(chain),
        first_bad_commit: Some(fault.first_bad_commit),
        reason: fault.reason,
    };
    let (mut facts, mut messages) = (Vec::new(), VecDeque::new());
    let (mut batches, mut named) = (BTreeSet::new(), BTreeMap::new());
    let mut anchors = BTreeMap::new();
    let state = stored.walk(chain, |_, checked| {
        anchors.extend(checked.commit.anchors.into_iter().map(|anchor| (anchor.chain, anchor)));
        for (event, leaf) in checked.events.into_iter().zip(checked.leaves) {
            match placed_fact(&event) {
                Some(Fact::Message(record)) => {
                    named.extend(body_apart(&record).map(|address| (address, event.seq)));
                    if let Some(record) = received_step(chain, *record) {
                        messages.push_back(PlacedMessage { chain, seq: event.seq, leaf, record });
                    }
                    if messages.len() as u64 > DEDUPLICATION_WINDOW {
                        messages.pop_front();
                    }
                }
                Some(Fact::Opaque { .. }) | None => {}
                Some(Fact::Batch(_)) => {
                    batches.insert(event.seq);
                }
                Some(fact) => facts.push(PlacedFact { seq: event.seq, hlc: event.hlc, fact }),
            }
        }
        Ok(())
    });
    let state = compare_with_head(state.map_err(damaged)?, head).map_err(damaged)?;
    let (digests, unclaimed): (Vec<u64>, Vec<u64>) =
        stored.digest_places(chain)?.into_iter().partition(|seq| batches.contains(seq));
    let chain = RecoveredChain { state, facts, anchors: anchors.into_values().collect() };
    Ok(Walked { chain, messages, unclaimed: unclaimed.len() as u64, digests, named })
}

/// The step, when it is one of a message that came from another node; what was received is needed without its body.
fn received_step(chain: ChainId, record: MessageRecord) -> Option<MessageRecord> {
    if record.message.chain.node == chain.node {
        return None;
    }
    match record.stage {
        Stage::Received => Some(MessageRecord { body: None, ..record }),
        Stage::Answered | Stage::Refused => Some(record),
        Stage::Sent | Stage::Acknowledged | Stage::Published | Stage::Delivered => None,
    }
}

/// What an event says; `None` when its payload is not what its kind promises: a writer's nonsense, kept but not believed.
pub(crate) fn placed_fact(event: &Event) -> Option<Fact> {
    Fact::decode(&event.kind, &event.payload).ok()
}

/// Whether the chain as walked ends where the head's row says.
pub(crate) fn compare_with_head(
    state: Option<ChainState>,
    head: Option<&StoredHead>,
) -> Result<ChainState, ChainFault> {
    let commits = state.as_ref().map_or(0, ChainState::commits);
    let fault = |reason: &str| ChainFault { first_bad_commit: commits, reason: reason.to_owned() };
    let state = state.ok_or_else(|| fault("its groups are gone"))?;
    let head = head.ok_or_else(|| fault("the row of its head is gone"))?;
    let same = head.commits == state.commits() && head.size == state.size() && head.last_commit == state.last_commit();
    if same { Ok(state) } else { Err(fault("it does not end where its head says")) }
}

/// The empty state of the chain whose first group this is: cluster and keys are the genesis event's own.
pub(crate) fn empty_state(chain: ChainId, first: &CommitGroup) -> Result<ChainState, ChainError> {
    let event = first.events.first().ok_or(ChainError::Genesis)?;
    let event = Event::decode(event).map_err(|error| ChainError::Event { seq: 0, error })?;
    match Fact::decode(&event.kind, &event.payload) {
        Ok(Fact::Genesis(genesis)) if genesis.keys.node() == chain.node => {
            Ok(ChainState::new(chain, genesis.cluster, genesis.keys))
        }
        _ => Err(ChainError::Genesis),
    }
}

/// Gives the events of one more group of a verified chain to what is compared with them.
pub(crate) fn replay_group(replay: &mut Replay, view: &GroupView<'_>) -> Result<Result<(), SnapshotFault>, BadRow> {
    for bytes in view.events() {
        let bytes = bytes?;
        // Messages are most of a chain and say nothing of its state: they are told by their kind and not read.
        let event = match Event::kind_of(bytes) {
            Some("ipc.message" | "ipc.batch") => None,
            Some(_) | None => Event::decode(bytes).ok(),
        };
        let placed =
            event.and_then(|event| placed_fact(&event).map(|fact| PlacedFact { seq: event.seq, hlc: event.hlc, fact }));
        if let Err(fault) = replay.event(leaf_hash(bytes), placed.as_ref()) {
            return Ok(Err(fault));
        }
    }
    Ok(Ok(()))
}

/// What one read transaction sees.
pub(crate) struct Stored<'a> {
    pub(crate) transaction: &'a ReadTransaction,
    pub(crate) salt: &'a Salt,
}

impl Stored<'_> {
    /// Each row of a table, its check done.
    pub(crate) fn each(
        &self,
        table: Table,
        kind: Kind,
        mut found: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let table = self.transaction.open_table(table)?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            found(key.value(), row::body(self.salt, kind, key.value(), value.value())?)?;
        }
        Ok(())
    }

    /// The same of a table that a store of an earlier version lacks until the first row is written.
    fn each_if_there(
        &self,
        table: Table,
        kind: Kind,
        found: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self.transaction.open_table(table) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => self.each(table, kind, found),
        }
    }

    /// Where each chain ends, by the rows of the heads.
    pub(crate) fn heads(&self) -> Result<BTreeMap<ChainId, StoredHead>, StoreError> {
        let mut heads = BTreeMap::new();
        self.each(STATE, Kind::State, |key, body| {
            if let Some(chain) = row::split_head_key(key) {
                let head = StoredHead::parse(body)?;
                heads.extend((head.commits > 0).then_some((chain, head)));
            }
            Ok(())
        })?;
        Ok(heads)
    }

    /// Where one chain ends, by the row of its head; none when nothing of it counts.
    pub(crate) fn head(&self, chain: ChainId) -> Result<Option<StoredHead>, StoreError> {
        let key = row::head_key(chain);
        let state = self.transaction.open_table(STATE)?;
        let Some(value) = state.get(&key[..])? else { return Ok(None) };
        let head = StoredHead::parse(row::body(self.salt, Kind::State, &key, value.value())?)?;
        Ok((head.commits > 0).then_some(head))
    }

    /// Every chain that has a group.
    pub(crate) fn chains(&self) -> Result<BTreeSet<ChainId>, StoreError> {
        let groups = self.transaction.open_table(GROUPS)?;
        let mut chains = BTreeSet::new();
        let mut from = [0; 48];
        while let Some(entry) = groups.range(&from[..]..)?.next() {
            let (chain, _) = row::split_numbered_key(entry?.0.value())?;
            chains.insert(chain);
            // The chain's own last key is never taken by a commit.
            from = row::numbered_key(chain, u64::MAX);
            if groups.get(&from[..])?.is_some() {
                return Err(StoreError::read("a commit of an impossible number"));
            }
        }
        Ok(chains)
    }

    /// Verifies one chain from its first event, group by group; `None` when nothing of it is there.
    pub(crate) fn walk(
        &self,
        chain: ChainId,
        mut passed: impl FnMut(&ChainState, CheckedGroup) -> Result<(), String>,
    ) -> Result<Option<ChainState>, ChainFault> {
        let mut state: Option<ChainState> = None;
        let fault = |state: &Option<ChainState>, reason: String| ChainFault {
            first_bad_commit: state.as_ref().map_or(0, ChainState::commits),
            reason,
        };
        let unreadable = |error: StoreError| ChainFault { first_bad_commit: 0, reason: error.to_string() };
        let groups = self.transaction.open_table(GROUPS).map_err(|error| unreadable(error.into()))?;
        let (first, last) = (row::numbered_key(chain, 0), row::numbered_key(chain, u64::MAX));
        for entry in groups.range(&first[..]..=&last[..]).map_err(|error| unreadable(error.into()))? {
            let (key, value) = entry.map_err(|error| fault(&state, error.to_string()))?;
            let checked = self.step(chain, &mut state, key.value(), value.value())?;
            let current = state.as_ref().expect("BUG: set above");
            passed(current, checked).map_err(|reason| fault(&state, reason))?;
        }
        Ok(state)
    }

    /// Verifies the next group of a chain: links, hashes, root, signatures, clocks; the state has then moved past it.
    pub(crate) fn step(
        &self,
        chain: ChainId,
        state: &mut Option<ChainState>,
        key: &[u8],
        value: &[u8],
    ) -> Result<CheckedGroup, ChainFault> {
        let first_bad_commit = state.as_ref().map_or(0, ChainState::commits);
        let fault = |reason: String| ChainFault { first_bad_commit, reason };
        let group = row::body(self.salt, Kind::Group, key, value)
            .and_then(GroupView::parse)
            .and_then(|view| view.group())
            .map_err(|error| fault(error.to_string()))?;
        let current = match state {
            Some(current) => current,
            None => state.insert(empty_state(chain, &group).map_err(|error| fault(error.to_string()))?),
        };
        current.extend(&group).map_err(|error| fault(error.to_string()))
    }

    /// Reads the events of a verified chain again, for as long as something is to be compared with them.
    pub(crate) fn replay(&self, chain: ChainId, mut replay: Replay) -> Result<Result<(), SnapshotFault>, StoreError> {
        let groups = self.transaction.open_table(GROUPS)?;
        let (first, last) = (row::numbered_key(chain, 0), row::numbered_key(chain, u64::MAX));
        for entry in groups.range(&first[..]..=&last[..])? {
            if replay.is_done() {
                break;
            }
            let (key, value) = entry?;
            let view = GroupView::parse(row::body(self.salt, Kind::Group, key.value(), value.value())?)?;
            if let Err(fault) = replay_group(&mut replay, &view)? {
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }

    /// The places of the digests of one chain.
    pub(crate) fn digest_places(&self, chain: ChainId) -> Result<Vec<u64>, StoreError> {
        let digests = self.transaction.open_table(DIGESTS)?;
        let (first, last) = (row::numbered_key(chain, 0), row::numbered_key(chain, u64::MAX));
        let mut places = Vec::new();
        for entry in digests.range(&first[..]..=&last[..])? {
            let (key, value) = entry?;
            row::body(self.salt, Kind::Digest, key.value(), value.value())?;
            places.push(row::split_numbered_key(key.value())?.1);
        }
        Ok(places)
    }

    /// The newest plain messages of other nodes that a chain's digests say were let into a mailbox, as many as a window holds.
    fn let_in(&self, chain: ChainId) -> Result<Vec<MessageId>, StoreError> {
        let digests = self.transaction.open_table(DIGESTS)?;
        let (first, last) = (row::numbered_key(chain, 0), row::numbered_key(chain, u64::MAX));
        let mut messages = Vec::new();
        for entry in digests.range(&first[..]..=&last[..])?.rev() {
            let (key, value) = entry?;
            let body = row::body(self.salt, Kind::Digest, key.value(), value.value())?;
            // One that does not decode is damage beside the chain: the scrub's to tell, and no reason not to start.
            let Ok(digest) = decode::<DigestRow>(body, BODY_BYTES_MAX) else { continue };
            let received = digest.records.iter().filter(|leaf| stage_of_leaf(leaf) == Some(Stage::Received));
            let named = received.filter_map(|leaf| names_of_leaf(chain, leaf)).map(|(message, _)| message);
            messages.extend(named.filter(|message| message.chain.node != chain.node));
            if messages.len() as u64 >= DEDUPLICATION_WINDOW {
                break;
            }
        }
        Ok(messages)
    }

    /// How many digests belong to chains that are not held.
    fn digests_of_other_chains(&self, held: &BTreeMap<ChainId, StoredHead>) -> Result<u64, StoreError> {
        let digests = self.transaction.open_table(DIGESTS)?;
        let mut count = 0;
        for entry in digests.iter()? {
            let (chain, _) = row::split_numbered_key(entry?.0.value())?;
            count += u64::from(!held.contains_key(&chain));
        }
        Ok(count)
    }
}

/// While opening, what cannot be read is damage.
impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Read { reason } => Self::damaged(reason),
            error => Self::damaged(error),
        }
    }
}
