//! Letters that were read before. A writer numbers its letters, so what is remembered of it is the highest number and which of
//! those just below were read (the window of RFC 4303, section 3.4.3), and nothing of writers whose letters are too old anyway.

use std::collections::HashMap;
use std::time::Duration;

use hawser_owner::Timestamp;

use super::letter::Unread;
use super::name::NodeName;

/// How far the clocks of two nodes may differ, the time on the way included.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_mins(1);
/// Letters of one writer that may overtake each other.
const NUMBERS: u64 = 4096;
const WORDS: usize = 64;
/// Most writers that are remembered. One that starts again is another.
const WRITERS_MAX: usize = 1024;

/// What has been read on one channel.
#[derive(Debug)]
pub(super) struct Replays {
    since: Timestamp,
    writers: HashMap<NodeName, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The latest time that a letter names.
    latest: Timestamp,
    highest: u64,
    /// One bit for each of the last [`NUMBERS`] numbers, at its remainder.
    read: Box<[u64; WORDS]>,
}

impl Replays {
    /// For a channel on which nothing counts that was written before `since`: it was written for others, and whether it was read
    /// before cannot be known.
    pub(super) fn new(since: Timestamp) -> Self {
        Self { since, writers: HashMap::new() }
    }

    /// Takes note of a letter, or refuses it.
    pub(super) fn admit(&mut self, from: NodeName, number: u64, at: Timestamp, now: Timestamp) -> Result<(), Unread> {
        if at < self.since || at > now.plus(CLOCKS_DIFFER_MAX) || is_old(at, now) {
            return Err(Unread::Time);
        }
        if let Some(seen) = self.writers.get_mut(&from) {
            seen.latest = seen.latest.max(at);
            return if seen.note(number) { Ok(()) } else { Err(Unread::Replayed) };
        }
        if self.writers.len() >= WRITERS_MAX {
            self.writers.retain(|_, seen| !is_old(seen.latest, now));
            if self.writers.len() >= WRITERS_MAX {
                return Err(Unread::TooManyNodes);
            }
        }
        let mut seen = Seen { latest: at, highest: 0, read: Box::new([0; WORDS]) };
        seen.note(number);
        self.writers.insert(from, seen);
        Ok(())
    }
}

fn is_old(at: Timestamp, now: Timestamp) -> bool {
    at.plus(CLOCKS_DIFFER_MAX) < now
}

impl Seen {
    /// Whether the number is new; it is not any more then.
    fn note(&mut self, number: u64) -> bool {
        if self.highest.saturating_sub(number) >= NUMBERS {
            return false;
        }
        if number > self.highest {
            // Those in between were not read yet.
            let passed = (self.highest + 1..=number).rev().take(usize::try_from(NUMBERS).unwrap_or(usize::MAX));
            passed.for_each(|passed| self.mark(passed, false));
            self.highest = number;
        } else if self.is_marked(number) {
            return false;
        }
        self.mark(number, true);
        true
    }

    fn is_marked(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.read.get(word).is_some_and(|word| word & bit != 0)
    }

    fn mark(&mut self, number: u64, read: bool) {
        let (word, bit) = place(number);
        if let Some(word) = self.read.get_mut(word) {
            *word = if read { *word | bit } else { *word & !bit };
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % NUMBERS;
    (usize::try_from(at / 64).unwrap_or_default(), 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(10_000);

    fn name(number: u64) -> NodeName {
        NodeName::from_bytes(number.to_be_bytes())
    }

    fn replays() -> Replays {
        Replays::new(Timestamp::from_seconds(0))
    }

    proptest! {
        #[test]
        fn nothing_is_read_twice_and_nothing_recent_is_lost(steps in proptest::collection::vec((0_u64..3, 0_u64..6000), 1..400)) {
            let mut replays = replays();
            let mut read = HashSet::new();
            let mut highest = HashMap::new();
            for (writer, number) in steps {
                let top = highest.entry(writer).or_insert(number);
                let recent = top.saturating_sub(number) < NUMBERS;
                *top = number.max(*top);
                let admitted = replays.admit(name(writer), number, NOW, NOW).is_ok();
                prop_assert_eq!(admitted, recent && read.insert((writer, number)));
            }
        }
    }

    #[test]
    fn a_writer_may_jump_ahead() {
        let mut replays = replays();
        for (number, read) in [(5, true), (5, false), (1_000_000, true), (999_999, true), (5, false), (u64::MAX, true)]
        {
            assert_eq!(replays.admit(name(1), number, NOW, NOW).is_ok(), read, "{number}");
        }
    }

    #[test]
    fn only_what_was_written_lately_is_read() {
        let mut replays = Replays::new(NOW.minus(Duration::from_secs(30)));
        for (at, read) in [
            (NOW.minus(Duration::from_secs(31)), false),
            (NOW.minus(Duration::from_secs(30)), true),
            (NOW.plus(CLOCKS_DIFFER_MAX), true),
            (NOW.plus(CLOCKS_DIFFER_MAX + Duration::from_secs(1)), false),
        ] {
            assert_eq!(replays.admit(name(1), at.seconds(), at, NOW).is_ok(), read, "{at:?}");
        }
        let later = NOW.plus(Duration::from_hours(1));
        assert_eq!(replays.admit(name(1), 0, NOW, later), Err(Unread::Time));
    }

    #[test]
    fn writers_are_forgotten_only_when_their_letters_are_too_old_to_be_read() {
        let mut replays = replays();
        for writer in 0..WRITERS_MAX as u64 {
            assert_eq!(replays.admit(name(writer), 0, NOW, NOW), Ok(()));
        }
        let soon = NOW.plus(CLOCKS_DIFFER_MAX);
        assert_eq!(replays.admit(name(u64::MAX), 0, soon, soon), Err(Unread::TooManyNodes));
        assert_eq!(replays.admit(name(0), 0, NOW, soon), Err(Unread::Replayed));
        let later = soon.plus(Duration::from_secs(1));
        assert_eq!(replays.admit(name(u64::MAX), 0, later, later), Ok(()));
        assert_eq!(replays.writers.len(), 1);
        assert_eq!(replays.admit(name(0), 0, NOW, later), Err(Unread::Time));
    }
}
