//! Every key of a scenario is read: an absurd value of any is refused, or the run fails because of it.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use toml::{Table, Value};
use weft_simulations::{Scenario, ScenarioError, run};

/// A scenario that passes, with something of everything: a slow agent that is quick, links of their own, two frames that overtake.
const SOUND: &str = r#"
name = "sound"
about = "Three nodes that call each other."
nodes = 3
steps = 1
pause_us = [0, 0]
quiet_us_max = 30_000_000

[groups]
near = [0]
far = [1]

[[links]]
between = ["near", "far"]
latency_us = [1_000, 3_000]

[agents]
slow_answer_us = [1_000, 2_000]
never_per_mille = 0

[thresholds]
success_per_mille_min = 800

[[script]]
at_us = 0
transition = { spawn = { node = 1, agent = "echo" } }

[[script]]
at_us = 0
transition = { spawn = { node = 1, agent = "slow" } }

[[script]]
at_us = 1_000_000
times = 12
every_us = 100_000
transition = { call = { node = 0, to = 1, agent = "echo", durable = true } }

[[script]]
at_us = 1_000_000
times = 12
every_us = 100_000
transition = { call = { node = 2, to = 1, agent = "slow", durable = false } }

[[script]]
at_us = 1_500_000
transition = { crash = { node = 2, unsynced = "lost", writing = false } }

[[script]]
at_us = 1_600_000
transition = { restart = { node = 2 } }
"#;

/// What comes of an absurd value.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The scenario is refused, with these words.
    Refused(&'static str),
    /// The run fails, with these words among its reasons.
    Fails(&'static str),
}
use Outcome::{Fails, Refused};

/// An hour: longer than anybody waits.
const HOUR: &str = "[3_600_000_000, 3_600_000_000]";

/// Section, key, absurd value, and what comes of it. Weights have one line for all.
const ABSURD: [(&str, &str, &str, Outcome); 48] = [
    ("", "name", "''", Refused("`name` must be a text in quotes")),
    ("", "about", "''", Refused("`about` must be a text in quotes")),
    ("", "nodes", "1_000_000", Refused("`nodes` must be from 2 to 128")),
    ("", "late", "3", Refused("`late` must be less than nodes")),
    ("", "older", "3", Refused("`older` must be less than nodes")),
    ("", "liars", "3", Refused("`liars` must be less than nodes")),
    ("", "full_mesh_max", "0", Refused("`full_mesh_max` must be from 1")),
    ("", "steps", "0", Refused("`steps` must be from 1")),
    ("", "pause_us", "[2, 1]", Refused("`pause_us` must be two numbers")),
    ("", "quiet_us_max", "1", Fails("converges: not quiet within 1 us")),
    ("", "promises", "['spawns-denied-elsewhere']", Fails("promises spawns-denied-elsewhere, and that never struck")),
    ("", "over_seeds", "7", Refused("`over_seeds` must be true or false")),
    ("", "network", "1", Refused("must be a table")),
    ("", "groups", "{ near = [7], far = [1] }", Refused("`groups.near` must be nodes, from 0 to 2")),
    ("", "links", "1", Refused("`links` must be")),
    ("", "disk", "1", Refused("must be a table")),
    ("", "clock", "1", Refused("must be a table")),
    ("", "agents", "1", Refused("must be a table")),
    ("", "weights", "1", Refused("must be a table")),
    ("", "thresholds", "1", Refused("must be a table")),
    ("", "script", "[]", Refused("`weights` must be not all zero, or the script not empty")),
    ("network", "latency_us", HOUR, Fails("did not find each other")),
    ("network", "loss_per_mille", "1000", Fails("did not find each other")),
    ("network", "duplicate_per_mille", "1001", Refused("`network.duplicate_per_mille` must be from 0 to 1000")),
    ("network", "bytes_per_s", "0", Refused("`network.bytes_per_s` must be from 1000")),
    ("links", "between", "['near', 'fra']", Refused("of which `fra` is none; did you mean `far`?")),
    ("links", "latency_us", HOUR, Fails("did not find each other")),
    ("links", "loss_per_mille", "1000", Fails("did not find each other")),
    ("links", "duplicate_per_mille", "1001", Refused("`links.duplicate_per_mille` must be from 0 to 1000")),
    ("links", "bytes_per_s", "0", Refused("`links.bytes_per_s` must be from 1000")),
    ("disk", "write_us", HOUR, Fails("did not find each other")),
    ("disk", "read_us", HOUR, Fails("converges")),
    ("clock", "offset_us_max", "1_000_000_000_000", Refused("`clock.offset_us_max` must be from 0 to 20000000")),
    ("clock", "drift_ppm_max", "1_000_000", Refused("`clock.drift_ppm_max` must be from 0 to 10000")),
    ("agents", "start_us", HOUR, Fails("converges")),
    ("agents", "answer_us", HOUR, Fails("calls-succeed")),
    ("agents", "slow_answer_us", HOUR, Fails("calls-succeed")),
    ("agents", "never_per_mille", "1000", Fails("calls-succeed")),
    ("agents", "large_per_mille", "1001", Refused("`agents.large_per_mille` must be from 0 to 1000")),
    ("thresholds", "convergence_us_max", "0", Fails("converges-in-time")),
    ("thresholds", "messages_max", "0", Fails("messages-within-threshold")),
    ("thresholds", "bytes_max", "0", Fails("bytes-within-threshold")),
    ("thresholds", "answer_us_p99_max", "0", Fails("answers-in-time")),
    (
        "thresholds",
        "success_per_mille_min",
        "1010",
        Refused("`thresholds.success_per_mille_min` must be from 0 to 1000"),
    ),
    ("script", "at_us", "1_000_000_000_000", Refused("`script.at_us` must be from 0 to 3600000000")),
    ("script", "times", "0", Refused("`script.times` must be from 1")),
    ("script", "every_us", "1_000_000_000_000", Refused("`script.every_us` must be from 0 to 3600000000")),
    (
        "script",
        "transition",
        "{ restart = { node = 3 } }",
        Refused("`script.transition.restart.node` must be a node, from 0 to 2"),
    ),
];

/// The scenario with one value changed: in the first of its links or steps where the section is one of those.
fn with(section: &str, key: &str, value: &str) -> String {
    let mut table: Table = SOUND.parse().expect("sound");
    let value = format!("it = {value}").parse::<Table>().expect("a value").remove("it").expect("it");
    let place = match section {
        "" => &mut table,
        "script" | "links" => {
            let list = table.get_mut(section).and_then(Value::as_array_mut).expect("a list");
            list[0].as_table_mut().expect("a table")
        }
        section => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            section.as_table_mut().expect("a table")
        }
    };
    place.insert(key.to_owned(), value);
    table.to_string()
}

/// What the reader itself says are the keys of a section.
fn keys_of(section: &str) -> Vec<String> {
    let error = Scenario::parse("keys", &with(section, "qqqqqqqq", "1")).expect_err("no key").to_string();
    let (_, keys) = error.split_once("; known are ").expect("they are listed");
    keys.split(", ").map(str::to_owned).collect()
}

fn outcome(section: &str, key: &str, value: &str) -> Result<Vec<String>, ScenarioError> {
    Scenario::parse("absurd", &with(section, key, value)).map(|scenario| run(&scenario, 1).failures)
}

#[test]
fn the_sound_scenario_passes() {
    let report = run(&Scenario::parse("sound", SOUND).expect("sound"), 1);
    assert!(report.pass, "{}", report.failures.join("\n"));
}

#[test]
fn every_key_has_a_line() {
    for section in ["", "network", "links", "disk", "clock", "agents", "thresholds", "script"] {
        for key in keys_of(section) {
            let has = ABSURD.iter().any(|(in_section, name, ..)| *in_section == section && *name == key);
            assert!(has, "{section}.{key} has no absurd value here");
        }
    }
}

#[test]
fn absurd_values_are_refused_or_fail_the_run() {
    let mut wrong = Vec::new();
    for (section, key, value, expected) in ABSURD {
        let (holds, came) = match outcome(section, key, value) {
            Err(error) => (matches!(expected, Refused(words) if error.to_string().contains(words)), error.to_string()),
            Ok(failures) => {
                let found = |words: &str| failures.iter().any(|reason| reason.contains(words));
                let first = failures.first().cloned().unwrap_or_else(|| "it passes".to_owned());
                (matches!(expected, Fails(words) if found(words)), first)
            }
        };
        if !holds {
            wrong.push(format!("{section}.{key} = {value}: {expected:?}, and what came is: {came}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn absurd_weights_are_refused() {
    let weights = keys_of("weights");
    assert!(weights.len() > 30, "{weights:?}");
    for weight in weights {
        let error = outcome("weights", &weight, "1_000_000_000_000").expect_err("refused").to_string();
        assert!(error.contains(&format!("`weights.{weight}` must be from 0 to 1000000")), "{error}");
    }
}
