//! Times of schedules: fields, zones, intervals, and the two nights of the year that are no ordinary nights.

use super::*;

fn at(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().expect("a time");
    Timestamp(u64::try_from(time.as_microsecond()).expect("after 1970"))
}

fn text(time: Timestamp) -> String {
    let micros = i64::try_from(time.0).expect("before the year 9999");
    jiff::Timestamp::from_microsecond(micros).expect("before the year 9999").to_string()
}

fn schedule(expression: &str, timezone: &str) -> Schedule {
    Schedule::parse(expression, timezone, at("2024-01-01T00:00:00Z")).expect("a schedule")
}

/// The next times after this one.
fn after(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let next = |time: &Timestamp| schedule.next(*time);
    std::iter::successors(schedule.next(at(from)), next).take(count).map(text).collect()
}

/// The times before this one, the last first.
fn before(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let previous = |time: &Timestamp| schedule.previous(Timestamp(time.0 - 1));
    std::iter::successors(schedule.previous(at(from)), previous).take(count).map(text).collect()
}

#[test]
fn five_fields_six_fields_and_intervals() {
    let quarter = schedule("*/15 * * * *", "UTC");
    assert_eq!(after(&quarter, "2024-02-29T23:31:00.5Z", 2), ["2024-02-29T23:45:00Z", "2024-03-01T00:00:00Z"]);
    let seconds = schedule("*/30 * * * * *", "UTC");
    assert_eq!(after(&seconds, "2024-01-01T00:00:00Z", 2), ["2024-01-01T00:00:30Z", "2024-01-01T00:01:00Z"]);
    let last = schedule("0 12 L * *", "UTC");
    assert_eq!(after(&last, "2024-02-10T00:00:00Z", 2), ["2024-02-29T12:00:00Z", "2024-03-31T12:00:00Z"]);
    for every in ["@every 90s", "90s", "@every 1m 30s"] {
        let every = schedule(every, "UTC");
        assert_eq!(after(&every, "2023-06-01T00:00:00Z", 2), ["2024-01-01T00:01:30Z", "2024-01-01T00:03:00Z"]);
        assert_eq!(after(&every, "2024-01-01T00:01:30Z", 1), ["2024-01-01T00:03:00Z"]);
        assert_eq!(before(&every, "2024-01-01T00:03:00Z", 3), ["2024-01-01T00:03:00Z", "2024-01-01T00:01:30Z"]);
    }
    assert_eq!(after(&schedule("@daily", "UTC"), "2024-01-01T00:00:00Z", 1), ["2024-01-02T00:00:00Z"]);
}

#[test]
fn a_time_of_day_that_the_spring_night_leaves_out_runs_after_the_gap() {
    let night = schedule("30 2 * * *", "Europe/Berlin");
    let expected = ["2024-03-30T01:30:00Z", "2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"];
    assert_eq!(after(&night, "2024-03-29T12:00:00Z", 3), expected);
    let mut backwards = before(&night, "2024-04-01T12:00:00Z", 3);
    backwards.reverse();
    assert_eq!(backwards, expected, "both directions agree on what there was");
    let often = schedule("*/30 2 * * *", "Europe/Berlin");
    assert_eq!(after(&often, "2024-03-30T12:00:00Z", 1), ["2024-04-01T00:00:00Z"], "a list leaves the gap out");
}

#[test]
fn a_time_of_day_that_the_autumn_night_repeats_runs_once() {
    let night = schedule("30 2 * * *", "Europe/Berlin");
    let expected = ["2024-10-26T00:30:00Z", "2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"];
    assert_eq!(after(&night, "2024-10-25T12:00:00Z", 3), expected);
    let mut backwards = before(&night, "2024-10-28T12:00:00Z", 3);
    backwards.reverse();
    assert_eq!(backwards, expected);
    let often = schedule("*/30 2 * * *", "Europe/Berlin");
    let repeated = ["2024-10-27T00:00:00Z", "2024-10-27T00:30:00Z", "2024-10-27T01:00:00Z", "2024-10-27T01:30:00Z"];
    assert_eq!(after(&often, "2024-10-26T12:00:00Z", 4), repeated, "a list runs in both hours");
}

#[test]
fn the_same_fields_mean_other_times_in_other_zones() {
    let noon = |zone| after(&schedule("0 12 * * *", zone), "2024-07-01T00:00:00Z", 1).join("");
    assert_eq!(noon("UTC"), "2024-07-01T12:00:00Z");
    assert_eq!(noon("America/New_York"), "2024-07-01T16:00:00Z");
    assert_eq!(noon("Asia/Kolkata"), "2024-07-01T06:30:00Z");
}

#[test]
fn what_is_wrong_is_said_with_an_example() {
    let refused = |expression: &str, zone: &str| Schedule::parse(expression, zone, Timestamp(0)).expect_err(expression);
    let begins = [
        ("", "`` is not a cron expression: it is empty"),
        ("61 * * * *", "`61 * * * *` is not a cron expression: minute `61`: number out of bounds"),
        ("* * * 13 *", "`* * * 13 *` is not a cron expression: month `13`: number out of bounds"),
        ("0 * * 32 * *", "`0 * * 32 * *` is not a cron expression: day `32`: number out of bounds"),
        ("*/0 * * * *", "`*/0 * * * *` is not a cron expression: minute `*/0`: step cannot be zero"),
        ("* * * *", "`* * * *` is not a cron expression: it has 4 fields, five or six are needed"),
        ("* * * * * * *", "`* * * * * * *` is not a cron expression: it has 7 fields, five or six are needed"),
        ("often", "`often` is not a cron expression: it is one word, and no interval"),
        ("@reboot", "`@reboot` is not a cron expression: it is one word, and no interval"),
        ("90", "`90` is not an interval: time unit needed"),
        ("@every", "`@every` is not an interval: value was empty"),
        ("500ms", "`500ms` is not an interval: it is shorter than 1s"),
        ("2years", "`2years` is not an interval: it is longer than 366 days"),
    ];
    for (expression, expected) in begins {
        let said = refused(expression, UTC);
        assert!(said.starts_with(expected), "{said}");
        assert!(said.contains("`@every 90s`"), "an example: {said}");
    }
    let long = "*".repeat(CRON_EXPRESSION_BYTES_MAX + 1);
    assert_eq!(refused(&long, UTC), "the expression has 257 bytes, at most 256");
    assert_eq!(
        refused("* * * * *", "Europe/Berln"),
        "`Europe/Berln` is no time zone: write an IANA name, as Europe/Berlin, America/New_York or UTC"
    );
    assert!(refused("90s", "Europe/Berlin").starts_with("an interval has no time zone: leave out Europe/Berlin"));
    assert!(refused("* * * * *", &"z".repeat(500)).len() < 200);
}

#[test]
fn a_day_that_never_comes_has_no_next_time() {
    assert_eq!(schedule("0 0 30 2 *", "UTC").next(at("2024-01-01T00:00:00Z")), None);
    assert_eq!(after(&schedule("0 0 29 2 *", "UTC"), "2024-03-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
}
