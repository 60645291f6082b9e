//! Anchors: what others hold of this node's chain, so that it cannot be rewritten without their showing it.
//!
//! There are three kinds of holders, and [`Backend`] names each once. Members vouch for heads in commits of their own; replication and
//! the kernel see to that, and it costs nothing here. A file holds a signed checkpoint, for its reader to carry elsewhere. Calendars of
//! OpenTimestamps hold a hash of such a file, and Bitcoin behind them. Nothing here can keep a node from going on.
//!
//! Modules in reading order: `checkpoint` (the file), `proof` (the format of OpenTimestamps), `calendar` (asking one), `stamps` (what
//! was asked of calendars, on disk), `keeper` (doing it all beside the event loop).

pub(crate) mod calendar;
pub(crate) mod checkpoint;
mod keeper;
pub(crate) mod proof;
mod stamps;

pub(crate) use self::keeper::{AnchorError, Keeper};
pub(crate) use self::stamps::{Block, blocks_of};

use self::calendar::Calendar;

/// Who holds something of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Other members, by commits of theirs.
    Members,
    /// A file.
    File(std::path::PathBuf),
    /// Calendars of OpenTimestamps.
    Calendars(Vec<Calendar>),
}

impl Backend {
    /// Where that is, as records and people name it.
    pub(crate) fn place(&self) -> String {
        let text = match self {
            Self::Members => "members".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Calendars(calendars) => calendars.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        shortened(&text)
    }
}

/// Longest text of a place or a reason in a record, in characters.
const RECORD_CHARACTERS_MAX: usize = 1_024;

fn shortened(text: &str) -> String {
    text.chars().take(RECORD_CHARACTERS_MAX).collect()
}
