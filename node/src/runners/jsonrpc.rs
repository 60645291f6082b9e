//! JSON-RPC 2.0 by lines: what one line says, and how a line is written. No IO.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use weft_protocol::Refusal;

use crate::runners::clip;

/// Longest line in both directions, in bytes without its end.
pub(crate) const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Longest id of a request, in bytes of its JSON text (guess).
const ID_BYTES_MAX: usize = 256;

/// Not JSON.
pub(crate) const PARSE_ERROR: i32 = -32_700;
/// JSON, but no request, notification or response.
pub(crate) const INVALID_REQUEST: i32 = -32_600;
/// No such method.
const METHOD_NOT_FOUND: i32 = -32_601;
/// The parameters do not fit the method.
const INVALID_PARAMS: i32 = -32_602;
/// The node or the mesh said no; `data.code` says how.
const REFUSED: i32 = -32_000;

/// The id of a request of the agent, as the JSON text it came with: a string or a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(String);

impl Id {
    /// As JSON.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The id that this JSON text is.
    pub(crate) fn of(json: &str) -> Option<Self> {
        parse_id(json)
    }
}

/// What a well-formed line says. Parameters and results are kept as JSON text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Wants an answer.
    Request { id: Id, method: String, params: String },
    /// Wants none.
    Notification { method: String, params: String },
    /// Answers our request of this number, with a result or with what the agent says went wrong.
    Response { id: u64, result: Result<String, String> },
    /// Answers nothing that we ever asked.
    Stray,
}

/// Why a line or a request is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RpcError {
    code: i32,
    message: String,
    data: ErrorData,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ErrorData {
    code: &'static str,
    message: String,
    changed: bool,
    retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl RpcError {
    /// A line that is no message.
    pub(crate) fn malformed(code: i32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, data: ErrorData::new(&Refusal::Invalid { message: message.clone() }), message }
    }

    /// Parameters that do not fit.
    pub(crate) fn parameters(message: impl Into<String>) -> Self {
        Self::malformed(INVALID_PARAMS, message)
    }

    /// What it says to people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// A method that nobody here knows.
    pub(crate) fn unknown_method(method: &str) -> Self {
        let what = format!("the method {}", clip(method, 80));
        Self { code: METHOD_NOT_FOUND, ..Self::from(&Refusal::Unsupported { what }) }
    }
}

impl From<&Refusal> for RpcError {
    fn from(refusal: &Refusal) -> Self {
        Self { code: REFUSED, message: refusal.to_string(), data: ErrorData::new(refusal) }
    }
}

impl ErrorData {
    fn new(refusal: &Refusal) -> Self {
        let retry_after_ms = refusal.retry_after_us().map(|us| us / 1_000);
        Self {
            code: refusal.code(),
            message: refusal.to_string(),
            changed: refusal.changed(),
            retry: refusal.retry(),
            retry_after_ms,
        }
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A field that is there, whatever it holds: `null` is a value here.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What the line says.
///
/// # Errors
/// What is wrong with it: the answer that it gets, and its id when that could be read.
pub(crate) fn parse(line: &[u8]) -> Result<Incoming, (Option<Id>, RpcError)> {
    let refuse = |code, message: &str| (None, RpcError::malformed(code, message));
    let text = std::str::from_utf8(line).map_err(|_| refuse(PARSE_ERROR, "the line is not UTF-8"))?;
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|error| {
        let code = if error.is_data() { INVALID_REQUEST } else { PARSE_ERROR };
        refuse(code, &format!("the line is not a JSON-RPC message: {error}"))
    })?;
    let bad_id = || refuse(INVALID_REQUEST, "the id is not a string or a number");
    let id = frame.id.map(|raw| parse_id(raw.get()).ok_or_else(bad_id));
    if frame.jsonrpc != "2.0" {
        let error = RpcError::malformed(INVALID_REQUEST, "the field jsonrpc is not \"2.0\"");
        return Err((id.and_then(Result::ok), error));
    }
    match (frame.method, frame.result, frame.error) {
        (Some(method), None, None) => {
            let params = frame.params.map_or("{}", RawValue::get).to_owned();
            Ok(match id.transpose()? {
                Some(id) => Incoming::Request { id, method, params },
                None => Incoming::Notification { method, params },
            })
        }
        (None, Some(result), None) => Ok(response(frame.id, Ok(result.get().to_owned()))),
        (None, None, Some(error)) => Ok(response(frame.id, Err(error_text(error.get())))),
        _ => {
            let error = RpcError::malformed(INVALID_REQUEST, "exactly one of method, result and error must be there");
            Err((id.and_then(Result::ok), error))
        }
    }
}

fn parse_id(raw: &str) -> Option<Id> {
    let first = raw.bytes().next()?;
    let fits = raw.len() <= ID_BYTES_MAX && (first == b'"' || first == b'-' || first.is_ascii_digit());
    fits.then(|| Id(raw.to_owned()))
}

/// An error of the agent can be about a line of ours with an id it could not read: nothing of ours waits for it.
fn response(id: Option<&RawValue>, result: Result<String, String>) -> Incoming {
    match id.and_then(|raw| raw.get().parse().ok()) {
        Some(id) => Incoming::Response { id, result },
        None => Incoming::Stray,
    }
}

/// What an agent says went wrong: the message of its error object, or the whole text of anything else.
fn error_text(raw: &str) -> String {
    #[derive(Deserialize)]
    struct Error {
        message: String,
    }
    let text = serde_json::from_str::<Error>(raw).map_or_else(|_| raw.to_owned(), |error| error.message);
    clip(&text, 1_024)
}

/// A request or, without an id, a notification, without the end of the line.
pub(crate) fn request(id: Option<u64>, method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Line<'a, P> {
        jsonrpc: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        method: &'a str,
        params: &'a P,
    }
    write(&Line { jsonrpc: "2.0", id, method, params })
}

/// The answer to a request; to a line whose id could not be read, without one.
pub(crate) fn answer(id: Option<&Id>, answer: &Result<Box<RawValue>, RpcError>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        jsonrpc: &'static str,
        id: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a RpcError>,
    }
    let id = id.map(|id| serde_json::from_str(&id.0).expect("BUG: an id is the text of a JSON value"));
    write(&Line { jsonrpc: "2.0", id, result: answer.as_deref().ok(), error: answer.as_ref().err() })
}

/// The JSON text of a value of ours.
pub(crate) fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("BUG: a value of ours failed to serialize into memory")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn good_lines_are_understood() {
        let check = |line: &str, expected| assert_eq!(parse(line.as_bytes()).unwrap(), expected, "{line}");
        let id = |text: &str| Id(text.to_owned());
        check(
            r#"{"jsonrpc":"2.0","id":1,"method":"send","params":{"a":1.0}}"#,
            Incoming::Request { id: id("1"), method: "send".into(), params: r#"{"a":1.0}"#.into() },
        );
        check(
            r#" {"method":"x","id":"a\"b","jsonrpc":"2\u002e0"} "#,
            Incoming::Request { id: id(r#""a\"b""#), method: "x".into(), params: "{}".into() },
        );
        check(
            r#"{"jsonrpc":"2.0","method":"log","params":[1]}"#,
            Incoming::Notification { method: "log".into(), params: "[1]".into() },
        );
        check(r#"{"jsonrpc":"2.0","id":7,"result":null}"#, Incoming::Response { id: 7, result: Ok("null".into()) });
        check(
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}"#,
            Incoming::Response { id: 7, result: Err("no".into()) },
        );
        check(r#"{"jsonrpc":"2.0","id":7,"error":"odd"}"#, Incoming::Response { id: 7, result: Err("\"odd\"".into()) });
        check(r#"{"jsonrpc":"2.0","id":"7","result":1}"#, Incoming::Stray);
        check(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"?"}}"#, Incoming::Stray);
    }

    #[test]
    fn bad_lines_are_answered_with_what_is_wrong() {
        let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"x"}}"#, "a".repeat(300));
        let table: [(&[u8], i32, Option<&str>); 16] = [
            (b"", PARSE_ERROR, None),
            (b"hello", PARSE_ERROR, None),
            (b"\xff\xfe", PARSE_ERROR, None),
            (br#"{"jsonrpc":"2.0","id":1,"method":"x""#, PARSE_ERROR, None),
            (br#"{"jsonrpc":"2.0","id":1,"method":"x"} {}"#, PARSE_ERROR, None),
            (b"{}", INVALID_REQUEST, None),
            (b"null", INVALID_REQUEST, None),
            (b"[]", INVALID_REQUEST, None),
            (br#"{"jsonrpc":"1.0","id":3,"method":"x"}"#, INVALID_REQUEST, Some("3")),
            (br#"{"jsonrpc":2.0,"id":3,"method":"x"}"#, INVALID_REQUEST, None),
            (br#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, INVALID_REQUEST, None),
            (br#"{"jsonrpc":"2.0","id":[1],"method":"x"}"#, INVALID_REQUEST, None),
            (br#"{"jsonrpc":"2.0","id":3}"#, INVALID_REQUEST, Some("3")),
            (br#"{"jsonrpc":"2.0","id":3,"method":"x","result":1}"#, INVALID_REQUEST, Some("3")),
            (br#"{"jsonrpc":"2.0","id":3,"id":4,"method":"x"}"#, INVALID_REQUEST, None),
            (long_id.as_bytes(), INVALID_REQUEST, None),
        ];
        for (line, code, id) in table {
            let (found, error) = parse(line).unwrap_err();
            let shown = String::from_utf8_lossy(line);
            assert_eq!(error.code, code, "{shown}");
            assert_eq!(found.map(|id| id.0).as_deref(), id, "{shown}");
            assert_eq!(error.data.code, "invalid");
        }
    }

    #[test]
    fn lines_are_written_exactly() {
        let params = serde_json::json!({"signal": "shutdown"});
        assert_eq!(
            request(None, "signal", &params),
            r#"{"jsonrpc":"2.0","method":"signal","params":{"signal":"shutdown"}}"#
        );
        assert_eq!(request(Some(4), "m", &[0]), r#"{"jsonrpc":"2.0","id":4,"method":"m","params":[0]}"#);
        let id = Id("\"a\"".into());
        let result = Ok(RawValue::from_string("{\"n\":1.50}".into()).unwrap());
        assert_eq!(answer(Some(&id), &result), r#"{"jsonrpc":"2.0","id":"a","result":{"n":1.50}}"#);
        let busy = RpcError::from(&Refusal::Busy { retry_after_us: 20_000 });
        assert_eq!(
            answer(None, &Err(busy)),
            concat!(
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"busy, retry after 20 ms","#,
                r#""data":{"code":"busy","message":"busy, retry after 20 ms","changed":false,"retry":true,"#,
                r#""retry_after_ms":20}}}"#
            )
        );
        let unknown = answer(None, &Err(RpcError::unknown_method("dance")));
        assert!(unknown.contains("-32601") && unknown.contains(r#""code":"unsupported""#), "{unknown}");
    }

    #[test]
    fn what_an_agent_says_is_cut() {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"{}"}}}}"#, "é".repeat(2_000));
        let Incoming::Response { result: Err(text), .. } = parse(line.as_bytes()).unwrap() else {
            panic!("not an error")
        };
        assert_eq!(text.chars().count(), 1_024);
    }
}
