//! Times as text: RFC 3339 with microseconds, in UTC.

use std::time::{Duration, UNIX_EPOCH};

use weft_protocol::Timestamp;

/// The last second that RFC 3339 can write: the end of the year 9999. A peer may claim any time.
const SECONDS_MAX: u64 = 253_402_300_799;

/// The time as text; one beyond the year 9999 is written as its end.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    let since = Duration::from_micros(time.0).min(Duration::from_secs(SECONDS_MAX));
    humantime::format_rfc3339_micros(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_can_be_written() {
        assert_eq!(time_text(Timestamp(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time_text(Timestamp(1_795_408_496_123_456)), "2026-11-23T04:34:56.123456Z");
        assert_eq!(time_text(Timestamp(u64::MAX)), "9999-12-31T23:59:59.000000Z");
    }
}
