//! From where on a subscription wants publications, as people and agents write it.

use weft_kernel::Start;
use weft_protocol::{Hlc, Timestamp};

/// A start as it is written: a duration back from now or a time in RFC 3339, or a number of publications; not both.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn start(since: Option<&str>, last: Option<u64>) -> Result<Start, String> {
    match (since, last) {
        (None, None) => Ok(Start::Now),
        (None, Some(count)) => Ok(Start::Last(count)),
        (Some(since), None) => time(since),
        (Some(_), Some(_)) => Err("either since or last, not both".to_owned()),
    }
}

fn time(text: &str) -> Result<Start, String> {
    if let Ok(duration) = humantime::parse_duration(text) {
        return Ok(Start::Ago(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)));
    }
    let time = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let time = time.ok_or_else(|| format!("`{text}` is neither a duration (10m) nor a time (2026-01-31T12:00:00Z)"))?;
    Ok(Start::Since(Hlc::from_wall(Timestamp(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_duration_a_time_or_a_number() {
        assert_eq!(start(None, None), Ok(Start::Now));
        assert_eq!(start(Some("10m"), None), Ok(Start::Ago(600_000_000)));
        let second = Start::Since(Hlc::from_wall(Timestamp(1_000_000)));
        assert_eq!(start(Some("1970-01-01T00:00:01Z"), None), Ok(second));
        assert_eq!(start(None, Some(3)), Ok(Start::Last(3)));
        assert!(start(Some("yesterday"), None).is_err());
        assert!(start(Some("10m"), Some(3)).is_err());
    }
}
