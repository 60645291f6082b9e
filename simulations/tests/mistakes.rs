//! What people get wrong in a scenario, and what they are told: the line, what is wrong there, and what to write.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use weft_simulations::Scenario;

/// The scenario that SCENARIOS.md begins with, and the one it goes on with.
fn examples() -> [&'static str; 2] {
    let page = include_str!("../SCENARIOS.md");
    let mut blocks = page.split("```toml\n").skip(1).map(|block| block.split("```").next().expect("a block"));
    [blocks.next().expect("the first"), blocks.next().expect("the second")]
}

/// What is written, what is written instead, and what is said then.
const MISTAKES: [(&str, &str, &str); 24] = [
    ("nodes = 3\n", "node = 3\n", "mine:3: unknown key `node`; did you mean `nodes`?"),
    ("nodes = 3\n", "", "mine:1: `nodes` is missing; write nodes = 3"),
    ("nodes = 3", "nodes = \"three\"", "mine:3: `nodes` must be a whole number, zero or more, not the text \"three\""),
    ("nodes = 3", "nodes = 1", "mine:3: `nodes` must be from 2 to 128"),
    ("nodes = 3", "nodes = -3", "mine:3: `nodes` must be a whole number, zero or more, not -3"),
    ("nodes = 3", "nodes: 3", "mine:3: key with no value, expected `=`; write key = value: nodes = 3"),
    ("nodes = 3", "nodes = 3\nlate = 3", "mine:4: `late` must be less than nodes"),
    (
        "name = \"first\"",
        "name = first",
        "mine:1: no value is written so: a text stands in quotes, a number bears no unit: name = \"mine\", nodes = 3",
    ),
    (
        "name = \"first\"",
        "name = \"first",
        "mine:1: invalid basic string, expected `\"`; a text ends with the quote it began with: name = \"mine\"",
    ),
    ("steps = 60\n", "steps = 60\nsteps = 70\n", "mine:5: `steps` is written twice; keep one"),
    (
        "pause_us = [1_000, 150_000]",
        "pause_us = 1_000",
        "mine:5: `pause_us` must be two numbers, [least, most], not 1000",
    ),
    (
        "pause_us = [1_000, 150_000]",
        "pause_us = [150_000, 1_000]",
        "mine:5: `pause_us` must be two numbers up to 3600000000, the smaller one first",
    ),
    ("pause_us = [1_000, 150_000]", "pause_us = [1, 2, 3]", "mine:5: `pause_us` must be two numbers, [least, most]"),
    ("[network]", "[netwrok]", "mine:8: unknown key `netwrok`; did you mean `network`?"),
    ("loss_per_mille = 10", "loss = 10", "mine:10: unknown key `loss`; did you mean `loss_per_mille`?"),
    (
        "loss_per_mille = 10",
        "loss_per_mille = 0.01",
        "mine:10: `loss_per_mille` must be a whole number, zero or more, not 0.01",
    ),
    ("loss_per_mille = 10", "loss_per_mille = 2000", "mine:10: `network.loss_per_mille` must be from 0 to 1000"),
    (
        "loss_per_mille = 10",
        "quiet_us_max = 10",
        "mine:10: unknown key `quiet_us_max` here; it stands above the first [section]",
    ),
    ("loss_per_mille = 10", "write_us = [1, 2]", "mine:10: unknown key `write_us` here; it belongs to `disk`"),
    ("call_durable = 12", "call_durabel = 12", "mine:15: unknown key `call_durabel`; did you mean `call_durable`?"),
    ("crash = 2", "crash = -1", "mine:19: `crash` must be a whole number, zero or more, not -1"),
    ("crash = 2", "crash = 2\n[weights]", "mine:20: `weights` is written twice; keep one"),
    (
        "[network]",
        "promises = [\"crash\"]\n[network]",
        "mine:8: `promises` must be names that reports give to faults and events; did you mean `crashes`?",
    ),
    (
        "[network]",
        "promises = \"crashes\"\n[network]",
        "mine:8: `promises` must be a list, as in [1, 2] or [\"one\", \"two\"], not the text \"crashes\"",
    ),
];

/// The same for steps that are written down.
const SCRIPTED: [(&str, &str, &str); 13] = [
    (
        "{ partition = { side = [2] } }",
        "{ partitoin = { side = [2] } }",
        "unknown word `partitoin`; did you mean `partition`?",
    ),
    ("{ partition = { side = [2] } }", "{ partition = { node = [2] } }", "unknown key `node`; did you mean `side`?"),
    (
        "{ partition = { side = [2] } }",
        "{ partition = { side = 2 } }",
        "`side` must be a list, as in [1, 2] or [\"one\", \"two\"], not 2",
    ),
    (
        "{ partition = { side = [2] } }",
        "{ partition = { side = [0, 1, 2] } }",
        "`script.transition.partition.side` must be some of the nodes from 0 to 2, and not all",
    ),
    (
        "{ partition = { side = [2] } }",
        "\"partition\"",
        "`transition` must be a table of its fields, as in { node = 1 }, not its name alone",
    ),
    ("transition = \"heal\"", "transition = \"heel\"", "unknown word `heel`; did you mean `heal`?"),
    (
        "transition = \"heal\"",
        "transition = { heal = {}, invite = { node = 1 } }",
        "a transition is one thing that happens; write a [[script]] for each",
    ),
    ("node = 0, to = 1", "node = 7, to = 1", "`script.transition.call.node` must be a node, from 0 to 2"),
    ("agent = \"echo\", durable", "agent = \"eco\", durable", "unknown word `eco`; did you mean `echo`?"),
    ("durable = true", "durable = 1", "`durable` must be true or false, not 1"),
    ("agent = \"echo\", durable = true", "durable = true", "`agent` is missing; write agent = \"echo\""),
    (
        "{ partition = { side = [2] } }",
        "{ kill = { node = 2 } }",
        "`kill` is a weight; in a script write crash = { node = 1, unsynced = \"kept\", writing = true }",
    ),
    ("{ partition = { side = [2] } }", "{ publish = { node = 2 } }", "`topic` is missing; write topic = 0"),
];

fn said(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the example has no {from}");
    Scenario::parse("mine", &text.replacen(from, to, 1)).expect_err(to).to_string()
}

#[test]
fn each_mistake_is_told_with_its_line_and_what_to_write() {
    for (from, to, expected) in MISTAKES {
        assert_eq!(said(examples()[0], from, to), expected, "{to}");
    }
}

#[test]
fn each_mistake_in_a_script_is_told_too() {
    let text = examples()[1];
    for (from, to, expected) in SCRIPTED {
        let before = text.find(from).expect("in the example");
        let line = text[..before].matches('\n').count() + 1;
        assert_eq!(said(text, from, to), format!("mine:{line}: {expected}"), "{to}");
    }
}

/// Each weight that is no transition of the same name is written otherwise in a script, and what is said then is right.
#[test]
fn what_is_said_of_a_weight_in_a_script_is_a_transition() {
    let text = examples()[1];
    let transition = "{ partition = { side = [2] } }";
    let error = |written: &str| Scenario::parse("mine", &text.replacen(transition, written, 1)).err();
    let known = error("{ qqqqqqqq = {} }").expect("none").to_string();
    let weights = error_of_weights();
    let mut others = 0;
    for weight in weights.split(", ").filter(|weight| !known.contains(&format!(" {weight},"))) {
        let said = error(&format!("{{ {weight} = {{}} }}")).expect("a weight").to_string();
        let (_, written) = said.split_once("in a script write ").unwrap_or_else(|| panic!("{weight}: {said}"));
        for one in written.split(", and later ") {
            let wrong = error(&format!("{{ {one} }}"));
            assert!(wrong.is_none(), "{weight}: {one}: {wrong:?}");
        }
        others += 1;
    }
    assert_eq!(others, 10);
}

/// All weights, as they are listed to whoever writes an unknown one.
fn error_of_weights() -> String {
    let error = Scenario::parse("mine", &examples()[0].replacen("crash = 2", "qqqqqqqq = 2", 1)).expect_err("none");
    error.to_string().split_once("; known are ").expect("they are listed").1.to_owned()
}

#[test]
fn a_script_in_single_brackets_is_told_how_it_is_written() {
    let (start, _) = examples()[1].split_once("[[script]]").expect("a script");
    let text = format!("{start}[script]\nat_us = 1\ntransition = \"heal\"\n");
    let error = Scenario::parse("mine", &text).expect_err("one table").to_string();
    assert!(error.ends_with("written as [[script]], with two brackets, once for each step, not a table"), "{error}");
}
