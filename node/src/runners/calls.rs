//! What an agent may ask of its node, on stdio and on its own socket: methods, parameters and results.

mod bonds;
mod cron;

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weft_kernel::{Answer, CronJob, Registration, Syscall};
use weft_peer::{Question, Reply};
use weft_protocol::control::{CronRemoveReport, CronReport};
use weft_protocol::limits::{AGENT_IN_FLIGHT_MAX, DEADLINE_DEFAULT_US, DEADLINE_US_MAX};
use weft_protocol::{
    AuditLevel, Contract, Delivery, Durability, GrantId, GrantTerms, Level, Payload, Principal, Refusal, ServiceName,
    Target, TraceId,
};

use self::bonds::{Link, Monitor};
use self::cron::{CronAdd, CronList, CronRemove};
use crate::ask::{Asker, Parts, Pending};
use crate::runners::clip;
use crate::runners::jsonrpc::{Id, RpcError, write};
use crate::runners::payload::PayloadJson;
use crate::since::start;

/// When a `busy` answer asks to come back: about what one call takes here (guess).
const BUSY_RETRY_US: u64 = 10_000;

/// What a request means.
#[derive(Debug)]
pub(crate) enum Call {
    /// A question for the event loop.
    Ask(Question),
    /// A line for the agent's log.
    Log { level: LogLevel, text: String },
    /// The agent no longer wants the answer to this request of its own.
    Cancel(Id),
    /// The agent says that it is ready; its answered `initialize` said so already.
    Ready,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// As it stands in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What a request is answered with.
pub(crate) type Answered = Result<Box<RawValue>, RpcError>;

/// The request as a call.
///
/// # Errors
/// `unsupported` for a method or a parameter that is not served yet, an error in the parameters otherwise.
pub(crate) fn understand(method: &str, params: &str) -> Result<Call, RpcError> {
    match method {
        "send" => read(params).and_then(Send::question).map(Call::Ask),
        "call" => read(params).and_then(CallFor::question).map(Call::Ask),
        "publish" => read(params).and_then(Publish::question).map(Call::Ask),
        "subscribe" => read(params).and_then(Subscribe::question).map(Call::Ask),
        "unsubscribe" => read(params).and_then(Unsubscribe::question).map(Call::Ask),
        "cron_add" => read(params).and_then(CronAdd::question).map(Call::Ask),
        "cron_list" => read(params).map(CronList::question).map(Call::Ask),
        "cron_remove" => read(params).and_then(CronRemove::question).map(Call::Ask),
        "register_service" => read(params).and_then(RegisterService::question).map(Call::Ask),
        "unregister_service" => read(params).and_then(UnregisterService::question).map(Call::Ask),
        "link" => read(params).and_then(Link::question).map(Call::Ask),
        "unlink" => read(params).and_then(Link::undo).map(Call::Ask),
        "monitor" => read(params).and_then(Monitor::question).map(Call::Ask),
        "demonitor" => read(params).and_then(Monitor::undo).map(Call::Ask),
        "log" => read(params).map(Log::call),
        "ready" => read(params).map(|Ready {}| Call::Ready),
        "grant" => read(params).and_then(Give::question).map(Call::Ask),
        "revoke" => read(params).and_then(Revoke::question).map(Call::Ask),
        "tool" => read(params).map(Tool::question).map(Call::Ask),
        "stream" => read(params).and_then(Stream::question).map(Call::Ask),
        "cancel" => read(params).and_then(Cancel::call),
        _ => Err(RpcError::unknown_method(method)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    target: String,
    payload: PayloadJson,
    deadline_ms: Option<u64>,
    receipt: Option<String>,
    trace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallFor {
    target: String,
    payload: PayloadJson,
    deadline_ms: Option<u64>,
    receipt: Option<String>,
    trace: Option<String>,
    #[serde(default)]
    idempotent: bool,
    #[serde(default)]
    parts: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    id: String,
    part: PayloadJson,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    id: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterService {
    name: String,
    contract: Option<serde_json::Value>,
    audit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnregisterService {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    topic: String,
    payload: PayloadJson,
    trace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    topic: String,
    since: Option<String>,
    last: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Give {
    to: String,
    right: String,
    resource: String,
    budget: Option<u64>,
    expires_in_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    grant: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    name: String,
    #[serde(rename = "args")]
    _args: Option<Box<RawValue>>,
    #[serde(rename = "budget")]
    _budget: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    level: LogLevel,
    text: String,
    fields: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {}

impl Send {
    fn question(self) -> Result<Question, RpcError> {
        let received = Level { delivery: Delivery::Received, durability: Durability::None };
        let level = self.receipt.as_deref().map_or(Ok(received), parse)?;
        message(&self.target, self.payload, false, level, self.deadline_ms, self.trace.as_deref(), (false, false))
    }
}

impl CallFor {
    fn question(self) -> Result<Question, RpcError> {
        let executed = Level { delivery: Delivery::Executed, durability: Durability::None };
        let level = self.receipt.as_deref().map_or(Ok(executed), parse)?;
        let trace = self.trace.as_deref();
        message(&self.target, self.payload, true, level, self.deadline_ms, trace, (self.idempotent, self.parts))
    }
}

impl Stream {
    fn question(self) -> Result<Question, RpcError> {
        Ok(kernel(Syscall::Stream { message: parse(&self.id)?, part: payload(self.part)? }))
    }
}

impl Cancel {
    fn call(self) -> Result<Call, RpcError> {
        let wrong = || RpcError::parameters("id is not the id of a request: a string or a number");
        Id::of(self.id.get()).map(Call::Cancel).ok_or_else(wrong)
    }
}

impl RegisterService {
    fn question(self) -> Result<Question, RpcError> {
        let service: ServiceName = parse(&self.name)?;
        let contract = self.contract.map(|contract| Contract::read(service.clone(), contract)).transpose();
        let contract = contract.map_err(|error| RpcError::parameters(error.to_string()))?;
        let audit_level = self.audit.as_deref().map_or(Ok(AuditLevel::GateOnly), parse)?;
        let registration = Registration { service, agent: None, contract, audit_level };
        Ok(kernel(Syscall::RegisterService(Box::new(registration))))
    }
}

impl UnregisterService {
    fn question(self) -> Result<Question, RpcError> {
        parse(&self.name).map(|service| kernel(Syscall::UnregisterService { service }))
    }
}

impl Publish {
    fn question(self) -> Result<Question, RpcError> {
        let (topic, trace) = (parse(&self.topic)?, self.trace.as_deref().map(parse::<TraceId>).transpose()?);
        Ok(kernel(Syscall::Publish { topic, payload: payload(self.payload)?, trace }))
    }
}

impl Subscribe {
    fn question(self) -> Result<Question, RpcError> {
        let start = start(self.since.as_deref(), self.last).map_err(RpcError::parameters)?;
        parse(&self.topic).map(|pattern| kernel(Syscall::Subscribe { pattern, start }))
    }
}

impl Unsubscribe {
    fn question(self) -> Result<Question, RpcError> {
        parse(&self.topic).map(|pattern| kernel(Syscall::Unsubscribe { pattern }))
    }
}

impl Give {
    fn question(self) -> Result<Question, RpcError> {
        let (to, spec) = (parse(&self.to)?, parse(&format!("{}:{}", self.right, self.resource))?);
        if self.budget == Some(0) || self.expires_in_ms == Some(0) {
            return Err(RpcError::parameters("a right that ends before its first use gives nothing"));
        }
        let terms = GrantTerms { spec, expires: None, uses: self.budget };
        let lasts_us = self.expires_in_ms.map(|ms| ms.saturating_mul(1_000));
        Ok(kernel(Syscall::Grant { to, terms, lasts_us }))
    }
}

impl Revoke {
    fn question(self) -> Result<Question, RpcError> {
        Ok(kernel(Syscall::Revoke { grant: parse(&self.grant)? }))
    }
}

impl Tool {
    /// The node counts it, and says that there is no such tool.
    fn question(self) -> Question {
        kernel(Syscall::CallTool { name: self.name })
    }
}

impl Log {
    fn call(self) -> Call {
        let text = match self.fields {
            Some(fields) => format!("{} {}", self.text, fields.get()),
            None => self.text,
        };
        Call::Log { level: self.level, text }
    }
}

fn message(
    target: &str,
    content: PayloadJson,
    wants_reply: bool,
    level: Level,
    deadline_ms: Option<u64>,
    trace: Option<&str>,
    (idempotent, parts): (bool, bool),
) -> Result<Question, RpcError> {
    let target: Target = parse(target)?;
    let deadline_us = deadline_ms.map_or(DEADLINE_DEFAULT_US, |deadline| deadline.saturating_mul(1_000));
    if deadline_us == 0 || deadline_us > DEADLINE_US_MAX {
        return Err(RpcError::parameters(format!("deadline_ms is not between 1 and {}", DEADLINE_US_MAX / 1_000)));
    }
    let trace = trace.map(parse::<TraceId>).transpose()?;
    let payload = payload(content)?;
    Ok(kernel(Syscall::Send {
        target,
        payload,
        wants_reply,
        level,
        deadline_us,
        trace,
        cause: Vec::new(),
        idempotent,
        parts,
    }))
}

fn kernel(syscall: Syscall) -> Question {
    Question::Kernel(Box::new(syscall))
}

fn payload(json: PayloadJson) -> Result<Payload, RpcError> {
    json.into_payload().map_err(RpcError::parameters)
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, RpcError> {
    text.parse().map_err(|error: T::Err| RpcError::parameters(error.to_string()))
}

fn read<'a, T: Deserialize<'a>>(params: &'a str) -> Result<T, RpcError> {
    serde_json::from_str(params).map_err(|error| RpcError::parameters(clip(&error.to_string(), 256)))
}

/// Asks for one agent: at most 64 questions at a time, on whichever of its doors; one more is answered `busy`.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    asker: Asker,
    principal: Principal,
    open: Arc<Semaphore>,
}

impl Caller {
    /// Asks as `principal`.
    pub(crate) fn new(asker: Asker, principal: Principal) -> Self {
        Self { asker, principal, open: Arc::new(Semaphore::new(AGENT_IN_FLIGHT_MAX)) }
    }

    /// Asks; dropping what will be answered withdraws the question.
    ///
    /// # Errors
    /// `busy` when 64 are open: nothing was asked.
    pub(crate) async fn begin(&self, question: Question) -> Result<Open<Pending>, RpcError> {
        let permit = self.permit()?;
        let pending = self.asker.begin(self.principal.clone(), question).await;
        Ok(Open { parts: pending.map_err(|refusal| RpcError::from(&refusal))?, _permit: permit })
    }

    /// The same for an answer that may come in parts.
    ///
    /// # Errors
    /// As of the other.
    pub(crate) async fn begin_in_parts(&self, question: Question) -> Result<Open<Parts>, RpcError> {
        let permit = self.permit()?;
        let parts = self.asker.begin_in_parts(self.principal.clone(), question).await;
        Ok(Open { parts: parts.map_err(|refusal| RpcError::from(&refusal))?, _permit: permit })
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, RpcError> {
        let busy = |_| RpcError::from(&Refusal::Busy { retry_after_us: BUSY_RETRY_US });
        Arc::clone(&self.open).try_acquire_owned().map_err(busy)
    }
}

/// A question that is one of 64.
#[derive(Debug)]
pub(crate) struct Open<T> {
    /// What comes of it.
    pub(crate) parts: T,
    _permit: OwnedSemaphorePermit,
}

impl Open<Pending> {
    /// What it was answered.
    pub(crate) async fn answer(self) -> Answered {
        self.parts.answer().await.map_err(|refusal| RpcError::from(&refusal)).and_then(result)
    }
}

impl Open<Parts> {
    /// What it was answered in the end.
    pub(crate) async fn answer(self) -> Answered {
        self.parts.answer().await.map_err(|refusal| RpcError::from(&refusal)).and_then(result)
    }
}

/// Whether parts of the answer are to be told.
pub(crate) fn takes_parts(question: &Question) -> bool {
    matches!(question, Question::Kernel(syscall) if matches!(**syscall, Syscall::Send { parts: true, .. }))
}

/// The result of a request, as JSON.
fn result(reply: Reply) -> Answered {
    #[derive(Serialize)]
    struct Sent {
        #[serde(skip_serializing_if = "Option::is_none")]
        reply: Option<Option<PayloadJson>>,
        id: String,
        trace: TraceId,
        node: weft_protocol::NodeId,
        receipt: String,
        latency_us: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivered: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        record: Option<weft_protocol::RecordRef>,
        #[serde(skip_serializing_if = "Option::is_none")]
        remote_record: Option<weft_protocol::RecordRef>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        witnesses: Vec<weft_protocol::NodeId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        parts: Option<u32>,
    }
    #[derive(Serialize)]
    struct Streamed {
        number: u32,
    }
    #[derive(Serialize)]
    struct Registered {
        service: ServiceName,
        #[serde(skip_serializing_if = "Option::is_none")]
        contract: Option<weft_protocol::ContractRef>,
    }
    #[derive(Serialize)]
    struct Published {
        id: String,
        trace: TraceId,
        seq: u64,
        delivered: u64,
    }
    #[derive(Serialize)]
    struct LinkedTo {
        process: weft_protocol::ProcessId,
    }
    #[derive(Serialize)]
    struct Granted {
        grant: GrantId,
    }
    let text = match reply {
        Reply::Kernel(Answer::Sent(report)) => {
            let reply = report.reply.map(PayloadJson::from_payload).transpose();
            let failed = |reason| RpcError::from(&Refusal::AgentFailed { reason });
            write(&Sent {
                reply: Some(reply.map_err(failed)?),
                id: report.id.to_string(),
                trace: report.trace,
                node: report.node,
                receipt: report.level.to_string(),
                latency_us: report.latency_us,
                delivered: report.delivered,
                record: report.record,
                remote_record: report.remote_record,
                witnesses: report.witnesses,
                parts: report.parts.map(|parts| parts.count),
            })
        }
        Reply::Kernel(Answer::Streamed { number }) => write(&Streamed { number }),
        Reply::Kernel(Answer::Published { id, trace, seq, delivered }) => {
            write(&Published { id: id.to_string(), trace, seq, delivered })
        }
        Reply::Kernel(Answer::CronAdded(job)) => write(&job.row()),
        Reply::Kernel(Answer::CronJobs(jobs)) => write(&CronReport { jobs: jobs.iter().map(CronJob::row).collect() }),
        Reply::Kernel(Answer::CronRemoved { job }) => write(&CronRemoveReport { id: job.to_string() }),
        Reply::Kernel(Answer::Granted(issued)) => write(&Granted { grant: issued.grant.id }),
        Reply::Kernel(Answer::ServiceRegistered(entry)) => {
            write(&Registered { service: entry.name, contract: entry.contract })
        }
        Reply::Kernel(Answer::Linked { other, .. }) => write(&LinkedTo { process: other }),
        Reply::Kernel(Answer::Monitored { target, .. }) => write(&target),
        // Nothing more to say than that it is done.
        _ => "{}".to_owned(),
    };
    Ok(raw(text))
}

/// JSON text of ours as a value.
pub(crate) fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("BUG: text of ours is not JSON")
}

#[cfg(test)]
mod tests {
    use weft_kernel::Start;
    use weft_protocol::TopicName;

    use super::*;

    fn syscall(method: &str, params: &str) -> Syscall {
        match understand(method, params) {
            Ok(Call::Ask(Question::Kernel(syscall))) => *syscall,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_carries_its_parameters() {
        let params = r##"{"target":"#1.0@beta","payload":{"json":[1.50]},"deadline_ms":250,
                         "receipt":"durable","trace":"t-00000000000000ff","idempotent":true}"##;
        let expected = Syscall::Send {
            target: "#1.0@beta".parse().expect("a target"),
            payload: Payload::Json("[1.50]".into()),
            wants_reply: true,
            level: Level { delivery: Delivery::Executed, durability: Durability::Durable },
            deadline_us: 250_000,
            trace: Some(TraceId(255)),
            cause: Vec::new(),
            idempotent: true,
            parts: false,
        };
        assert_eq!(syscall("call", params), expected);
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let Syscall::Send { wants_reply, level, deadline_us, trace, .. } =
            syscall("send", r#"{"target":"echo","payload":{"text":"hi"}}"#)
        else {
            panic!("not a message")
        };
        assert_eq!((wants_reply, level.to_string(), deadline_us, trace), (false, "received".into(), 5_000_000, None));
        let topic: TopicName = "jobs".parse().expect("a topic");
        let published = syscall("publish", r#"{"topic":"jobs","payload":{"text":"hi"}}"#);
        assert_eq!(
            published,
            Syscall::Publish { topic: topic.clone(), payload: Payload::Text("hi".into()), trace: None }
        );
        let subscribed = |topic: &str, start| Syscall::Subscribe { pattern: topic.parse().expect("a pattern"), start };
        assert_eq!(syscall("subscribe", r#"{"topic":"jobs"}"#), subscribed("jobs", Start::Now));
        let since = syscall("subscribe", r#"{"topic":"jobs.>","since":"10m"}"#);
        assert_eq!(since, subscribed("jobs.>", Start::Ago(600_000_000)));
        assert_eq!(syscall("subscribe", r#"{"topic":"jobs","last":3}"#), subscribed("jobs", Start::Last(3)));
        assert_eq!(syscall("unsubscribe", r#"{"topic":"jobs"}"#), Syscall::Unsubscribe { pattern: topic.into() });
        let given =
            syscall("grant", r#"{"to":"b@beta","right":"call","resource":"echo*","budget":3,"expires_in_ms":5}"#);
        let terms = GrantTerms { spec: "call:echo*".parse().expect("a grant"), expires: None, uses: Some(3) };
        assert_eq!(given, Syscall::Grant { to: "b@beta".parse().expect("a target"), terms, lasts_us: Some(5_000) });
        let revoked = syscall("revoke", r#"{"grant":"g-00000000000000ff"}"#);
        assert_eq!(revoked, Syscall::Revoke { grant: GrantId(255) });
        let with = "words".parse().expect("a target");
        assert_eq!(syscall("link", r#"{"agent":"words"}"#), Syscall::Link { agent: None, with });
        let target = "#1.0@beta".parse().expect("a target");
        let monitored = syscall("monitor", r##"{"agent":"#1.0@beta"}"##);
        assert_eq!(monitored, Syscall::Monitor { watcher: None, target, seen: None });
        let tool = syscall("tool", r#"{"name":"fs.read","args":{"path":"x"}}"#);
        assert_eq!(tool, Syscall::CallTool { name: "fs.read".into() });
    }

    #[test]
    fn jobs_are_made_listed_and_removed() {
        let made = syscall("cron_add", r#"{"expression":"1m","target":"echo","payload":{"json":[1]},"missed":"all"}"#);
        let Syscall::CronAdd { spec } = made else { panic!("not a job") };
        let expected = weft_kernel::CronSpec {
            expression: "1m".into(),
            timezone: "UTC".into(),
            target: "echo".parse().expect("a target"),
            payload: Payload::Json("[1]".into()),
            missed: weft_protocol::MissedRule::All,
        };
        assert_eq!(*spec, expected);
        assert_eq!(syscall("cron_list", "{}"), Syscall::CronList);
        assert_eq!(syscall("cron_remove", r#"{"id":"c7"}"#), Syscall::CronRemove { job: weft_protocol::CronId(7) });
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_code() {
        let check = |method: &str, params: &str, code: &str| {
            let error = understand(method, params).expect_err(params);
            let text = write(&error);
            assert!(text.contains(code), "{method} {params}: {text}");
        };
        let message = |rest: &str| format!(r#"{{"payload":{{"text":"x"}},{rest}}}"#);
        check("call", &message(r#""target":"a b""#), "-32602");
        check("call", &message(r#""target":"a","deadline_ms":0"#), "-32602");
        check("call", &message(r#""target":"a","deadline_ms":3600001"#), "-32602");
        check("call", &message(r#""target":"a","deadline_ms":-1"#), "-32602");
        check("call", &message(r#""target":"a","receipt":"perhaps""#), "-32602");
        check("call", &message(r#""target":"a","trace":"7""#), "-32602");
        check("call", &message(r#""target":"a","deadline":5"#), "-32602");
        check("call", r#"{"target":"a"}"#, "-32602");
        check("call", "[1]", "-32602");
        check("send", r#"{"target":"a","payload":{"base64":"?"}}"#, "-32602");
        check("publish", r#"{"topic":"a b","payload":{"text":"x"}}"#, "-32602");
        check("cron_add", r#"{"expression":"1m","target":"a","payload":{"text":"x"},"missed":"often"}"#, "-32602");
        check("cron_add", r#"{"expression":"1m","payload":{"text":"x"}}"#, "-32602");
        check("cron_remove", r#"{"id":"12"}"#, "-32602");
        check("cron_list", r#"{"all":true}"#, "-32602");
        check("publish", r#"{"topic":"jobs.*","payload":{"text":"x"}}"#, "-32602");
        check("subscribe", r#"{"topic":"jobs","since":"soon"}"#, "-32602");
        check("subscribe", r#"{"topic":"jobs","since":"10m","last":3}"#, "-32602");
        check("log", r#"{"level":"loud","text":"x"}"#, "-32602");
        check("register_service", r#"{"name":"Sum"}"#, "-32602");
        check("register_service", r#"{"name":"sum","contract":{"version":"1"}}"#, "-32602");
        check("register_service", r#"{"name":"sum","audit":"loud"}"#, "-32602");
        check("link", r#"{"agent":"a b"}"#, "-32602");
        check("unlink", r#"{"with":"a"}"#, "-32602");
        check("monitor", "{}", "-32602");
        check("demonitor", r#"{"agent":7}"#, "-32602");
        check("tool", r#"{"args":{}}"#, "-32602");
        check("grant", r#"{"to":"b","right":"fly","resource":"*"}"#, "-32602");
        check("grant", r#"{"to":"b","right":"call","resource":"a","budget":0}"#, "-32602");
        check("revoke", r#"{"grant":"7"}"#, "-32602");
        check("stream", r#"{"id":"m-1","part":{"text":"x"}}"#, "-32602");
        check("stream", r#"{"id":"m-1"}"#, "-32602");
        check("cancel", r#"{"id":[1]}"#, "-32602");
        check("spawn", "{}", "-32601");
    }
}
