//! What an agent's answer to `health` means.

use serde::Deserialize;
use weft_kernel::ProbeAnswer;
use weft_protocol::ProbeKind;

use crate::runners::clip;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    state: State,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Healthy,
    Degraded,
    Unhealthy,
}

/// The answer. Whoever answers anything lives, an error or an unknown method included; to be ready it must say so, or have
/// nothing to say against it.
pub(super) fn read(kind: ProbeKind, result: Result<String, String>) -> ProbeAnswer {
    let said = result.and_then(|result| {
        let said = serde_json::from_str::<Option<Said>>(&result);
        said.map_err(|error| format!("its answer to health does not fit: {error}"))
    });
    match (said, kind) {
        (Ok(None), _) | (Ok(Some(Said { state: State::Healthy, .. })), _) | (Err(_), ProbeKind::Liveness) => {
            ProbeAnswer::Healthy
        }
        (Ok(Some(Said { state: State::Degraded, reason })), _) => ProbeAnswer::Degraded { reason: worded(&reason) },
        (Ok(Some(Said { state: State::Unhealthy, reason })), _) => ProbeAnswer::Failed { reason: worded(&reason) },
        (Err(reason), ProbeKind::Readiness) => ProbeAnswer::Failed { reason: worded(&reason) },
    }
}

fn worded(reason: &str) -> String {
    if reason.is_empty() { "it says so, and not why".to_owned() } else { clip(reason, 256) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_they_say() {
        let say = |kind, text: &str| read(kind, Ok(text.to_owned()));
        let (live, ready) = (ProbeKind::Liveness, ProbeKind::Readiness);
        for text in ["null", "{}", r#"{"state":"healthy"}"#] {
            assert_eq!((say(live, text), say(ready, text)), (ProbeAnswer::Healthy, ProbeAnswer::Healthy), "{text}");
        }
        let degraded = r#"{"state":"degraded","reason":"half"}"#;
        assert_eq!(say(ready, degraded), ProbeAnswer::Degraded { reason: "half".to_owned() });
        let unhealthy = r#"{"state":"unhealthy"}"#;
        assert_eq!(say(live, unhealthy), ProbeAnswer::Failed { reason: "it says so, and not why".to_owned() });
        for nonsense in ["7", r#"{"state":"fine"}"#, r#"{"mood":"good"}"#] {
            assert_eq!(say(live, nonsense), ProbeAnswer::Healthy, "it answered: {nonsense}");
            assert!(matches!(say(ready, nonsense), ProbeAnswer::Failed { .. }), "{nonsense}");
        }
        let unknown = || Err("no such method".to_owned());
        assert_eq!(read(live, unknown()), ProbeAnswer::Healthy);
        assert_eq!(read(ready, unknown()), ProbeAnswer::Failed { reason: "no such method".to_owned() });
    }
}
