//! `weft send`, `call`, `pub`, `sub`: talking to agents from a shell.

use std::io::Read as _;
use std::time::Duration;

use weft_protocol::control::{
    Body, CallReport, CallRequest, PublicationEvent, PublishReport, PublishRequest, SendReport, SendRequest, TypedBody,
};
use weft_protocol::limits::ENVELOPE_BYTES_MAX;
use weft_protocol::{Delivery, Level, LocalTarget, Target};

use super::args::{CallArgs, MessageArgs, PubArgs, SendArgs, SubArgs};
use super::client::{Client, Pieces, segment};
use super::output::{Output, dim, micros, plural, short};
use super::{At, CliError};

/// `weft send`.
pub(crate) async fn send(args: &SendArgs, at: &At) -> Result<(), CliError> {
    let request = request(&args.message, args.receipt)?;
    let report: SendReport = Client::of(at)?.post("/v1/send", &request).await?;
    let output = Output::new(at.json);
    output.report(&report, |report| report.id.clone())?;
    let delivered = report.delivered.map_or_else(String::new, |count| format!("  to {}", plural(count, "agent")));
    let (latency, receipt) = (micros(report.latency_us), &report.receipt);
    let delivered = format!("{delivered}{}", witnesses(&report.witnesses));
    output.remark(&dim(&format!("{latency}  receipt {receipt}{delivered}  trace {}", report.trace)));
    Ok(())
}

/// `weft call`.
pub(crate) async fn call(args: &CallArgs, at: &At) -> Result<(), CliError> {
    if args.receipt.delivery != Delivery::Executed {
        let message = format!("a call waits for its answer; `{}` does not", args.receipt);
        return Err(CliError::new("usage", message).hint("weft send, or --receipt executed+durable"));
    }
    let request: CallRequest = request(&args.message, args.receipt)?;
    if args.stream {
        return super::parts::call(CallRequest { parts: true, ..request }, at).await;
    }
    let report: CallReport = Client::of(at)?.post("/v1/call", &request).await?;
    let output = Output::new(at.json);
    output.report(&report, |report| report.reply.as_ref().map_or_else(String::new, body_text))?;
    output.remark(&dim(&call_line(&report)));
    Ok(())
}

pub(super) fn call_line(report: &CallReport) -> String {
    let path = match report.rtt_us {
        Some(rtt_us) if report.path != "local" => format!("{} {}", report.path, micros(rtt_us)),
        _ => report.path.clone(),
    };
    let records = match (report.record, report.remote_record) {
        (Some(own), Some(theirs)) => format!("  records {own} here, {theirs} there"),
        _ => String::new(),
    };
    let parts = report.parts.map_or_else(String::new, |count| format!("  {}", plural(u64::from(count), "part")));
    let latency = micros(report.latency_us);
    let (receipt, witnesses) = (&report.receipt, witnesses(&report.witnesses));
    format!("{latency}  {}, {path}  receipt {receipt}{witnesses}  trace {}{records}{parts}", report.name, report.trace)
}

/// Who vouches for a message.
fn witnesses(members: &[String]) -> String {
    match members {
        [] => String::new(),
        members => format!(" by {}", members.iter().map(|id| short(id)).collect::<Vec<_>>().join(", ")),
    }
}

/// `weft pub`.
pub(crate) async fn publish(args: &PubArgs, at: &At) -> Result<(), CliError> {
    let request = PublishRequest {
        payload: payload(&args.text)?,
        wait_for: args.wait_for,
        deadline_ms: Some(millis(args.deadline)),
        trace: None,
    };
    let path = format!("/v1/topics/{}", segment(args.topic.as_str()));
    let report: PublishReport = Client::of(at)?.post(&path, &request).await?;
    let output = Output::new(at.json);
    output.report(&report, |report| report.id.clone())?;
    let delivered = plural(report.delivered, "local subscriber");
    output.remark(&dim(&format!("number {}  {delivered}  trace {}", report.seq, report.trace)));
    Ok(())
}

/// `weft sub`: prints publications until it has printed `--count` of them, or the node ends.
pub(crate) async fn subscribe(args: &SubArgs, at: &At) -> Result<(), CliError> {
    let mut path = format!("/v1/topics/{}/events", segment(args.topic.as_str()));
    if let Some(since) = &args.since {
        crate::since::start(Some(since), None)
            .map_err(|message| CliError::new("usage", message).hint("--since 10m"))?;
        path.push_str(&format!("?since={}", segment(since)));
    } else if let Some(last) = args.last {
        path.push_str(&format!("?last={last}"));
    }
    let body = Client::of(at)?.stream(&path).await?;
    let output = Output::new(at.json);
    output.remark(&dim(&format!("subscribed to {}; Ctrl-C ends", args.topic)));
    let mut events = Pieces::events(body);
    let mut printed = 0;
    while args.count.is_none_or(|count| printed < count) {
        let Some(data) = events.next().await? else {
            let message = "the node ended the subscription: it went down, or this reader was too slow";
            return Err(CliError::new("shutting-down", message).hint("weft status").retry());
        };
        let event: PublicationEvent = serde_json::from_str(&data)
            .map_err(|error| CliError::new("failed", format!("the node sent no publication: {error}")))?;
        output.report(&event, |event| format!("{}  {}", dim(&event.from), body_text(&event.payload)))?;
        printed += 1;
    }
    Ok(())
}

fn request(message: &MessageArgs, receipt: Level) -> Result<SendRequest, CliError> {
    let target: Target = message.target.parse()?;
    Ok(SendRequest {
        target: message.target.clone(),
        payload: match (&message.signal, &message.tool, message.text.as_deref()) {
            (Some(signal), _, _) => Body::Typed(TypedBody::Signal(serde_json::Value::String(signal.to_string()))),
            (None, Some(tool), text) => tool_call(tool, payload(text.unwrap_or("{}"))?)?,
            (None, None, text) => arguments(&target, payload(text.unwrap_or_default())?),
        },
        receipt: Some(receipt.to_string()),
        deadline_ms: Some(millis(message.deadline)),
        trace: None,
        idempotent: message.idempotent,
        parts: false,
    })
}

fn tool_call(name: &str, args: Body) -> Result<Body, CliError> {
    let wrong = |problem: String| {
        let message = format!("--tool {name}: its arguments are one JSON object: {problem}");
        CliError::new("invalid", message).hint(format!("weft call kernel --tool {name} '{{\"agent\":\"echo\"}}'"))
    };
    let Body::Text(text) = args else { return Err(wrong("these are bytes".to_owned())) };
    let args = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Body::Typed(TypedBody::ToolCall { name: name.to_owned(), args: serde_json::Value::Object(args) }))
}

/// A method of a service takes JSON: text that is one JSON value is sent as that. So does a kernel that is told `{"cmd": …}`.
fn arguments(target: &Target, body: Body) -> Body {
    match (&target.local, body) {
        (LocalTarget::Kernel, Body::Text(text)) => command(&text).map_or(Body::Text(text), Body::Typed),
        (LocalTarget::ServiceMethod { .. }, Body::Text(text)) => match serde_json::from_str(&text) {
            Ok(value) => Body::Typed(TypedBody::Json(value)),
            Err(_) => Body::Text(text),
        },
        (_, body) => body,
    }
}

/// What `{"cmd": …}` tells a kernel: to run a tool (`exec` with `tool` and `args`, or the tool's own name with `args`), or one of
/// its questions.
fn command(text: &str) -> Option<TypedBody> {
    use serde_json::Value;
    let command: serde_json::Map<String, Value> = serde_json::from_str(text).ok()?;
    let word = command.get("cmd")?.as_str()?;
    let tool = if word == "exec" { command.get("tool").and_then(Value::as_str) } else { Some(word) };
    match tool.filter(|tool| tool.contains('.')) {
        Some(tool) => {
            let args = command.get("args").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            Some(TypedBody::ToolCall { name: tool.to_owned(), args })
        }
        None => Some(TypedBody::Json(Value::Object(command))),
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The text that was typed, or what stands on stdin: text when it is UTF-8, bytes otherwise. An ending line break stays.
pub(super) fn payload(text: &str) -> Result<Body, CliError> {
    if text != "-" {
        return Ok(Body::Text(text.to_owned()));
    }
    let mut bytes = Vec::new();
    let most = ENVELOPE_BYTES_MAX as u64;
    std::io::stdin()
        .lock()
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::new("failed", format!("stdin: {error}")))?;
    if bytes.len() as u64 > most {
        return Err(CliError::new("too-large", format!("stdin holds more than {most} bytes, which is the most")));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Body::Text(text),
        Err(error) => Body::Typed(TypedBody::Base64(data_encoding::BASE64.encode(error.as_bytes()))),
    })
}

/// A payload for people: text as it is, everything else as JSON.
pub(crate) fn body_text(body: &Body) -> String {
    match body {
        Body::Text(text) | Body::Typed(TypedBody::Text(text)) => text.clone(),
        Body::Typed(TypedBody::Json(value)) => value.to_string(),
        Body::Typed(other) => serde_json::to_string(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kernel_is_told_commands_as_json_and_everybody_else_text() {
        let told =
            |target: &str, text: &str| arguments(&target.parse().expect("a target"), Body::Text(text.to_owned()));
        let tool = |name: &str, args| Body::Typed(TypedBody::ToolCall { name: name.to_owned(), args });
        let ping = r#"{"cmd": "ping"}"#;
        assert_eq!(told("kernel", ping), Body::Typed(TypedBody::Json(json!({"cmd": "ping"}))));
        assert_eq!(told("kernel@beta", "ping"), Body::Text("ping".to_owned()));
        assert_eq!(told("echo", ping), Body::Text(ping.to_owned()));
        assert_eq!(told("kernel", r#"{"cmd": "cron.list"}"#), tool("cron.list", json!({})));
        let run = r#"{"cmd": "exec", "tool": "agent.inspect", "args": {"agent": "echo"}}"#;
        assert_eq!(told("kernel", run), tool("agent.inspect", json!({"agent": "echo"})));
        for text in ["{}", r#"{"cmd": 1}"#, r#"["cmd"]"#] {
            assert_eq!(told("kernel", text), Body::Text(text.to_owned()));
        }
    }
}
