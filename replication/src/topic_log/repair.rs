//! Asking for what is missing of a stream: first its publisher, then whoever is connected, until it is there or nobody has it.

use weft_protocol::{NodeId, Publication, PublicationsFrom, SyncRequest, SyncResponse, Timestamp};

use super::gather::GatherId;
use super::{FETCHES_PER_LINK_MAX, RETRY_US, StreamKey};
use crate::event::{FetchId, Output};
use crate::fetch::Fetch;
use crate::replication::Replication;

/// A request for publications.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Of which stream.
    pub(super) key: StreamKey,
    /// The subscription whose history it is for; none for what is missing.
    pub(super) gather: Option<GatherId>,
}

/// What can be done about a broken stream now.
enum Next {
    Ask(NodeId),
    Wait,
    Excuse,
}

impl Replication {
    /// Passes on what is in order and sees to what is missing, once its publisher is known as a member.
    pub(super) fn mend(&mut self, key: &StreamKey, now: Timestamp, outputs: &mut Vec<Output>) {
        if !self.members.contains_key(&key.1.node) {
            return;
        }
        self.pass(key, outputs);
        loop {
            let Some(stream) = self.topics.streams.get_mut(key) else { return };
            if !stream.is_broken() {
                stream.repair = None;
                self.topics.broken.remove(key);
                return;
            }
            self.topics.broken.insert(key.clone());
            match self.next_step(key, now) {
                Next::Ask(member) => return self.ask_missing(key, member, now, outputs),
                Next::Wait => return,
                Next::Excuse => self.excuse(key, outputs),
            }
        }
    }

    fn pass(&mut self, key: &StreamKey, outputs: &mut Vec<Output>) {
        let Some(stream) = self.topics.streams.get_mut(key) else { return };
        while let Some(publication) = stream.advance(false) {
            outputs.push(Output::PassPublication { publication: Box::new(publication), fetched: false });
        }
    }

    fn next_step(&mut self, key: &StreamKey, now: Timestamp) -> Next {
        let author = key.1.node;
        let listing = self.topics.is_listing(&key.0);
        let linked: Vec<NodeId> = self.links.keys().copied().collect();
        let busy = |member: &NodeId| {
            let out =
                self.fetches.values().filter(|(to, fetch)| to == member && matches!(fetch, Fetch::Publications(_)));
            out.count() >= FETCHES_PER_LINK_MAX
        };
        let free: Vec<NodeId> = linked.iter().copied().filter(|member| !busy(member)).collect();
        let Some(stream) = self.topics.streams.get_mut(key) else { return Next::Wait };
        if listing && stream.last.is_none() {
            return Next::Wait;
        }
        let overdue = stream.repair.is_some() && stream.is_overdue(now);
        let repair = stream.repair(now);
        if repair.asked.is_some() || now < repair.retry_at {
            return Next::Wait;
        }
        let untried = |members: &[NodeId]| {
            let mut left = members.iter().filter(|member| !repair.tried.contains(*member));
            let author = left.clone().find(|member| **member == author);
            author.or_else(|| left.next()).copied()
        };
        match (untried(&free), untried(&linked)) {
            (Some(member), _) => Next::Ask(member),
            (None, Some(_)) => {
                repair.retry_at = now.after_us(RETRY_US);
                Next::Wait
            }
            // Its publisher has it no more, nor has anybody else.
            (None, None) if repair.answered.contains(&author) || overdue => Next::Excuse,
            (None, None) => {
                repair.tried.clear();
                repair.retry_at = now.after_us(RETRY_US);
                Next::Wait
            }
        }
    }

    fn ask_missing(&mut self, key: &StreamKey, member: NodeId, now: Timestamp, outputs: &mut Vec<Output>) {
        let since = self.followed_since(key);
        let fetch = self.new_fetch();
        let Some(stream) = self.topics.streams.get_mut(key) else { return };
        let from = stream.last.map_or(PublicationsFrom::Since(since), PublicationsFrom::After);
        let repair = stream.repair(now);
        repair.asked = Some(fetch);
        repair.tried.insert(member);
        self.fetches.insert(fetch, (member, Fetch::Publications(Wanted { key: key.clone(), gather: None })));
        let content = SyncRequest::Publications { topic: key.0.clone(), chain: key.1, from };
        outputs.push(Output::Request { fetch, to: member, content });
    }

    /// Lets the first that waits go in spite of what is missing before it; without one, forgets what was said to be there.
    fn excuse(&mut self, key: &StreamKey, outputs: &mut Vec<Output>) {
        let Some(stream) = self.topics.streams.get_mut(key) else { return };
        let (hole, listed) = (stream.hole(), stream.listed);
        stream.begin(listed);
        stream.repair = None;
        match stream.advance(true) {
            Some(publication) => {
                self.topics.lost += hole;
                outputs.push(Output::PassPublication { publication: Box::new(publication), fetched: false });
            }
            None => stream.listed = stream.last.unwrap_or_default(),
        }
        self.pass(key, outputs);
    }

    /// What a member said to a request for what is missing; `None` when it did not respond.
    pub(crate) fn on_publications_answered(
        &mut self,
        fetch: FetchId,
        from: NodeId,
        wanted: Wanted,
        content: Option<SyncResponse>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let page = match content {
            Some(SyncResponse::Publications { publications, more }) => {
                let good = publications.into_iter().filter(|it| self.is_of(it, &wanted.key, from)).collect();
                Some((good, more))
            }
            Some(_) | None => None,
        };
        match wanted.gather {
            Some(gather) => self.on_history_answered(gather, wanted.key, from, page, now, outputs),
            None => self.on_missing_answered(fetch, &wanted.key, from, page, now, outputs),
        }
    }

    fn on_missing_answered(
        &mut self,
        fetch: FetchId,
        key: &StreamKey,
        from: NodeId,
        page: Option<(Vec<Publication>, bool)>,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) {
        let Some(stream) = self.topics.streams.get_mut(key) else { return };
        let Some(repair) = stream.repair.as_mut().filter(|repair| repair.asked == Some(fetch)) else { return };
        repair.asked = None;
        if let Some((publications, more)) = page {
            repair.answered.insert(from);
            if more {
                repair.tried.remove(&from);
            }
            let before = stream.last;
            let any = !publications.is_empty();
            publications.into_iter().for_each(|publication| stream.hold(publication));
            // That a member has nothing says something about where the stream begins only when the stream is its own.
            if before.is_none() && (any || from == key.1.node) {
                stream.begin(if any { u64::MAX } else { stream.listed });
            }
            self.pass(key, outputs);
            self.progressed(key, before);
        }
        self.mend(key, now, outputs);
    }

    /// After a step forward everybody may be asked again.
    fn progressed(&mut self, key: &StreamKey, before: Option<u64>) {
        if let Some(stream) = self.topics.streams.get_mut(key)
            && stream.last != before
        {
            stream.repair = None;
        }
    }

    /// Whether a publication is of that stream and truly its publisher's, when that comes from somebody else.
    fn is_of(&mut self, publication: &Publication, key: &StreamKey, from: NodeId) -> bool {
        let author = key.1.node;
        let fits = publication.topic == key.0 && publication.id.chain == key.1 && publication.from.node == author;
        let proven = from == author || self.member_keys(&author).iter().any(|keys| publication.verify(keys).is_ok());
        if !(fits && proven) {
            self.refused += 1;
        }
        fits && proven
    }
}
