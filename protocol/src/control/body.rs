//! What a message carries, as JSON: plain text as a string, everything else as an object that names its type.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::Value;
use utoipa::ToSchema;

use crate::envelope::{Payload, Signal};

/// A payload as JSON. A bare string is text; `{"text": …}` says the same at more length and is accepted too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a payload is a text, or an object with one of text, json, base64, tool_call, tool_result, signal"
)]
pub enum Body {
    /// Text.
    Text(String),
    /// Anything, by the name of its type.
    Typed(TypedBody),
}

/// The object form of a payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TypedBody {
    /// Text.
    Text(String),
    /// One JSON value.
    Json(Value),
    /// Bytes, in base64 with padding (RFC 4648, section 4).
    Base64(String),
    /// A request to run a tool.
    ToolCall {
        /// The tool.
        name: String,
        /// Its arguments.
        args: Value,
    },
    /// The result of a tool.
    ToolResult {
        /// The id the caller gave.
        call_id: String,
        /// What came out.
        result: Value,
    },
    /// A signal: `shutdown`, `kill`, `suspend`, `resume`, `ping`, `pong`, `reload-config`, `dump-state`, or an object that
    /// names one with a value: `{"user-defined": 7}`.
    Signal(Value),
}

/// A JSON body that is no payload. The writer's fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The text behind `base64` does not decode.
    #[error("`base64` does not hold base64 with padding")]
    Base64,
    /// No signal has that name.
    #[error(
        "`signal` names none (shutdown, kill, suspend, resume, ping, pong, reload-config, dump-state or user-defined:N)"
    )]
    Signal,
}

impl Body {
    /// The payload it stands for.
    ///
    /// # Errors
    /// [`BodyError`] for bytes that are not base64 and for unknown signals.
    pub fn to_payload(&self) -> Result<Payload, BodyError> {
        Ok(match self {
            Self::Text(text) | Self::Typed(TypedBody::Text(text)) => Payload::Text(text.clone()),
            Self::Typed(TypedBody::Json(value)) => Payload::Json(value.to_string()),
            Self::Typed(TypedBody::Base64(text)) => {
                let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| BodyError::Base64)?;
                Payload::Binary(ByteBuf::from(bytes))
            }
            Self::Typed(TypedBody::ToolCall { name, args }) => {
                Payload::ToolCall { name: name.clone(), args: args.to_string() }
            }
            Self::Typed(TypedBody::ToolResult { call_id, result }) => {
                Payload::ToolResult { call_id: call_id.clone(), result: result.to_string() }
            }
            Self::Typed(TypedBody::Signal(signal)) => {
                let text = signal.as_str().and_then(|text| text.parse().ok());
                let signal = text.or_else(|| Signal::deserialize(signal).ok());
                Payload::Signal(Box::new(signal.ok_or(BodyError::Signal)?))
            }
        })
    }
}

/// The value of this JSON text; text that another node sent and that is no JSON stays a string.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

impl From<&Payload> for Body {
    fn from(payload: &Payload) -> Self {
        Self::Typed(match payload {
            Payload::Text(text) => return Self::Text(text.clone()),
            Payload::Json(text) => TypedBody::Json(value(text)),
            Payload::Binary(bytes) => TypedBody::Base64(data_encoding::BASE64.encode(bytes)),
            Payload::ToolCall { name, args } => TypedBody::ToolCall { name: name.clone(), args: value(args) },
            Payload::ToolResult { call_id, result } => {
                TypedBody::ToolResult { call_id: call_id.clone(), result: value(result) }
            }
            Payload::Signal(signal) => TypedBody::Signal(serde_json::to_value(signal).unwrap_or(Value::Null)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Body {
        serde_json::from_str(json).expect("a body")
    }

    #[test]
    fn text_is_a_string_and_the_rest_is_typed() {
        let cases = [
            (Payload::Text("hi".into()), r#""hi""#),
            (Payload::Json(r#"{"a":1}"#.into()), r#"{"json":{"a":1}}"#),
            (Payload::Binary(ByteBuf::from([0, 255])), r#"{"base64":"AP8="}"#),
            (Payload::Signal(Box::new(Signal::Kill)), r#"{"signal":"kill"}"#),
            (Payload::ToolCall { name: "t".into(), args: "[1]".into() }, r#"{"tool_call":{"name":"t","args":[1]}}"#),
            (
                Payload::ToolResult { call_id: "c".into(), result: "null".into() },
                r#"{"tool_result":{"call_id":"c","result":null}}"#,
            ),
        ];
        for (payload, json) in cases {
            assert_eq!(serde_json::to_string(&Body::from(&payload)).expect("JSON"), json);
            assert_eq!(parse(json).to_payload(), Ok(payload));
        }
        assert_eq!(parse(r#"{"text":"hi"}"#).to_payload(), Ok(Payload::Text("hi".into())));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(r#"{"base64":"AP8"}"#).to_payload(), Err(BodyError::Base64));
        assert_eq!(parse(r#"{"signal":"dance"}"#).to_payload(), Err(BodyError::Signal));
        assert!(serde_json::from_str::<Body>(r#"{"bytes":"AP8="}"#).is_err());
        assert!(serde_json::from_str::<Body>("7").is_err());
    }
}
