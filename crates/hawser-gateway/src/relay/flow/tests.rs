//! Both sides over a channel that loses, doubles and reorders.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::frame::{Piece, Window, Word};
use super::{Answering, Asking, BEAT, Break, PeerGone, Read, SILENCE, WIDER, WINDOW};

const TICK: Duration = Duration::from_millis(250);

fn head() -> Piece {
    Piece::Head(StatusCode::OK, HeaderMap::new())
}

fn data(number: usize) -> Piece {
    Piece::Data(Bytes::from(number.to_string()))
}

/// What the channel does with the next word, and what the two sides do between words.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The word comes, from this place in what is on its way.
    Come(bool, prop::sample::Index),
    Lose(bool, prop::sample::Index),
    Double(bool, prop::sample::Index),
    Read,
    Time,
    /// One side learns that messages may have been lost.
    Missed,
    Widen,
    /// Who asks has waited long enough for the other side to say that it has the request.
    Withdraw,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = any::<prop::sample::Index>();
    let step = prop_oneof![
        8 => (any::<bool>(), at.clone()).prop_map(|(back, at)| Step::Come(back, at)),
        1 => (any::<bool>(), at.clone()).prop_map(|(back, at)| Step::Lose(back, at)),
        1 => (any::<bool>(), at).prop_map(|(back, at)| Step::Double(back, at)),
        6 => Just(Step::Read),
        2 => Just(Step::Time),
        1 => Just(Step::Missed),
        1 => Just(Step::Widen),
        1 => Just(Step::Withdraw),
    ];
    proptest::collection::vec(step, 0..400)
}

/// An answer of so many pieces between both sides.
struct Model {
    now: Instant,
    asking: Asking,
    answering: Option<Answering>,
    /// What is still to be pushed, in reverse.
    source: Vec<Piece>,
    total: usize,
    there: Vec<Word>,
    back: Vec<Word>,
    /// Pieces that were read: those that were said, in their order.
    read: usize,
    outcome: Option<Read>,
    withdrawn: bool,
}

impl Model {
    fn new(length: usize) -> Self {
        let now = Instant::now();
        let mut source: Vec<_> = std::iter::once(head()).chain((0..length).map(data)).collect();
        let total = source.len();
        source.push(Piece::End);
        source.reverse();
        let (asking, answering) = (Asking::new(now), Some(Answering::new(now)));
        let (there, back) = (Vec::new(), vec![Word::Accepted]);
        Self { now, asking, answering, source, total, there, back, read: 0, outcome: None, withdrawn: false }
    }

    fn work(&mut self) {
        let Some(answering) = self.answering.as_mut().filter(|answering| answering.is_wanted()) else { return };
        loop {
            while let Some(word) = answering.pop(self.now) {
                self.back.push(word);
            }
            if !answering.has_room() {
                break;
            }
            let Some(piece) = self.source.pop() else { break };
            answering.push(piece);
        }
        if answering.is_done() {
            self.answering = None;
        }
    }

    fn come(&mut self, back: bool, word: Word) {
        if back {
            self.there.extend(self.asking.hear(self.now, word));
            return;
        }
        match (&mut self.answering, word) {
            (Some(answering), Word::Window(window)) => answering.window(self.now, window),
            (Some(_), Word::Leave) => self.answering = None,
            (None, Word::Window(_)) => self.back.push(Word::Gone),
            (None, Word::Leave) => {}
            (_, word) => unreachable!("{word:?} is not said by who asks"),
        }
    }

    fn read(&mut self) {
        let (read, word) = self.asking.read(self.now);
        self.there.extend(word);
        match read {
            Read::Piece(piece) => {
                let at = self.read;
                assert_eq!(piece, if at == 0 { head() } else { data(at - 1) });
                self.read += 1;
            }
            Read::Nothing => {}
            over => self.outcome = Some(over),
        }
    }

    fn time(&mut self) {
        self.now += TICK;
        self.there.extend(self.asking.tick(self.now));
        match self.answering.as_mut().map(|answering| answering.tick(self.now)) {
            Some(Ok(word)) => self.back.extend(word),
            Some(Err(PeerGone)) => self.answering = None,
            None => {}
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Come(back, at) | Step::Lose(back, at) | Step::Double(back, at) => {
                let way = if back { &mut self.back } else { &mut self.there };
                if way.is_empty() {
                    return;
                }
                // Mostly in order.
                let at = at.index(way.len().min(3));
                let word = way.remove(at);
                if matches!(step, Step::Double(..)) {
                    way.push(word.clone());
                }
                if !matches!(step, Step::Lose(..)) {
                    self.come(back, word);
                }
            }
            Step::Read => self.read(),
            Step::Time => self.time(),
            Step::Missed => self.there.extend(self.asking.missed(self.now)),
            Step::Widen => {
                self.asking.widen();
                self.answering.iter_mut().for_each(Answering::widen);
            }
            Step::Withdraw => {
                if self.asking.withdraw() {
                    self.withdrawn = true;
                    self.there.push(Word::Leave);
                }
            }
        }
        self.work();
        self.check();
    }

    /// From now on everything comes, in order and at once, and the reader reads.
    fn settle(&mut self) {
        for _ in 0..1000 {
            while !self.there.is_empty() || !self.back.is_empty() {
                if !self.there.is_empty() {
                    let word = self.there.remove(0);
                    self.come(false, word);
                }
                if !self.back.is_empty() {
                    let word = self.back.remove(0);
                    self.come(true, word);
                }
                self.work();
            }
            let before = self.read;
            self.read();
            self.check();
            if self.read > before {
                continue;
            }
            if self.outcome.is_some() && self.answering.is_none() {
                return;
            }
            self.time();
            self.work();
        }
    }

    /// An end is only said when all was read; nothing that was withdrawn is done; both sides hold a bounded number.
    fn check(&self) {
        if self.outcome == Some(Read::End) {
            assert_eq!(self.read, self.total);
        }
        assert!(!self.withdrawn || self.answering.as_ref().is_none_or(|answering| !answering.is_wanted()));
        let most = (WINDOW + WIDER) as usize;
        assert!(self.asking.unread() <= most);
        assert!(self.answering.as_ref().is_none_or(|answering| answering.kept() <= most));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_read_whole_or_known_to_be_broken(length in 0_usize..200, steps in steps()) {
        let mut model = Model::new(length);
        model.work();
        for step in steps {
            model.step(step);
        }
        model.settle();
        prop_assert!(model.outcome.is_some(), "still waiting: {:?}", model.asking);
        prop_assert!(model.answering.is_none(), "still kept: {:?}", model.answering);
    }

    #[test]
    fn what_is_lost_comes_again(length in 0_usize..200, lost in proptest::collection::vec(any::<bool>(), 1..60)) {
        let mut model = Model::new(length);
        model.come(true, Word::Accepted);
        model.work();
        for lost in lost {
            // Never so much that either side gives the other up.
            model.now += TICK / 4;
            for back in [true, false] {
                let way = if back { &mut model.back } else { &mut model.there };
                let words = std::mem::take(way);
                for word in words {
                    if !lost {
                        model.come(back, word);
                    }
                }
            }
            model.read();
            model.work();
        }
        model.settle();
        prop_assert_eq!(model.outcome, Some(Read::End));
    }

    #[test]
    fn no_words_make_it_panic_or_hold_more(words in proptest::collection::vec(any::<(u32, u32, u8)>(), 0..100)) {
        let now = Instant::now();
        let (mut asking, mut answering) = (Asking::new(now), Answering::new(now));
        for (one, two, kind) in words {
            let near = one % 8;
            let _ = asking.hear(now, match kind % 6 {
                0 => Word::Piece(near, head()),
                1 => Word::Piece(near, data(0)),
                2 => Word::Piece(one, data(0)),
                3 => Word::Sent(one),
                4 => Word::Window(Window { received: one, until: two, again: true }),
                _ => Word::Accepted,
            });
            answering.push(data(0));
            let _ = answering.pop(now);
            let _ = answering.tick(now);
            answering.window(now, Window { received: if kind < 128 { near } else { one }, until: two, again: true });
        }
        prop_assert!(asking.unread() <= WINDOW as usize && answering.kept() <= WINDOW as usize);
    }
}

#[test]
fn who_is_silent_is_given_up_by_both_sides() {
    let mut model = Model::new(1000);
    model.come(true, Word::Accepted);
    model.work();
    let begun = model.now;
    while model.now.duration_since(begun) < SILENCE {
        model.time();
    }
    assert_eq!(model.asking.over(), Some(Err(Break::Silent)));
    assert!(model.answering.is_none());
}

#[test]
fn nobody_is_given_up_for_having_nothing_to_say() {
    let mut model = Model::new(0);
    model.source.remove(0);
    model.work();
    for _ in 0..1000 {
        model.time();
        for back in [true, false] {
            let words = std::mem::take(if back { &mut model.back } else { &mut model.there });
            for word in words {
                model.come(back, word);
            }
        }
    }
    assert!(model.asking.over().is_none() && model.answering.is_some());
}

#[test]
fn an_answer_that_broke_over_there_is_broken_here() {
    let now = Instant::now();
    let mut asking = Asking::new(now);
    assert_eq!(asking.hear(now, Word::Piece(0, head())), None);
    assert_eq!(asking.hear(now, Word::Piece(1, data(0))), None);
    assert_eq!(asking.hear(now, Word::Piece(2, Piece::Broken)), Some(Word::Leave));
    assert_eq!(asking.read(now).0, Read::Piece(head()));
    assert_eq!(asking.read(now).0, Read::Piece(data(0)));
    assert_eq!(asking.read(now).0, Read::Broken(Break::There));
}

#[test]
fn an_answer_without_a_head_or_with_two_is_none() {
    let now = Instant::now();
    for first in [data(0), Piece::End] {
        let mut asking = Asking::new(now);
        assert_eq!(asking.hear(now, Word::Piece(0, first)), Some(Word::Leave));
        assert_eq!(asking.over(), Some(Err(Break::Disagreed)));
    }
    let mut asking = Asking::new(now);
    assert_eq!(asking.hear(now, Word::Piece(0, head())), None);
    assert_eq!(asking.hear(now, Word::Piece(1, head())), Some(Word::Leave));
}

#[test]
fn a_window_is_told_before_it_is_used_up_and_now_and_then() {
    let now = Instant::now();
    let mut asking = Asking::new(now);
    for number in 0..WINDOW {
        let piece = if number == 0 { head() } else { data(0) };
        assert_eq!(asking.hear(now, Word::Piece(number, piece)), None);
    }
    assert_eq!(asking.read(now).1, None);
    let told = Window { received: WINDOW, until: WINDOW + 2, again: false };
    assert_eq!(asking.read(now).1, Some(Word::Window(told)));
    assert_eq!(asking.tick(now + BEAT / 2), None);
    assert_eq!(asking.tick(now + BEAT), Some(Word::Window(told)));
}
