//! The log within its bounds, and what of it a subscription is handed.

use weft_protocol::limits::TOPIC_PUBLICATIONS_MAX;
use weft_protocol::{Incarnation, MessageId, NodeId, Payload, Principal, Publication, Sender, TopicPattern, TraceId};

use super::*;
use crate::topic::start::{Cursor, Start};

const NOW: Timestamp = Timestamp(1_704_067_200_000_000);

fn chain(node: u8) -> ChainId {
    ChainId { node: NodeId::from_bytes([node; 32]), incarnation: Incarnation(1) }
}

fn at(second: u64) -> Hlc {
    Hlc::from_wall(NOW.after_us(second * 1_000_000))
}

fn entry(node: u8, topic: &str, seq: u64, published: u64, logged: u64, fetched: bool) -> LoggedPublication {
    let publication = Publication {
        id: MessageId { chain: chain(node), counter: seq },
        hlc: at(published),
        trace: TraceId(1),
        from: Sender { node: chain(node).node, principal: Principal::Operator },
        topic: topic.parse().expect("a topic"),
        seq,
        prev: seq - 1,
        forgetful: false,
        payload: Payload::Text("x".into()),
        grant: None,
        ed25519: None,
    };
    LoggedPublication { place: at(logged), fetched, publication }
}

fn log(entries: &[LoggedPublication]) -> Log {
    Log::restored(entries)
}

fn shown(history: &[(Cursor, &LoggedPublication)]) -> Vec<String> {
    let show = |entry: &LoggedPublication| {
        format!("{}{}", entry.publication.id.chain.node.as_bytes()[0], entry.publication.seq)
    };
    history.iter().map(|(_, entry)| show(entry)).collect()
}

fn history(log: &Log, pattern: &str, start: Start) -> Vec<String> {
    shown(&log.history(&pattern.parse().expect("a pattern"), start))
}

#[test]
fn the_oldest_of_a_topic_go_when_there_are_too_many_and_the_newest_of_a_publisher_never_by_age() {
    let mut log = Log::default();
    for seq in 1..=TOPIC_PUBLICATIONS_MAX as u64 {
        assert_eq!(log.insert(entry(1, "a", seq, seq, seq, false), NOW), []);
    }
    let next = TOPIC_PUBLICATIONS_MAX as u64 + 1;
    assert_eq!(log.insert(entry(1, "a", next, next, next, false), NOW), [at(1)]);
    let mut log = log_of_two_days();
    let day = 24 * 3_600;
    assert_eq!(log.insert(entry(1, "a", 3, 2 * day, 2 * day, false), NOW.after_us(2 * day * 1_000_000)), [at(1)]);
    assert!(log.contains(&"a".parse().expect("a topic"), chain(2), 1), "the only one of its publisher");
}

fn log_of_two_days() -> Log {
    log(&[entry(1, "a", 1, 1, 1, false), entry(2, "a", 1, 2, 2, false), entry(1, "a", 2, 100_000, 100_000, false)])
}

#[test]
fn history_is_what_the_pattern_means_in_the_order_of_each_publisher() {
    let log = log(&[
        entry(2, "a.x", 1, 5, 6, false),
        entry(1, "a.x", 7, 4, 7, false),
        entry(1, "a.y", 8, 8, 8, false),
        entry(1, "a.x", 6, 3, 9, true),
        entry(1, "b", 9, 9, 10, false),
    ]);
    assert_eq!(history(&log, "a.x", Start::Now), Vec::<String>::new());
    assert_eq!(history(&log, "a.x", Start::Since(at(0))), ["16", "17", "21"]);
    assert_eq!(history(&log, "a.x", Start::Since(at(4))), ["17", "21"]);
    assert_eq!(history(&log, "a.*", Start::Last(2)), ["21", "18"]);
    assert_eq!(history(&log, ">", Start::Last(100)), ["16", "17", "21", "18", "19"]);
}

#[test]
fn a_subscription_that_was_cut_anywhere_goes_on_without_hole_or_duplicate() {
    let before = [
        entry(1, "a", 1, 1, 11, false),
        entry(2, "a", 1, 2, 12, false),
        entry(1, "a", 2, 3, 13, false),
        entry(2, "a", 2, 4, 14, false),
    ];
    // What comes while the subscription is cut: news of both, and older ones that were fetched for somebody else.
    let meanwhile = [
        entry(3, "a", 1, 0, 15, true),
        entry(1, "a", 3, 5, 16, false),
        entry(2, "a", 3, 6, 17, true),
        entry(4, "a", 1, 20, 18, true),
    ];
    let pattern: TopicPattern = "a".parse().expect("a pattern");
    let first = log(&before);
    let all = first.history(&pattern, Start::Since(at(0)));
    assert_eq!(shown(&all), ["11", "21", "12", "22"]);
    let later = log(&[before.as_slice(), meanwhile.as_slice()].concat());
    for (handed, (cursor, _)) in all.iter().enumerate() {
        let rest = later.history(&pattern, Start::Resume(*cursor));
        let expected = [&["21", "12", "22"][handed..], &["13", "23", "41"]].concat();
        assert_eq!(shown(&rest), expected, "cut after {handed}");
        // And once more within what was resumed.
        for (again, (cursor, _)) in rest.iter().enumerate() {
            let rest_of_rest = shown(&later.history(&pattern, Start::Resume(*cursor)));
            assert_eq!(rest_of_rest, expected[again + 1..], "cut after {handed} and {again}");
        }
    }
    let live = later.history(&pattern, Start::Resume(Cursor::Live(at(13))));
    assert_eq!(shown(&live), ["22", "13", "23", "41"]);
}
