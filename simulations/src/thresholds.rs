//! How much a run may cost and how well it must go, where its scenario says so.

use serde::{Deserialize, Serialize};

use crate::checks::Check;
use crate::ledger::percentile;
use crate::world::World;

/// What a run must keep to; what is not given is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// How long all may take to agree once everything is whole, in virtual microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convergence_us_max: Option<u64>,
    /// Frames on all links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_max: Option<u64>,
    /// Bytes of all frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// How long 99 of 100 messages and calls may take until whoever asked has the answer, in virtual microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_us_p99_max: Option<u64>,
    /// How many messages and calls in a thousand must succeed, of those whose node did not go down meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_per_mille_min: Option<u64>,
}

/// What was measured of messages and calls.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// How long each answer took, in virtual microseconds.
    answers_us: Vec<u64>,
    succeeded: u64,
    /// How long all took to agree in the end, in virtual microseconds, once they have.
    pub(crate) convergence_us: Option<u64>,
}

impl Measured {
    /// A message or call was answered.
    pub(crate) fn answered(&mut self, took_us: u64, ok: bool) {
        self.answers_us.push(took_us);
        self.succeeded += u64::from(ok);
    }

    /// The time within which 99 of 100 were answered; none without answers.
    fn answer_us_p99(&self) -> Option<u64> {
        let mut sorted = self.answers_us.clone();
        sorted.sort_unstable();
        percentile(&sorted, 99)
    }

    /// How long each answer took, in virtual microseconds, the first one first.
    pub(crate) fn answers_us(&self) -> &[u64] {
        &self.answers_us
    }

    /// How many of a thousand succeeded; none without answers.
    pub(crate) fn success_per_mille(&self) -> Option<u64> {
        (self.succeeded * 1_000).checked_div(self.answers_us.len() as u64)
    }
}

impl World {
    /// Compares what was measured with what the scenario asks for.
    pub(crate) fn judge_thresholds(&mut self) {
        let wanted = self.scenario.thresholds;
        let counts = self.network.counts();
        let measured = &self.judge.measured;
        let most = [
            (Check::ConvergesInTime, wanted.convergence_us_max, measured.convergence_us, "us until all agree"),
            (Check::FewMessages, wanted.messages_max, Some(counts.sent), "frames"),
            (Check::FewBytes, wanted.bytes_max, Some(counts.bytes), "bytes"),
            (Check::AnswersInTime, wanted.answer_us_p99_max, measured.answer_us_p99(), "us for 99 of 100 answers"),
        ];
        let success = measured.success_per_mille();
        for (check, most, is, unit) in most {
            let Some(most) = most else { continue };
            let holds = is.is_some_and(|is| is <= most);
            let is = is.map_or_else(|| "nothing to measure".to_owned(), |is| is.to_string());
            self.judge.book.check(check, holds, || format!("{is} {unit}, at most {most} were wanted"));
        }
        if let Some(least) = wanted.success_per_mille_min {
            let holds = success.is_some_and(|success| success >= least);
            let words = || match success {
                Some(success) => format!("{success} of 1000 succeeded, at least {least} were wanted"),
                None => format!("nothing was sent or called, of which {least} of 1000 were to succeed"),
            };
            self.judge.book.check(Check::CallsSucceed, holds, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_measured_without_answers() {
        let measured = Measured::default();
        assert_eq!((measured.answer_us_p99(), measured.success_per_mille()), (None, None));
    }

    #[test]
    fn the_slowest_of_a_hundred_is_left_out() {
        let mut measured = Measured::default();
        (0..100).for_each(|number| measured.answered(number * 10, number > 0));
        assert_eq!(measured.answer_us_p99(), Some(980));
        assert_eq!(measured.success_per_mille(), Some(990));
    }
}
