//! What waits for a client, by number, each for so long and only so many: what backends ask, and calls that wait for input.
//!
//! Whoever takes something out has it alone. Numbers are never given twice.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A table of things that wait.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    state: Mutex<State<T>>,
    max: usize,
    patience: Duration,
}

#[derive(Debug)]
struct State<T> {
    last: u64,
    entries: BTreeMap<u64, Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    until: Instant,
    value: T,
}

/// Why something cannot be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It was there and is not any more.
    Gone,
    /// The number was never given.
    Unknown,
    /// It is there, and not for whoever asks.
    Withheld,
}

impl<T> Waiting<T> {
    /// A table whose numbers come after the last that was given before.
    pub(crate) const fn new(last: u64, max: usize, patience: Duration) -> Self {
        let state = State { last, entries: BTreeMap::new() };
        Self { state: Mutex::new(state), max, patience }
    }

    /// The last number that was given.
    pub(crate) fn last_number(&self) -> u64 {
        self.lock().last
    }

    /// How long each waits.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Lets something wait from now on; gives its number, or the thing itself where there is no room.
    pub(crate) fn put(&self, value: T) -> Result<u64, T> {
        let mut state = self.lock();
        if state.entries.len() >= self.max {
            return Err(value);
        }
        state.last += 1;
        let (number, until) = (state.last, Instant::now() + self.patience);
        state.entries.insert(number, Entry { until, value });
        Ok(number)
    }

    /// Takes something out for whoever may have it, once; tells how long it has waited.
    pub(crate) fn take_if(&self, number: u64, may: impl FnOnce(&T) -> bool) -> Result<(T, Duration), NotTaken> {
        let mut state = self.lock();
        let given = (1..=state.last).contains(&number);
        match state.entries.get(&number) {
            Some(entry) if !may(&entry.value) => Err(NotTaken::Withheld),
            _ => {
                let entry =
                    state.entries.remove(&number).ok_or(if given { NotTaken::Gone } else { NotTaken::Unknown })?;
                let left = entry.until.saturating_duration_since(Instant::now());
                Ok((entry.value, self.patience.saturating_sub(left)))
            }
        }
    }

    /// Takes something out.
    pub(crate) fn take(&self, number: u64) -> Option<T> {
        self.lock().entries.remove(&number).map(|entry| entry.value)
    }

    /// Takes out all of a kind; of each it is told whether its time is up.
    pub(crate) fn take_all(&self, of: impl Fn(&T, bool) -> bool) -> Vec<T> {
        let now = Instant::now();
        let mut state = self.lock();
        let taken = state.entries.extract_if(.., |_, entry| of(&entry.value, entry.until <= now));
        taken.map(|(_, entry)| entry.value).collect()
    }

    /// Takes out the one that has waited longest, if that is as long as `at_least`.
    pub(crate) fn take_longest(&self, at_least: Duration) -> Option<T> {
        let mut state = self.lock();
        // All wait equally long, so the lowest number waits longest.
        let longest = state.entries.first_entry()?;
        let waited = Instant::now() + self.patience >= longest.get().until + at_least;
        waited.then(|| longest.remove().value)
    }

    /// Whether there is no room.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().entries.len() >= self.max
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// The number of the first of a kind.
    pub(crate) fn find(&self, of: impl Fn(&T) -> bool) -> Option<u64> {
        self.lock().entries.iter().find(|(_, entry)| of(&entry.value)).map(|(number, _)| *number)
    }

    /// What there is to say of all that wait.
    pub(crate) fn of_all<R>(&self, say: impl Fn(&T) -> Option<R>) -> Vec<R> {
        self.lock().entries.values().filter_map(|entry| say(&entry.value)).collect()
    }

    /// Looks at what waits under a number.
    pub(crate) fn look<R>(&self, number: u64, at: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        at(&self.lock().entries.get(&number)?.value)
    }

    /// Changes the only one of a kind; `None` if there is none, or more than one.
    pub(crate) fn change_only<R>(&self, of: impl Fn(&T) -> bool, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut state = self.lock();
        let mut found = state.entries.values_mut().filter(|entry| of(&entry.value));
        match (found.next(), found.next()) {
            (Some(entry), None) => Some(change(&mut entry.value)),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(100);

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_something_out_has_it_alone_and_late_is_not_never() {
        let waiting = Waiting::new(7, 4, PATIENCE);
        let number = waiting.put("a").unwrap();
        assert_eq!(waiting.take_if(number, |_| false), Err(NotTaken::Withheld));
        pass(30).await;
        assert_eq!(waiting.take_if(number, |value| *value == "a"), Ok(("a", Duration::from_secs(30))));
        assert_eq!(waiting.take_if(number, |_| true), Err(NotTaken::Gone));
        for never in [0, number + 1, u64::MAX] {
            assert_eq!(waiting.take_if(never, |_| true), Err(NotTaken::Unknown));
        }
        assert_ne!(waiting.put("b").unwrap(), number);
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_up_after_the_patience_and_not_before() {
        let waiting = Waiting::new(7, 4, PATIENCE);
        waiting.put("a").unwrap();
        pass(50).await;
        waiting.put("b").unwrap();
        pass(49).await;
        assert_eq!(waiting.take_all(|_, over| over), Vec::<&str>::new());
        pass(1).await;
        assert_eq!(waiting.take_all(|_, over| over), ["a"]);
        assert_eq!(waiting.take_all(|_, _| true), ["b"]);
        assert!(waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_and_who_waited_for_long_makes_way() {
        let waiting = Waiting::new(7, 2, PATIENCE);
        waiting.put("a").unwrap();
        pass(5).await;
        assert!(!waiting.is_full());
        waiting.put("b").unwrap();
        assert!(waiting.is_full());
        assert_eq!(waiting.put("c"), Err("c"));
        pass(54).await;
        assert_eq!(waiting.take_longest(Duration::from_mins(1)), None, "59 s");
        pass(1).await;
        assert_eq!(waiting.take_longest(Duration::from_mins(1)), Some("a"));
        assert!(waiting.put("c").is_ok());
        assert_eq!(Waiting::<()>::new(7, 0, PATIENCE).take_longest(Duration::ZERO), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_is_changed_if_it_is_clear_which() {
        let waiting = Waiting::new(7, 4, PATIENCE);
        let first = waiting.put(1).unwrap();
        assert_eq!(waiting.change_only(|value| *value > 0, |value| *value = 7), Some(()));
        assert_eq!(waiting.look(first, |value| Some(*value)), Some(7));
        let second = waiting.put(2).unwrap();
        assert_eq!(waiting.change_only(|_| true, |value| *value = 0), None);
        assert_eq!((waiting.find(|value| *value == 2), waiting.find(|value| *value == 3)), (Some(second), None));
        assert_eq!((waiting.take(first), waiting.take(first)), (Some(7), None));
    }
}
