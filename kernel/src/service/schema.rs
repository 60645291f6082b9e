//! Which JSON Schemas are accepted: complete in themselves, and so small that checking one value is bounded.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};
use weft_protocol::limits::{SCHEMA_DEPTH_MAX, SCHEMA_STEPS_MAX};

/// Most bytes of one compiled pattern: it runs without backtracking, in time linear in what it reads (guess).
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Keywords that hold one schema.
const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that hold a list of schemas.
const LIST: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
/// Keywords that hold schemas by name.
const NAMED: [&str; 4] = ["dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Keywords that change what a reference means.
const REFUSED: [&str; 6] = ["$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef"];

/// The schema, ready to check values.
///
/// # Errors
/// Why it is not accepted, as a sentence without its end. Nothing was changed.
pub(super) fn compile(schema: &Value) -> Result<Validator, String> {
    if depth(schema) > SCHEMA_DEPTH_MAX {
        return Err(format!("the schema nests deeper than {SCHEMA_DEPTH_MAX}"));
    }
    let steps = Walk { root: schema, known: BTreeMap::new(), open: Vec::new() }.steps(schema)?;
    if steps > SCHEMA_STEPS_MAX {
        return Err(format!("the schema checks a value in {steps} steps, at most {SCHEMA_STEPS_MAX} are accepted"));
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| format!("the schema is none: {}: {error}", place(error.instance_path().as_str())))
}

fn place(path: &str) -> &str {
    if path.is_empty() { "as a whole" } else { path }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Counts the subschemas that one value can be checked against. Invariant: `open` are the references being followed.
struct Walk<'a> {
    root: &'a Value,
    known: BTreeMap<&'a str, usize>,
    open: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn steps(&mut self, schema: &'a Value) -> Result<usize, String> {
        let Value::Object(members) = schema else { return Ok(1) };
        if let Some(refused) = REFUSED.iter().find(|keyword| members.contains_key(**keyword)) {
            return Err(format!(
                "the schema uses {refused}, which is not served: refer to a part of it by #/$defs/NAME"
            ));
        }
        let mut steps = 1_usize;
        for part in parts(members) {
            steps = steps.saturating_add(self.steps(part)?);
        }
        if let Some(reference) = members.get("$ref") {
            steps = steps.saturating_add(self.referred(reference)?);
        }
        Ok(steps)
    }

    fn referred(&mut self, reference: &'a Value) -> Result<usize, String> {
        let Value::String(reference) = reference else { return Err("the schema's $ref is no text".to_owned()) };
        let reference = reference.as_str();
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target else {
            return Err(format!("the schema refers to {reference}, which is no part of it"));
        };
        if self.open.contains(&reference) {
            return Err(format!("the schema refers to itself through {reference}; it must end somewhere"));
        }
        if let Some(steps) = self.known.get(reference) {
            return Ok(*steps);
        }
        self.open.push(reference);
        let steps = self.steps(target)?;
        self.open.pop();
        self.known.insert(reference, steps);
        Ok(steps)
    }
}

/// The schemas directly inside one, definitions aside: those count where they are referred to.
fn parts(members: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    members.iter().flat_map(|(keyword, value)| -> Vec<&Value> {
        match value {
            Value::Array(values) if LIST.contains(&keyword.as_str()) => values.iter().collect(),
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => named.values().collect(),
            value if ONE.contains(&keyword.as_str()) => vec![value],
            _ => Vec::new(),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> String {
        compile(schema).expect_err("accepted")
    }

    #[test]
    fn what_is_no_schema_or_not_complete_is_refused_with_the_reason() {
        let cases = [
            (json!(5), "the schema is none: as a whole: 5 is not of types"),
            (json!({"type": "objekt"}), "the schema is none: /type: \"objekt\""),
            (json!({"$ref": "https://example.com/x"}), "refers to https://example.com/x, which is no part of it"),
            (json!({"$ref": "file:///etc/passwd"}), "refers to file:///etc/passwd, which is no part of it"),
            (json!({"$ref": "#/$defs/x"}), "refers to #/$defs/x, which is no part of it"),
            (json!({"$id": "https://example.com/x"}), "uses $id, which is not served"),
            (json!({"properties": {"a": {"$ref": "#"}}}), "refers to itself through #"),
            (
                json!({"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}),
                "refers to itself through #/$defs/a",
            ),
            (json!({"pattern": "(?=a)b"}), "is not a \"regex\""),
            (json!({"$schema": "https://example.com/draft"}), "Unknown meta-schema"),
        ];
        for (schema, expected) in cases {
            let said = refused(&schema);
            assert!(said.contains(expected), "{schema}: {said}");
        }
    }

    #[test]
    fn a_small_schema_that_unfolds_without_end_is_refused_at_once() {
        let mut definitions = Map::new();
        definitions.insert("d0".to_owned(), json!({"type": "string"}));
        for number in 1..40 {
            let before = json!({"$ref": format!("#/$defs/d{}", number - 1)});
            definitions.insert(format!("d{number}"), json!({"allOf": [before, before]}));
        }
        let bomb = json!({"$defs": definitions, "$ref": "#/$defs/d39"});
        assert!(refused(&bomb).contains("at most 1024 are accepted"), "{}", refused(&bomb));
        let deep = (0..40).fold(json!({}), |inner, _| json!({"not": inner}));
        assert_eq!(refused(&deep), "the schema nests deeper than 32");
    }

    #[test]
    fn a_pattern_that_would_backtrack_for_ever_is_checked_in_linear_time() {
        let validator = compile(&json!({"pattern": "^(a+)+$"})).expect("a schema");
        assert!(!validator.is_valid(&json!(format!("{}!", "a".repeat(100_000)))));
        assert!(compile(&json!({"pattern": "(((a{1,99}){1,99}){1,99}){1,99}"})).is_err());
    }

    #[test]
    fn parts_of_itself_may_be_used_often() {
        let schema = json!({"$defs": {"name": {"type": "string"}}, "properties": {
            "first": {"$ref": "#/$defs/name"}, "last": {"$ref": "#/$defs/name"}, "$id": {"const": 1}}});
        let validator = compile(&schema).expect("a schema");
        assert!(validator.is_valid(&json!({"first": "a", "last": "b"})));
        assert!(!validator.is_valid(&json!({"last": 1})));
    }
}
