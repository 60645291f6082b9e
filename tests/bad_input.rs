//! Bad input of every kind, each with its exact code, exit code or HTTP status, and message, and nothing changed.
//!
//! The cases are in `bad_input/*.txt`, one block each: what is typed or sent, then the exit code or status and the error code,
//! then the message as it is told to a person (of the local door: the message of the error object). Words in braces stand for
//! what each run has anew. Two cases whose messages differ in nothing but names and numbers fail at the same place and count
//! once; there must be at least [`CASES_MIN`].

mod door;
mod table;
mod world;

use std::collections::BTreeSet;

use table::{Case, cases, fill};
use world::{World, check_case, files};

/// Least number of cases that fail at places of their own.
const CASES_MIN: usize = 220;

const COMMAND_LINE: &str = include_str!("bad_input/command_line.txt");
const CONFIGURATION: &str = include_str!("bad_input/configuration.txt");
const OFFLINE: &str = include_str!("bad_input/offline.txt");
const HOMES: &str = include_str!("bad_input/homes.txt");
const RUNNING: &str = include_str!("bad_input/running.txt");
const DOOR: &str = include_str!("bad_input/door.txt");

/// Carries out every case and tells of all that went otherwise.
fn run_all(table: &str, mut check: impl FnMut(&Case) -> Result<(), String>) {
    let wrong: Vec<String> = cases(table).iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} cases went otherwise:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn there_are_enough_cases_that_fail_each_in_a_place_of_its_own() {
    let mut places = BTreeSet::new();
    let mut all = 0;
    for table in [COMMAND_LINE, CONFIGURATION, OFFLINE, HOMES, RUNNING, DOOR] {
        for case in cases(table) {
            all += 1;
            places.insert(case.place());
        }
    }
    println!("{all} cases, {} of them in places of their own", places.len());
    assert!(places.len() >= CASES_MIN, "{} of {all} cases fail in places of their own: {places:#?}", places.len());
}

#[test]
fn what_is_wrong_without_any_node() {
    let world = World::new();
    run_all(COMMAND_LINE, |case| {
        let before = files(world.folder());
        check_case(&world, case, &[])?;
        same_files(case, &before, &files(world.folder()))
    });
    assert_eq!(files(world.folder()), Vec::new(), "nothing was written");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let world = World::new();
    let home = world.folder().join("home");
    std::fs::create_dir(&home).expect("a folder");
    let file = home.join("config.toml");
    run_all(CONFIGURATION, |case| {
        std::fs::write(&file, case.given.replace("\\n", "\n")).expect("written");
        let before = files(world.folder());
        for words in ["config check {home}/config.toml", "up --home {home}"] {
            check_case(&world, &Case { given: words.to_owned(), ..case.clone() }, &[])
                .map_err(|found| format!("{}\n{found}", case.given))?;
        }
        same_files(case, &before, &files(world.folder()))
    });
}

#[test]
fn wrong_proofs_exports_and_scenarios_are_refused() {
    let world = World::new();
    let node = crate::cluster::Node::found(world.folder(), "alpha");
    world.make_offline_files(&node);
    let status = node.json(&["status"]);
    let id = status["node"].as_str().expect("an id");
    let cluster = status["cluster"]["id"].as_str().expect("an id");
    let scenarios = weft_simulations::names().join(", ");
    run_all(OFFLINE, |case| {
        let before = files(world.folder());
        check_case(&world, case, &[("id", id), ("cluster", cluster), ("scenarios", &scenarios)])?;
        same_files(case, &before, &files(world.folder()))
    });
}

#[test]
fn a_home_that_is_not_whole_is_refused() {
    let world = World::new();
    let mut node = crate::cluster::Node::found(world.folder(), "alpha");
    node.down();
    run_all(HOMES, |case| {
        let (harm, given) = case.given.split_once(": ").expect("harm: words");
        let _whole_again = world.harm(harm);
        let before = files(world.folder());
        check_case(&world, &Case { given: given.to_owned(), ..case.clone() }, &[])?;
        same_files(case, &before, &files(world.folder()))
    });
    node.restart();
    assert_eq!(node.json(&["chain", "verify"])["ok"], true, "nothing of all that harmed the node");
}

#[test]
fn what_a_running_node_refuses() {
    let world = World::new();
    let node = crate::cluster::Node::found(world.folder(), "alpha");
    world.prepare(&node);
    let (events, pid) = (world.events(&node), node.pid().to_string());
    let (before, count) = (files(world.folder()), events.to_string());
    run_all(RUNNING, |case| check_case(&world, case, &[("pid", &pid), ("events", &count)]));
    assert_eq!(files(world.folder()), before, "nothing was written");
    let kinds = world.kinds_from(&node, events);
    assert_eq!(kinds, Vec::<String>::new(), "nothing was recorded");
}

#[test]
fn what_the_door_refuses() {
    let world = World::new();
    let node = crate::cluster::Node::found(world.folder(), "alpha");
    world.prepare(&node);
    let events = world.events(&node);
    let before = files(world.folder());
    let count = events.to_string();
    run_all(DOOR, |case| door::check(&world, &node, case, &count));
    assert_eq!(files(world.folder()), before, "nothing was written");
    let kinds = world.kinds_from(&node, events);
    assert_eq!(kinds, Vec::<String>::new(), "nothing was recorded");
}

fn same_files(case: &Case, before: &[(String, Vec<u8>)], after: &[(String, Vec<u8>)]) -> Result<(), String> {
    if before == after { Ok(()) } else { Err(format!("{}: files changed", fill(&case.given, &[]))) }
}
