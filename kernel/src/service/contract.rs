//! Checking what is sent to a method and what it answers, against the contract under which the message was let in.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;
use weft_protocol::limits::VIOLATION_CHARACTERS_MAX;
use weft_protocol::{Contract, ContractPart, MethodName, Payload, Refusal};

use super::schema::compile;

/// What one message to a service is held to, fixed when it is let in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bound {
    /// The contract of its method, when there is one.
    pub(crate) method: Option<Arc<CheckedMethod>>,
    /// Whether its steps are events of their own.
    pub(crate) in_full: bool,
}

/// A contract that can be checked.
#[derive(Debug)]
pub(crate) struct CheckedContract {
    methods: BTreeMap<MethodName, Arc<CheckedMethod>>,
}

/// One method of it.
#[derive(Debug)]
pub(crate) struct CheckedMethod {
    target: String,
    version: String,
    input: Option<Validator>,
    output: Option<Validator>,
}

impl CheckedContract {
    /// The contract with its schemas compiled.
    ///
    /// # Errors
    /// `invalid` with the method whose schema is not accepted, and why.
    pub(super) fn new(contract: &Contract) -> Result<Self, Refusal> {
        let mut methods = BTreeMap::new();
        for (name, method) in &contract.methods {
            let part = |schema: &Option<String>, part: &str| {
                let compiled = schema.as_deref().map(read_and_compile).transpose();
                compiled.map_err(|reason| Refusal::Invalid { message: format!("{part} of method {name}: {reason}") })
            };
            let checked = CheckedMethod {
                target: format!("svc:{}.{name}", contract.service),
                version: contract.version.to_string(),
                input: part(&method.input, "the input")?,
                output: part(&method.output, "the output")?,
            };
            methods.insert(name.clone(), Arc::new(checked));
        }
        Ok(Self { methods })
    }

    /// One method.
    pub(super) fn method(&self, name: &MethodName) -> Option<&Arc<CheckedMethod>> {
        self.methods.get(name)
    }

    /// All names, for people.
    pub(super) fn names(&self) -> String {
        self.methods.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

fn read_and_compile(text: &str) -> Result<Validator, String> {
    let schema = serde_json::from_str(text).map_err(|error| format!("the schema is not JSON: {error}"))?;
    compile(&schema)
}

impl CheckedMethod {
    /// Whether the arguments are what the contract says.
    ///
    /// # Errors
    /// `contract-violated` with the first place that is not.
    pub(crate) fn check_input(&self, payload: &Payload) -> Result<(), Refusal> {
        self.check(ContractPart::Input, self.input.as_ref(), Some(payload))
    }

    /// Whether the answer is what the contract says; no answer is `null`.
    ///
    /// # Errors
    /// `contract-violated` with the first place that is not.
    pub(crate) fn check_output(&self, payload: Option<&Payload>) -> Result<(), Refusal> {
        self.check(ContractPart::Output, self.output.as_ref(), payload)
    }

    fn check(
        &self,
        part: ContractPart,
        validator: Option<&Validator>,
        payload: Option<&Payload>,
    ) -> Result<(), Refusal> {
        let Some(validator) = validator else { return Ok(()) };
        let value = value_of(payload).map_err(|reason| self.violated(part, "", &reason))?;
        let checked = validator.validate(&value);
        checked.map_err(|error| self.violated(part, error.instance_path().as_str(), &error.to_string()))
    }

    fn violated(&self, part: ContractPart, path: &str, reason: &str) -> Refusal {
        let clip = |text: &str| text.chars().take(VIOLATION_CHARACTERS_MAX).collect();
        let (target, version) = (self.target.clone(), self.version.clone());
        Refusal::ContractViolated { target, version, part, path: clip(path), reason: clip(reason) }
    }
}

/// The JSON value that a payload stands for: plain text is a string.
fn value_of(payload: Option<&Payload>) -> Result<Value, String> {
    match payload {
        None => Ok(Value::Null),
        Some(Payload::Json(text)) => serde_json::from_str(text).map_err(|error| format!("not one JSON value: {error}")),
        Some(Payload::Text(text)) => Ok(Value::String(text.clone())),
        Some(Payload::Binary(_) | Payload::ToolCall { .. } | Payload::ToolResult { .. } | Payload::Signal(_)) => {
            Err("a method with a contract takes and gives JSON or text".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method() -> Arc<CheckedMethod> {
        let contract = serde_json::json!({"version": "1.0.0", "methods": {"run": {
            "input": {"type": "object", "required": ["items"], "properties": {
                "items": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}},
            "output": {"type": "integer"}}}});
        let contract = Contract::read("sum".parse().expect("a name"), contract).expect("a contract");
        let checked = CheckedContract::new(&contract).expect("schemas");
        Arc::clone(checked.method(&"run".parse().expect("a name")).expect("a method"))
    }

    #[test]
    fn a_violation_names_the_failing_path() {
        let json = |text: &str| Payload::Json(text.to_owned());
        let said = |checked: Result<(), Refusal>| checked.expect_err("accepted").to_string();
        let method = method();
        assert_eq!(method.check_input(&json(r#"{"items":[{"name":"a"}]}"#)), Ok(()));
        assert_eq!(
            said(method.check_input(&json(r#"{"items":[{"name":5}]}"#))),
            "the arguments break the contract of svc:sum.run 1.0.0: /items/0/name: 5 is not of type \"string\""
        );
        assert_eq!(
            said(method.check_input(&json("{}"))),
            "the arguments break the contract of svc:sum.run 1.0.0: as a whole: \"items\" is a required property"
        );
        assert_eq!(
            said(method.check_input(&Payload::Text("{}".to_owned()))),
            "the arguments break the contract of svc:sum.run 1.0.0: as a whole: \"{}\" is not of type \"object\""
        );
        assert_eq!(method.check_output(Some(&json("5"))), Ok(()));
        assert_eq!(
            said(method.check_output(None)),
            "the answer breaks the contract of svc:sum.run 1.0.0: as a whole: null is not of type \"integer\""
        );
        let long = json(&format!(r#"{{"items":"{}"}}"#, "x".repeat(100_000)));
        assert!(said(method.check_input(&long)).len() < 1_024);
    }
}
