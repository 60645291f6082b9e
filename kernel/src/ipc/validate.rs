//! What a message must be like before anybody looks at where it goes.

use serde::de::IgnoredAny;
use weft_protocol::limits::{CAUSES_MAX, MESSAGE_BYTES_MAX};
use weft_protocol::{Digest, Payload, Refusal};

/// Whether the content is within `bytes_max`, and JSON where it says so.
pub(crate) fn check_payload(payload: &Payload, bytes_max: usize) -> Result<(), Refusal> {
    let (size, max) = (payload.size(), bytes_max);
    if size > max {
        return Err(Refusal::TooLarge { size: size as u64, max: max as u64 });
    }
    match payload {
        Payload::Json(text) | Payload::ToolCall { args: text, .. } | Payload::ToolResult { result: text, .. } => {
            let parsed = serde_json::from_str::<IgnoredAny>(text);
            parsed.map(|_| ()).map_err(|error| Refusal::Invalid { message: format!("not one JSON value: {error}") })
        }
        Payload::Text(_) | Payload::Binary(_) | Payload::Signal(_) => Ok(()),
    }
}

/// Whether all of a message but its target is acceptable.
pub(super) fn check_message(payload: &Payload, cause: &[Digest]) -> Result<(), Refusal> {
    check_payload(payload, MESSAGE_BYTES_MAX)?;
    if cause.len() > CAUSES_MAX {
        let message = format!("{} causes, at most {CAUSES_MAX} are accepted", cause.len());
        return Err(Refusal::Invalid { message });
    }
    Ok(())
}
