//! What of the log a subscription is handed before it is handed what comes.

use weft_protocol::limits::HISTORY_MAX;
use weft_protocol::{Hlc, LoggedPublication, MessageId, TopicPattern};

use super::log::{Log, StreamKey};
use super::start::{Cursor, Start};

/// Where a publication stands in history.
const fn order(entry: &LoggedPublication) -> (Hlc, MessageId) {
    (entry.publication.hlc, entry.publication.id)
}

impl Log {
    /// The history that a subscription with this start is handed, in order of stamp, and so of each publisher's numbers.
    pub(super) fn history(&self, pattern: &TopicPattern, start: Start) -> Vec<(Cursor, &LoggedPublication)> {
        let until = self.last_place();
        match start {
            Start::Now | Start::Ago(_) => Vec::new(),
            Start::Since(since) => {
                newest(HISTORY_MAX, None, until, self.matching(pattern).filter(|entry| entry.publication.hlc >= since))
            }
            Start::Last(count) => {
                let count = usize::try_from(count).unwrap_or(HISTORY_MAX).min(HISTORY_MAX);
                newest(count, None, until, self.matching(pattern))
            }
            Start::Resume(Cursor::Live(place)) => {
                newest(HISTORY_MAX, Some(place), until, self.beyond(pattern, place).into_iter())
            }
            Start::Resume(Cursor::CatchUp { after, until: before, hlc, id }) => {
                let all = match after {
                    None => self.matching(pattern).collect(),
                    Some(place) => self.beyond(pattern, place),
                };
                let rest = all.into_iter().filter(|entry| entry.place <= before && order(entry) > (hlc, id));
                let mut history = newest(HISTORY_MAX, after, before, rest);
                let room = HISTORY_MAX - history.len();
                history.extend(newest(room, Some(before), until, self.beyond(pattern, before).into_iter()));
                history
            }
        }
    }

    /// What came since `place`.
    pub(super) fn arrived_since(&self, pattern: &TopicPattern, place: Hlc) -> Vec<(Cursor, &LoggedPublication)> {
        let arrived = self.matching(pattern).filter(|entry| entry.place > place && !entry.fetched);
        newest(HISTORY_MAX, Some(place), self.last_place(), arrived)
    }

    /// What a subscription that had come to `place` was not handed: of each publisher what follows the last that was in the
    /// log then; of a publisher who was not, what came since, unless it was fetched and is older.
    fn beyond(&self, pattern: &TopicPattern, place: Hlc) -> Vec<&LoggedPublication> {
        let patterns = std::slice::from_ref(pattern);
        let streams = self.streams(patterns).map(|(key, _)| key).collect::<Vec<_>>();
        let beyond = streams.into_iter().flat_map(|key| {
            let base = self.base(key, place);
            self.stream(key).filter(move |entry| {
                let new = match base {
                    Some(base) => entry.publication.seq > base,
                    None => !entry.fetched || entry.publication.hlc >= place,
                };
                entry.place > place && new
            })
        });
        beyond.collect()
    }

    /// The last number of a stream that was in the log at `place`.
    fn base(&self, key: &StreamKey, place: Hlc) -> Option<u64> {
        self.stream(key).filter(|entry| entry.place <= place).map(|entry| entry.publication.seq).max()
    }

    /// The last number at `place` of every stream that a pattern means and that was there then.
    pub(super) fn bases(&self, pattern: &TopicPattern, place: Hlc) -> Vec<(StreamKey, u64)> {
        let streams = self.streams(std::slice::from_ref(pattern)).map(|(key, _)| key.clone()).collect::<Vec<_>>();
        streams.into_iter().filter_map(|key| self.base(&key, place).map(|base| (key, base))).collect()
    }
}

fn newest<'a>(
    count: usize,
    after: Option<Hlc>,
    until: Hlc,
    entries: impl Iterator<Item = &'a LoggedPublication>,
) -> Vec<(Cursor, &'a LoggedPublication)> {
    let mut entries = entries.collect::<Vec<_>>();
    entries.sort_unstable_by_key(|entry| order(entry));
    let skipped = entries.len().saturating_sub(count);
    let with_cursor = |entry: &'a LoggedPublication| {
        let (hlc, id) = order(entry);
        (Cursor::CatchUp { after, until, hlc, id }, entry)
    };
    entries.into_iter().skip(skipped).map(with_cursor).collect()
}
