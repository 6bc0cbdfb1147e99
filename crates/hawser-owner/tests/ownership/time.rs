//! Time stops at its ends instead of wrapping.

use std::time::{Duration, UNIX_EPOCH};

use hawser_owner::Timestamp;
use proptest::prelude::*;

const FIRST: Timestamp = Timestamp::from_seconds(0);
const LAST: Timestamp = Timestamp::from_seconds(u64::MAX);

#[test]
fn time_saturates_at_both_ends() {
    assert_eq!(LAST.plus(Duration::from_secs(1)), LAST);
    assert_eq!(LAST.plus(Duration::MAX), LAST);
    assert_eq!(FIRST.plus(Duration::MAX), LAST);
    assert_eq!(FIRST.minus(Duration::from_secs(1)), FIRST);
    assert_eq!(LAST.minus(Duration::MAX), FIRST);
    assert_eq!(FIRST.since(LAST), Duration::ZERO);
    assert_eq!(LAST.since(FIRST), Duration::from_secs(u64::MAX));
}

#[test]
fn the_systems_time_counts_in_whole_seconds_from_the_epoch() {
    assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_millis(1_999)).seconds(), 1);
    assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_secs(5)), FIRST, "a clock before the epoch");
}

#[test]
fn a_timestamp_is_a_number_in_json() {
    assert_eq!(serde_json::to_string(&Timestamp::from_seconds(1_700_000_000)).unwrap(), "1700000000");
    assert_eq!(serde_json::from_str::<Timestamp>("7").unwrap().seconds(), 7);
    assert!(serde_json::from_str::<Timestamp>("-1").is_err());
    assert!(serde_json::from_str::<Timestamp>("1.5").is_err());
}

proptest! {
    #[test]
    fn time_is_ordered_like_its_seconds(a: u64, b: u64, by: u64) {
        let (start, end) = (Timestamp::from_seconds(a), Timestamp::from_seconds(b));
        prop_assert_eq!(start.cmp(&end), a.cmp(&b));
        prop_assert!(start.plus(Duration::from_secs(by)) >= start);
        prop_assert!(start.minus(Duration::from_secs(by)) <= start);
        prop_assert_eq!(end.since(start).as_secs(), b.saturating_sub(a));
    }
}
