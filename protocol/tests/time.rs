//! The hybrid clock: the same stamps as uhlc's where both apply, and never a step back.

use std::time::Duration;

use proptest::prelude::*;
use weft_protocol::limits::{CLOCK_HOLD_US_MAX, CLOCK_MERGE_US_MAX};
use weft_protocol::{Hlc, HybridClock, StampVerdict, Timestamp, judge_stamp};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

#[test]
fn stamps_and_wall_time_convert_to_the_microsecond() {
    for us in [0, 1, 499_999, 500_000, 999_999, 1_000_000, NOW.0 + 1, NOW.0 + 123_457] {
        assert_eq!(Hlc::from_wall(Timestamp(us)).to_wall(), Timestamp(us));
    }
    let theirs = uhlc::NTP64::from(Duration::from_micros(NOW.0 + 7)).as_u64();
    assert_eq!(Hlc::from_wall(NOW.after_us(7)), Hlc(theirs));
}

#[test]
fn the_three_limits_are_three() {
    let ahead = |us| judge_stamp(Hlc::from_wall(NOW.after_us(us)), NOW);
    assert_eq!(ahead(0), StampVerdict::Merged);
    assert_eq!(ahead(CLOCK_MERGE_US_MAX), StampVerdict::Merged);
    assert_eq!(ahead(CLOCK_MERGE_US_MAX + 1), StampVerdict::Parked);
    assert_eq!(ahead(CLOCK_HOLD_US_MAX), StampVerdict::Parked);
    assert_eq!(ahead(CLOCK_HOLD_US_MAX + 1), StampVerdict::Refused);
    assert_eq!(judge_stamp(Hlc(0), NOW), StampVerdict::Merged, "old stamps are valid");
}

#[test]
fn only_merged_stamps_move_the_clock() {
    let mut clock = HybridClock::restored(Hlc(0));
    let near = Hlc::from_wall(NOW.after_us(400_000));
    clock.observe(Hlc::from_wall(NOW.after_us(600_000)), NOW);
    assert_eq!(clock.tick(NOW), Hlc::from_wall(NOW));
    clock.observe(near, NOW);
    assert_eq!(clock.tick(NOW), near.next());
}

#[test]
fn it_agrees_with_uhlc_on_remote_stamps() {
    let theirs = uhlc::HLCBuilder::new()
        .with_clock(|| uhlc::NTP64::from(Duration::from_micros(NOW.0)))
        .with_max_delta(Duration::from_micros(CLOCK_MERGE_US_MAX))
        .build();
    let mut ours = HybridClock::restored(Hlc(0));
    for ahead_us in [0, 10, 400_000, 100, 499_000, 700_000, 61_000_000] {
        let remote = Hlc::from_wall(NOW.after_us(ahead_us));
        let stamp = uhlc::Timestamp::new(uhlc::NTP64(remote.0), *theirs.get_id());
        let merged = theirs.update_with_timestamp(&stamp).is_ok();
        assert_eq!(ours.observe(remote, NOW) == StampVerdict::Merged, merged, "{ahead_us} µs ahead");
        let (their_next, our_next) = (theirs.new_timestamp().get_time().as_u64(), ours.tick(NOW).0);
        // uhlc keeps the lowest bits of a stamp for its counter: the two differ by less than that.
        assert!(our_next.abs_diff(their_next) < 1 << 8, "{our_next:x} and {their_next:x}");
    }
}

proptest! {
    #[test]
    fn stamps_increase_whatever_the_wall_clock_does(
        steps in prop::collection::vec((any::<bool>(), 0_u64..4_000_000_000), 1..64),
        restored in 0_u64..4_000_000_000,
    ) {
        let last = Hlc::from_wall(NOW.after_us(restored));
        let mut clock = HybridClock::restored(last);
        let mut greatest = last;
        for (remote, offset_us) in steps {
            let wall = Timestamp(NOW.0 - 2_000_000_000 + offset_us);
            if remote {
                clock.observe(Hlc::from_wall(wall), NOW);
            } else {
                let stamp = clock.tick(wall);
                prop_assert!(stamp > greatest);
                greatest = stamp;
            }
        }
    }
}
