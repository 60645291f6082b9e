//! The judge: compares what a node does with the model, at every output and every write, and what its disk holds at starts
//! and at the end.

use std::collections::BTreeMap;

use weft_kernel::{Answer, SendReport};
use weft_peer::{AskId, Output, Reply, Request, Response};
use weft_protocol::{
    A2aItem, Anchor, AuthRefusal, ChainId, ChainState, CommitGroup, Digest, Durability, Effect, EffectOutcome,
    Envelope, Fact, Gossip, Head, HeadGossip, InviteId, MessageId, MessageRecord, NodeId, PartsProof, Payload,
    ProcessId, Publication, Receipt, RecordRef, Recovered, Refusal, Stage, SyncRequest, SyncResponse, encode, hash,
};
use weft_replication::{OrderKey, merge, order};

use crate::checks::{Check, CheckBook};
use crate::dice::Dice;
use crate::publications::TopicBook;
use crate::reference::{Ask, Asked, Promise, Reference, Unfit, content_of, fold_content};
use crate::thresholds::Measured;

/// Which node does something, in which of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Its number.
    pub(crate) node: usize,
    /// Its run.
    pub(crate) run: u64,
    /// Its key.
    pub(crate) id: NodeId,
}

/// The model and the book of checks.
#[derive(Debug)]
pub(crate) struct Judge {
    /// What must be true.
    pub(crate) reference: Reference,
    /// What was checked.
    pub(crate) book: CheckBook,
    /// What was published, and to whom it was handed.
    pub(crate) topics: TopicBook,
    /// The virtual time of what is judged, in microseconds.
    pub(crate) now_us: u64,
    /// The node that signed a second history on purpose, once it has. What it holds and says is not judged any more, and nothing
    /// is that depends on which of its histories somebody holds.
    pub(crate) liar: Option<usize>,
    /// How messages and calls went.
    pub(crate) measured: Measured,
    /// Whether a node wrote a second history that nobody could prevent: nothing is judged after that.
    pub(crate) forked: bool,
    /// The root of the tree of resources that a peer had under a vector root.
    trees: BTreeMap<Digest, Digest>,
    /// Numbers of nodes by key.
    numbers: BTreeMap<NodeId, usize>,
    /// How far each node vouches for each chain, in commits of its own that were on its disk.
    vouched: BTreeMap<(NodeId, ChainId), u64>,
    /// The parts that were handed to each question that is not answered.
    parts: BTreeMap<AskId, PartsProof>,
}

impl Judge {
    /// A judge of nodes that hold nothing; `ids` are their keys, in order.
    pub(crate) fn new(ids: impl IntoIterator<Item = NodeId>) -> Self {
        let numbers: BTreeMap<NodeId, usize> = ids.into_iter().zip(0..).collect();
        let (book, topics) = (CheckBook::default(), TopicBook::default());
        let (reference, trees, vouched) = (Reference::new(numbers.len()), BTreeMap::new(), BTreeMap::new());
        Self {
            reference,
            book,
            topics,
            now_us: 0,
            liar: None,
            measured: Measured::default(),
            forked: false,
            trees,
            numbers,
            vouched,
            parts: BTreeMap::new(),
        }
    }

    /// Judges the tree of a peer that holds something else than before; the first peer that holds it is believed.
    pub(crate) fn tree(&mut self, actor: Actor, vector_root: Digest, root: Digest) {
        if let Some(known) = self.trees.insert(vector_root, root) {
            self.book.check(Check::EqualRootsEqualTrees, known == root, || {
                format!("node {} has another tree than one that holds the same, {vector_root}", actor.node)
            });
        }
    }

    // Every output, before it is carried out.

    /// Judges what a node wants the world to do. Nothing of it has happened yet.
    pub(crate) fn output(&mut self, actor: Actor, output: &Output) {
        if self.liar == Some(actor.node) {
            if let Output::Answer { ask, .. } | Output::AnswerJoin { ask, .. } = output {
                self.reference.asks.remove(ask);
            }
            return;
        }
        match output {
            Output::Persist(_)
            | Output::Dial { .. }
            | Output::KeepLinks { .. }
            | Output::LookUp { .. }
            | Output::SeekProviders { .. }
            | Output::Provide { .. }
            | Output::SendSwim { .. }
            | Output::UseRelays { .. }
            | Output::Disconnect { .. }
            | Output::Follow { .. }
            | Output::DeliverPublication { .. }
            | Output::Warn { .. }
            | Output::Probe { .. }
            | Output::Signal { .. }
            | Output::Suspend { .. }
            | Output::Resume { .. }
            | Output::CancelDelivery { .. }
            | Output::ReadRange { .. }
            | Output::ReadCommit { .. }
            | Output::ReadChain { .. }
            | Output::ReadHashes { .. }
            | Output::ReadTrace { .. }
            | Output::Mend { .. }
            | Output::Verify(_)
            | Output::StartOver(_)
            | Output::PublishView(_) => {}
            Output::Answer { ask, answer } => self.answer(actor, *ask, answer),
            Output::AnswerPart { ask, number, payload } => self.part(actor, *ask, *number, payload),
            Output::AnswerJoin { ask, answer } => {
                self.answer_join(actor, *ask, answer.as_ref().map(|admission| &admission.certificate));
            }
            Output::Request { content, .. } => self.request(actor, content),
            Output::Respond { content, .. } => self.response(actor, content),
            Output::Gossip { content, .. } => self.gossip(actor, content),
            Output::Start { process, .. } => self.start(actor, *process),
            Output::Stop { process, .. } => self.stop(actor, *process),
            Output::Deliver { delivery, .. } => self.deliver(actor, delivery.message),
            Output::Notify { ask, publication, .. } => self.topics.notified(&mut self.book, *ask, publication),
            Output::Halt => self.halt(actor),
        }
    }

    fn part(&mut self, actor: Actor, ask: AskId, number: u32, payload: &Payload) {
        let proof = self.parts.entry(ask).or_default();
        let next = proof.count;
        proof.add(payload);
        let waited_for = self.reference.asks.get(&ask).is_some_and(|asked| asked.run == actor.run);
        self.book.check(Check::PartsAreWhole, number == next && waited_for, || {
            format!("node {} handed part {number} to question {}, which waits for part {next}", actor.node, ask.0)
        });
    }

    /// The answer stands for the parts that came.
    fn whole(&mut self, actor: Actor, ask: AskId, answer: &Result<Reply, Refusal>) {
        let came = self.parts.remove(&ask);
        let Ok(Reply::Kernel(Answer::Sent(report))) = answer else { return };
        let said = report.parts;
        if came.is_some() || said.is_some() {
            self.book.check(Check::PartsAreWhole, came == said, || {
                format!("node {} answered question {} behind {said:?}, and {came:?} came", actor.node, ask.0)
            });
        }
    }

    fn answer(&mut self, actor: Actor, ask: AskId, answer: &Result<Reply, Refusal>) {
        self.whole(actor, ask, answer);
        let asked = self.take_ask(actor, ask);
        let Some(Ask { what, asked_us, .. }) = asked else { return };
        if matches!(what, Asked::Send { .. } | Asked::Service { .. }) {
            self.measured.answered(self.now_us.saturating_sub(asked_us), answer.is_ok());
        }
        match answer {
            Ok(Reply::Kernel(Answer::Sent(report))) => self.sent(actor, &what, report),
            Ok(Reply::Kernel(Answer::Subscribed)) => {
                if let Asked::Subscribe { pattern, wall } = what {
                    self.topics.subscribed(ask, actor, pattern, wall, self.now_us);
                }
            }
            Ok(Reply::Kernel(Answer::Spawned { process })) => {
                let spawned = |effect: &Effect| matches!(effect, Effect::Spawn { process: it, .. } if it == process);
                let intent = |fact: &Fact| matches!(fact, Fact::Intent(effect) if spawned(effect));
                self.acknowledged(actor, format!("spawn of {process}"), intent);
            }
            Ok(Reply::Kernel(Answer::Stopped { process, .. })) => {
                let stopped = |fact: &Fact| matches!(fact, Fact::Exited(exited) if exited.process == *process);
                self.acknowledged(actor, format!("stop of {process}"), stopped);
            }
            Ok(Reply::Kernel(Answer::Granted(issued))) => {
                let granted = |fact: &Fact| matches!(fact, Fact::GrantIssued(it) if it == issued);
                self.acknowledged(actor, format!("grant {}", issued.grant.id), granted);
            }
            Ok(Reply::Kernel(Answer::Revoked { grant })) => {
                let revoked = |fact: &Fact| matches!(fact, Fact::GrantRevoked(it) if it.grant.grant == *grant);
                self.acknowledged(actor, format!("end of grant {grant}"), revoked);
            }
            Ok(Reply::Discovery(weft_discovery::Answer::Invited { invite, .. })) => {
                let id = invite.invite;
                self.acknowledged(actor, format!("invite {id}"), |fact| is_invite(fact, id));
            }
            Ok(Reply::Discovery(weft_discovery::Answer::Revoked { invite })) => {
                let revoked = |fact: &Fact| matches!(fact, Fact::InviteRevoked(it) if it.invite == *invite);
                self.acknowledged(actor, format!("revocation of {invite}"), revoked);
            }
            Ok(
                Reply::Kernel(
                    Answer::Published { .. }
                    | Answer::Streamed { .. }
                    | Answer::Suspended { .. }
                    | Answer::Resumed { .. }
                    | Answer::CronAdded(_)
                    | Answer::CronRemoved { .. }
                    | Answer::CronRan { .. }
                    | Answer::CronJobs(_)
                    | Answer::Unsubscribed
                    | Answer::DeadLetters(_)
                    | Answer::DeadLetterDropped { .. }
                    | Answer::ServiceRegistered(_)
                    | Answer::ServiceUnregistered { .. }
                    | Answer::Linked { .. }
                    | Answer::Unlinked { .. }
                    | Answer::Monitored { .. }
                    | Answer::Demonitored { .. }
                    | Answer::Decided { .. }
                    | Answer::Amended { .. }
                    | Answer::ShuttingDown { .. },
                )
                | Reply::Recorded
                | Reply::Placed { .. }
                | Reply::Drained { .. }
                | Reply::Trace { .. },
            )
            | Err(_) => {}
        }
    }

    /// Each question is answered once: the first answer takes it away.
    fn take_ask(&mut self, actor: Actor, ask: AskId) -> Option<Ask> {
        let asked = self.reference.asks.remove(&ask);
        let here = asked.as_ref().is_some_and(|asked| asked.node == actor.node && asked.run == actor.run);
        self.book.check(Check::OneAnswer, here, || {
            format!("node {} answered question {}, which nobody waits for", actor.node, ask.0)
        });
        asked
    }

    fn acknowledged(&mut self, actor: Actor, what: String, fact: impl Fn(&Fact) -> bool) {
        let holds = self.reference.holds_fact(actor.node, fact);
        self.book.check(Check::AcknowledgedIsKept, holds, || {
            format!("node {} acknowledged the {what}, and it is not on its disk", actor.node)
        });
    }

    fn sent(&mut self, actor: Actor, what: &Asked, report: &SendReport) {
        let Asked::Send { payload, durable: true } = what else { return };
        let remote = self.numbers.get(&report.node).copied();
        let steps = self.reference.message_steps(actor.node, &report.id);
        let with_text =
            steps.iter().any(|step| step.stage == Stage::Sent && self.reference.has_text(actor.node, step, payload));
        let own = report.record.as_ref().is_some_and(|record| self.reference.holds_record(actor.node, record));
        let there = match (&report.remote_record, remote) {
            // While members were asked to vouch for it its disk may have come back older than its record.
            (Some(record), Some(_)) if matches!(report.level.durability, Durability::Witnessed { .. }) => {
                self.reference.was_held(record)
            }
            (Some(record), Some(remote)) => self.reference.holds_record(remote, record),
            (None, Some(remote)) => remote == actor.node,
            (_, None) => false,
        };
        // What the receiver has lost with its disk since it answered was promised in vain, and by nobody's fault.
        let lost = !there
            && remote.is_some_and(|remote| self.reference.put_back.contains(&remote) || self.liar == Some(remote));
        let there = there || lost;
        let witnessed = matches!(report.level.durability, Durability::Witnessed { .. });
        let received = witnessed
            || lost
            || remote.is_some_and(|remote| {
                let steps = self.reference.message_steps(remote, &report.id);
                steps.iter().any(|step| step.stage == Stage::Received && self.reference.has_text(remote, step, payload))
            });
        let durable = report.level.durability != Durability::None;
        self.book.check(Check::AcknowledgedIsKept, durable && with_text && own && there && received, || {
            format!(
                "node {} acknowledged message {} as durable: level {}, sent with its text {with_text}, own record {own}, \
                 receiver's record {there}, received with its text {received}",
                actor.node, report.id, report.level
            )
        });
        self.witnessed(actor, report);
        let still = |record: &&RecordRef| {
            let writer = self.numbers.get(&record.chain.node);
            writer.is_some_and(|writer| self.reference.holds_record(*writer, record))
        };
        let records = report.record.iter().chain(&report.remote_record).filter(still);
        let promises: Vec<Promise> =
            records.map(|record| Promise { record: record.clone(), message: report.id }).collect();
        self.reference.promises.extend(promises);
    }

    /// Whoever is named as a witness vouches for both records, took no part, and there are as many as were asked for.
    fn witnessed(&mut self, actor: Actor, report: &SendReport) {
        let Durability::Witnessed { members } = report.level.durability else { return };
        let records = || report.record.iter().chain(&report.remote_record);
        let vouches = |node: &NodeId, record: &RecordRef| {
            self.vouched.get(&(*node, record.chain)).is_some_and(|size| *size > record.seq)
        };
        let took_part = |node: &NodeId| *node == actor.id || *node == report.node;
        let counts = |node: &&NodeId| !took_part(node) && records().all(|record| vouches(node, record));
        let counting = report.witnesses.iter().filter(counts).collect::<std::collections::BTreeSet<_>>().len();
        let enough = counting >= usize::from(members) && counting == report.witnesses.len();
        self.book.check(Check::AcknowledgedIsKept, enough, || {
            let said = report.witnesses.len();
            format!("node {} said of message {} that {said} members vouch for it; {counting} do", actor.node, report.id)
        });
    }

    /// What a node vouches for is what its disk holds, of the one history of that chain: so nothing it ever vouched for
    /// contradicts anything else it did, before a restart and after it.
    fn anchored(&mut self, actor: Actor, group: &CommitGroup) {
        let Ok(commit) = group.signed.decode() else { return };
        for Anchor { chain, commit_no, size, root, commit_hash } in commit.anchors {
            let head = Head { chain, commit_no, size, root, commit_hash };
            let holds = self.is_liars(&chain) || self.reference.holds_head(actor.node, &head);
            self.book.check(Check::WitnessesAreConsistent, holds, || {
                let number = commit.commit_no;
                format!(
                    "commit {number} of node {} names commit {commit_no} of {chain}, and it does not hold that",
                    actor.node
                )
            });
            let vouched = self.vouched.entry((actor.id, chain)).or_default();
            *vouched = (*vouched).max(size);
        }
    }

    fn answer_join<T>(&mut self, actor: Actor, ask: AskId, answer: Result<T, &AuthRefusal>) {
        let Some(Ask { what: Asked::Join { joiner }, .. }) = self.take_ask(actor, ask) else { return };
        if answer.is_ok() {
            self.acknowledged(actor, format!("admission of {}", joiner.short()), |fact| {
                matches!(fact, Fact::Admitted(admitted)
                    if admitted.certificate.peek().is_ok_and(|certificate| certificate.keys.node() == joiner))
            });
            self.acknowledged(
                actor,
                format!("use of an invite on {}", joiner.short()),
                |fact| matches!(fact, Fact::InviteBurnt(burnt) if burnt.node == joiner),
            );
        }
    }

    fn request(&mut self, actor: Actor, content: &Request) {
        match content {
            Request::A2a(request) => request.items.iter().for_each(|item| match item {
                A2aItem::Envelope(envelope) => self.envelope(actor, envelope),
                A2aItem::Receipt(receipt) => self.receipt(actor, receipt),
                A2aItem::LargeEnvelope(large) => self.envelope(actor, &large.envelope),
                A2aItem::LargeReceipt(large) => self.receipt(actor, &large.receipt),
                A2aItem::Publication(publication) => {
                    self.topics.published(&mut self.book, publication, self.now_us);
                    self.publication(actor, publication);
                }
                A2aItem::Cancel(_) | A2aItem::Part(_) | A2aItem::PartsTaken(_) => {}
            }),
            Request::Sync(SyncRequest::Hello { vector_root }) => {
                let holds = self.reference.has_held(actor.node, vector_root);
                self.spoken(actor, holds, || "the vector root of a hello".to_owned());
            }
            Request::Blob(_) => {}
            Request::Sync(
                SyncRequest::Range { .. }
                | SyncRequest::Stretch { .. }
                | SyncRequest::Head { .. }
                | SyncRequest::LastTick { .. }
                | SyncRequest::Lease { .. }
                | SyncRequest::Witness { .. }
                | SyncRequest::Adverts { .. }
                | SyncRequest::Trace { .. }
                | SyncRequest::Streams { .. }
                | SyncRequest::Publications { .. }
                | SyncRequest::Evidence { .. },
            ) => {}
        }
    }

    fn response(&mut self, actor: Actor, content: &Response) {
        match content {
            Response::A2a(response) => {
                response.receipts.iter().for_each(|receipt| self.receipt(actor, receipt));
            }
            Response::Sync(SyncResponse::Heads(heads)) => heads.iter().for_each(|head| self.head(actor, head)),
            Response::Sync(SyncResponse::Page { groups, .. }) => {
                groups.iter().for_each(|group| self.group(actor, group));
            }
            Response::Sync(SyncResponse::Trace(rows) | SyncResponse::PrunedTrace { rows, pruned: _ }) => {
                let Some(chain) = self.reference.own_chain(actor.node) else { return };
                for row in rows {
                    let holds = self.reference.event_at(actor.node, &chain, row.seq).is_some();
                    self.spoken(actor, holds, || format!("event {} of a trace", row.seq));
                }
            }
            Response::Blob(_) => {}
            Response::Sync(
                SyncResponse::Same
                | SyncResponse::Adverts(_)
                | SyncResponse::Refused(_)
                | SyncResponse::Streams { .. }
                | SyncResponse::Publications { .. }
                | SyncResponse::Stretches(_)
                | SyncResponse::LastTick(_)
                | SyncResponse::Lease(_)
                | SyncResponse::Evidence(_),
            ) => {}
        }
    }

    fn gossip(&mut self, actor: Actor, content: &Gossip) {
        match content {
            Gossip::Head(HeadGossip::Group(group)) => self.group(actor, group),
            Gossip::Head(HeadGossip::Head(signed)) => {
                let holds = self.reference.holds_commit(actor.node, signed);
                self.spoken(actor, holds, || "the header of a commit".to_owned());
            }
            Gossip::Head(HeadGossip::Tick(tick)) => {
                let held = tick.peek().is_ok_and(|tick| {
                    let mut named = tick.heads.iter().chain([&tick.last]);
                    named.all(|commit| self.reference.holds(actor.node, commit))
                });
                self.spoken(actor, held, || "a commit named by a tick".to_owned());
            }
            Gossip::Head(HeadGossip::Fork(evidence))
                if evidence.first.decode().is_ok_and(|body| self.is_liars(&body.chain())) => {}
            Gossip::Head(HeadGossip::Fork(_)) => {
                let words = || format!("node {} says that an honest node has two histories", actor.node);
                self.book.check(Check::OneHistory, false, words);
            }
            Gossip::Advert(_) => {}
            Gossip::Publication(publication) => {
                self.topics.published(&mut self.book, publication, self.now_us);
                self.publication(actor, publication);
            }
        }
    }

    fn head(&mut self, actor: Actor, head: &Head) {
        let holds = self.reference.holds_head(actor.node, head);
        self.spoken(actor, holds, || format!("head {} of {}", head.commit_no, head.chain));
    }

    fn group(&mut self, actor: Actor, group: &CommitGroup) {
        let holds = self.reference.holds_commit(actor.node, &group.signed);
        self.spoken(actor, holds, || "a commit".to_owned());
    }

    /// Whether a chain is of the node that wrote two histories.
    fn is_liars(&self, chain: &ChainId) -> bool {
        self.liar.is_some() && self.numbers.get(&chain.node).copied() == self.liar
    }

    fn spoken(&mut self, actor: Actor, holds: bool, what: impl FnOnce() -> String) {
        if self.liar.is_some() {
            return;
        }
        self.book.check(Check::SpokenIsDurable, holds, || {
            format!("node {} spoke {}, which is not on its disk", actor.node, what())
        });
    }

    fn envelope(&mut self, actor: Actor, envelope: &Envelope) {
        if envelope.from.node == actor.id {
            self.reference.stamp(actor.node, envelope.hlc);
        }
        let content =
            hash("sim-message", &[&encode(&envelope.payload), &encode(&envelope.target), &encode(&envelope.hlc)]);
        self.named(envelope.id, content);
    }

    fn publication(&mut self, actor: Actor, publication: &Publication) {
        if publication.from.node == actor.id {
            self.reference.stamp(actor.node, publication.hlc);
        }
        let content = hash("sim-publication", &[&encode(publication)]);
        self.named(publication.id, content);
    }

    fn named(&mut self, message: MessageId, content: Digest) {
        let same = self.reference.name(message, content);
        self.book.check(Check::IdsAreUnique, same, || format!("{message} names two messages"));
    }

    fn receipt(&mut self, actor: Actor, receipt: &Receipt) {
        self.reference.stamp(actor.node, receipt.hlc);
        if let Some(record) = &receipt.record {
            let holds = self.reference.holds_record(actor.node, record);
            self.spoken(actor, holds, || format!("the record of {} at {}", receipt.message, record.seq));
        }
    }

    fn start(&mut self, actor: Actor, process: ProcessId) {
        let wanted = |effect: &Effect| matches!(effect, Effect::Spawn { process: it, .. } if *it == process);
        self.effect(actor, format!("start of {process}"), wanted);
    }

    fn stop(&mut self, actor: Actor, process: ProcessId) {
        let wanted = |effect: &Effect| match effect {
            Effect::Stop { process: it, .. }
            | Effect::Restart { process: it, .. }
            | Effect::Terminate { process: it, .. } => *it == process,
            Effect::Spawn { .. } | Effect::Suspend { .. } | Effect::Resume { .. } | Effect::Fire { .. } => false,
        };
        self.effect(actor, format!("stop of {process}"), wanted);
    }

    fn effect(&mut self, actor: Actor, what: String, wanted: impl Fn(&Effect) -> bool) {
        let holds = self.reference.has_open_intent(actor.node, wanted);
        self.book.check(Check::EffectsHaveIntents, holds, || {
            format!("node {}: the {what} has no open intent on its disk", actor.node)
        });
    }

    fn deliver(&mut self, actor: Actor, message: MessageId) {
        let before = self.reference.deliver(actor.node, actor.run, message);
        let once = match before {
            None => true,
            Some(run) => run != actor.run && !self.reference.is_recorded(&message, Stage::Sent),
        };
        self.book.check(Check::ExecutedOnce, once, || {
            format!(
                "node {} handed {message} to an agent in run {} and before in run {before:?}",
                actor.node, actor.run
            )
        });
    }

    /// A node ends in order once that is on its disk.
    fn halt(&mut self, actor: Actor) {
        self.acknowledged(actor, "shutdown".to_owned(), |fact| matches!(fact, Fact::Shutdown(_)));
    }

    // Every write, when it is durable.

    /// Judges groups that became durable on a node's disk in one transaction.
    pub(crate) fn stored(&mut self, actor: Actor, groups: &[(ChainId, CommitGroup)]) {
        for (chain, group) in groups {
            if self.is_liars(chain) {
                continue;
            }
            let foreign = chain.node != actor.id;
            let news = self.reference.commits_held(actor.node, chain) >= self.reference.commits_of(chain);
            match self.reference.hold(actor.node, *chain, group) {
                Ok(events) => {
                    self.book.check(Check::OneHistory, true, String::new);
                    if foreign {
                        self.book.check(Check::StoredIsVerified, true, String::new);
                    } else {
                        // What a restored node gets back of its own chain it did not write just now.
                        if news {
                            self.anchored(actor, group);
                        }
                        self.written(actor, chain, events);
                    }
                }
                Err(Unfit::Unverified(error)) => self.book.check(Check::StoredIsVerified, false, || {
                    format!("node {} stored of {chain}: {error}", actor.node)
                }),
                Err(Unfit::Differs) => self.book.check(Check::OneHistory, false, || {
                    format!("node {} stored another copy of a commit of {chain}", actor.node)
                }),
                Err(Unfit::Gap) => self.book.check(Check::StoredIsVerified, false, || {
                    format!("node {} stored a commit of {chain} that its writer never held", actor.node)
                }),
            }
        }
        self.reference.note_root(actor.node);
    }

    /// Judges events that a node wrote on its own chain.
    fn written(&mut self, actor: Actor, chain: &ChainId, events: std::ops::Range<usize>) {
        let floor = self.reference.floor(actor.node);
        for place in events {
            let Some(event) = self.reference.chronicle(chain).map(|chronicle| &chronicle.events[place]) else {
                continue;
            };
            let (hlc, outcome) = (event.hlc, outcome_of(event.fact.as_ref()));
            self.book.check(Check::StampsIncrease, hlc > floor, || {
                format!("node {} stamped event {place} {hlc}, not above {floor} of an earlier run", actor.node)
            });
            self.reference.stamp(actor.node, hlc);
            if let Some(EffectOutcome { intent, .. }) = outcome {
                let once = self.reference.close_intent(chain, intent);
                self.book.check(Check::IntentsHaveOneOutcome, once, || {
                    format!("node {}: event {place} is a second outcome, or one of no intent: {intent}", actor.node)
                });
            }
        }
    }

    // What a disk holds, at a start and at the end.

    /// Judges all groups that a node's disk really holds, and takes over those nobody was told of.
    pub(crate) fn disk(&mut self, actor: Actor, chains: &BTreeMap<ChainId, Vec<CommitGroup>>, dice: &mut Dice) {
        if self.liar == Some(actor.node) {
            return;
        }
        for chain in self.reference.chains_held(actor.node) {
            if self.is_liars(&chain) {
                continue;
            }
            let promised = self.reference.commits_held(actor.node, &chain);
            let found = chains.get(&chain).map_or(0, Vec::len);
            self.book.check(Check::RecoversWhatWasSynced, found >= promised, || {
                format!("node {} holds {found} commits of {chain}, {promised} were synced", actor.node)
            });
        }
        for (chain, groups) in chains {
            let known = self.reference.commits_held(actor.node, chain);
            let beyond: Vec<_> = groups.iter().skip(known).map(|group| (*chain, group.clone())).collect();
            self.stored(actor, &beyond);
        }
        if self.liar.is_none() {
            self.content(actor, chains);
        }
        self.promises(actor, chains);
        self.orders(chains, dice);
    }

    /// Judges the bodies beside a node's own events: `read` looks one up on its disk. Those nobody was told of are taken over.
    pub(crate) fn bodies(&mut self, actor: Actor, read: impl Fn(&Digest) -> bool) {
        for address in self.reference.apart(actor.node) {
            let found = read(&address);
            let kept = found || !self.reference.holds_body(actor.node, &address);
            self.book.check(Check::AcknowledgedIsKept, kept, || {
                format!("node {} lost the body {address}, which was promised with its event", actor.node)
            });
            if found {
                self.reference.hold_body(actor.node, address);
            }
        }
    }

    fn content(&mut self, actor: Actor, chains: &BTreeMap<ChainId, Vec<CommitGroup>>) {
        let contents = chains.iter().map(|(chain, groups)| {
            let events = groups.iter().flat_map(|group| &group.events);
            (*chain, events.fold(hash("sim-content", &[]), |content, event| fold_content(content, event)))
        });
        let content = content_of(contents);
        let root = self.reference.vector_root(actor.node);
        let same = self.reference.note_content(root, content) && content == self.reference.content(actor.node);
        self.book.check(Check::EqualRootsEqualBytes, same, || {
            format!("the disk of node {} holds other bytes than one with the same vector root", actor.node)
        });
    }

    /// Whatever was promised of a chain by its writer is on the writer's disk.
    fn promises(&mut self, actor: Actor, chains: &BTreeMap<ChainId, Vec<CommitGroup>>) {
        let Some(chain) = self.reference.own_chain(actor.node) else { return };
        let events: Vec<&[u8]> = chains
            .get(&chain)
            .into_iter()
            .flatten()
            .flat_map(|group| group.events.iter().map(|event| event.as_slice()))
            .collect();
        let promises = self.reference.promises.iter().filter(|promise| promise.record.chain == chain);
        for Promise { record, message } in promises {
            let event = usize::try_from(record.seq).ok().and_then(|seq| events.get(seq));
            let kept = event.is_some_and(|event| weft_protocol::leaf_hash(event) == record.leaf);
            self.book.check(Check::AcknowledgedIsKept, kept, || {
                format!("node {} lost event {} of {message}, which was promised", actor.node, record.seq)
            });
        }
    }

    /// The order of what is held does not depend on how it is given, and nothing stands before what led to it.
    fn orders(&mut self, chains: &BTreeMap<ChainId, Vec<CommitGroup>>, dice: &mut Dice) {
        let mut by_chain: Vec<Vec<OrderKey>> = Vec::new();
        for chain in chains.keys() {
            let Some(chronicle) = self.reference.chronicle(chain) else { continue };
            let held = chains[chain].iter().map(|group| group.events.len()).sum::<usize>();
            let keys = (0..).zip(chronicle.events.iter().take(held));
            by_chain.push(keys.map(|(seq, event)| OrderKey::new(*chain, seq, event.hlc)).collect());
        }
        let merged: Vec<OrderKey> =
            merge(by_chain.iter().map(|keys| keys.iter().map(|key| (*key, ())))).map(|(key, ())| key).collect();
        let mut shuffled: Vec<OrderKey> = by_chain.iter().flatten().rev().copied().collect();
        for last in (1..shuffled.len()).rev() {
            shuffled.swap(last, dice.index(last + 1));
        }
        let same = order(shuffled) == merged && merged.is_sorted();
        self.book.check(Check::OrderIsPure, same, || "the order differs with the order of arrival".to_owned());
        self.causality(&merged);
    }

    fn causality(&mut self, ordered: &[OrderKey]) {
        let mut next_seq: BTreeMap<ChainId, u64> = BTreeMap::new();
        let mut links: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut steps: BTreeMap<(MessageId, Went), usize> = BTreeMap::new();
        let (mut broken, mut causes) = (None, Vec::new());
        for (place, key) in ordered.iter().enumerate() {
            let expected = next_seq.entry(key.chain()).or_default();
            if *expected != key.seq {
                broken.get_or_insert(*key);
            }
            *expected += 1;
            let Some(chronicle) = self.reference.chronicle(&key.chain()) else { continue };
            let Some(event) = usize::try_from(key.seq).ok().and_then(|seq| chronicle.events.get(seq)) else { continue };
            links.insert(event.link, place);
            causes.extend(event.cause.iter().map(|cause| (*cause, place)));
            if let Some((message, step)) = event.message().and_then(step_of) {
                steps.entry((message, step)).or_insert(place);
            }
        }
        let caused = causes.iter().all(|(cause, place)| links.get(cause).is_none_or(|earlier| earlier < place));
        let late = steps.iter().find_map(|((message, step), place)| {
            let earlier = step.after()?;
            let wrong = steps.get(&(*message, earlier)).is_some_and(|earlier| earlier >= place);
            wrong.then(|| format!("{message} {step:?} before {earlier:?}"))
        });
        self.book.check(Check::OrderIsCausal, broken.is_none() && caused && late.is_none(), || {
            format!(
                "chains in order: {broken:?} is not; causes first: {caused}; messages step by step: {late:?} is not"
            )
        });
    }

    /// A start could not read the disk.
    pub(crate) fn unreadable(&mut self, node: usize, error: &dyn std::fmt::Display) {
        self.book.check(Check::RecoversWhatWasSynced, false, || format!("node {node} does not start: {error}"));
    }

    /// Two starts read the same disk, of which the first came no further.
    pub(crate) fn read_twice(&mut self, node: usize, first: &Recovered, second: &Recovered) {
        self.book.check(Check::RecoversTheSameTwice, first == second, || {
            let of = |read: &Recovered| {
                let events: u64 = read.chains.iter().map(|chain| chain.state.size()).sum();
                format!("{events} events, {} to deliver, {} given up", read.outbox.len(), read.dead_letters.len())
            };
            format!("node {node} reads {} and then {}", of(first), of(second))
        });
    }

    /// When everything is quiet, nobody waits and no effect is left open.
    pub(crate) fn quiet(&mut self, nodes: usize) {
        let liar = self.liar;
        let judged = self.reference.asks.iter().filter(|(_, ask)| Some(ask.node) != liar);
        let waiting: Vec<String> = judged.map(|(ask, asked)| format!("{} {asked:?}", ask.0)).take(4).collect();
        self.book.check(Check::OneAnswer, waiting.is_empty(), || format!("never answered: {}", waiting.join("; ")));
        for node in (0..nodes).filter(|node| Some(*node) != self.liar) {
            let open = self.reference.intents(node).find(|(_, _, outcomes)| *outcomes != 1);
            let open = open.map(|(seq, effect, outcomes)| format!("{seq} {effect:?} has {outcomes} outcomes"));
            self.book.check(Check::IntentsHaveOneOutcome, open.is_none(), || {
                format!("node {node}: intent {}", open.unwrap_or_default())
            });
        }
    }

    /// Makes a node's chain known.
    pub(crate) fn open_chain(&mut self, node: usize, state: ChainState) {
        self.reference.open_chain(node, state);
    }

    /// A node starts again with what its disk holds: the stamps of this run must be above all before.
    pub(crate) fn begin_run(&mut self, node: usize) {
        self.reference.begin_run(node);
    }
}

fn is_invite(fact: &Fact, id: InviteId) -> bool {
    matches!(fact, Fact::InviteIssued(issued) if weft_protocol::invite_id(&issued.secret_hash) == id)
}

/// One step of a durable message that went on. Others prove nothing: a sender may be refused once, by a copy, and succeed with
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Went {
    Sent,
    Received,
    Answered,
    KnownReceived,
    KnownAnswered,
}

impl Went {
    /// The step that must come before.
    const fn after(self) -> Option<Self> {
        match self {
            Self::Sent => None,
            Self::Received => Some(Self::Sent),
            Self::Answered | Self::KnownReceived => Some(Self::Received),
            Self::KnownAnswered => Some(Self::Answered),
        }
    }
}

fn step_of(record: &MessageRecord) -> Option<(MessageId, Went)> {
    let step = match (record.stage, record.rule.as_str()) {
        (Stage::Sent, _) => Went::Sent,
        (Stage::Received, _) => Went::Received,
        (Stage::Answered, _) => Went::Answered,
        (Stage::Acknowledged, "received") => Went::KnownReceived,
        (Stage::Acknowledged, "executed") => Went::KnownAnswered,
        (Stage::Acknowledged | Stage::Refused | Stage::Published | Stage::Delivered, _) => return None,
    };
    Some((record.message, step))
}

fn outcome_of(fact: Option<&Fact>) -> Option<EffectOutcome> {
    match fact {
        Some(Fact::Outcome(outcome)) => Some(outcome.clone()),
        _ => None,
    }
}
