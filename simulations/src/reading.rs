//! From the text of a scenario to the scenario, and what is said when it is none: the line, what is wrong and what would be right.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::ranges::{Accepts, wrong};
use crate::scenario::{Scenario, ScenarioError};

/// The candidate within two edits of `word`, and few for its length; or else one that begins with it, or that it begins with.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let edits = |candidate: &&'a str| (strsim::osa_distance(word, candidate), *candidate);
    let close = |(distance, candidate): &(usize, &str)| *distance <= 2.min(candidate.len().div_ceil(3));
    let near = candidates.iter().map(edits).filter(close).min().map(|(_, candidate)| candidate);
    let longer = |candidate: &&&str| candidate.starts_with(word) || word.starts_with(**candidate);
    near.or_else(|| candidates.iter().find(longer).copied())
}

/// The scenario in this text; `name` is for errors alone.
pub(crate) fn read(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
    let malformed = |at: usize, reason: String| {
        let line = line_at(text, at);
        ScenarioError::Malformed { name: name.to_owned(), line, reason }
    };
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        malformed(span.start, words_of_syntax(error.message(), text.get(span).unwrap_or_default()))
    })?;
    let scenario: Scenario = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        malformed(at, words(error.message(), &place_at(&table, at)))
    })?;
    if let Some((at, key)) = pair_of_more(&table) {
        return Err(malformed(at, format!("`{key}` must be two numbers, [least, most]")));
    }
    match wrong(&scenario) {
        None => Ok(scenario),
        Some(wrong) => {
            let place = match find(&table, &wrong.path) {
                Some(at) => format!("{name}:{}", line_at(text, at)),
                None => name.to_owned(),
            };
            Err(ScenarioError::OutOfRange { place, field: wrong.key(), expected: wrong.expected })
        }
    }
}

fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// Where a path begins, or as much of it as the text has.
fn find(table: &Spanned<DeTable<'_>>, path: &[String]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, mut value) = table.get_ref().iter().find(|(key, _)| key.get_ref() == first.as_str())?;
    let mut at = key.span().start;
    for part in rest {
        let next = match value.get_ref() {
            DeValue::Table(inner) => inner
                .iter()
                .find(|(key, _)| key.get_ref() == part.as_str())
                .map(|(key, value)| (key.span().start, value)),
            DeValue::Array(items) => {
                part.parse::<usize>().ok().and_then(|place| items.get(place)).map(|item| (item.span().start, item))
            }
            _ => None,
        };
        let Some((start, inner)) = next else { break };
        (at, value) = (start, inner);
    }
    Some(at)
}

/// The keys down to the value at this place of the text.
fn place_at(table: &Spanned<DeTable<'_>>, at: usize) -> Vec<String> {
    fn descend(table: &DeTable<'_>, at: usize, path: &mut Vec<String>) {
        for (key, value) in table {
            if key.span().contains(&at) || value.span().contains(&at) {
                path.push(key.get_ref().to_string());
                return within(value.get_ref(), at, path);
            }
            let before = path.len();
            path.push(key.get_ref().to_string());
            let depth = path.len();
            within(value.get_ref(), at, path);
            if path.len() > depth {
                return;
            }
            path.truncate(before);
        }
    }
    fn within(value: &DeValue<'_>, at: usize, path: &mut Vec<String>) {
        match value {
            DeValue::Table(inner) => descend(inner, at, path),
            DeValue::Array(items) => items.iter().for_each(|item| within(item.get_ref(), at, path)),
            _ => {}
        }
    }
    let mut path = Vec::new();
    descend(table.get_ref(), at, &mut path);
    path
}

/// The first pair of numbers that is longer than one: the reader of TOML looks at its first two alone.
fn pair_of_more(table: &Spanned<DeTable<'_>>) -> Option<(usize, String)> {
    let long = |section: &str, key: &str, value: &DeValue<'_>| {
        Accepts::of(section, key) == Some(Accepts::Span) && value.as_array().is_some_and(|items| items.len() != 2)
    };
    table.get_ref().iter().find_map(|(key, value)| match value.get_ref() {
        DeValue::Table(inner) => inner.iter().find_map(|(name, value)| {
            let full = format!("{}.{}", key.get_ref(), name.get_ref());
            long(key.get_ref(), name.get_ref(), value.get_ref()).then_some((name.span().start, full))
        }),
        value => long("", key.get_ref(), value).then(|| (key.span().start, key.get_ref().to_string())),
    })
}

/// What is wrong with the TOML itself, and what to write.
fn words_of_syntax(message: &str, found: &str) -> String {
    let message = message.lines().collect::<Vec<_>>().join(", ");
    let hint = match message.as_str() {
        "duplicate key" => {
            return format!("`{}` is written twice; keep one", found.trim());
        }
        it if it.starts_with("string values must be quoted") || it.starts_with("invalid boolean") => {
            return "no value is written so: a text stands in quotes, a number bears no unit: name = \"mine\", nodes = 3"
                .to_owned();
        }
        it if it.starts_with("invalid basic string") => "a text ends with the quote it began with: name = \"mine\"",
        it if it.starts_with("key with no value") => "write key = value: nodes = 3",
        _ => return message,
    };
    format!("{message}; {hint}")
}

/// What is wrong with a scenario that is TOML, and what to write.
fn words(message: &str, path: &[String]) -> String {
    let first = message.lines().next().unwrap_or_default();
    if first.starts_with("wanted exactly 1 element") {
        return "a transition is one thing that happens; write a [[script]] for each".to_owned();
    }
    if let Some(rest) = first.strip_prefix("unexpected keys in table: ") {
        let (keys, available) = rest.split_once(", available keys: ").unwrap_or((rest, ""));
        let key = keys.split(", ").next().unwrap_or_default();
        return unknown("key", key, available.split(", ").collect(), path);
    }
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let names = quoted(first);
    let (one, others) = names.split_first().map_or(("", Vec::new()), |(one, others)| {
        (one.as_str(), others.iter().map(String::as_str).collect::<Vec<_>>())
    });
    if first.starts_with("unknown field") {
        return unknown("key", one, others, path);
    }
    if first.starts_with("unknown variant") {
        return unknown("word", one, others, path);
    }
    if first.starts_with("missing field") {
        return format!("`{one}` is missing; write {one} = {}", example(one, path));
    }
    let Some((found, expected)) = first.split_once(", expected ") else { return first.to_owned() };
    let key = path.last().map_or("the value", String::as_str);
    format!("`{key}` must be {}, not {}", expected_words(expected, key), found_words(found))
}

/// How a script writes what is a weight elsewhere, under another name.
fn scripted(weight: &str) -> Option<&'static str> {
    let written = match weight {
        "call_durable" => "call = { node = 0, to = 1, agent = \"echo\", durable = true }",
        "send_durable" => "send = { node = 0, to = 1, agent = \"echo\", durable = true }",
        "restore" => "copy_home = { node = 1 }, and later restore_home = { node = 1, copy = 0, memory = \"kept\" }",
        "kill" => "crash = { node = 1, unsynced = \"kept\", writing = true }",
        "scattered" => "crash = { node = 1, unsynced = \"scattered\", writing = true }",
        "torn" => "crash = { node = 1, unsynced = \"torn\", writing = true }",
        "one_way" => "cut_one_way = { from = 0, to = 1 }",
        "delay" => "delay_spike = { up_to_us = 500_000 }",
        "clock_forward" => "clock_step = { node = 1, by_us = 500_000 }",
        "clock_back" => "clock_step = { node = 1, by_us = -500_000 }",
        _ => return None,
    };
    Some(written)
}

fn unknown(kind: &str, word: &str, known: Vec<&str>, path: &[String]) -> String {
    if let Some(written) = scripted(word).filter(|_| kind == "word") {
        return format!("`{word}` is a weight; in a script write {written}");
    }
    if let Some(near) = nearest(word, known.iter().copied()) {
        return format!("unknown {kind} `{word}`; did you mean `{near}`?");
    }
    let sections = ["network", "disk", "clock", "agents", "weights", "thresholds", "links", "script", "transition"];
    let weighed = |section: &str| section == "weights" && !crate::scenario::weight_names().any(|name| name == word);
    let home = sections.into_iter().find(|section| Accepts::of(section, word).is_some() && !weighed(section));
    match (kind, home) {
        ("key", Some(section)) if path.first().is_none_or(|it| it != section) => {
            format!("unknown key `{word}` here; it belongs to `{section}`")
        }
        ("key", None) if Accepts::of("", word).is_some() => {
            format!("unknown key `{word}` here; it stands above the first [section]")
        }
        _ => format!("unknown {kind} `{word}`; known are {}", known.join(", ")),
    }
}

/// A value that the key would accept.
fn example(key: &str, path: &[String]) -> String {
    let section = match path {
        [script, .., last] if script == "script" && last != "script" => "transition",
        [] => "",
        [first, ..] => first.as_str(),
    };
    let text = match (Accepts::of(section, key).or_else(|| Accepts::of("", key)), key) {
        (Some(Accepts::Text), _) => "\"words\"",
        (Some(Accepts::Span), _) => "[1_000, 200_000]",
        (Some(Accepts::Number(..)), _) if key.ends_with("_us") || key.ends_with("_us_max") => "1_000_000",
        (Some(Accepts::Number(..)), "topic" | "copy") => "0",
        (Some(Accepts::Number(..)), _) => "3",
        (Some(Accepts::Node), _) => "1",
        (Some(Accepts::Side | Accepts::Group), _) => "[0]",
        (_, "agent") => "\"echo\"",
        (_, "durable" | "writing") => "false",
        (_, "unsynced") => "\"lost\"",
        (_, "memory") => "\"kept\"",
        (_, "transition") => "\"heal\"",
        (Some(Accepts::Promises | Accepts::Any) | None, _) => "…",
    };
    text.to_owned()
}

fn expected_words(expected: &str, key: &str) -> String {
    let words = match expected {
        "usize" | "u64" => "a whole number, zero or more",
        "i64" => "a whole number",
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "an array of length 2" => "two numbers, [least, most]",
        "a sequence" if key == "script" => "written as [[script]], with two brackets, once for each step",
        "a sequence" => "a list, as in [1, 2] or [\"one\", \"two\"]",
        it if it.starts_with("struct variant") => "a table of its fields, as in { node = 1 }",
        it if it.starts_with("struct") => "a table, written as [section] or { key = value }",
        it => it,
    };
    words.to_owned()
}

fn found_words(found: &str) -> String {
    let found = found.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ");
    if let Some(length) = found.strip_prefix("invalid length ") {
        return format!("{length} of them");
    }
    let value = found.split('`').nth(1);
    match (found, value) {
        ("map", _) => "a table".to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("unit variant", _) => "its name alone".to_owned(),
        (it, None) if it.starts_with("string ") => it.replacen("string", "the text", 1),
        (_, Some(value)) => value.to_owned(),
        (it, None) => it.to_owned(),
    }
}
