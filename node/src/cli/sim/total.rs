//! What `weft sim run --seeds` says at the end: how many runs passed, and how often each fault struck in all of them.

use serde::Serialize;
use weft_simulations::Tally;

use super::super::output::count;

/// See the file's description.
#[derive(Debug, Serialize)]
pub(super) struct Total<'a> {
    /// How many passed.
    pub(super) passed: usize,
    /// The seeds that failed.
    pub(super) failed: Vec<u64>,
    /// How many were the same when they were run again, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) again: Option<u64>,
    /// What is promised over many seeds, and struck in none.
    pub(super) never: Vec<&'static str>,
    /// How often each fault struck.
    #[serde(flatten)]
    pub(super) tally: &'a Tally,
}

impl Total<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let runs = self.tally.runs;
        let mut text = String::new();
        if let Some(again) = self.again {
            text.push_str(&format!("{again} of {runs} seeds replay identically\n"));
        }
        for (fault, struck) in &self.tally.faults {
            text.push_str(&format!("  {fault:<28} {:>12}  in {} of {runs} runs\n", count(struck.times), struck.runs));
        }
        for fault in &self.never {
            text.push_str(&format!("  {fault:<28} never, though it is promised\n"));
        }
        text
    }
}
