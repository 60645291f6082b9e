//! What each key of a scenario accepts, by its name: one line a key, so that none is read unbounded.

use serde_json::Value;

use crate::faults::Fault;
use crate::scenario::{Scenario, Weights};
use crate::transition::{Step, Transition};

/// Most nodes of one run: each keeps two images of its database in memory.
const NODES_MAX: i128 = 128;
/// Most steps of one run.
const STEPS_MAX: i128 = 10_000;
/// Longest time a scenario may name, in microseconds: an hour of a world in which everything is over in minutes.
const TIME_US_MAX: i128 = 3_600_000_000;
/// Largest weight: the sum of all fits a draw (guess).
const WEIGHT_MAX: i128 = 1_000_000;
/// Largest count of bytes or frames: more than any run moves.
const COUNT_MAX: i128 = 1_000_000_000_000;

/// What a key accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    /// Any text but an empty one.
    Text,
    /// A whole number within these.
    Number(i128, i128),
    /// Two times in microseconds, the smaller one first.
    Span,
    /// A node of the scenario.
    Node,
    /// Nodes of the scenario, at least one and not all.
    Side,
    /// Nodes of the scenario, at least one.
    Group,
    /// Names that reports give to faults and events.
    Promises,
    /// Whatever its type says.
    Any,
}

const TIME: Accepts = Accepts::Number(0, TIME_US_MAX);
const RATE: Accepts = Accepts::Number(0, 1_000);

impl Accepts {
    /// What `key` of `section` accepts: sections are the tables of a scenario, its steps are `script`, and what happens in them
    /// is `transition`. None for a key that nobody gave a range.
    pub(crate) fn of(section: &str, key: &str) -> Option<Self> {
        let accepts = match (section, key) {
            ("", "name" | "about") => Self::Text,
            ("", "nodes") => Self::Number(2, NODES_MAX),
            ("", "late" | "older" | "liars") => Self::Number(0, NODES_MAX),
            ("", "full_mesh_max") => Self::Number(1, NODES_MAX),
            ("", "steps") => Self::Number(1, STEPS_MAX),
            ("", "quiet_us_max") => Self::Number(1, TIME_US_MAX),
            ("", "promises") => Self::Promises,
            ("groups", _) => Self::Group,
            ("", "over_seeds") | ("links", "between") => Self::Any,
            ("", "pause_us") | ("network", "latency_us") | ("disk", "write_us" | "read_us") => Self::Span,
            ("agents", "start_us" | "answer_us" | "slow_answer_us") => Self::Span,
            ("links", "latency_us") => Self::Span,
            ("network" | "links", "loss_per_mille" | "duplicate_per_mille") => RATE,
            ("network" | "links" | "transition", "bytes_per_s") => Self::Number(1_000, COUNT_MAX),
            ("agents", "never_per_mille" | "large_per_mille") => RATE,
            ("clock", "offset_us_max") => Self::Number(0, 20_000_000),
            ("clock", "drift_ppm_max") => Self::Number(0, 10_000),
            ("weights", _) => Self::Number(0, WEIGHT_MAX),
            ("script", "at_us" | "every_us") | ("steps", "at_us") => TIME,
            ("script", "times") => Self::Number(1, STEPS_MAX),
            ("transition", "node" | "to" | "from" | "on") => Self::Node,
            ("transition", "side") => Self::Side,
            ("transition", "per_mille") => RATE,
            ("thresholds", "convergence_us_max" | "answer_us_p99_max") => TIME,
            ("thresholds", "messages_max" | "bytes_max") => Self::Number(0, COUNT_MAX),
            ("thresholds", "success_per_mille_min") => RATE,
            ("transition", "joiners") => Self::Group,
            ("transition", "times") => Self::Number(1, 1_000),
            ("transition", "deadline_us" | "up_to_us" | "apart_us" | "together_us" | "up_us" | "down_us") => TIME,
            ("transition", "by_us" | "offset_us") => Self::Number(-TIME_US_MAX, TIME_US_MAX),
            ("transition", "drift_ppm") => Self::Number(-10_000, 10_000),
            ("transition", "topic" | "copy") => Self::Number(0, COUNT_MAX),
            ("transition", "agent" | "durable" | "unsynced" | "writing" | "memory" | "how") => Self::Any,
            _ => return None,
        };
        Some(accepts)
    }

    /// What is expected in words, when `value` is not that.
    fn refuses(self, value: &Value, nodes: usize) -> Option<String> {
        let number = |value: &Value| value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from));
        let node = |value: &Value| value.as_u64().is_some_and(|node| node < nodes as u64);
        let within = |least: i128, most: i128| number(value).is_none_or(|it| (least..=most).contains(&it));
        let (holds, expected) = match self {
            Self::Text => (value.as_str().is_some_and(|text| !text.trim().is_empty()), "a text in quotes".to_owned()),
            Self::Number(least, most) => (within(least, most), format!("from {least} to {most}")),
            Self::Span => {
                let numbers: Vec<i128> = value.as_array().into_iter().flatten().filter_map(number).collect();
                let holds = numbers.is_sorted() && numbers.iter().all(|it| (0..=TIME_US_MAX).contains(it));
                (holds, format!("two numbers up to {TIME_US_MAX}, the smaller one first"))
            }
            Self::Node => (value.is_null() || node(value), format!("a node, from 0 to {}", nodes - 1)),
            Self::Side => {
                let side = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let holds = !side.is_empty() && side.len() < nodes && side.iter().all(node);
                (holds, format!("some of the nodes from 0 to {}, and not all", nodes - 1))
            }
            Self::Group => {
                let group = value.as_array().map(Vec::as_slice).unwrap_or_default();
                (!group.is_empty() && group.iter().all(node), format!("nodes, from 0 to {}", nodes - 1))
            }
            Self::Promises => {
                let names: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let unknown = names.iter().find(|name| Fault::named(name).is_none());
                let near = unknown.and_then(|name| crate::reading::nearest(name, Fault::names()));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                (unknown.is_none(), format!("names that reports give to faults and events{hint}"))
            }
            Self::Any => (true, String::new()),
        };
        (!holds).then_some(expected)
    }
}

/// A value that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Where it stands: keys and places in lists, from the outermost.
    pub(crate) path: Vec<String>,
    /// What is accepted.
    pub(crate) expected: String,
}

impl Wrong {
    fn new(path: &[&str], expected: impl Into<String>) -> Self {
        Self { path: path.iter().map(|part| (*part).to_owned()).collect(), expected: expected.into() }
    }

    /// The key as people write it: without places in lists.
    pub(crate) fn key(&self) -> String {
        let keys: Vec<&str> =
            self.path.iter().filter(|part| part.parse::<usize>().is_err()).map(String::as_str).collect();
        keys.join(".")
    }
}

/// The first value of a scenario that is not accepted.
pub(crate) fn wrong(scenario: &Scenario) -> Option<Wrong> {
    let Ok(Value::Object(all)) = serde_json::to_value(scenario) else { return None };
    let nodes = scenario.nodes.max(1);
    // How many nodes there are is what other keys are compared with.
    let nodes_first = all.get_key_value("nodes").into_iter().chain(&all);
    for (key, value) in nodes_first {
        let found = match value {
            Value::Object(table) => table
                .iter()
                .find_map(|(inner, value)| refused(&[key.as_str(), inner.as_str()], key, inner, value, nodes)),
            Value::Array(steps) if key == "script" || key == "links" => steps
                .iter()
                .zip(0_usize..)
                .find_map(|(step, number)| step_refused(step, key, &number.to_string(), nodes)),
            value => refused(&[key.as_str()], "", key, value, nodes),
        };
        if found.is_some() {
            return found;
        }
    }
    together(scenario)
}

/// The first value of these steps that is not accepted in a world of so many nodes.
pub(crate) fn wrong_step(steps: &[Step], nodes: usize) -> Option<Wrong> {
    let steps = steps.iter().zip(0_usize..);
    steps
        .filter_map(|(step, number)| Some((serde_json::to_value(step).ok()?, number)))
        .find_map(|(step, number)| step_refused(&step, "steps", &number.to_string(), nodes))
}

fn refused(path: &[&str], section: &str, key: &str, value: &Value, nodes: usize) -> Option<Wrong> {
    let expected = match Accepts::of(section, key) {
        Some(accepts) => accepts.refuses(value, nodes)?,
        None => "of a range that this program knows; it knows none, which is its defect".to_owned(),
    };
    Some(Wrong::new(path, expected))
}

fn step_refused(step: &Value, list: &str, number: &str, nodes: usize) -> Option<Wrong> {
    step.as_object()?.iter().find_map(|(key, value)| {
        if key != "transition" {
            return refused(&[list, number, key.as_str()], list, key, value, nodes);
        }
        let (what, fields) = value.as_object()?.iter().next()?;
        let mut fields = fields.as_object()?.iter();
        fields.find_map(|(field, value)| {
            let path = [list, number, "transition", what.as_str(), field.as_str()];
            refused(&path, "transition", field, value, nodes)
        })
    })
}

/// What keys say only together.
fn together(scenario: &Scenario) -> Option<Wrong> {
    let scripted = scenario.script.iter().fold(0_u64, |sum, step| sum.saturating_add(step.times));
    let without = scenario.weights == Weights::default() && scenario.script.is_empty();
    for (class, number) in scenario.links.iter().zip(0_usize..) {
        if let Some(unknown) = class.between.iter().find(|name| !scenario.groups.contains_key(*name)) {
            let near = crate::reading::nearest(unknown, scenario.groups.keys().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let expected = format!("two names of [groups], of which `{unknown}` is none{hint}");
            return Some(Wrong::new(&["links", &number.to_string(), "between"], expected));
        }
    }
    let honest = scenario.nodes.saturating_sub(scenario.liars);
    for (step, number) in scenario.script.iter().zip(0_usize..) {
        if matches!(step.transition, Transition::Lie { node, .. } if node < honest) {
            let path = ["script", &number.to_string(), "transition", "lie", "node"];
            return Some(Wrong::new(&path, "one of the last nodes, as many as `liars` says"));
        }
    }
    let checks = [
        (scenario.late >= scenario.nodes, "late", "less than nodes"),
        (scenario.older >= scenario.nodes, "older", "less than nodes"),
        (scenario.liars >= scenario.nodes, "liars", "less than nodes"),
        (scenario.weights.lie > 0 && scenario.liars == 0, "liars", "at least 1 where lies have a weight"),
        (without, "weights", "not all zero, or the script not empty"),
        (i128::from(scripted) > STEPS_MAX, "script", "of at most 10000 steps"),
    ];
    checks.into_iter().find(|(holds, ..)| *holds).map(|(_, key, expected)| Wrong::new(&[key], expected))
}
