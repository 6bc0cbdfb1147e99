//! What every adapter must do, as checks that run against any store.
//!
//! An adapter's tests implement [`Subject`] and call [`check_all`]. Checks use rows and channels of their own, so that they
//! may run against a server that others use too, and in any order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "checks are tests: they panic")]

mod lifetimes;
mod model;
mod properties;
mod pubsub;
mod races;
mod rows;
mod scans;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use crate::{Key, Store, VALUE_BYTES_MAX};

/// A store to check, and its time.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store. Clones of the handle may be used from several tasks at once.
    fn store(&self) -> Arc<dyn Store>;

    /// Lets time pass for the store: by setting its clock, or by waiting where it has none that can be set.
    async fn advance(&self, by: Duration);

    /// The unit of time in checks. Rows live for half units more than a whole number of these, so the store's time may be
    /// off by less than half a unit.
    fn tick(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// How many runs of random operations are tried. Fewer where time cannot be set.
    fn random_runs(&self) -> u32 {
        48
    }

    /// Largest value that the store accepts.
    fn value_bytes_max(&self) -> usize {
        VALUE_BYTES_MAX
    }
}

/// One thing that a store must do.
pub struct Check {
    /// What it must do.
    pub name: &'static str,
    run: for<'a> fn(&'a dyn Subject) -> Running<'a>,
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

impl Check {
    /// Panics if the store does not do it.
    pub async fn run(&self, subject: &dyn Subject) {
        (self.run)(subject).await;
    }
}

macro_rules! checks {
    ($($module:ident::$check:ident,)*) => {
        &[$(Check { name: stringify!($check), run: |subject| Box::pin($module::$check(subject)) }),*]
    };
}

/// All checks.
pub const CHECKS: &[Check] = checks![
    rows::an_absent_row_reads_as_none,
    rows::put_writes_and_replaces,
    rows::names_are_compared_byte_for_byte,
    rows::the_longest_name_works,
    rows::an_empty_value_is_a_value,
    rows::delete_deletes_and_does_not_mind_absence,
    rows::take_reads_and_deletes,
    rows::compare_and_set_compares_the_whole_value,
    rows::compare_and_set_puts_if_absent,
    rows::compare_and_set_deletes,
    rows::increment_counts_from_one,
    rows::a_counter_is_a_row_of_decimal_digits,
    rows::what_is_not_a_counter_is_not_incremented,
    rows::a_value_over_the_limit_is_refused_and_changes_nothing,
    lifetimes::put_without_ttl_stays,
    lifetimes::put_with_ttl_ends,
    lifetimes::every_method_takes_an_ended_row_for_absent,
    lifetimes::put_sets_the_lifetime_anew,
    lifetimes::a_ttl_of_zero_ends_at_once,
    lifetimes::compare_and_set_sets_the_lifetime_of_the_new_value,
    lifetimes::compare_and_set_that_fails_leaves_the_lifetime,
    lifetimes::increments_do_not_extend_the_lifetime,
    lifetimes::an_ended_counter_starts_anew,
    lifetimes::a_ttl_beyond_all_time_works,
    races::one_of_many_takes_wins,
    races::one_of_many_puts_if_absent_wins,
    races::one_of_many_compare_and_sets_wins,
    races::one_of_many_deletes_by_compare_and_set_wins,
    races::increments_count_every_caller_once,
    races::compare_and_set_loops_lose_no_update,
    scans::a_scan_gives_every_row_of_its_family_and_no_other,
    scans::pages_of_a_scan_are_bounded,
    scans::a_scan_gives_what_stays_while_rows_come_and_go,
    scans::a_scan_does_not_give_ended_rows,
    scans::a_cursor_of_nobody_is_refused,
    pubsub::every_subscriber_receives_in_order,
    pubsub::channels_are_separate,
    pubsub::nothing_from_before_the_subscription_arrives,
    pubsub::publishing_to_nobody_is_no_error,
    pubsub::who_lags_loses_the_oldest_and_is_told,
    pubsub::a_message_over_the_limit_is_refused,
    properties::any_bytes_come_back_as_they_went_in,
    model::random_operations_agree_with_a_map,
];

/// Runs all checks, telling on standard output which one it is at.
pub async fn check_all(subject: &dyn Subject) {
    for check in CHECKS {
        println!("contract: {}", check.name);
        check.run(subject).await;
    }
}

/// A name that nothing else uses, in this process or another.
fn fresh(label: &str) -> String {
    static PROCESS: LazyLock<u128> =
        LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{label}-{}-{}-{count}", std::process::id(), *PROCESS)
}

/// A row that nothing else uses.
fn fresh_key() -> Key {
    Key::new("contract", &fresh("row")).expect("visible ASCII")
}

/// A lifetime that ends between `ticks` and `ticks + 1` ticks from now.
#[expect(clippy::unnecessary_wraps, reason = "as the port wants it")]
fn ttl(subject: &dyn Subject, ticks: u32) -> Option<Duration> {
    Some(subject.tick() * ticks + subject.tick() / 2)
}
