//! The agents that come with the program: pure behaviours, run alike by a node and by the simulator.

mod load;

use weft_protocol::limits::{PART_BYTES_MAX, PARTS_OPEN_MAX};
use weft_protocol::{BuiltinKind, MessageId, Payload, Publication, Refusal, Timestamp};

use crate::builtin::load::Load;
use crate::event::{Answer, Delivery};
use crate::syscall::Syscall;

/// One running built-in agent.
#[derive(Debug)]
pub struct Builtin(Behaviour);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each built-in agent, and they are few")]
enum Behaviour {
    Echo,
    Counter(Counter),
    Clock,
    Load(Load),
}

/// What a built-in agent does because of something.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// It is done with a message.
    Answer {
        /// Which.
        message: MessageId,
        /// Its answer, or what it says went wrong.
        answer: Result<Option<Payload>, String>,
    },
    /// It asks the kernel for something. Whoever runs it gives it the answer.
    Ask(Box<Syscall>),
}

impl Builtin {
    /// A fresh agent of this kind.
    #[must_use]
    pub fn new(kind: BuiltinKind) -> Self {
        Self(match kind {
            BuiltinKind::Echo => Behaviour::Echo,
            BuiltinKind::Counter => Behaviour::Counter(Counter::default()),
            BuiltinKind::Clock => Behaviour::Clock,
            BuiltinKind::Load => Behaviour::Load(Load::default()),
        })
    }

    /// A message was handed to it.
    pub fn deliver(&mut self, delivery: Delivery, now: Timestamp, acts: &mut Vec<Act>) {
        let message = delivery.message;
        let answer = match &mut self.0 {
            Behaviour::Echo => {
                acts.extend(
                    words(&delivery).into_iter().map(|part| Act::Ask(Box::new(Syscall::Stream { message, part }))),
                );
                Ok(Some(delivery.payload))
            }
            Behaviour::Counter(counter) => {
                counter.count(&delivery.payload).map(|count| Some(Payload::Text(count.to_string())))
            }
            Behaviour::Clock => Ok(Some(Payload::Text(rfc3339(now)))),
            Behaviour::Load(load) => return load.order(&delivery, now, acts),
        };
        acts.push(Act::Answer { message, answer });
    }

    /// Something that it asked for was answered.
    pub fn answered(&mut self, answer: &Result<Answer, Refusal>, now: Timestamp, acts: &mut Vec<Act>) {
        match &mut self.0 {
            Behaviour::Load(load) => load.answered(answer, now, acts),
            Behaviour::Echo | Behaviour::Counter(_) | Behaviour::Clock => {}
        }
    }

    /// Something was published that it subscribes to.
    pub fn hear(&mut self, publication: &Publication, now: Timestamp) {
        match &mut self.0 {
            Behaviour::Load(load) => load.hear(publication, now),
            Behaviour::Echo | Behaviour::Counter(_) | Behaviour::Clock => {}
        }
    }

    /// Nobody waits for its answer to this message any more.
    pub fn cancel(&mut self, message: &MessageId) {
        match &mut self.0 {
            Behaviour::Load(load) => load.cancel(message),
            Behaviour::Echo | Behaviour::Counter(_) | Behaviour::Clock => {}
        }
    }

    /// When it wants [`Self::woken`].
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        match &self.0 {
            Behaviour::Load(load) => load.next_wakeup(),
            Behaviour::Echo | Behaviour::Counter(_) | Behaviour::Clock => None,
        }
    }

    /// The time of [`Self::next_wakeup`] has come.
    pub fn woken(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        match &mut self.0 {
            Behaviour::Load(load) => load.woken(now, acts),
            Behaviour::Echo | Behaviour::Counter(_) | Behaviour::Clock => {}
        }
    }
}

/// What echo says before its answer to somebody who takes parts: a text in words, the last of which is the rest when there are
/// more than may be open at once.
fn words(delivery: &Delivery) -> Vec<Payload> {
    let Payload::Text(text) = &delivery.payload else { return Vec::new() };
    if !delivery.parts || text.len() > PART_BYTES_MAX {
        return Vec::new();
    }
    let words = text.splitn(PARTS_OPEN_MAX as usize, ' ');
    let last = words.clone().count().saturating_sub(1);
    let spaced = |(place, word): (usize, &str)| if place == last { word.to_owned() } else { format!("{word} ") };
    words.enumerate().map(spaced).map(Payload::Text).collect()
}

#[derive(Debug, Default)]
struct Counter {
    count: u64,
}

impl Counter {
    /// Adds one, or N for a text `+N`; stays at the greatest number instead of wrapping.
    fn count(&mut self, payload: &Payload) -> Result<u64, String> {
        let added = match payload {
            Payload::Text(text) => match text.strip_prefix('+') {
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    digits.parse().map_err(|_| format!("`{text}` is not + and a number below 2^64"))?
                }
                Some(_) => return Err(format!("`{text}` is not + and a number")),
                None => 1,
            },
            Payload::Json(_)
            | Payload::Binary(_)
            | Payload::ToolCall { .. }
            | Payload::ToolResult { .. }
            | Payload::Signal(_) => 1,
        };
        self.count = self.count.saturating_add(added);
        Ok(self.count)
    }
}

/// The time in RFC 3339, in UTC with microseconds.
fn rfc3339(time: Timestamp) -> String {
    let (seconds, fraction_us) = (time.0 / 1_000_000, time.0 % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction_us:06}Z")
}

/// Year, month and day of the Gregorian calendar, this many days after 1970-01-01.
/// Years are counted from March, so that the leap day is the last of its year; eras of 400 years repeat exactly.
const fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Payload {
        Payload::Text(text.to_owned())
    }

    /// What an agent answers to one message.
    fn answer(agent: &mut Builtin, payload: Payload, now: Timestamp) -> Result<Option<Payload>, String> {
        let mut acts = Vec::new();
        agent.deliver(load::tests::delivery(payload), now, &mut acts);
        match acts.pop() {
            Some(Act::Answer { answer, .. }) if acts.is_empty() => answer,
            other => panic!("not one answer: {other:?}"),
        }
    }

    #[test]
    fn echo_answers_with_what_it_was_sent() {
        let sent = Payload::Json("{\"a\":1}".to_owned());
        assert_eq!(answer(&mut Builtin::new(BuiltinKind::Echo), sent.clone(), Timestamp(0)), Ok(Some(sent)));
    }

    #[test]
    fn echo_says_words_first_to_whoever_takes_parts() {
        let said = |payload: Payload, parts| {
            let (mut acts, delivery) = (Vec::new(), Delivery { parts, ..load::tests::delivery(payload.clone()) });
            Builtin::new(BuiltinKind::Echo).deliver(delivery, Timestamp(0), &mut acts);
            let answer = acts.pop();
            assert!(matches!(answer, Some(Act::Answer { answer: Ok(Some(whole)), .. }) if whole == payload));
            let part = |act| match act {
                Act::Ask(syscall) => match *syscall {
                    Syscall::Stream { part: Payload::Text(part), .. } => part,
                    other => panic!("{other:?}"),
                },
                other @ Act::Answer { .. } => panic!("{other:?}"),
            };
            acts.into_iter().map(part).collect::<Vec<_>>()
        };
        assert_eq!(said(text("to be or"), true), ["to ", "be ", "or"]);
        assert_eq!(said(text("to be or"), false), Vec::<String>::new());
        assert_eq!(said(Payload::Json("[1]".to_owned()), true), Vec::<String>::new());
        let many = "a ".repeat(500);
        let parts = said(text(&many), true);
        assert_eq!((parts.len(), parts.concat()), (PARTS_OPEN_MAX as usize, many));
    }

    #[test]
    fn counter_counts_messages_and_adds_what_it_is_told() {
        let mut counter = Builtin::new(BuiltinKind::Counter);
        let mut say = |word: &str| answer(&mut counter, text(word), Timestamp(0));
        assert_eq!(say("hi"), Ok(Some(text("1"))));
        assert_eq!(say("+40"), Ok(Some(text("41"))));
        assert_eq!(say("+x"), Err("`+x` is not + and a number".to_owned()));
        assert_eq!(say("+"), Err("`+` is not + and a number below 2^64".to_owned()));
        assert_eq!(
            say("+18446744073709551616"),
            Err("`+18446744073709551616` is not + and a number below 2^64".to_owned())
        );
        assert_eq!(say("again"), Ok(Some(text("42"))));
        assert_eq!(say("+18446744073709551615"), Ok(Some(text("18446744073709551615"))));
    }

    #[test]
    fn clock_tells_the_time_in_rfc3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000000Z"),
            (1_709_164_799_000_001, "2024-02-28T23:59:59.000001Z"),
            (1_709_251_199_000_000, "2024-02-29T23:59:59.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ];
        for (time, expected) in cases {
            let told = answer(&mut Builtin::new(BuiltinKind::Clock), text(""), Timestamp(time));
            assert_eq!(told, Ok(Some(text(expected))), "{time}");
        }
    }
}
