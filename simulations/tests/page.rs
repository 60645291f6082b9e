//! The page about scenarios is whole: every key, weight, transition, fault, check and scenario is on it, and its examples run.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use weft_simulations::{Scenario, fault_names, names, run, run_steps, scenario};

const PAGE: &str = include_str!("../SCENARIOS.md");

fn examples() -> impl Iterator<Item = &'static str> {
    PAGE.split("```toml\n").skip(1).filter_map(|block| block.split("```").next())
}

/// The words in backquotes, and of `section.key` the key too.
fn words() -> BTreeSet<&'static str> {
    let quoted = PAGE.split('`').skip(1).step_by(2);
    quoted.flat_map(|word| [word.trim_matches(['[', ']']), word.rsplit('.').next().unwrap_or(word)]).collect()
}

/// What the reader says is known where an unknown word stands.
fn known(text: &str) -> Vec<String> {
    let error = Scenario::parse("known", text).expect_err("an unknown word").to_string();
    let (_, known) = error.split_once("; known are ").expect("they are listed");
    known.split(", ").map(str::to_owned).collect()
}

fn example() -> &'static str {
    examples().nth(1).expect("the second example")
}

#[test]
fn every_key_is_on_the_page() {
    let words = words();
    for section in
        ["", "[network]", "[disk]", "[clock]", "[agents]", "[weights]", "[thresholds]", "[[links]]", "[[script]]"]
    {
        let place = "[[script]]";
        let text = example().replacen(place, &format!("{section}\nqqqqqqqq = 1\n{place}"), 1);
        for key in known(&text) {
            assert!(words.contains(key.as_str()), "{section} {key} is not on the page");
        }
    }
}

#[test]
fn every_transition_is_on_the_page() {
    let words = words();
    for name in known(&example().replace("\"heal\"", "\"qqqqqqqq\"")) {
        assert!(words.contains(name.as_str()), "{name} is not on the page");
    }
}

#[test]
fn every_fault_and_check_is_on_the_page() {
    let words = words();
    let report = run_steps(&scenario("calm").expect("shipped"), 0, &[]);
    for name in report.checks.keys().copied().chain(fault_names()) {
        assert!(words.contains(name), "{name} is not on the page");
    }
}

#[test]
fn every_scenario_that_ships_is_on_the_page_with_its_sentence() {
    for name in names() {
        let about = scenario(name).expect("shipped").about;
        assert!(PAGE.contains(&format!("| `{name}` | {about} |")), "{name}: {about}");
    }
}

#[test]
fn the_examples_run() {
    for text in examples() {
        let scenario = Scenario::parse("example", text).expect(text);
        let report = run(&scenario, 7);
        assert!(report.pass, "{}: {}", scenario.name, report.failures.join("\n"));
    }
}
