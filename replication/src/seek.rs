//! Finding members that vouch for what this node wants vouched for: asked a few at a time, counted by their own commits.

use std::collections::{BTreeMap, BTreeSet};

use weft_protocol::limits::WITNESS_PLACES_MAX;
use weft_protocol::{ChainId, Digest, MessageId, NodeId, SyncRequest, SyncResponse, Timestamp};

use crate::config::SEEK_PAUSE_US;
use crate::event::Output;
use crate::fetch::Fetch;
use crate::replication::Replication;
use crate::witnesses::Vouched;

/// One thing that is to be vouched for.
#[derive(Debug)]
struct Sought {
    /// Chains, each as far as so many events.
    places: Vec<(ChainId, u64)>,
    /// Who does not count.
    except: [NodeId; 2],
    members: usize,
    /// How many do, as was told last.
    told: usize,
    /// Who was asked in this turn.
    asked: BTreeSet<NodeId>,
}

/// All that is to be vouched for; bounded by the calls of this node.
#[derive(Debug, Default)]
pub(crate) struct Seek {
    sought: BTreeMap<MessageId, Sought>,
    /// Words that are being compared with our copy of a chain.
    reading: BTreeMap<ChainId, Vec<(NodeId, Vouched)>>,
    /// When further members are asked.
    again_at: Option<Timestamp>,
}

impl Seek {
    pub(crate) const fn next_wakeup(&self) -> Option<Timestamp> {
        self.again_at
    }
}

impl Replication {
    /// Members are to vouch for these places.
    pub(crate) fn on_witnesses_sought(
        &mut self,
        message: MessageId,
        places: Vec<(ChainId, u64)>,
        except: [NodeId; 2],
        members: u8,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let sought = Sought { places, except, members: usize::from(members), told: 0, asked: BTreeSet::new() };
        self.seek.sought.insert(message, sought);
        if self.seek.again_at.is_none() {
            self.seek.again_at = Some(now.after_us(SEEK_PAUSE_US));
        }
        self.look_at(&[message], outputs);
        self.ask_witnesses(&[message], outputs);
    }

    /// No more of them are needed.
    pub(crate) fn on_no_witnesses_sought(&mut self, message: &MessageId) {
        self.seek.sought.remove(message);
        if self.seek.sought.is_empty() {
            self.seek.again_at = None;
        }
    }

    /// Commits that vouch for this chain, or commits of it, are on disk: some of what is sought may have been found.
    pub(crate) fn seek_in(&mut self, chain: &ChainId, outputs: &mut Vec<Output>) {
        let concerned = |sought: &Sought| sought.places.iter().any(|(place, _)| place == chain);
        let messages = self.seek.sought.iter().filter(|(_, sought)| concerned(sought)).map(|(message, _)| *message);
        let messages: Vec<MessageId> = messages.collect();
        self.look_at(&messages, outputs);
    }

    /// Has compared with our copies what nobody compared yet, and tells of each whose number of members grew.
    fn look_at(&mut self, messages: &[MessageId], outputs: &mut Vec<Output>) {
        self.compare_words(messages, outputs);
        for message in messages {
            let Some(vouching) = self.seek.sought.get(message).map(|sought| self.vouching(sought)) else { continue };
            if let Some(sought) = self.seek.sought.get_mut(message)
                && vouching.len() > sought.told
            {
                sought.told = vouching.len();
                outputs.push(Output::Witnessed { message: *message, vouching });
            }
        }
    }

    /// Members that count and vouch for all of it, in the order of their ids.
    fn vouching(&self, sought: &Sought) -> Vec<NodeId> {
        let of_place = |(chain, size): &(ChainId, u64)| {
            let forked = self.forks.contains(chain);
            let reach = self.witnesses.checked(chain).filter(|(_, vouched)| !forked && vouched.size >= *size);
            reach.map(|(node, _)| node).collect::<BTreeSet<NodeId>>()
        };
        let all = sought.places.iter().map(of_place).reduce(|one, other| one.intersection(&other).copied().collect());
        let counts = |node: &NodeId| {
            !sought.except.contains(node) && self.members.contains_key(node) && !self.quarantined.contains(node)
        };
        all.unwrap_or_default().into_iter().filter(counts).collect()
    }

    /// Whose word is of our history: the hash that it names is the last one here, or is read and compared.
    fn compare_words(&mut self, messages: &[MessageId], outputs: &mut Vec<Output>) {
        let places = messages.iter().filter_map(|message| self.seek.sought.get(message)).flat_map(|it| &it.places);
        let places: BTreeSet<(ChainId, u64)> = places.copied().collect();
        for (chain, size) in places {
            let Some(head) = self.head_here(&chain) else { continue };
            let words: Vec<(NodeId, Vouched)> = self.witnesses.unchecked(&chain, size).collect();
            let (last, earlier): (Vec<_>, Vec<_>) = words
                .into_iter()
                .filter(|(_, vouched)| vouched.commit_no <= head.commit_no)
                .partition(|(_, vouched)| vouched.commit_no == head.commit_no);
            for (node, vouched) in last {
                self.witnesses.compared(&chain, &node, vouched, vouched.commit_hash == head.commit_hash);
            }
            if !earlier.is_empty() && !self.seek.reading.contains_key(&chain) {
                let commit_nos: BTreeSet<u64> = earlier.iter().map(|(_, vouched)| vouched.commit_no).collect();
                self.seek.reading.insert(chain, earlier);
                outputs.push(Output::ReadHashes { chain, commit_nos: commit_nos.into_iter().collect() });
            }
        }
    }

    /// Hashes of our copy were read; those that were asked for here are compared.
    pub(crate) fn on_words_read(&mut self, chain: &ChainId, hashes: &[(u64, Digest)], outputs: &mut Vec<Output>) {
        for (node, vouched) in self.seek.reading.remove(chain).unwrap_or_default() {
            if let Some((_, held)) = hashes.iter().find(|(number, _)| *number == vouched.commit_no) {
                self.witnesses.compared(chain, &node, vouched, vouched.commit_hash == *held);
            }
        }
        self.seek_in(chain, outputs);
    }

    /// Asks members that can be reached for what is missing: those that come next after this node by id, so that what one node
    /// wants goes to the same members and rides on one commit of theirs.
    fn ask_witnesses(&mut self, messages: &[MessageId], outputs: &mut Vec<Output>) {
        let own = self.own.chain.node;
        let (before, after): (Vec<NodeId>, Vec<NodeId>) = self.links.keys().copied().partition(|node| *node < own);
        let turn: Vec<NodeId> = after.into_iter().chain(before).collect();
        for message in messages {
            let Some(sought) = self.seek.sought.get(message) else { continue };
            let vouching = self.vouching(sought);
            let may = |node: &&NodeId| {
                !sought.except.contains(node)
                    && !vouching.contains(node)
                    && !sought.asked.contains(node)
                    && !self.quarantined.contains(node)
            };
            let missing = sought.members.saturating_sub(vouching.len());
            let next: Vec<NodeId> = turn.iter().filter(may).take(missing).copied().collect();
            let Some(sought) = self.seek.sought.get_mut(message) else { continue };
            if next.len() < missing {
                // Everybody was asked: the next turn begins.
                sought.asked.clear();
            }
            sought.asked.extend(&next);
        }
        for node in turn {
            self.ask_witness(node, outputs);
        }
    }

    /// Asks one member for all that it was chosen for and does not vouch for yet, unless it has not answered the last time.
    fn ask_witness(&mut self, node: NodeId, outputs: &mut Vec<Output>) {
        if self.links.get(&node).is_none_or(|link| link.witness.is_some()) {
            return;
        }
        let chosen = self.seek.sought.values().filter(|sought| sought.asked.contains(&node));
        let mut places: BTreeMap<ChainId, u64> = BTreeMap::new();
        for (chain, size) in chosen.flat_map(|sought| &sought.places) {
            if self.witnesses.size_of(&node, chain) < *size {
                let asked = places.entry(*chain).or_default();
                *asked = (*asked).max(*size);
            }
        }
        let told = self.links.get(&node).map(|link| &link.witnessing);
        let news = places.iter().filter(|(chain, size)| told.is_none_or(|told| told.get(chain) < Some(size)));
        let places: Vec<(ChainId, u64)> = news.map(|(chain, size)| (*chain, *size)).take(WITNESS_PLACES_MAX).collect();
        if places.is_empty() {
            return;
        }
        let fetch = self.new_fetch();
        if let Some(link) = self.links.get_mut(&node) {
            link.witness = Some(fetch);
            link.witnessing.extend(places.iter().copied());
        }
        self.fetches.insert(fetch, (node, Fetch::Witness));
        outputs.push(Output::Request { fetch, to: node, content: SyncRequest::Witness { places } });
    }

    /// What a member said to that; its commit comes as every other one does. `None` when it did not respond.
    pub(crate) fn on_witness_answered(
        &mut self,
        from: NodeId,
        content: Option<SyncResponse>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(link) = self.links.get_mut(&from) {
            link.witness = None;
        }
        match content {
            // Its head is told when it vouched before: should its commit have been lost, it is fetched now.
            Some(SyncResponse::Heads(heads)) => {
                heads.iter().take(1).for_each(|head| self.on_head(from, head, now, outputs));
            }
            Some(SyncResponse::Refused(_)) | None => {}
            Some(_) => self.refused += 1,
        }
        self.ask_witness(from, outputs);
    }

    /// Further members are asked for what is still missing.
    pub(crate) fn seek_again(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.seek.again_at.is_none_or(|at| at > now) {
            return;
        }
        self.seek.again_at = Some(now.after_us(SEEK_PAUSE_US));
        self.links.values_mut().for_each(|link| link.witnessing.clear());
        let messages: Vec<MessageId> = self.seek.sought.keys().copied().collect();
        self.look_at(&messages, outputs);
        self.ask_witnesses(&messages, outputs);
    }
}
