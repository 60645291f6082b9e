//! Every seed that once failed, run again.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use weft_simulations::{run, scenario};

#[test]
fn seeds_that_once_failed_pass() {
    let lines = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut failed = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a line begins with a scenario");
        let seed = words.next().and_then(|word| word.parse().ok()).expect("a seed follows");
        assert!(words.next().is_some(), "what the seed found follows: {line}");
        let report = run(&scenario(name).expect("shipped"), seed);
        if !report.pass {
            failed.push(format!("{name} {seed}: {}", report.failures.join("\n")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
