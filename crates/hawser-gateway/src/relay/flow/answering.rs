//! The side that answers: sends pieces as far as it may, and keeps them until they have come.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::super::frame::{Piece, Window, Word};
use super::{AGAIN, BEAT, SILENCE, WIDER, WINDOW};

/// The asking side has been silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct PeerGone;

/// The answering side of an exchange.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(in super::super) struct Answering {
    /// What has not come yet, as far as is known.
    kept: VecDeque<Piece>,
    /// The number of the first piece that is kept.
    first: u32,
    /// How many of those that are kept were sent.
    sent: usize,
    /// Up to where the other side takes pieces.
    until: u32,
    /// How many are kept at most.
    kept_max: u32,
    /// Whether the asking side knows that its request has come, and waits.
    wanted: bool,
    ended: bool,
    heard: Instant,
    said: Instant,
    repeated: Option<Instant>,
}

impl Answering {
    /// One whose request has just come.
    pub(in super::super) const fn new(now: Instant) -> Self {
        Self {
            kept: VecDeque::new(),
            first: 0,
            sent: 0,
            until: WINDOW,
            kept_max: WINDOW,
            wanted: false,
            ended: false,
            heard: now,
            said: now,
            repeated: None,
        }
    }

    /// More may be kept.
    pub(in super::super) const fn widen(&mut self) {
        self.kept_max = WINDOW + WIDER;
    }

    /// Whether what was asked for may be done. A request that comes late is not wanted any more.
    pub(in super::super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether there is room for another piece.
    pub(in super::super) fn has_room(&self) -> bool {
        !self.ended && self.next() < self.until.min(self.first.saturating_add(self.kept_max))
    }

    /// Whether everything was said and has come.
    pub(in super::super) fn is_done(&self) -> bool {
        self.ended && self.kept.is_empty()
    }

    /// Takes the next piece, if there is room; what comes after an end does not count.
    pub(in super::super) fn push(&mut self, piece: Piece) {
        if self.has_room() {
            self.ended |= matches!(piece, Piece::End | Piece::Broken);
            self.kept.push_back(piece);
        }
    }

    /// What is to be sent next, if anything is.
    pub(in super::super) fn pop(&mut self, now: Instant) -> Option<Word> {
        let piece = self.kept.get(self.sent)?.clone();
        let number = self.told();
        self.sent += 1;
        self.said = now;
        Some(Word::Piece(number, piece))
    }

    /// The asking side has told its window.
    pub(in super::super) fn window(&mut self, now: Instant, window: Window) {
        self.heard = now;
        self.wanted = true;
        if window.received < self.first || window.received > self.told() {
            // Overtaken by a later one; or nonsense.
            return;
        }
        while self.first < window.received {
            self.kept.pop_front();
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
        }
        self.until = self.until.max(window.until);
        let lately = self.repeated.is_some_and(|repeated| now.duration_since(repeated) < AGAIN);
        if window.again && !lately {
            self.repeated = Some(now);
            self.sent = 0;
        }
    }

    /// Time has passed: what is to be said.
    pub(in super::super) fn tick(&mut self, now: Instant) -> Result<Option<Word>, PeerGone> {
        if now.duration_since(self.heard) >= SILENCE {
            return Err(PeerGone);
        }
        let after = if self.wanted { BEAT } else { AGAIN };
        Ok((now.duration_since(self.said) >= after).then(|| self.beat(now)))
    }

    /// Says how far it is.
    pub(in super::super) fn beat(&mut self, now: Instant) -> Word {
        self.said = now;
        if self.wanted { Word::Sent(self.told()) } else { Word::Accepted }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// One with a window of its own.
    #[cfg(test)]
    pub(super) fn narrow(now: Instant, window: u32) -> Self {
        Self { until: window, kept_max: window, ..Self::new(now) }
    }

    #[cfg(test)]
    pub(super) const fn heard(&self) -> Instant {
        self.heard
    }

    /// All that what it does next depends on: times by how long ago they are, as far as that matters.
    #[cfg(test)]
    pub(super) fn shape(&self, now: Instant) -> impl std::hash::Hash {
        let ago = |at: Instant, most| now.duration_since(at).min(most);
        let kept: Vec<_> = self.kept.iter().map(|piece| format!("{piece:?}")).collect();
        let numbers = (kept, self.first, self.sent, self.until, self.kept_max, self.wanted, self.ended);
        let repeated = self.repeated.map(|at| ago(at, AGAIN)).filter(|ago| *ago < AGAIN);
        (numbers, ago(self.heard, SILENCE), ago(self.said, BEAT), repeated)
    }

    /// The number of the next piece that is sent. All counts are bounded by `until`, which is a number of the same type.
    fn told(&self) -> u32 {
        self.first.saturating_add(u32::try_from(self.sent).unwrap_or(u32::MAX))
    }

    /// The number of the next piece that is taken.
    fn next(&self) -> u32 {
        self.first.saturating_add(u32::try_from(self.kept.len()).unwrap_or(u32::MAX))
    }
}
