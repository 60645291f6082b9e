//! The kernel as the target of a call: a few questions about this node, each of which only reads.
//!
//! `ping` answers `pong`; `echo TEXT` the text; `status`, `agents` and `services` answer JSON; `contract NAME [VERSION]` the contract of a
//! service. The question is text, or `{"cmd": "ping"}`, `{"cmd": "echo", "text": TEXT}`. A tool call is for `tools`.

use serde_json::{Value, json};
use weft_protocol::{Envelope, NodeId, Outcome, Payload, Receipt, Refusal, Role, ServiceName, Stage};

use super::record::Step;
use super::tools::is_tool_call;
use crate::kernel::Kernel;

const QUESTIONS: &str = "the kernel answers ping, echo TEXT, status, agents, services and contract NAME [VERSION]";

impl Kernel {
    /// Answers a permitted call at once; what was asked and that it was answered is recorded like any other call.
    pub(super) fn receive_for_kernel(
        &mut self,
        from: NodeId,
        role: Option<Role>,
        envelope: &Envelope,
        rule: &str,
    ) -> Result<(), Refusal> {
        if !envelope.wants_reply {
            return Err(Refusal::Invalid { message: format!("{QUESTIONS}: call it") });
        }
        if is_tool_call(&envelope.target, &envelope.payload) {
            return self.run_tool(from, role, envelope, rule);
        }
        let reply = self.answer_as_kernel(&envelope.payload)?;
        let target = envelope.target.to_string();
        let step = |stage, rule, body| Step {
            stage,
            message: envelope.id,
            trace: envelope.trace,
            from: &envelope.from,
            target: &target,
            peer: from,
            rule,
            body,
            durability: envelope.level.durability,
            cause: &envelope.cause,
            parts: None,
        };
        self.record_step(&step(Stage::Received, rule, Some(&envelope.payload)));
        let (hlc, record) = self.record_step(&step(Stage::Answered, "executed", Some(&reply)));
        let outcome = Outcome::Executed { reply: Some(reply) };
        self.give_receipt(from, Receipt { message: envelope.id, hlc, outcome, record, parts: None });
        Ok(())
    }

    fn answer_as_kernel(&self, question: &Payload) -> Result<Payload, Refusal> {
        let unknown = |asked: &str| {
            let asked: String = asked.chars().take(64).collect();
            Refusal::Invalid { message: format!("{QUESTIONS}, not `{asked}`") }
        };
        let text = match question {
            Payload::Text(text) => text.clone(),
            Payload::Json(text) => {
                let value: Value = serde_json::from_str(text).map_err(|_| unknown(text))?;
                let command = value.as_str().or_else(|| value.get("cmd").and_then(Value::as_str));
                let command = command.ok_or_else(|| unknown(text))?;
                match (command, value.get("text").and_then(Value::as_str)) {
                    ("echo", Some(words)) => format!("echo {words}"),
                    _ => command.to_owned(),
                }
            }
            Payload::Binary(_) | Payload::ToolCall { .. } | Payload::ToolResult { .. } | Payload::Signal(_) => {
                return Err(unknown("that"));
            }
        };
        let json = |value: Value| Ok(Payload::Json(value.to_string()));
        if let Some(words) = text.strip_prefix("echo ") {
            return Ok(Payload::Text(words.to_owned()));
        }
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["ping"] => Ok(Payload::Text("pong".to_owned())),
            ["status"] => json(self.status_json()),
            ["agents"] => json(self.agents_json()),
            ["services"] => json(self.services_json()),
            ["contract", service] => self.contract_json(service, None).and_then(json),
            ["contract", service, version] => self.contract_json(service, Some(version)).and_then(json),
            _ => Err(unknown(&text)),
        }
    }

    fn status_json(&self) -> Value {
        let chain = self.chain.durable();
        json!({
            "node": self.identity.chain.node, "name": self.identity.name, "build": self.identity.build,
            "state": self.state().to_string(), "agents": self.processes.all_living().count(),
            "services": self.services().len(), "events": chain.size(), "commits": chain.commits(),
        })
    }

    fn agents_json(&self) -> Value {
        let agents = self
            .processes
            .all_living()
            .map(|life| json!({"agent": life.spec.agent, "process": life.process, "state": life.state().to_string()}));
        json!({ "agents": agents.collect::<Vec<_>>() })
    }

    fn services_json(&self) -> Value {
        let services = self.services().into_iter().map(|service| {
            json!({
                "service": service.entry.name, "agent": service.entry.endpoint.agent(), "process": service.process,
                "contract": service.entry.contract, "audit": service.entry.audit_level, "load": service.load,
            })
        });
        json!({ "services": services.collect::<Vec<_>>() })
    }

    /// The contract of a service in use here, or a version of it that was ever registered here.
    fn contract_json(&self, service: &str, version: Option<&str>) -> Result<Value, Refusal> {
        let wrong = |error: weft_protocol::ParseError| Refusal::Invalid { message: error.to_string() };
        let service: ServiceName = service.parse().map_err(wrong)?;
        let version = match version {
            Some(version) => Some(version.parse().map_err(wrong)?),
            None => self.service(&service).and_then(|info| info.entry.contract).map(|contract| contract.version),
        };
        let contract = version.and_then(|version| self.contract(&service, &version));
        let nobody = || Refusal::NoResponder { target: format!("the contract of svc:{service}") };
        contract.map(weft_protocol::Contract::to_json).ok_or_else(nobody)
    }
}
