#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use tokio::time::Instant;

use super::progress::{Look, Progress, Verdict};
use super::*;
use crate::faulty::FaultyStore;

/// What a lost message may cost (seconds of the paused clock).
const STALE_MAX: Duration = Duration::from_secs(1);

fn message(text: &'static str) -> Told {
    Told::Message(Bytes::from_static(text.as_bytes()))
}

/// Two nodes' views of one journal.
fn journals(store: &Arc<FaultyStore>) -> (Journal, Journal) {
    let journal = || Journal::new(Arc::clone(store) as Arc<dyn Store>, "told");
    (journal(), journal())
}

async fn told_in_time(follower: &mut Follower) -> Told {
    let begun = Instant::now();
    let told = tokio::time::timeout(STALE_MAX * 3, follower.next()).await.expect("nothing was told").unwrap();
    assert!(begun.elapsed() <= STALE_MAX, "told after {:?}", begun.elapsed());
    told
}

async fn silent(follower: &mut Follower) {
    let told = tokio::time::timeout(STALE_MAX * 4, follower.next()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_is_heard_at_once_and_once() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    here.announce("one".into()).await.unwrap();
    there.announce("two".into()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(follower.next().await, Some(message("one")));
    assert_eq!(follower.next().await, Some(message("two")));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    silent(&mut follower).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_message_costs_at_most_a_second() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    store.lose_messages(true);
    here.announce("lost".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, message("lost"));
    store.lose_messages(false);
    here.announce("heard".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, message("heard"));
    silent(&mut follower).await;
}

#[tokio::test(start_paused = true)]
async fn a_later_message_does_not_wait_for_a_lost_one() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    store.lose_messages(true);
    here.announce("lost".into()).await.unwrap();
    store.lose_messages(false);
    here.announce("heard".into()).await.unwrap();
    assert_eq!(follower.next().await, Some(message("heard")));
    assert_eq!(told_in_time(&mut follower).await, message("lost"));
    silent(&mut follower).await;
}

/// An announcer that died between the number and the row, or a row that is too old.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_any_more_is_told_as_missed_once() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    here.next_number().await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, Told::Missed);
    here.announce("next".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, message("next"));
    silent(&mut follower).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_far_behind_is_told_so_and_goes_on() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    store.lose_messages(true);
    for _ in 0..2000 {
        here.announce("lost".into()).await.unwrap();
    }
    assert_eq!(told_in_time(&mut follower).await, Told::Missed);
    here.announce("next".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, message("next"));
    silent(&mut follower).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_its_rows_is_told_as_missed() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    for _ in 0..3 {
        here.announce("before".into()).await.unwrap();
        assert_eq!(told_in_time(&mut follower).await, message("before"));
    }
    store.lose_messages(true);
    store.flush();
    // As many as before, and more: the number alone would not show it.
    for _ in 0..4 {
        here.announce("after".into()).await.unwrap();
    }
    assert_eq!(told_in_time(&mut follower).await, Told::Missed);
    here.announce("next".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, message("next"));

    // Nobody announces anything after it.
    store.flush();
    assert_eq!(told_in_time(&mut follower).await, Told::Missed);
    silent(&mut follower).await;
    here.announce("next".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, message("next"));
}

/// A replica took over that had not received the latest rows: their numbers are given a second time.
#[tokio::test(start_paused = true)]
async fn a_number_that_is_given_twice_is_told_with_both_contents_and_as_missed() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    let row = here.row("number").unwrap();
    let behind = store.get(&row).await.unwrap().unwrap();
    here.announce("first".into()).await.unwrap();
    assert_eq!(follower.next().await, Some(message("first")));
    store.put(&row, behind, None).await.unwrap();
    here.announce("second".into()).await.unwrap();
    assert_eq!(follower.next().await, Some(message("second")));
    assert_eq!(told_in_time(&mut follower).await, Told::Missed);
    silent(&mut follower).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_announced_before_and_after_an_outage_is_heard_after_it() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    store.lose_messages(true);
    here.announce("before".into()).await.unwrap();
    store.cut(true);
    assert!(here.announce("during".into()).await.is_err());
    assert!(tokio::time::timeout(Duration::from_mins(1), follower.next()).await.is_err());
    store.cut(false);
    assert_eq!(told_in_time(&mut follower).await, message("before"));
    silent(&mut follower).await;
}

#[tokio::test(start_paused = true)]
async fn who_begins_to_follow_in_an_outage_missed_what_was_announced_in_it() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    here.announce("before".into()).await.unwrap();
    store.cut(true);
    let mut follower = there.follow().await;
    assert_eq!(follower.next().await, Some(Told::Missed));
    assert!(tokio::time::timeout(Duration::from_mins(1), follower.next()).await.is_err());
    store.cut(false);
    assert_eq!(told_in_time(&mut follower).await, Told::Missed);
    here.announce("next".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, message("next"));
}

/// A counter that somebody overwrote does not silence a journal for good.
#[tokio::test(start_paused = true)]
async fn a_counter_that_is_none_is_replaced() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    for wrong in ["7", "not a number", ""] {
        store.put(&here.row("number").unwrap(), wrong.into(), None).await.unwrap();
        assert_eq!(told_in_time(&mut follower).await, Told::Missed, "{wrong:?}");
        here.announce("next".into()).await.unwrap();
        assert_eq!(told_in_time(&mut follower).await, message("next"));
        store.put(&here.row("number").unwrap(), wrong.into(), None).await.unwrap();
        here.announce("at once".into()).await.unwrap();
        assert_eq!(told_in_time(&mut follower).await, message("at once"));
        assert_eq!(told_in_time(&mut follower).await, Told::Missed);
        silent(&mut follower).await;
    }
}

/// Whoever can write to the store can write any number: it costs one look at everything, and nobody is silenced or kept busy.
#[tokio::test(start_paused = true)]
async fn a_forged_counter_is_told_as_missed_once_and_then_all_goes_on() {
    let ahead = first_number(SystemTime::now()) + (1 << 50);
    for forged in [u64::MAX, u64::MAX - 1, NUMBER_MAX + 1, NUMBER_MAX, 1 << 63, ahead, FIRST_NUMBER_MIN] {
        let store = FaultyStore::shared();
        let (here, there) = journals(&store);
        let mut follower = there.follow().await;
        here.announce("before".into()).await.unwrap();
        assert_eq!(told_in_time(&mut follower).await, message("before"));
        store.put(&here.row("number").unwrap(), forged.to_string().into(), None).await.unwrap();
        assert_eq!(told_in_time(&mut follower).await, Told::Missed, "{forged}");
        silent(&mut follower).await;
        let mut late = there.follow().await;
        for text in ["one", "two"] {
            here.announce(text.into()).await.unwrap();
        }
        for follower in [&mut follower, &mut late] {
            // Where the counter has to begin anew, everything is looked at once more, and no more than that.
            let mut told = Vec::new();
            while let Ok(next) = tokio::time::timeout(STALE_MAX * 4, follower.next()).await {
                told.push(next.unwrap());
            }
            let missed = told.extract_if(.., |told| *told == Told::Missed).count();
            assert!(missed <= 1, "{forged}: {missed} times");
            assert_eq!(told, [message("one"), message("two")], "{forged}");
        }
        store.lose_messages(true);
        here.announce("kept".into()).await.unwrap();
        for follower in [&mut follower, &mut late] {
            assert_eq!(told_in_time(follower).await, message("kept"), "{forged}");
        }
        silent(&mut follower).await;
    }
}

#[test]
fn no_counter_makes_a_follower_read_without_end() {
    for forged in [0, 1, FIRST_NUMBER_MIN, 1 << 62, u64::MAX] {
        let mut progress = Progress::default();
        progress.begin_at(FIRST_NUMBER_MIN + 1);
        let first = progress.look(forged);
        assert!(matches!(first, Look::Missed | Look::Read(_)));
        assert_eq!(progress.look(forged), Look::Read(Vec::new()), "{forged}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_none_are_told_as_missed_and_forged_numbers_silence_nobody() {
    let store = FaultyStore::shared();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    store.publish("told", "short".into()).await.unwrap();
    assert_eq!(told_in_time(&mut follower).await, Told::Missed);
    for number in [u64::MAX, there.current().await.unwrap().unwrap() + 1] {
        store.publish("told", framed(number, &"forged".into())).await.unwrap();
        assert_eq!(told_in_time(&mut follower).await, message("forged"));
        here.announce("true".into()).await.unwrap();
        while told_in_time(&mut follower).await != message("true") {}
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_store_that_nobody_shares_nothing_is_written_and_nothing_is_read() {
    let store = FaultyStore::alone();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    let before = store.operations();
    here.announce("heard".into()).await.unwrap();
    assert_eq!(follower.next().await, Some(message("heard")));
    silent(&mut follower).await;
    assert_eq!(store.operations() - before, 1, "the message itself");
}

#[tokio::test(start_paused = true)]
async fn who_lags_is_told_in_a_store_that_nobody_shares() {
    let store = FaultyStore::alone();
    let (here, there) = journals(&store);
    let mut follower = there.follow().await;
    for _ in 0..=crate::channels::LAG_MAX {
        here.announce("many".into()).await.unwrap();
    }
    assert_eq!(follower.next().await, Some(Told::Missed));
    assert_eq!(follower.next().await, Some(message("many")));
}

/// What happens around a follower.
#[derive(Clone, Debug)]
enum Event {
    /// An announcement whose row is written at once, and which is heard or not; or one whose announcer is slow or dies.
    Announce {
        written: bool,
        heard: bool,
    },
    /// A message comes that was sent before.
    Again(usize),
    /// A row that was being written is there.
    Written,
    /// The counter begins anew; all rows are gone.
    Flush,
    /// The latest announcements are lost from the store, as when a replica takes over.
    Fail(u64),
    Look,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (any::<bool>(), any::<bool>()).prop_map(|(written, heard)| Event::Announce { written, heard }),
        1 => any::<usize>().prop_map(Event::Again),
        1 => Just(Event::Written),
        1 => Just(Event::Flush),
        1 => (1_u64..4).prop_map(Event::Fail),
        4 => Just(Event::Look),
    ]
}

/// A store, and what a follower was told of its announcements.
#[derive(Default)]
struct World {
    progress: Progress,
    /// Where the counter began.
    first: u64,
    current: u64,
    rows: BTreeMap<u64, u64>,
    unwritten: Vec<(u64, u64)>,
    slow: bool,
    failed: bool,
    sent: Vec<(u64, u64)>,
    last: u64,
    /// Announcements that were neither told nor told as missed.
    owed: HashSet<u64>,
}

impl World {
    fn hear(&mut self, number: u64, content: u64) {
        if self.progress.hear(number, &content.to_be_bytes()) == Verdict::Tell {
            self.owed.remove(&content);
        }
    }

    fn look(&mut self) {
        self.compare();
        let numbers = match self.progress.look(self.current) {
            Look::Read(numbers) => numbers,
            Look::Missed => {
                self.compare();
                return self.owed.clear();
            }
        };
        for number in numbers {
            let entry = self.rows.get(&number).copied();
            match self.progress.read(number, entry.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)) {
                Verdict::Tell => drop(self.owed.remove(&entry.unwrap())),
                Verdict::Known => assert!(entry.is_none_or(|content| !self.owed.contains(&content)), "never told"),
                Verdict::Missed => self.owed.clear(),
                Verdict::Wait => {}
            }
        }
    }

    fn compare(&mut self) {
        if let Some(number) = self.progress.comparable() {
            let entry = self.rows.get(&number).map(|content| content.to_be_bytes());
            self.progress.compare(number, entry.as_ref().map(<[u8; 8]>::as_slice));
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Announce { written, heard } => {
                self.current += 1;
                self.last += 1;
                let announced = (self.current, self.last);
                if !*written && !self.failed {
                    self.unwritten.push(announced);
                    self.slow = true;
                    return;
                }
                self.owed.insert(self.last);
                self.rows.insert(announced.0, announced.1);
                self.sent.push(announced);
                if *heard {
                    self.hear(announced.0, announced.1);
                }
            }
            Event::Again(which) => {
                if let Some((number, content)) = self.sent.get(which % self.sent.len().max(1)).copied() {
                    self.hear(number, content);
                }
            }
            Event::Written => {
                if let Some((number, content)) = self.unwritten.pop() {
                    self.rows.insert(number, content);
                    // Only what is written is promised; who looked twice meanwhile was told that something is missing.
                }
            }
            Event::Flush => {
                self.rows.clear();
                self.unwritten.clear();
                // As `first_number` has it: later than any number that was given.
                self.current += 1_000_000;
                self.first = self.current;
                // Whoever looks now sees that.
                self.look();
            }
            // Together with an announcer that was slow or died at that very number it cannot be seen.
            Event::Fail(_) if self.slow => {}
            Event::Fail(lost) => {
                self.failed = true;
                self.current = self.current.saturating_sub(*lost).max(self.first);
                self.rows.retain(|number, _| *number <= self.current);
                // What was lost before anybody heard or read it is lost; what is announced from now on is not.
                let kept: HashSet<u64> = self.rows.values().copied().collect();
                self.owed.retain(|content| kept.contains(content));
            }
            Event::Look => self.look(),
        }
    }
}

proptest! {
    /// Whatever is lost, late or repeated: after two looks everything was told, or told as missed.
    #[test]
    fn nothing_is_lost_without_a_word(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World { first: FIRST_NUMBER_MIN, current: FIRST_NUMBER_MIN, ..World::default() };
        world.progress.begin_at(world.current);
        for event in &events {
            world.take(event);
        }
        world.look();
        world.look();
        prop_assert!(world.owed.is_empty(), "never told: {:?}", world.owed);
    }

    #[test]
    fn no_number_makes_it_panic(events in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..40)) {
        let mut progress = Progress::default();
        for (number, current, there) in events {
            progress.hear(number, b"x");
            if let Look::Read(numbers) = progress.look(current) {
                for number in numbers.into_iter().take(8) {
                    progress.read(number, there.then_some(b"y".as_slice()));
                }
            }
        }
    }
}
