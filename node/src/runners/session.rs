//! The conversation between the node and one agent: what each line means and what is still open. No IO.

mod health;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use weft_kernel::{Delivery, ProbeAnswer};
use weft_protocol::limits::{AGENT_IN_FLIGHT_MAX, ENVELOPE_BYTES_MAX};
use weft_protocol::{
    AgentName, ExitReason, GrantSpec, MessageId, NodeId, NodeName, Payload, Principal, ProbeKind, ProcessId,
    Publication, Resource, Sender, Signal,
};

use crate::runners::clip;
use crate::runners::jsonrpc::{self, Id, Incoming, LINE_BYTES_MAX, PARSE_ERROR, RpcError};
use crate::runners::payload::PayloadJson;

/// This many malformed lines in a row end the process.
pub(crate) const BAD_LINES_MAX: u32 = 10;
/// Probes that may be unanswered at once: the kernel has two open, and gives up each by its deadline.
const PROBES_OPEN_MAX: usize = 4;

/// What follows from a line or an order.
#[derive(Debug)]
pub(crate) enum Step {
    /// Write this line to the agent.
    Write(String),
    /// Write this line if the agent keeps up with what it is told; otherwise it is lost, and its gap is visible.
    WriteIfRoom(String),
    /// The agent answered `initialize`: it runs.
    Initialized,
    /// The agent is done with a message.
    Answered { message: MessageId, answer: Result<Option<Payload>, String> },
    /// The agent answered a probe.
    Probed { number: u64, answer: ProbeAnswer },
    /// The agent asks for something; without an id it waits for no answer.
    Asked { id: Option<Id>, method: String, params: String },
    /// The process must end.
    End(ExitReason),
}

/// What the guard of the process says before the program runs and after it ended, on the same pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuardWord {
    /// The program is about to run as this process of the operating system.
    Started(u32),
    /// The program cannot be run.
    Failed(String),
    /// The program may not run, because its sandbox cannot be enforced.
    Unenforceable(String),
    /// A signal ended the program.
    Ended(i32),
}

/// One conversation. Invariant: a message is open at most once, and `by_message` and `waiting` name the same messages.
#[derive(Debug)]
pub(crate) struct Session {
    next_id: u64,
    waiting: BTreeMap<u64, Waiting>,
    by_message: BTreeMap<MessageId, u64>,
    bad_lines: u32,
    guard: Vec<GuardWord>,
}

#[derive(Debug)]
enum Waiting {
    Initialize,
    Message { message: MessageId, cancelled: bool },
    Probe { number: u64, kind: ProbeKind },
}

/// Who the agent is, for `initialize`.
#[derive(Debug, Serialize)]
pub(crate) struct Introduction<'a> {
    pub(crate) protocol: u32,
    pub(crate) node: NodeId,
    pub(crate) node_name: &'a NodeName,
    pub(crate) agent: &'a AgentName,
    pub(crate) process: ProcessId,
    pub(crate) grants: Vec<String>,
}

/// Who sent something: an agent, or the operator of a node.
#[derive(Debug, Serialize)]
struct From {
    node: NodeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessId>,
    operator: bool,
}

impl Session {
    /// The conversation, and the line that opens it.
    pub(crate) fn begin(introduction: &Introduction<'_>) -> (Self, String) {
        let line = jsonrpc::request(Some(0), "initialize", introduction);
        let waiting = BTreeMap::from([(0, Waiting::Initialize)]);
        (Self { next_id: 1, waiting, by_message: BTreeMap::new(), bad_lines: 0, guard: Vec::new() }, line)
    }

    /// Whether `initialize` was answered.
    pub(crate) fn initialized(&self) -> bool {
        !self.waiting.contains_key(&0)
    }

    /// What the guard said so far.
    pub(crate) fn guard_words(&self) -> &[GuardWord] {
        &self.guard
    }

    /// The agent, or its guard, wrote a line.
    pub(crate) fn line(&mut self, line: &[u8]) -> Vec<Step> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Vec::new();
        }
        match jsonrpc::parse(line) {
            Ok(incoming) => {
                self.bad_lines = 0;
                self.incoming(incoming)
            }
            Err((id, error)) => self.bad_line(id.as_ref(), error),
        }
    }

    /// The agent wrote a line that is longer than any message.
    pub(crate) fn long_line(&mut self) -> Vec<Step> {
        let error = RpcError::malformed(PARSE_ERROR, format!("a line is at most {LINE_BYTES_MAX} bytes"));
        self.bad_line(None, error)
    }

    fn bad_line(&mut self, id: Option<&Id>, error: RpcError) -> Vec<Step> {
        self.bad_lines += 1;
        let mut steps = vec![Step::WriteIfRoom(jsonrpc::answer(id, &Err(error)))];
        if self.bad_lines == BAD_LINES_MAX {
            let reason = format!("{BAD_LINES_MAX} malformed lines in a row");
            steps.push(Step::End(ExitReason::Misbehaved { reason }));
        }
        steps
    }

    fn incoming(&mut self, incoming: Incoming) -> Vec<Step> {
        match incoming {
            Incoming::Request { id, method, params } => vec![Step::Asked { id: Some(id), method, params }],
            Incoming::Notification { method, params } if method.starts_with("child/") => {
                self.guard_word(&method, &params)
            }
            Incoming::Notification { method, params } => vec![Step::Asked { id: None, method, params }],
            Incoming::Response { id, result } => self.response(id, result),
            Incoming::Stray => Vec::new(),
        }
    }

    /// Kept, not believed: an agent can write the same, and these words only ever explain an end that was observed.
    fn guard_word(&mut self, method: &str, params: &str) -> Vec<Step> {
        #[derive(serde::Deserialize)]
        struct Params {
            #[serde(default)]
            pid: u32,
            #[serde(default)]
            signal: i32,
            #[serde(default)]
            reason: String,
        }
        let Ok(params) = serde_json::from_str::<Params>(params) else { return Vec::new() };
        let word = match method {
            "child/started" if self.guard.is_empty() => GuardWord::Started(params.pid),
            "child/failed" if !self.initialized() => GuardWord::Failed(clip(&params.reason, 1_024)),
            "child/unenforceable" if !self.initialized() => GuardWord::Unenforceable(clip(&params.reason, 1_024)),
            "child/ended" => GuardWord::Ended(params.signal),
            _ => return Vec::new(),
        };
        self.guard.retain(|held| std::mem::discriminant(held) != std::mem::discriminant(&word));
        self.guard.push(word);
        Vec::new()
    }

    fn response(&mut self, id: u64, result: Result<String, String>) -> Vec<Step> {
        match self.waiting.remove(&id) {
            None => Vec::new(),
            Some(Waiting::Initialize) => vec![match result.and_then(|result| check_introduction(&result)) {
                Ok(()) => Step::Initialized,
                Err(said) => {
                    let reason = clip(&format!("the agent refused initialize: {said}"), 1_024);
                    Step::End(ExitReason::StartFailed { reason })
                }
            }],
            Some(Waiting::Probe { number, kind }) => {
                vec![Step::Probed { number, answer: health::read(kind, result) }]
            }
            Some(Waiting::Message { message, .. }) => {
                self.by_message.remove(&message);
                vec![Step::Answered { message, answer: result.and_then(|result| read_reply(&result)) }]
            }
        }
    }

    /// A message for the agent, with the time left for it in milliseconds.
    pub(crate) fn deliver(&mut self, delivery: Delivery, left_ms: u64) -> Vec<Step> {
        #[derive(Serialize)]
        struct Message {
            id: MessageId,
            from: From,
            target: String,
            payload: PayloadJson,
            wants_reply: bool,
            deadline_ms: u64,
            trace: weft_protocol::TraceId,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            parts: bool,
        }
        let Delivery { message, from, target, payload, wants_reply, deadline: _, trace, parts } = delivery;
        let failed = |reason: String| vec![Step::Answered { message, answer: Err(reason) }];
        if self.open() >= AGENT_IN_FLIGHT_MAX || self.by_message.contains_key(&message) {
            return failed(format!("busy: the agent has {AGENT_IN_FLIGHT_MAX} messages open"));
        }
        let payload = match PayloadJson::from_payload(payload) {
            Ok(payload) => payload,
            Err(error) => return failed(error),
        };
        let id = self.next_id;
        let params = Message {
            id: message,
            from: from.into(),
            target: target.to_string(),
            payload,
            wants_reply,
            deadline_ms: left_ms,
            trace,
            parts,
        };
        let line = jsonrpc::request(Some(id), "message", &params);
        if line.len() > LINE_BYTES_MAX {
            return failed(format!("the message takes {} bytes as a line, at most {LINE_BYTES_MAX}", line.len()));
        }
        self.next_id += 1;
        self.waiting.insert(id, Waiting::Message { message, cancelled: false });
        self.by_message.insert(message, id);
        let mut steps = self.forget_oldest_cancelled();
        steps.push(Step::Write(line));
        steps
    }

    /// Messages that somebody still waits for.
    fn open(&self) -> usize {
        self.waiting.values().filter(|waiting| matches!(waiting, Waiting::Message { cancelled: false, .. })).count()
    }

    /// An agent that never answers what was cancelled must not make the table grow.
    fn forget_oldest_cancelled(&mut self) -> Vec<Step> {
        let is_cancelled = |waiting: &Waiting| matches!(waiting, Waiting::Message { cancelled: true, .. });
        if self.waiting.len() <= 2 * AGENT_IN_FLIGHT_MAX {
            return Vec::new();
        }
        let oldest = self.waiting.iter().find(|(_, waiting)| is_cancelled(waiting)).map(|(id, _)| *id);
        oldest.map_or(Vec::new(), |id| self.response(id, Err("cancelled, and never answered".to_owned())))
    }

    /// Nobody waits for the answer to this message any more.
    pub(crate) fn cancel(&mut self, message: MessageId) -> Vec<Step> {
        #[derive(Serialize)]
        struct Cancel {
            id: MessageId,
        }
        let Some(id) = self.by_message.get(&message) else { return Vec::new() };
        self.waiting.insert(*id, Waiting::Message { message, cancelled: true });
        vec![Step::WriteIfRoom(jsonrpc::request(None, "cancel", &Cancel { id: message }))]
    }

    /// Something was published to a topic of the agent. What cannot be written on one line is left out.
    pub(crate) fn publication(&self, publication: Publication) -> Vec<Step> {
        #[derive(Serialize)]
        struct Published {
            topic: weft_protocol::TopicName,
            from: From,
            seq: u64,
            prev: u64,
            hlc: weft_protocol::Hlc,
            payload: PayloadJson,
            id: MessageId,
            trace: weft_protocol::TraceId,
        }
        let Publication { id, hlc, trace, from, topic, seq, prev, payload, .. } = publication;
        let Ok(payload) = PayloadJson::from_payload(payload) else { return Vec::new() };
        let params = Published { topic, from: from.into(), seq, prev, hlc, payload, id, trace };
        let line = jsonrpc::request(None, "published", &params);
        if line.len() > LINE_BYTES_MAX { Vec::new() } else { vec![Step::WriteIfRoom(line)] }
    }

    /// Asks the agent how it is. Of questions that it never answered only the last few are remembered.
    pub(crate) fn probe(&mut self, number: u64, kind: ProbeKind) -> Vec<Step> {
        #[derive(Serialize)]
        struct Health {
            probe: ProbeKind,
        }
        let open = self.waiting.iter().filter(|(_, waiting)| matches!(waiting, Waiting::Probe { .. }));
        let open = open.map(|(id, _)| *id).collect::<Vec<_>>();
        if let Some(oldest) = open.first().filter(|_| open.len() >= PROBES_OPEN_MAX) {
            self.waiting.remove(oldest);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.insert(id, Waiting::Probe { number, kind });
        vec![Step::WriteIfRoom(jsonrpc::request(Some(id), "health", &Health { probe: kind }))]
    }

    /// The line that asks the agent to finish and exit.
    pub(crate) fn shutdown() -> String {
        jsonrpc::request(None, "signal", &PayloadJson::Signal(Signal::Shutdown))
    }

    /// The line that tells the agent a signal: its name, who says so if anybody but the node, and what belongs to it.
    pub(crate) fn signal(signal: &Signal, from: Option<Sender>) -> String {
        #[derive(Serialize)]
        struct Told<'a> {
            signal: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            from: Option<From>,
            #[serde(skip_serializing_if = "Option::is_none")]
            number: Option<u8>,
            #[serde(flatten, skip_serializing_if = "Option::is_none")]
            end: Option<&'a weft_protocol::ProcessEnd>,
            #[serde(flatten, skip_serializing_if = "Option::is_none")]
            warning: Option<Amounts>,
        }
        #[derive(Serialize)]
        struct Amounts {
            resource: Resource,
            measured: u64,
            limit: u64,
        }
        let (mut number, mut end, mut warning) = (None, None, None);
        match signal {
            Signal::UserDefined(user) => number = Some(*user),
            Signal::LinkExit(process) | Signal::MonitorDown(process) => end = Some(process),
            Signal::ResourceWarning { resource, measured, limit } => {
                warning = Some(Amounts { resource: *resource, measured: *measured, limit: *limit });
            }
            Signal::Shutdown
            | Signal::Kill
            | Signal::Suspend
            | Signal::Resume
            | Signal::Ping
            | Signal::Pong
            | Signal::ReloadConfig
            | Signal::DumpState => {}
        }
        let word = match signal {
            Signal::UserDefined(_) => "user-defined".to_owned(),
            signal => signal.to_string(),
        };
        let told = Told { signal: word, from: from.map(From::from), number, end, warning };
        jsonrpc::request(None, "signal", &told)
    }

    /// The line that says that the agent uses four fifths of what it may.
    pub(crate) fn warning(resource: Resource, measured: u64, limit: u64) -> String {
        #[derive(Serialize)]
        struct Warning {
            signal: &'static str,
            resource: Resource,
            measured: u64,
            limit: u64,
        }
        let warning = Warning { signal: "resource-warning", resource, measured, limit };
        jsonrpc::request(None, "signal", &warning)
    }

    /// The line that answers a request of the agent; an answer too long for a line becomes an error.
    pub(crate) fn answer(id: &Id, answer: &Result<Box<RawValue>, RpcError>) -> String {
        let line = jsonrpc::answer(Some(id), answer);
        if line.len() <= LINE_BYTES_MAX {
            return line;
        }
        let (size, max) = (line.len() as u64, LINE_BYTES_MAX as u64);
        let error = RpcError::from(&weft_protocol::Refusal::TooLarge { size, max });
        jsonrpc::answer(Some(id), &Err(error))
    }
}

impl std::convert::From<Sender> for From {
    fn from(sender: Sender) -> Self {
        match sender.principal {
            Principal::Operator => Self { node: sender.node, agent: None, process: None, operator: true },
            Principal::Agent { agent, process } => {
                Self { node: sender.node, agent: Some(agent), process: Some(process), operator: false }
            }
        }
    }
}

/// The grants as `initialize` tells them.
pub(crate) fn grant_texts(grants: &[GrantSpec]) -> Vec<String> {
    grants.iter().map(ToString::to_string).collect()
}

/// An answer to `initialize`: an object, or null.
fn check_introduction(result: &str) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Introduced {
        #[serde(rename = "name")]
        _name: Option<String>,
        #[serde(rename = "version")]
        _version: Option<String>,
        #[serde(rename = "methods")]
        _methods: Option<Vec<Method>>,
    }
    #[derive(serde::Deserialize)]
    struct Method {
        #[serde(rename = "name")]
        _name: String,
    }
    let introduced = serde_json::from_str::<Option<Introduced>>(result);
    introduced.map(drop).map_err(|error| format!("its answer does not fit: {error}"))
}

/// The reply to a message: a payload, or null.
fn read_reply(result: &str) -> Result<Option<Payload>, String> {
    let reply: Option<PayloadJson> = serde_json::from_str(result)
        .map_err(|error| clip(&format!("the agent's answer is not a payload: {error}"), 1_024))?;
    let payload = reply.map(PayloadJson::into_payload).transpose()?;
    match payload.as_ref().map(Payload::size) {
        Some(size) if size > ENVELOPE_BYTES_MAX => {
            Err(format!("the agent's answer has {size} bytes, at most {ENVELOPE_BYTES_MAX}"))
        }
        _ => Ok(payload),
    }
}

#[cfg(test)]
mod tests;
