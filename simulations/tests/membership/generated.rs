//! Hundreds of generated histories under the rules, and under rules with one left out.

use std::collections::BTreeMap;

use weft_simulations::membership::{Acknowledged, Report, Rules, Setting, play};

const CALM: Setting = Setting {
    members: 3,
    liars: 0,
    breaks_ticks: false,
    liars_vote: false,
    changes: false,
    restores: false,
    steps: 80,
};
const CHANGES: Setting = Setting { changes: true, ..CALM };
const RESTORES: Setting = Setting { members: 4, restores: true, ..CHANGES };
const LIARS: Setting = Setting { liars: 1, ..CALM };
const LIARS_AND_CHANGES: Setting = Setting { members: 5, liars: 1, ..CHANGES };

/// Plays so many histories; none may fail, and each of these things must have happened.
fn holds(setting: Setting, seeds: std::ops::Range<u64>, happened: &[&str]) {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in seeds {
        let Report { failures, counts: more } = play(setting, Rules::default(), seed);
        assert!(failures.is_empty(), "seed {seed} of {setting:?}:\n{}", failures.join("\n"));
        for (what, count) in more {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:?}");
    for what in happened {
        assert!(counts.contains_key(what), "{what} never happened: {counts:?}");
    }
}

/// Some history fails when the rules are these.
fn fails(setting: Setting, rules: Rules) {
    let failed = (0..120).any(|seed| !play(setting, rules, seed).failures.is_empty());
    assert!(failed, "no history shows what is missing");
}

#[test]
fn calm_members() {
    holds(CALM, 0..200, &["partition", "claim", "stable", "whole"]);
}

#[test]
fn members_that_change() {
    let happened = ["partition", "admit", "suspend", "resume", "evict", "endorsement", "stable", "whole"];
    holds(CHANGES, 0..200, &happened);
    holds(Setting { members: 4, ..CHANGES }, 200..350, &happened);
    holds(Setting { members: 5, ..CHANGES }, 350..450, &happened);
}

#[test]
fn members_that_are_restored() {
    holds(RESTORES, 0..200, &["restore", "readmit", "tail returned", "stable"]);
}

#[test]
fn liars() {
    holds(LIARS, 0..200, &["fork", "cut", "stable"]);
    holds(Setting { members: 5, liars: 2, ..LIARS }, 200..300, &["fork", "cut", "stable"]);
}

#[test]
fn liars_that_break_their_ticks() {
    holds(Setting { breaks_ticks: true, ..LIARS }, 0..200, &["broken tick", "cut", "stable"]);
    let many = Setting { members: 5, liars: 2, breaks_ticks: true, ..LIARS };
    holds(many, 200..300, &["broken tick", "cut", "stable"]);
    let changing = Setting { breaks_ticks: true, ..LIARS_AND_CHANGES };
    holds(changing, 300..400, &["broken tick", "cut", "stable", "suspend"]);
}

#[test]
fn liars_among_members_that_change() {
    holds(LIARS_AND_CHANGES, 0..150, &["fork", "cut", "stable", "suspend"]);
}

#[test]
fn without_endorsements() {
    fails(CHANGES, Rules { endorsed: false, ..Rules::default() });
}

#[test]
fn without_withholding() {
    fails(CHANGES, Rules { endorsers_withhold: false, ..Rules::default() });
}

#[test]
fn without_waiting_for_proposed_changes() {
    fails(CHANGES, Rules { changes_hold: false, ..Rules::default() });
}

#[test]
fn without_an_order_of_late_events() {
    fails(CHANGES, Rules { late_events_after_opening: false, ..Rules::default() });
}

#[test]
fn without_endorsed_incarnations() {
    fails(RESTORES, Rules { incarnations_endorsed: false, ..Rules::default() });
}

#[test]
fn without_a_floor() {
    fails(LIARS, Rules { floor: false, ..Rules::default() });
}

#[test]
fn by_the_page() {
    fails(CHANGES, Rules::page());
    fails(CHANGES, Rules { acknowledged: Acknowledged::Nobody, horizons: false, endorsed: false, ..Rules::default() });
}
