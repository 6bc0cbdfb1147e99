//! The side that answers: sends pieces as far as it may, and keeps them until they have come.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::super::frame::{Piece, Window, Word};
use super::{AGAIN, BEAT, SILENCE, WINDOW};

/// The answering side of an exchange.
#[derive(Debug)]
pub(in super::super) struct Answering {
    /// What was sent, and may not have come.
    kept: VecDeque<Piece>,
    /// The number of the next piece.
    next: u32,
    until: u32,
    ended: bool,
    heard: Instant,
    said: Instant,
    repeated: Option<Instant>,
}

impl Answering {
    /// One whose request has just come.
    pub(in super::super) const fn new(now: Instant) -> Self {
        Self { kept: VecDeque::new(), next: 0, until: WINDOW, ended: false, heard: now, said: now, repeated: None }
    }

    /// Whether the next piece may be sent.
    pub(in super::super) fn has_room(&self) -> bool {
        !self.ended && self.next < self.until && self.kept.len() < WINDOW as usize
    }

    /// Whether everything was said and has come.
    pub(in super::super) fn is_done(&self) -> bool {
        self.ended && self.kept.is_empty()
    }

    /// A piece is sent, and nothing after an end; the word for it. Only where there is room.
    pub(in super::super) fn send(&mut self, now: Instant, piece: Piece) -> Word {
        self.ended |= matches!(piece, Piece::End | Piece::Broken);
        self.kept.push_back(piece.clone());
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.said = now;
        Word::Piece(number, piece)
    }

    /// The asking side has told its window. What has to be sent again.
    pub(in super::super) fn window(&mut self, now: Instant, window: Window) -> Vec<Word> {
        self.heard = now;
        if window.received > self.next || window.received < self.first() {
            // Overtaken by a later one; or nonsense.
            return Vec::new();
        }
        while self.first() < window.received {
            self.kept.pop_front();
        }
        self.until = self.until.max(window.until.min(window.received.saturating_add(WINDOW)));
        let lately = self.repeated.is_some_and(|repeated| now.duration_since(repeated) < AGAIN);
        if !window.again || lately || self.kept.is_empty() {
            return Vec::new();
        }
        self.repeated = Some(now);
        (self.first()..).zip(self.kept.iter().cloned()).map(|(number, piece)| Word::Piece(number, piece)).collect()
    }

    /// Time has passed: what is to be said, or that the asking side is gone.
    pub(in super::super) fn tick(&mut self, now: Instant) -> Result<Option<Word>, ()> {
        if now.duration_since(self.heard) >= SILENCE {
            return Err(());
        }
        Ok((now.duration_since(self.said) >= BEAT).then(|| self.beat(now)))
    }

    /// Says how far it is.
    pub(in super::super) fn beat(&mut self, now: Instant) -> Word {
        self.said = now;
        Word::Sent(self.next)
    }

    /// The number of the first piece that is kept.
    fn first(&self) -> u32 {
        self.next.saturating_sub(u32::try_from(self.kept.len()).unwrap_or(u32::MAX))
    }
}
