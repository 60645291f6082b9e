//! Services: what answers under a name, and the contracts that say what it takes and gives.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::codec::encode;
use crate::envelope::Principal;
use crate::error::ParseError;
use crate::hash::{Digest, hash};
use crate::id::{AgentName, ContractVersion, MethodName, ServiceName};
use crate::limits::{CONTRACT_BYTES_MAX, METHODS_MAX};
use crate::process::ExitReason;
use crate::time::Timestamp;

/// How calls of a service are recorded on the node that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditLevel {
    /// Each step of each call is an event of its own (`ipc.message`) with its body, as those of durable messages are.
    Full,
    /// The gate's decision and the hash of the body, as a leaf under the root of a batch (`ipc.batch`). What its sender
    /// wants durable is an event all the same.
    GateOnly,
}

impl fmt::Display for AuditLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "full",
            Self::GateOnly => "gate-only",
        })
    }
}

impl FromStr for AuditLevel {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "full" => Ok(Self::Full),
            "gate-only" => Ok(Self::GateOnly),
            _ => Err(ParseError::new(text, "an audit level (full or gate-only)")),
        }
    }
}

/// Who answers for a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The mailbox of whatever process runs under this name on the same node.
    Agent(AgentName),
}

impl Endpoint {
    /// The agent that answers.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        match self {
            Self::Agent(agent) => agent,
        }
    }
}

/// One contract, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContractRef {
    /// Which version.
    pub version: ContractVersion,
    /// See [`Contract::content_hash`].
    pub hash: Digest,
}

/// What is served on one node: kept apart from the process that answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// Its name, unique on its node.
    pub name: ServiceName,
    /// Who registered it. An agent's services end with that agent; an operator's stay until they are unregistered.
    pub owner: Principal,
    /// Who answers.
    pub endpoint: Endpoint,
    /// What it promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractRef>,
    /// How its calls are recorded.
    pub audit_level: AuditLevel,
    /// When, by its node's clock.
    pub registered_at: Timestamp,
}

/// Why something is not served any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceEnd {
    /// Somebody asked for that.
    Unregistered {
        /// Who.
        by: Principal,
    },
    /// The agent that registered it is no more.
    OwnerEnded {
        /// Why.
        reason: ExitReason,
    },
}

/// The end of a service on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEnded {
    /// Which.
    pub name: ServiceName,
    /// Why.
    pub end: ServiceEnd,
}

/// What one method takes and gives. Without a schema it takes or gives anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MethodContract {
    /// JSON Schema of the arguments, as canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// JSON Schema of the answer, as canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// What a service promises. A version of it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Which service.
    pub service: ServiceName,
    /// Which version.
    pub version: ContractVersion,
    /// Its methods; at least one, at most 64.
    pub methods: BTreeMap<MethodName, MethodContract>,
}

/// A contract on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractRegistered {
    /// All of it.
    pub contract: Contract,
    /// See [`Contract::content_hash`].
    pub hash: Digest,
    /// Who registered it.
    pub by: Principal,
}

/// Why a text is no contract. The writer's fault; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// More bytes than fit into an event.
    #[error("the contract has {size} bytes, at most {CONTRACT_BYTES_MAX}")]
    TooLarge {
        /// Its bytes, without insignificant spaces.
        size: usize,
    },
    /// Not the JSON of a contract.
    #[error("the contract cannot be read: {reason}")]
    Json {
        /// What is wrong, and where.
        reason: String,
    },
    /// No method, or too many.
    #[error("the contract has {count} methods, at least 1 and at most {METHODS_MAX}")]
    Methods {
        /// How many.
        count: usize,
    },
}

/// The form in which people write a contract.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: ContractVersion,
    methods: BTreeMap<MethodName, WrittenMethod>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMethod {
    input: Option<Value>,
    output: Option<Value>,
}

impl Contract {
    /// The contract of `service` that `{"version": …, "methods": {"NAME": {"input": SCHEMA, "output": SCHEMA}}}` describes.
    /// Whether the schemas are schemas is not checked here.
    ///
    /// # Errors
    /// [`ContractError`] when the value has another form or is out of bounds.
    pub fn read(service: ServiceName, value: Value) -> Result<Self, ContractError> {
        let written: Written =
            serde_json::from_value(value).map_err(|error| ContractError::Json { reason: error.to_string() })?;
        if written.methods.is_empty() || written.methods.len() > METHODS_MAX {
            return Err(ContractError::Methods { count: written.methods.len() });
        }
        let method = |WrittenMethod { input, output }| MethodContract {
            input: input.as_ref().map(canonical),
            output: output.as_ref().map(canonical),
        };
        let methods = written.methods.into_iter().map(|(name, written)| (name, method(written))).collect();
        let contract = Self { service, version: written.version, methods };
        let size = encode(&contract).len();
        if size > CONTRACT_BYTES_MAX { Err(ContractError::TooLarge { size }) } else { Ok(contract) }
    }

    /// The form that [`Contract::read`] reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // A schema was canonical JSON when it was read; one that another program wrote and that is not is shown as its text.
        let schema = |text: &Option<String>| {
            text.as_ref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())))
        };
        let methods = self.methods.iter().map(|(name, method)| {
            let parts = [("input", schema(&method.input)), ("output", schema(&method.output))];
            let parts = parts.into_iter().filter_map(|(part, schema)| Some((part.to_owned(), schema?)));
            (name.to_string(), Value::Object(parts.collect()))
        });
        json!({ "version": self.version, "methods": methods.collect::<Map<_, _>>() })
    }

    /// `H("contract", canonical encoding)`: the same exactly for the same content, however it was spaced or sorted.
    #[must_use]
    pub fn content_hash(&self) -> Digest {
        hash("contract", &[&encode(self)])
    }

    /// Its name.
    #[must_use]
    pub fn reference(&self) -> ContractRef {
        ContractRef { version: self.version.clone(), hash: self.content_hash() }
    }
}

/// JSON without spaces, with the members of objects sorted.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            let members =
                sorted.into_iter().map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Contract, ContractError> {
        Contract::read("words".parse().expect("a name"), serde_json::from_str(text).expect("JSON"))
    }

    #[test]
    fn the_same_content_has_the_same_hash_and_another_content_another() {
        let one = read(r#"{"version":"1.0.0","methods":{"count":{"input":{"type":"object","required":["text"]}}}}"#);
        let same =
            read(r#"{"methods": {"count": {"input": {"required": ["text"], "type": "object"}}}, "version": "1.0.0"}"#);
        let other = read(r#"{"version":"1.0.0","methods":{"count":{"output":{"type":"object","required":["text"]}}}}"#);
        let (one, same, other) = (one.expect("a contract"), same.expect("a contract"), other.expect("a contract"));
        assert_eq!(one.content_hash(), same.content_hash());
        assert_ne!(one.content_hash(), other.content_hash());
        assert_eq!(Contract::read(one.service.clone(), one.to_json()), Ok(one));
    }

    #[test]
    fn what_is_no_contract_is_refused_with_the_reason() {
        let cases = [
            (r#"{"version":"1","methods":{}}"#, "the contract has 0 methods, at least 1 and at most 64"),
            (r#"{"methods":{"a":{}}}"#, "the contract cannot be read: missing field `version`"),
            (r#"{"version":"1","methods":{"a":{"inptu":{}}}}"#, "unknown field `inptu`, expected `input` or `output`"),
            (r#"{"version":"","methods":{"a":{}}}"#, "is not a version"),
            (r#"{"version":"1","methods":{"a b":{}}}"#, "is not a method"),
        ];
        for (text, expected) in cases {
            let refused = read(text).expect_err(text).to_string();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
        let long = format!(r#"{{"version":"1","methods":{{"a":{{"input":{{"title":"{}"}}}}}}}}"#, "x".repeat(50_000));
        assert!(matches!(read(&long), Err(ContractError::TooLarge { .. })));
        let many: Vec<String> = (0..65).map(|number| format!(r#""m{number}":{{}}"#)).collect();
        assert_eq!(
            read(&format!(r#"{{"version":"1","methods":{{{}}}}}"#, many.join(","))),
            Err(ContractError::Methods { count: 65 })
        );
    }
}
