//! The small obvious model of what must be true: what each node's disk holds, what was promised, what was handed out.

use std::collections::{BTreeMap, BTreeSet};

use weft_peer::AskId;
use weft_protocol::limits::EVENT_BYTES_MAX;
use weft_protocol::{
    ChainError, ChainId, ChainState, CommitGroup, CommitRef, Digest, Effect, Event, Fact, Head, Hlc, MessageId,
    MessageRecord, NodeId, Payload, RecordRef, SignedCommit, Stage, Timestamp, TopicPattern, content_address, encode,
    hash, link_hash, vector_root,
};

/// One event as it was first found durable.
#[derive(Debug)]
pub(crate) struct EventNote {
    /// Its stamp.
    pub(crate) hlc: Hlc,
    /// Its leaf.
    pub(crate) leaf: Digest,
    /// The chain's running hash after it.
    pub(crate) link: Digest,
    /// What it says led to it.
    pub(crate) cause: Vec<Digest>,
    /// What it says; none for a payload that its kind does not decode.
    pub(crate) fact: Option<Fact>,
}

#[derive(Debug)]
struct CommitNote {
    /// Address of all its bytes, signatures among them.
    bytes: Digest,
    /// What it signs.
    head: Head,
    /// Hash over the bytes of all events up to it.
    content: Digest,
}

/// One chain as the writer's disk held it, verified here once.
#[derive(Debug)]
pub(crate) struct Chronicle {
    state: ChainState,
    commits: Vec<CommitNote>,
    /// Its events, in order.
    pub(crate) events: Vec<EventNote>,
    messages: BTreeMap<MessageId, Vec<usize>>,
    /// Intents by place, and the number of their outcomes.
    intents: BTreeMap<u64, u64>,
    /// Its states, from the empty one on.
    states: Vec<ChainState>,
}

/// Why a group that was stored is not what may be stored.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It fails verification.
    Unverified(ChainError),
    /// Another one is known under its number.
    Differs,
    /// It leaves a gap.
    Gap,
}

/// What was asked and is not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Where.
    pub(crate) node: usize,
    /// In which run of that node.
    pub(crate) run: u64,
    /// What.
    pub(crate) what: Asked,
    /// When, in virtual microseconds.
    pub(crate) asked_us: u64,
}

/// What was asked, as far as its answer is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A message.
    Send {
        /// What it carries.
        payload: Payload,
        /// Whether the receipt waits for both disks.
        durable: bool,
    },
    /// A subscription.
    Subscribe {
        /// To what.
        pattern: TopicPattern,
        /// The node's wall clock when it was asked.
        wall: Timestamp,
    },
    /// A call to the service, with its providers that could answer when it was asked: each with its run and the connection.
    Service {
        /// Which.
        steady: Vec<(usize, u64, u64)>,
    },
    /// The start of the guest on another node.
    SpawnOn {
        /// Which node.
        on: usize,
    },
    /// A call to the guest of another node.
    Guest {
        /// Which node.
        on: usize,
        /// Its run and the connection, when the guest could answer when it was asked.
        steady: Option<(u64, u64)>,
    },
    /// The admission of a joiner.
    Join {
        /// Which.
        joiner: NodeId,
    },
    /// Anything else.
    Other,
}

/// A record whose durability was acknowledged to somebody.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    /// Where it stands.
    pub(crate) record: RecordRef,
    /// Of which message.
    pub(crate) message: MessageId,
}

/// See the file's description. It is told what the world saw and never asks a peer.
#[derive(Debug)]
pub(crate) struct Reference {
    chronicles: BTreeMap<ChainId, Chronicle>,
    /// By node: how many commits of each chain its disk holds.
    ledgers: Vec<BTreeMap<ChainId, usize>>,
    /// By node: the chain it writes.
    own: Vec<Option<ChainId>>,
    /// Questions without an answer.
    pub(crate) asks: BTreeMap<AskId, Ask>,
    /// Nodes whose home was put back from a copy.
    pub(crate) put_back: BTreeSet<usize>,
    /// Every promise made.
    pub(crate) promises: Vec<Promise>,
    /// By receiving node and message, in which run it was handed to an agent.
    delivered: BTreeMap<(usize, MessageId), u64>,
    /// What each message id named when it was first spoken.
    ids: BTreeMap<MessageId, Digest>,
    /// By node: the greatest stamp that was spoken or written so far.
    greatest: Vec<Hlc>,
    /// By node: the greatest stamp of its earlier runs.
    floors: Vec<Hlc>,
    /// By node: the bodies that its disk holds beside events.
    bodies: Vec<BTreeSet<Digest>>,
    /// By node: every vector root its disk had.
    roots: Vec<BTreeSet<Digest>>,
    /// Content of a disk by its vector root.
    content_by_root: BTreeMap<Digest, Digest>,
}

impl Reference {
    /// The model of so many nodes that hold nothing.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            chronicles: BTreeMap::new(),
            ledgers: vec![BTreeMap::new(); nodes],
            own: vec![None; nodes],
            asks: BTreeMap::new(),
            put_back: BTreeSet::new(),
            promises: Vec::new(),
            delivered: BTreeMap::new(),
            ids: BTreeMap::new(),
            greatest: vec![Hlc(0); nodes],
            floors: vec![Hlc(0); nodes],
            bodies: vec![BTreeSet::new(); nodes],
            roots: vec![BTreeSet::new(); nodes],
            content_by_root: BTreeMap::new(),
        }
    }

    /// Makes a chain known: `state` is its empty state, `node` writes it.
    pub(crate) fn open_chain(&mut self, node: usize, state: ChainState) {
        let chain = state.chain();
        self.own[node] = Some(chain);
        let (commits, events, messages, intents) = Default::default();
        let states = vec![state.clone()];
        self.chronicles.entry(chain).or_insert(Chronicle { state, commits, events, messages, intents, states });
    }

    /// The chain a node writes.
    pub(crate) fn own_chain(&self, node: usize) -> Option<ChainId> {
        self.own[node]
    }

    /// The chain, as it was on its writer's disk.
    pub(crate) fn chronicle(&self, chain: &ChainId) -> Option<&Chronicle> {
        self.chronicles.get(chain)
    }

    /// Notes that `group` is durable on a node's disk. Tells the places of its events when nobody had it before.
    pub(crate) fn hold(
        &mut self,
        node: usize,
        chain: ChainId,
        group: &CommitGroup,
    ) -> Result<std::ops::Range<usize>, Unfit> {
        let held = self.ledgers[node].entry(chain).or_default();
        let chronicle = self.chronicles.get_mut(&chain).ok_or(Unfit::Gap)?;
        let bytes = content_address(&encode(group));
        let events = match chronicle.commits.get(*held) {
            Some(known) if known.bytes == bytes => 0..0,
            Some(_) => return Err(Unfit::Differs),
            None if chronicle.commits.len() == *held => chronicle.extend(group, bytes)?,
            None => return Err(Unfit::Gap),
        };
        *held += 1;
        Ok(events)
    }

    /// Whether this node's disk holds exactly this commit.
    pub(crate) fn holds_commit(&self, node: usize, signed: &SignedCommit) -> bool {
        let Ok(commit) = signed.decode() else { return false };
        let head = commit.head(signed.hash());
        self.holds_head(node, &head)
    }

    /// Whether this node's disk holds the commit that this head names, and that commit signs exactly this.
    pub(crate) fn holds_head(&self, node: usize, head: &Head) -> bool {
        let Ok(commit_no) = usize::try_from(head.commit_no) else { return false };
        let held = self.ledgers[node].get(&head.chain).copied().unwrap_or_default();
        let known = self.chronicles.get(&head.chain).and_then(|chronicle| chronicle.commits.get(commit_no));
        commit_no < held && known.is_some_and(|known| known.head == *head)
    }

    /// Whether this node's disk holds this commit.
    pub(crate) fn holds(&self, node: usize, commit: &CommitRef) -> bool {
        let Ok(commit_no) = usize::try_from(commit.commit_no) else { return false };
        let held = self.ledgers[node].get(&commit.chain).copied().unwrap_or_default();
        let known = self.chronicles.get(&commit.chain).and_then(|chronicle| chronicle.commits.get(commit_no));
        commit_no < held && known.is_some_and(|known| known.head.commit_hash == commit.commit_hash)
    }

    /// The chains on this node's disk, of each event its stamp and the number of its commit.
    pub(crate) fn stamps_held(&self, node: usize) -> impl Iterator<Item = (ChainId, Vec<(Hlc, u64)>)> {
        self.ledgers[node].iter().filter_map(|(chain, commits)| {
            let chronicle = self.chronicles.get(chain)?;
            let mut stamps = Vec::new();
            for (commit_no, commit) in (0..).zip(chronicle.commits.iter().take(*commits)) {
                let until = usize::try_from(commit.head.size).ok()?;
                stamps.extend(chronicle.events.get(stamps.len()..until)?.iter().map(|event| (event.hlc, commit_no)));
            }
            Some((*chain, stamps))
        })
    }

    /// Whether this node's disk holds the event of this record, and it has this leaf.
    pub(crate) fn holds_record(&self, node: usize, record: &RecordRef) -> bool {
        self.event_at(node, &record.chain, record.seq).is_some_and(|event| event.leaf == record.leaf)
    }

    /// The event at this place, when this node's disk holds it.
    pub(crate) fn event_at(&self, node: usize, chain: &ChainId, seq: u64) -> Option<&EventNote> {
        let chronicle = self.chronicles.get(chain)?;
        let seq = usize::try_from(seq).ok()?;
        (seq < self.events_held(node, chain)).then(|| &chronicle.events[seq])
    }

    fn events_held(&self, node: usize, chain: &ChainId) -> usize {
        let size = self.head_held(node, chain).map_or(0, |head| head.size);
        usize::try_from(size).expect("BUG: events that are in memory")
    }

    fn head_held(&self, node: usize, chain: &ChainId) -> Option<&Head> {
        let held = self.commits_held(node, chain).checked_sub(1)?;
        self.chronicles.get(chain)?.commits.get(held).map(|commit| &commit.head)
    }

    /// Whether its writer's disk ever held the event of this record, and it has this leaf.
    pub(crate) fn was_held(&self, record: &RecordRef) -> bool {
        let event = self.chronicles.get(&record.chain).zip(usize::try_from(record.seq).ok());
        event.and_then(|(chronicle, seq)| chronicle.events.get(seq)).is_some_and(|event| event.leaf == record.leaf)
    }

    /// How many commits its writer's disk ever held of a chain.
    pub(crate) fn commits_of(&self, chain: &ChainId) -> usize {
        self.chronicles.get(chain).map_or(0, |chronicle| chronicle.commits.len())
    }

    /// How many commits of a chain a node's disk holds.
    pub(crate) fn commits_held(&self, node: usize, chain: &ChainId) -> usize {
        self.ledgers[node].get(chain).copied().unwrap_or_default()
    }

    /// The chains of which a node's disk holds something.
    pub(crate) fn chains_held(&self, node: usize) -> Vec<ChainId> {
        self.ledgers[node].iter().filter(|(_, held)| **held > 0).map(|(chain, _)| *chain).collect()
    }

    /// The vector root of what a node's disk holds.
    pub(crate) fn vector_root(&self, node: usize) -> Digest {
        self.root_without(node, &|_| false)
    }

    fn root_without(&self, node: usize, hidden: &dyn Fn(&ChainId) -> bool) -> Digest {
        let shown = self.ledgers[node].keys().filter(|chain| !hidden(chain));
        vector_root(shown.filter_map(|chain| self.head_held(node, chain)))
    }

    /// Notes the vector root that a node's disk has now.
    pub(crate) fn note_root(&mut self, node: usize) {
        let root = self.vector_root(node);
        self.roots[node].insert(root);
        // Before it goes on with its chain a node tells nobody of it.
        let own = self.own[node];
        let hidden = self.root_without(node, &|chain| Some(*chain) == own);
        self.roots[node].insert(hidden);
    }

    /// Whether a node's disk has, or had and holds more by now, what this vector root names.
    pub(crate) fn has_held(&self, node: usize, root: &Digest) -> bool {
        self.roots[node].contains(root)
    }

    /// One hash over the bytes of all events that the model says a node's disk holds.
    pub(crate) fn content(&self, node: usize) -> Digest {
        let chains = self.ledgers[node].iter().filter_map(|(chain, held)| {
            let commit = self.chronicles.get(chain)?.commits.get(held.checked_sub(1)?)?;
            Some((*chain, commit.content))
        });
        content_of(chains)
    }

    /// Notes the bytes found on a disk; false when a disk with the same vector root held others.
    pub(crate) fn note_content(&mut self, root: Digest, content: Digest) -> bool {
        *self.content_by_root.entry(root).or_insert(content) == content
    }

    /// Steps of a message on a node's own chain, as far as they are on its disk.
    pub(crate) fn message_steps(&self, node: usize, message: &MessageId) -> Vec<&MessageRecord> {
        let Some(chain) = self.own[node] else { return Vec::new() };
        let held = self.events_held(node, &chain);
        let Some(chronicle) = self.chronicles.get(&chain) else { return Vec::new() };
        let places = chronicle.messages.get(message).into_iter().flatten().filter(|place| **place < held);
        places.filter_map(|place| chronicle.events[*place].message()).collect()
    }

    /// Notes a body that is durable on a node's disk.
    pub(crate) fn hold_body(&mut self, node: usize, address: Digest) {
        self.bodies[node].insert(address);
    }

    /// Whether a node's disk holds this body.
    pub(crate) fn holds_body(&self, node: usize, address: &Digest) -> bool {
        self.bodies[node].contains(address)
    }

    /// Whether a node's record of a message holds its text, or names it and the text is beside it.
    pub(crate) fn has_text(&self, node: usize, step: &MessageRecord, payload: &Payload) -> bool {
        match &step.body {
            Some(body) => body == payload,
            None => step.body_hash == payload.content_address() && self.holds_body(node, &step.body_hash),
        }
    }

    /// The bodies that a node's own events only name.
    pub(crate) fn apart(&self, node: usize) -> Vec<Digest> {
        let chronicle = self.own[node].and_then(|chain| self.chronicles.get(&chain));
        let records =
            chronicle.into_iter().flat_map(|chronicle| chronicle.events.iter().filter_map(EventNote::message));
        let apart = records.filter(|record| record.body.is_none() && record.body_bytes > EVENT_BYTES_MAX as u64 / 2);
        apart.map(|record| record.body_hash).collect()
    }

    /// Whether any node recorded that message as one of its own: a durable one.
    pub(crate) fn is_recorded(&self, message: &MessageId, stage: Stage) -> bool {
        self.chronicles.values().any(|chronicle| {
            let places = chronicle.messages.get(message).into_iter().flatten();
            places.filter_map(|place| chronicle.events[*place].message()).any(|record| record.stage == stage)
        })
    }

    /// Whether a node's disk holds an intent that `wanted` accepts and that has no outcome yet.
    pub(crate) fn has_open_intent(&self, node: usize, wanted: impl Fn(&Effect) -> bool) -> bool {
        let Some(chain) = self.own[node] else { return false };
        let held = self.events_held(node, &chain) as u64;
        let Some(chronicle) = self.chronicles.get(&chain) else { return false };
        let open = chronicle.intents.iter().filter(|(seq, outcomes)| **seq < held && **outcomes == 0);
        open.filter_map(|(seq, _)| chronicle.effect(*seq)).any(wanted)
    }

    /// Intents of a node's own chain with their effect and the number of their outcomes.
    pub(crate) fn intents(&self, node: usize) -> impl Iterator<Item = (u64, &Effect, u64)> {
        let chronicle = self.own[node].and_then(|chain| self.chronicles.get(&chain));
        chronicle.into_iter().flat_map(|chronicle| {
            chronicle.intents.iter().filter_map(|(seq, outcomes)| Some((*seq, chronicle.effect(*seq)?, *outcomes)))
        })
    }

    /// Whether a node's own disk holds a fact that `wanted` accepts.
    pub(crate) fn holds_fact(&self, node: usize, wanted: impl Fn(&Fact) -> bool) -> bool {
        self.facts(node).any(wanted)
    }

    /// The facts of a node's own chain that its disk holds, in order.
    pub(crate) fn facts(&self, node: usize) -> impl Iterator<Item = &Fact> {
        let held = self.own[node].map(|chain| (self.events_held(node, &chain), self.chronicles.get(&chain)));
        let events = held.into_iter().filter_map(|(held, chronicle)| chronicle?.events.get(..held)).flatten();
        events.filter_map(|event| event.fact.as_ref())
    }

    /// Notes that a message was handed to an agent; the run in which that had happened before.
    pub(crate) fn deliver(&mut self, node: usize, run: u64, message: MessageId) -> Option<u64> {
        self.delivered.insert((node, message), run)
    }

    /// Notes what a message id names; false when it named something else before.
    pub(crate) fn name(&mut self, message: MessageId, content: Digest) -> bool {
        *self.ids.entry(message).or_insert(content) == content
    }

    /// Notes a stamp that a node spoke or wrote.
    pub(crate) fn stamp(&mut self, node: usize, hlc: Hlc) {
        self.greatest[node] = self.greatest[node].max(hlc);
    }

    /// A new run of a node begins: whatever it stamps must be above all of before.
    pub(crate) fn begin_run(&mut self, node: usize) {
        self.floors[node] = self.greatest[node];
        self.note_root(node);
    }

    /// The greatest stamp of a node's earlier runs.
    pub(crate) fn floor(&self, node: usize) -> Hlc {
        self.floors[node]
    }

    /// The questions of a run that ended can have no answer any more.
    pub(crate) fn forget_asks(&mut self, node: usize, run: u64) {
        self.asks.retain(|_, ask| ask.node != node || ask.run != run);
    }
}

impl EventNote {
    /// The step of a durable message that it records.
    pub(crate) fn message(&self) -> Option<&MessageRecord> {
        match &self.fact {
            Some(Fact::Message(record)) => Some(record),
            _ => None,
        }
    }
}

impl Chronicle {
    fn extend(&mut self, group: &CommitGroup, bytes: Digest) -> Result<std::ops::Range<usize>, Unfit> {
        let mut link = self.state.link();
        let mut content = self.commits.last().map_or_else(|| hash("sim-content", &[]), |commit| commit.content);
        let checked = self.state.extend(group).map_err(Unfit::Unverified)?;
        let first = self.events.len();
        for (event, leaf) in checked.events.into_iter().zip(checked.leaves) {
            link = link_hash(&link, &leaf);
            self.note(event, leaf, link);
        }
        for event in &group.events {
            content = fold_content(content, event);
        }
        let head = checked.commit.head(checked.commit_hash);
        self.commits.push(CommitNote { bytes, head, content });
        self.states.push(self.state.clone());
        Ok(first..self.events.len())
    }

    fn note(&mut self, event: Event, leaf: Digest, link: Digest) {
        let place = self.events.len();
        let fact = Fact::decode(&event.kind, &event.payload).ok();
        if let Some(Fact::Message(record)) = &fact {
            self.messages.entry(record.message).or_default().push(place);
        }
        if let Some(Fact::Intent(_)) = &fact {
            self.intents.insert(place as u64, 0);
        }
        self.events.push(EventNote { hlc: event.hlc, leaf, link, cause: event.cause, fact });
    }

    /// What stands behind so many commits is on no disk any more.
    fn truncate(&mut self, commits: usize) {
        self.commits.truncate(commits);
        self.states.truncate(commits + 1);
        if let Some(state) = self.states.last() {
            self.state = state.clone();
        }
        let size = usize::try_from(self.state.size()).expect("BUG: events that are in memory");
        self.events.truncate(size);
        self.messages.values_mut().for_each(|places| places.retain(|place| *place < size));
        self.intents.retain(|seq, _| *seq < size as u64);
        self.intents.values_mut().for_each(|outcomes| *outcomes = 0);
        for event in &self.events {
            if let Some(Fact::Outcome(outcome)) = &event.fact
                && let Some(outcomes) = self.intents.get_mut(&outcome.intent)
            {
                *outcomes += 1;
            }
        }
    }

    /// Counts an outcome; false when there is no such intent, or it has one already.
    pub(crate) fn close_intent(&mut self, intent: u64) -> bool {
        match self.intents.get_mut(&intent) {
            Some(outcomes) => {
                *outcomes += 1;
                *outcomes == 1
            }
            None => false,
        }
    }

    fn effect(&self, seq: u64) -> Option<&Effect> {
        match &self.events.get(usize::try_from(seq).ok()?)?.fact {
            Some(Fact::Intent(effect)) => Some(effect),
            _ => None,
        }
    }
}

impl Reference {
    /// A disk is put back to what a copy holds. What it held beyond that, and nobody else does, never was; false when the
    /// copy holds what never was, and so cannot be put back.
    pub(crate) fn restore(&mut self, node: usize, own: NodeId, held: &BTreeMap<ChainId, Vec<CommitGroup>>) -> bool {
        let known = |(chain, groups): (&ChainId, &Vec<CommitGroup>)| {
            let Some(chronicle) = self.chronicles.get(chain) else { return false };
            groups.len() <= chronicle.commits.len()
                && groups
                    .iter()
                    .zip(&chronicle.commits)
                    .all(|(group, known)| content_address(&encode(group)) == known.bytes)
        };
        if !held.iter().all(known) {
            return false;
        }
        self.ledgers[node] = held.iter().map(|(chain, groups)| (*chain, groups.len())).collect();
        self.put_back.insert(node);
        self.bodies[node].clear();
        self.promises.retain(|promise| promise.record.chain.node != own);
        self.delivered.retain(|(receiver, _), _| *receiver != node);
        for (chain, chronicle) in &mut self.chronicles {
            let most = self.ledgers.iter().filter_map(|ledger| ledger.get(chain)).copied().max().unwrap_or_default();
            chronicle.truncate(most);
        }
        self.note_root(node);
        true
    }

    /// Whether a commit is known under the number that this one bears, and it is another one.
    pub(crate) fn contradicts(&self, chain: &ChainId, group: &CommitGroup) -> Option<usize> {
        let number = usize::try_from(group.signed.decode().ok()?.commit_no).ok()?;
        let known = self.chronicles.get(chain)?.commits.get(number)?;
        (known.bytes != content_address(&encode(group))).then_some(number)
    }

    /// Counts the outcome of an intent on a chain; false when there is no such intent, or it has one already.
    pub(crate) fn close_intent(&mut self, chain: &ChainId, intent: u64) -> bool {
        self.chronicles.get_mut(chain).is_some_and(|chronicle| chronicle.close_intent(intent))
    }
}

/// The running hash over the bytes of the events of a chain.
pub(crate) fn fold_content(content: Digest, event: &[u8]) -> Digest {
    hash("sim-content", &[content.as_bytes(), event])
}

/// One hash over chains with the content of each.
pub(crate) fn content_of(chains: impl IntoIterator<Item = (ChainId, Digest)>) -> Digest {
    let start = hash("sim-disk", &[]);
    chains.into_iter().fold(start, |disk, (chain, content)| {
        hash("sim-disk", &[disk.as_bytes(), &chain.to_bytes(), content.as_bytes()])
    })
}
