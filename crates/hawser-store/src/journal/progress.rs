//! What a follower has heard and what it has yet to find: decided from numbers and bytes alone.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher as _};

/// Most announcements that are read one by one; whoever is further behind has missed them.
const BEHIND_MAX: u64 = 1024;
/// Announcements whose content is remembered, to tell one that comes twice from another under the same number.
const RECENT_MAX: usize = 1024;

/// How far a follower is.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Progress {
    /// Every number up to this one was looked for; `None` until the counter was seen.
    seen: Option<u64>,
    /// Numbers up to this one were taken over without being looked at.
    floor: u64,
    /// Heard, or looked for before others that come first.
    ahead: BTreeSet<u64>,
    /// Not there at the last look: maybe just being written.
    absent: BTreeSet<u64>,
    /// Numbers and digests of what was told lately.
    recent: VecDeque<(u64, u64)>,
    /// A number came up a second time with another content: the store has lost what came after its first time.
    repeated: bool,
    /// The last number whose row was found gone, so that it cannot be compared.
    gone: u64,
}

/// What is to be done about an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new.
    Tell,
    /// It was told before.
    Known,
    /// It is not there, and may come yet.
    Wait,
    /// It will not come any more.
    Missed,
}

/// What is to be done about the counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// These are to be read.
    Read(Vec<u64>),
    /// Announcements were lost that cannot be found.
    Missed,
}

impl Progress {
    /// Begins here: what came before is none of this follower's business.
    pub(super) fn begin_at(&mut self, number: u64) {
        self.seen = Some(number);
        self.floor = number;
        self.ahead.clear();
        self.absent.clear();
        self.repeated = false;
        self.gone = 0;
    }

    /// The counter is lost. Tells whether that is news.
    pub(super) fn lose(&mut self) -> bool {
        self.seen.take().is_some()
    }

    /// An announcement came over the channel. It is never held back: only what is missing is looked for.
    pub(super) fn hear(&mut self, number: u64, message: &[u8]) -> Verdict {
        let Some(seen) = self.seen else { return Verdict::Tell };
        let told = self.has_told(number);
        if !self.note(number, message) {
            return Verdict::Known;
        }
        if number <= seen || self.ahead.contains(&number) {
            self.repeated |= told || number > self.floor;
        } else if number - seen <= BEHIND_MAX {
            self.ahead.insert(number);
        }
        Verdict::Tell
    }

    /// The counter was read.
    pub(super) fn look(&mut self, current: u64) -> Look {
        let behind = self.seen.and_then(|seen| current.checked_sub(seen)).filter(|behind| *behind <= BEHIND_MAX);
        let (Some(seen), Some(_), false) = (self.seen, behind, self.repeated) else {
            self.begin_at(current);
            return Look::Missed;
        };
        // Nobody was given these numbers yet.
        self.ahead.retain(|number| *number <= current);
        // Those ahead as well: their numbers may have been given again.
        Look::Read((seen..current).filter_map(|before| before.checked_add(1)).collect())
    }

    /// The last number that is done with, if its row can be compared with what was told: a store that lost its latest rows gives
    /// their numbers again, and looks complete when as many have come.
    pub(super) fn comparable(&self) -> Option<u64> {
        self.seen.filter(|seen| *seen != self.gone)
    }

    /// Compares it; the first time that it is seen, it is what later ones are compared with.
    pub(super) fn compare(&mut self, number: u64, entry: Option<&[u8]>) {
        let Some(message) = entry else {
            self.gone = number;
            return;
        };
        let told = self.has_told(number);
        self.repeated |= self.note(number, message) && told;
    }

    /// An announcement was looked for. What is absent twice was lost on its way to the store, or is too old.
    pub(super) fn read(&mut self, number: u64, entry: Option<&[u8]>) -> Verdict {
        match entry {
            Some(message) => {
                self.gone = 0;
                let new = self.note(number, message);
                self.finish(number);
                if new { Verdict::Tell } else { Verdict::Known }
            }
            None if self.absent.contains(&number) => {
                let heard = self.ahead.contains(&number);
                self.finish(number);
                if heard { Verdict::Known } else { Verdict::Missed }
            }
            None => {
                self.absent.insert(number);
                Verdict::Wait
            }
        }
    }

    fn finish(&mut self, number: u64) {
        self.absent.remove(&number);
        self.ahead.insert(number);
        while let Some(next) = self.seen.and_then(|seen| seen.checked_add(1)).filter(|next| self.ahead.remove(next)) {
            self.seen = Some(next);
        }
    }

    fn has_told(&self, number: u64) -> bool {
        self.recent.iter().any(|(recent, _)| *recent == number)
    }

    /// Remembers what is told; `false` if it was told before.
    fn note(&mut self, number: u64, message: &[u8]) -> bool {
        let entry = (number, digest(message));
        if self.recent.contains(&entry) {
            return false;
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
        true
    }
}

fn digest(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(message);
    hasher.finish()
}
