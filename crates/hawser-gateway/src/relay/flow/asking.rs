//! The side that asked: takes pieces in order, and tells how many more it can take.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::super::frame::{Piece, Window, Word};
use super::{AGAIN, BEAT, ON_ITS_WAY, SILENCE, WIDER, WINDOW};

/// Why an answer did not come, or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Break {
    /// The other node does not know the exchange: it gave up, or had no place for it.
    Gone,
    /// The other node is silent.
    Silent,
    /// The answer broke over there.
    There,
    /// The other node does not keep to what was agreed.
    Disagreed,
    /// The request could not be sent.
    Unsent,
    /// Nobody on this side waits for it any more.
    Unwanted,
}

/// What the reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Read {
    /// The next piece, never an end.
    Piece(Piece),
    /// Nothing yet.
    Nothing,
    /// The answer is complete.
    End,
    /// The answer is not complete, and nothing more comes.
    Broken(Break),
}

/// What is to be said to the answering side.
type Saying = Option<Word>;

/// The asking side of an exchange.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(in super::super) struct Asking {
    accepted: bool,
    /// The number of the next piece.
    expected: u32,
    /// What has come and was not read.
    unread: VecDeque<Piece>,
    /// Pieces that were read.
    read: u32,
    /// How many may be unread.
    unread_max: u32,
    /// Up to where the other side was told that it may send.
    until: u32,
    over: Option<Result<(), Break>>,
    heard: Instant,
    said: Instant,
    asked_again: Option<Instant>,
    /// The other side has sent more than had come then.
    behind: Option<Instant>,
}

impl Asking {
    /// One whose request is sent now.
    pub(in super::super) const fn new(now: Instant) -> Self {
        Self {
            accepted: false,
            expected: 0,
            unread: VecDeque::new(),
            read: 0,
            unread_max: WINDOW,
            until: WINDOW,
            over: None,
            heard: now,
            said: now,
            asked_again: None,
            behind: None,
        }
    }

    /// More may be unread.
    pub(in super::super) const fn widen(&mut self) {
        self.unread_max = WINDOW + WIDER;
    }

    /// Whether the other side has the request.
    pub(in super::super) const fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// How it ended, if it has.
    pub(in super::super) const fn over(&self) -> Option<Result<(), Break>> {
        self.over
    }

    /// The other side has said something.
    pub(in super::super) fn hear(&mut self, now: Instant, word: Word) -> Saying {
        if self.over.is_some() {
            // It does not know yet.
            return (!matches!(word, Word::Gone)).then_some(Word::Leave);
        }
        self.heard = now;
        match word {
            Word::Accepted => {
                self.accepted = true;
                // Until it hears this, it does not begin.
                return (self.expected == 0).then(|| self.window(now, false));
            }
            Word::Piece(number, piece) => {
                self.accepted = true;
                return self.piece(now, number, piece);
            }
            Word::Sent(pieces) => {
                self.accepted = true;
                if pieces > self.expected {
                    self.behind.get_or_insert(now);
                }
            }
            Word::Gone => self.over = Some(Err(Break::Gone)),
            // Said by who asks only.
            Word::Request { .. } | Word::Window(_) | Word::Leave => {}
        }
        None
    }

    fn piece(&mut self, now: Instant, number: u32, piece: Piece) -> Saying {
        if number < self.expected {
            return None;
        }
        if number > self.expected {
            return self.again(now);
        }
        let first = number == 0;
        if number >= self.until || first != matches!(piece, Piece::Head(..)) {
            return self.give_up(Break::Disagreed);
        }
        self.expected += 1;
        self.behind = None;
        match piece {
            Piece::End => {
                self.over = Some(Ok(()));
                return Some(Word::Leave);
            }
            Piece::Broken => return self.give_up(Break::There),
            Piece::Head(..) | Piece::Data(_) => self.unread.push_back(piece),
        }
        None
    }

    /// Messages to this node may have been lost.
    pub(in super::super) fn missed(&mut self, now: Instant) -> Saying {
        if self.over.is_some() || !self.accepted {
            return None;
        }
        self.asked_again = Some(now);
        Some(self.window(now, true))
    }

    /// Time has passed.
    pub(in super::super) fn tick(&mut self, now: Instant) -> Saying {
        // Until it is accepted, who asks waits less long than this.
        if self.over.is_some() || !self.accepted {
            return None;
        }
        if now.duration_since(self.heard) >= SILENCE {
            return self.give_up(Break::Silent);
        }
        if self.behind.is_some_and(|since| now.duration_since(since) >= ON_ITS_WAY) {
            self.behind = Some(now);
            return self.again(now);
        }
        (now.duration_since(self.said) >= BEAT).then(|| self.window(now, false))
    }

    /// Ends it unless the other side has the request; whether it has not. Then nothing is done over there, however late the request
    /// comes.
    pub(in super::super) fn withdraw(&mut self) -> bool {
        if !self.accepted {
            self.over.get_or_insert(Err(Break::Unwanted));
        }
        !self.accepted
    }

    /// Ends it, because it cannot go on.
    pub(in super::super) fn give_up(&mut self, reason: Break) -> Saying {
        if self.over.is_some() {
            return None;
        }
        self.over = Some(Err(reason));
        Some(Word::Leave)
    }

    /// What comes next for the reader, and what is to be said because it was read.
    pub(in super::super) fn read(&mut self, now: Instant) -> (Read, Saying) {
        let Some(piece) = self.unread.pop_front() else {
            let read = match self.over {
                None => Read::Nothing,
                Some(Ok(())) => Read::End,
                Some(Err(reason)) => Read::Broken(reason),
            };
            return (read, None);
        };
        self.read = self.read.saturating_add(1);
        // Told when half of the window is free, so that not every piece costs a message.
        let due = self.over.is_none() && self.allowed().saturating_sub(self.until) >= self.unread_max / 2;
        (Read::Piece(piece), due.then(|| self.window(now, false)))
    }

    #[cfg(test)]
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// One with a window of its own.
    #[cfg(test)]
    pub(super) fn narrow(now: Instant, window: u32) -> Self {
        Self { unread_max: window, until: window, ..Self::new(now) }
    }

    #[cfg(test)]
    pub(super) const fn heard(&self) -> Instant {
        self.heard
    }

    /// All that what it does next depends on: times by how long ago they are, as far as that matters.
    #[cfg(test)]
    pub(super) fn shape(&self, now: Instant) -> impl std::hash::Hash {
        let ago = |at: Instant, most| now.duration_since(at).min(most);
        let unread: Vec<_> = self.unread.iter().map(|piece| format!("{piece:?}")).collect();
        let numbers = (self.accepted, self.expected, unread, self.read, self.unread_max, self.until);
        let times = (ago(self.heard, SILENCE), ago(self.said, BEAT));
        let asked_again = self.asked_again.map(|at| ago(at, AGAIN)).filter(|ago| *ago < AGAIN);
        (numbers, times, asked_again, self.behind.map(|at| ago(at, ON_ITS_WAY)), format!("{:?}", self.over))
    }

    fn allowed(&self) -> u32 {
        self.read.saturating_add(self.unread_max)
    }

    fn again(&mut self, now: Instant) -> Saying {
        if self.asked_again.is_some_and(|asked| now.duration_since(asked) < AGAIN) {
            return None;
        }
        self.asked_again = Some(now);
        Some(self.window(now, true))
    }

    fn window(&mut self, now: Instant, again: bool) -> Word {
        self.said = now;
        self.until = self.allowed();
        Word::Window(Window { received: self.expected, until: self.until, again })
    }
}
