//! From where on a subscription wants publications, and how it says later how far it came.

use std::fmt;
use std::str::FromStr;

use weft_protocol::{ChainId, Hlc, MessageId, ParseError, TopicName};

/// From where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// What is published from now on.
    Now,
    /// And everything that is remembered with this stamp or a later one.
    Since(Hlc),
    /// And everything that is remembered of the last so many microseconds.
    Ago(u64),
    /// And so many of the newest that are remembered.
    Last(u64),
    /// And everything behind the publication that bore this cursor.
    Resume(Cursor),
}

/// How far a subscription of this node came: each publication it is handed bears one. Text form: `p` and a place, or `h` and
/// the four parts of a catch-up, joined by dots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Everything up to this place of the node's log.
    Live(Hlc),
    /// In the midst of what is older than the subscription: publications of places up to `until` (behind `after`, if that is
    /// set) are handed out in the order of stamp and id, up to here.
    CatchUp {
        /// Where the subscription that is being resumed had come.
        after: Option<Hlc>,
        /// How far the log went when it began.
        until: Hlc,
        /// The publication's stamp.
        hlc: Hlc,
        /// The publication.
        id: MessageId,
    },
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(place) => write!(formatter, "p{place}"),
            Self::CatchUp { after, until, hlc, id } => {
                let after = after.map_or_else(|| "-".to_owned(), |after| after.to_string());
                write!(formatter, "h{until}.{after}.{hlc}.{id}")
            }
        }
    }
}

impl FromStr for Cursor {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::new(text, "a cursor (the id of an event of this stream)");
        let stamp = |text: &str| text.parse::<Hlc>().map_err(|_| refuse());
        if let Some(place) = text.strip_prefix('p') {
            return stamp(place).map(Self::Live);
        }
        let parts = text.strip_prefix('h').ok_or_else(refuse)?;
        let [until, after, hlc, id] = parts.split('.').collect::<Vec<_>>()[..] else { return Err(refuse()) };
        let after = if after == "-" { None } else { Some(stamp(after)?) };
        let id = id.parse().map_err(|_| refuse())?;
        Ok(Self::CatchUp { after, until: stamp(until)?, hlc: stamp(hlc)?, id })
    }
}

/// Correlates the gathering of a subscription's history with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatherId(pub u64);

/// What members are to be asked for before a subscription begins, besides how far each publisher has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gather {
    /// Nothing: what is wanted is in the log, or was not asked for.
    Nothing,
    /// What bears this stamp or a later one.
    Since(Hlc),
    /// So many of the newest of each publisher.
    Last(u64),
    /// What the named publishers gave after these numbers, and of others what bears this stamp or a later one.
    Beyond {
        /// By topic and publisher.
        bases: Vec<((TopicName, ChainId), u64)>,
        /// Of publishers that are not among them.
        otherwise: Hlc,
    },
}

#[cfg(test)]
mod tests {
    use weft_protocol::{Incarnation, NodeId};

    use super::*;

    #[test]
    fn cursors_come_back_from_their_text() {
        let chain = ChainId { node: NodeId::from_bytes([1; 32]), incarnation: Incarnation(7) };
        let id = MessageId { chain, counter: 3 };
        let catch_up = |after| Cursor::CatchUp { after, until: Hlc(8), hlc: Hlc(9), id };
        for cursor in [Cursor::Live(Hlc(77)), catch_up(None), catch_up(Some(Hlc(2)))] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "p", "px", "77", "h1.2.3", "h1.2.3.4.5", "p00000000000000ag"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
