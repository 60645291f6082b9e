//! When a job runs: the fields of a cron expression in a time zone, or an interval. Pure: every time is given.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use weft_protocol::Timestamp;
use weft_protocol::limits::{
    CRON_EXPRESSION_BYTES_MAX, CRON_INTERVAL_US_MAX, CRON_INTERVAL_US_MIN, TIMEZONE_BYTES_MAX,
};

/// The zone of a job that names none.
pub(crate) const UTC: &str = "UTC";

const EXAMPLES: &str = "`30 2 * * *` (minute hour day month weekday), `0 30 2 * * *` (seconds first) or `@every 90s`";
const FIELDS: [&str; 6] = ["second", "minute", "hour", "day", "month", "weekday"];

/// The times of one job, without end.
#[derive(Debug, Clone)]
pub(crate) enum Schedule {
    /// Every so many microseconds from `from` on; `from` itself is not one of them.
    Interval { every_us: u64, from: Timestamp },
    /// What the fields say, by the wall clock of the zone. One fixed time of day that a clock going forward leaves out runs
    /// at the first moment after the gap; one that a clock going back repeats runs the first time alone. With lists, steps
    /// or `*` in second, minute or hour, left out is left out and repeated is repeated.
    Calendar { cron: Box<Cron>, zone: TimeZone },
}

impl Schedule {
    /// The schedule that is written so, in that zone; an interval counts from `from`.
    ///
    /// # Errors
    /// What is wrong, with an example of what is right.
    pub(crate) fn parse(expression: &str, timezone: &str, from: Timestamp) -> Result<Self, String> {
        if expression.len() > CRON_EXPRESSION_BYTES_MAX {
            return Err(format!("the expression has {} bytes, at most {CRON_EXPRESSION_BYTES_MAX}", expression.len()));
        }
        match interval(expression.trim()) {
            Some(written) => Self::interval(expression, written, timezone, from),
            None => Self::calendar(expression, timezone),
        }
    }

    fn interval(expression: &str, written: &str, timezone: &str, from: Timestamp) -> Result<Self, String> {
        let wrong =
            |what: String| Err(format!("`{expression}` is not an interval: {what}; write `@every 90s` or `15m`"));
        if timezone != UTC {
            return Err(format!("an interval has no time zone: leave out {timezone}, or write fields, as {EXAMPLES}"));
        }
        let every = match humantime::parse_duration(written) {
            Ok(every) => every,
            Err(error) => return wrong(error.to_string()),
        };
        let every_us = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
        match every_us {
            ..CRON_INTERVAL_US_MIN => wrong("it is shorter than 1s".to_owned()),
            CRON_INTERVAL_US_MIN..=CRON_INTERVAL_US_MAX => Ok(Self::Interval { every_us, from }),
            _ => wrong("it is longer than 366 days".to_owned()),
        }
    }

    fn calendar(expression: &str, timezone: &str) -> Result<Self, String> {
        let cron = parse(expression).map_err(|error| {
            let what = wrong_field(expression).unwrap_or_else(|| fields_or(expression, &error));
            format!("`{expression}` is not a cron expression: {what}; write {EXAMPLES}")
        })?;
        Ok(Self::Calendar { cron: Box::new(cron), zone: zone(timezone)? })
    }

    /// The first time after `after`; none when there is none before the year 5000.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Interval { every_us, from } => {
                let number = after.since_us(*from) / every_us + 1;
                if after < *from { Some(from.after_us(*every_us)) } else { Some(from.after_us(number * every_us)) }
            }
            Self::Calendar { cron, zone } => {
                let next = cron.find_next_occurrence(&zoned(after, zone)?, false).ok()?;
                timestamp(&next)
            }
        }
    }

    /// The last time that is not after `until`; none when there is none.
    pub(crate) fn previous(&self, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Interval { every_us, from } => {
                let number = until.since_us(*from) / every_us;
                (number > 0).then(|| from.after_us(number * every_us))
            }
            Self::Calendar { cron, zone } => {
                let previous = cron.find_previous_occurrence(&zoned(until, zone)?, true).ok()?;
                timestamp(&previous)
            }
        }
    }
}

/// The duration of something that is meant as an interval.
fn interval(expression: &str) -> Option<&str> {
    if let Some(written) = expression.strip_prefix("@every") {
        return Some(written.trim());
    }
    let word =
        !expression.contains(char::is_whitespace) && expression.starts_with(|first: char| first.is_ascii_digit());
    word.then_some(expression)
}

fn parse(expression: &str) -> Result<Cron, croner::errors::CronError> {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(expression)
}

/// The first field that no expression could have, each tried alone.
fn wrong_field(expression: &str) -> Option<String> {
    let fields = expression.split_whitespace().collect::<Vec<_>>();
    let names = FIELDS.get(FIELDS.len().checked_sub(fields.len())?..).filter(|names| names.len() >= 5)?;
    fields.iter().zip(names).enumerate().find_map(|(place, (field, name))| {
        let alone = (0..fields.len()).map(|other| if other == place { field } else { "*" }).collect::<Vec<_>>();
        let error = parse(&alone.join(" ")).err()?;
        let said = error.to_string();
        let said = said.rsplit(": ").next().unwrap_or_default().trim_end_matches('.').to_lowercase();
        Some(format!("{name} `{field}`: {said}"))
    })
}

fn fields_or(expression: &str, error: &croner::errors::CronError) -> String {
    match expression.split_whitespace().count() {
        5 | 6 => error.to_string(),
        0 => "it is empty".to_owned(),
        1 => "it is one word, and no interval".to_owned(),
        fields => format!("it has {fields} fields, five or six are needed"),
    }
}

/// The zone of that IANA name. The table comes with the program, so every machine knows the same zones.
fn zone(name: &str) -> Result<TimeZone, String> {
    let short = name.len() <= TIMEZONE_BYTES_MAX;
    let zone = if short { TimeZoneDatabase::bundled().get(name).ok() } else { None };
    zone.ok_or_else(|| {
        let name: String = name.chars().take(TIMEZONE_BYTES_MAX).collect();
        format!("`{name}` is no time zone: write an IANA name, as Europe/Berlin, America/New_York or UTC")
    })
}

/// The time in that zone, to the second below.
fn zoned(time: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    let second = i64::try_from(time.0 / 1_000_000).ok()?;
    Some(jiff::Timestamp::from_second(second).ok()?.to_zoned(zone.clone()))
}

fn timestamp(time: &Zoned) -> Option<Timestamp> {
    u64::try_from(time.timestamp().as_microsecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests;
