//! `weft sim run` and what is beside it, as typed: many seeds together, each twice, and the scenarios that come with the program.

use serde_json::Value;

use crate::cluster::run;

/// A scenario of seconds in which nothing goes wrong, and that promises something over all seeds.
fn scenario(promise: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("short.toml");
    let text = format!(
        "name = \"short\"\nabout = \"A few calls.\"\nnodes = 2\nsteps = 20\nover_seeds = true\npromises = [\"{promise}\"]\n\
         [weights]\nspawn = 1\ncall = 3\n"
    );
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("text").to_owned();
    (folder, path)
}

#[test]
fn many_seeds_say_what_struck_in_all_of_them_and_each_runs_the_same_twice() {
    let (folder, path) = scenario("frames-overtook");
    let out = folder.path().to_str().expect("text");
    let said = run(&["sim", "run", &path, "--out", out, "--seeds", "3", "--twice", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let total: Value = serde_json::from_str(said.stdout.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&total["runs"], &total["passed"], &total["again"]), (&3.into(), &3.into(), &3.into()), "{total}");
    assert!(total["faults"]["frames-overtook"]["runs"].as_u64() >= Some(1), "{total}");
    let words = run(&["sim", "run", &path, "--out", out, "--seeds", "2", "--twice"]);
    assert!(words.stdout.contains("2 of 2 seeds replay identically"), "{words:?}");
}

#[test]
fn what_is_promised_over_many_seeds_and_struck_in_none_fails_them() {
    let (folder, path) = scenario("crashes");
    let out = folder.path().to_str().expect("text");
    assert_eq!(run(&["sim", "run", &path, "--out", out, "--seed", "1"]).code, 0, "one seed promises nothing");
    let said = run(&["sim", "run", &path, "--out", out, "--seeds", "2"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("over 2 seeds crashes never struck"), "{said:?}");
}

#[test]
fn scenarios_that_come_with_the_program_are_listed_printed_and_explained() {
    let listed = run(&["sim", "scenarios", "--json"]).json();
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(names.contains(&"mixed") && names.contains(&"flapping"), "{names:?}");
    let printed = run(&["sim", "scenarios", "calm"]);
    assert!(printed.stdout.starts_with("name = \"calm\"\n"), "{printed:?}");
    assert_eq!(run(&["sim", "scenarios", "clam", "--json"]).json_error().0, "not-found");
    assert!(run(&["sim", "manual"]).stdout.starts_with("# How to write a scenario\n"));
}
