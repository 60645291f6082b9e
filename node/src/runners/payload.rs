//! How a payload is written in JSON: an object with one field that names its kind.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use weft_protocol::{Payload, Signal};

/// `{"text": …}`, `{"json": …}`, `{"base64": …}`, `{"tool_call": {name, args}}`, `{"tool_result": {call_id, result}}`
/// or `{"signal": …}`. JSON values inside are kept as their text, so that no number loses a digit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PayloadJson {
    Text(String),
    Json(Box<RawValue>),
    Base64(String),
    ToolCall { name: String, args: Box<RawValue> },
    ToolResult { call_id: String, result: Box<RawValue> },
    Signal(Signal),
}

impl PayloadJson {
    /// The payload that this stands for.
    ///
    /// # Errors
    /// What is wrong with the base64 text.
    pub(crate) fn into_payload(self) -> Result<Payload, String> {
        Ok(match self {
            Self::Text(text) => Payload::Text(text),
            Self::Json(value) => Payload::Json(value.get().to_owned()),
            Self::Base64(text) => {
                let bytes = data_encoding::BASE64.decode(text.as_bytes());
                Payload::Binary(bytes.map_err(|error| format!("the base64 text is wrong: {error}"))?.into())
            }
            Self::ToolCall { name, args } => Payload::ToolCall { name, args: args.get().to_owned() },
            Self::ToolResult { call_id, result } => Payload::ToolResult { call_id, result: result.get().to_owned() },
            Self::Signal(signal) => Payload::Signal(Box::new(signal)),
        })
    }

    /// How `payload` is written; always without a line break.
    ///
    /// # Errors
    /// When a text that should be a JSON value is none: its sender's fault.
    pub(crate) fn from_payload(payload: Payload) -> Result<Self, String> {
        Ok(match payload {
            Payload::Text(text) => Self::Text(text),
            Payload::Json(text) => Self::Json(one_line(text)?),
            Payload::Binary(bytes) => Self::Base64(data_encoding::BASE64.encode(&bytes)),
            Payload::ToolCall { name, args } => Self::ToolCall { name, args: one_line(args)? },
            Payload::ToolResult { call_id, result } => Self::ToolResult { call_id, result: one_line(result)? },
            Payload::Signal(signal) => Self::Signal(*signal),
        })
    }
}

/// The value on one line: in a valid JSON text, line breaks are only ever white space between tokens.
fn one_line(text: String) -> Result<Box<RawValue>, String> {
    let text = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
    RawValue::from_string(text).map_err(|error| format!("the payload is not a JSON value: {error}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_kind_is_written_and_read_back() {
        let check = |payload: Payload, written: &str| {
            let json = serde_json::to_string(&PayloadJson::from_payload(payload.clone()).unwrap()).unwrap();
            assert_eq!(json, written);
            let read: PayloadJson = serde_json::from_str(&json).unwrap();
            assert_eq!(read.into_payload().unwrap(), payload);
        };
        check(Payload::Text("a \"b\"\n".into()), r#"{"text":"a \"b\"\n"}"#);
        check(Payload::Json("12345678901234567890123".into()), r#"{"json":12345678901234567890123}"#);
        check(Payload::Json("null".into()), r#"{"json":null}"#);
        check(Payload::Binary(vec![0, 255, 1].into()), r#"{"base64":"AP8B"}"#);
        check(
            Payload::ToolCall { name: "t".into(), args: "{\"b\":1,\"a\":2}".into() },
            r#"{"tool_call":{"name":"t","args":{"b":1,"a":2}}}"#,
        );
        check(
            Payload::ToolResult { call_id: "7".into(), result: "[1]".into() },
            r#"{"tool_result":{"call_id":"7","result":[1]}}"#,
        );
        check(Payload::Signal(Box::new(Signal::Shutdown)), r#"{"signal":"shutdown"}"#);
    }

    #[test]
    fn a_json_value_over_several_lines_travels_on_one() {
        let pretty = Payload::Json("{\n  \"a\": \"x\\ny\"\r\n}".into());
        let json = serde_json::to_string(&PayloadJson::from_payload(pretty).unwrap()).unwrap();
        assert_eq!(json, "{\"json\":{   \"a\": \"x\\ny\"  }}");
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for text in ["null", "\"hi\"", "{}", r#"{"txt":"a"}"#, r#"{"text":"a","json":1}"#, r#"{"text":1}"#, "[]"] {
            assert!(serde_json::from_str::<PayloadJson>(text).is_err(), "{text}");
        }
        let read: PayloadJson = serde_json::from_str(r#"{"base64":"A"}"#).unwrap();
        assert!(read.into_payload().is_err());
        assert!(PayloadJson::from_payload(Payload::Json("{".into())).is_err());
        assert!(PayloadJson::from_payload(Payload::Json("1 2".into())).is_err());
    }
}
