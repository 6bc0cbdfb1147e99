//! What the server asked of the client. While it waits for an answer, its silence is not its fault, so timeouts wait, too.
//!
//! A question that came with an exchange excuses that exchange. One that came outside of any may be on behalf of every
//! exchange that was running (nothing on a pipe tells, and over HTTP a server may ask on the listening stream), but of none
//! that began later, so a question that is never answered does not stretch calls for ever.

use std::collections::VecDeque;

use bytes::Bytes;
use hawser_mcp::{RawJson, RequestId};
use tokio::time::Instant;

/// Most questions of one session that are kept in mind. More are passed on; the oldest then excuse nothing any more.
const QUESTIONS_MAX: usize = 256;

/// The questions of one session.
#[derive(Debug, Default)]
pub(crate) struct Questions(VecDeque<Question>);

#[derive(Debug)]
struct Question {
    id: RequestId,
    /// The exchange that it came with.
    exchange: Option<u64>,
    asked_at: Instant,
    /// When it was answered or withdrawn: from then on it is the server's turn.
    settled_at: Option<Instant>,
}

impl Questions {
    /// The server asked something and waits.
    pub(crate) fn asked(&mut self, id: &RequestId, exchange: Option<u64>, now: Instant) {
        // A slice of the message would keep all of it in memory.
        let copy = RawJson::parse(&Bytes::copy_from_slice(id.raw().bytes())).ok().and_then(RequestId::from_raw);
        let Some(id) = copy else { return };
        if self.0.len() >= QUESTIONS_MAX {
            let settled = self.0.iter().position(|question| question.settled_at.is_some());
            self.0.remove(settled.unwrap_or(0));
        }
        self.0.push_back(Question { id, exchange, asked_at: now, settled_at: None });
    }

    /// The server waits no more: it has its answer, has withdrawn the question, or nobody will give an answer.
    pub(crate) fn settled(&mut self, id: &RequestId, now: Instant) {
        for question in &mut self.0 {
            if question.settled_at.is_none() && question.id == *id {
                question.settled_at = Some(now);
            }
        }
    }

    /// Forgets what came with an exchange that is over.
    pub(crate) fn exchange_ended(&mut self, exchange: u64) {
        self.0.retain(|question| question.exchange != Some(exchange));
    }

    /// Until when an exchange that began at `began` excuses the server's silence: now, if it waits for an answer.
    pub(crate) fn excuse(&self, exchange: u64, began: Instant, now: Instant) -> Option<Instant> {
        self.0
            .iter()
            .filter(|question| match question.exchange {
                Some(id) => id == exchange,
                None => question.asked_at >= began,
            })
            .map(|question| question.settled_at.unwrap_or(now))
            .max()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_question_excuses_its_own_exchange_only_until_it_is_settled() {
        let start = Instant::now();
        let (mut questions, id) = (Questions::default(), RequestId::string("q"));
        questions.asked(&id, Some(1), at(start, 1));
        assert_eq!(questions.excuse(1, start, at(start, 9)), Some(at(start, 9)));
        assert_eq!(questions.excuse(2, start, at(start, 9)), None);
        questions.settled(&RequestId::string("other"), at(start, 10));
        questions.settled(&id, at(start, 11));
        questions.settled(&id, at(start, 12));
        assert_eq!(questions.excuse(1, start, at(start, 20)), Some(at(start, 11)), "the first settlement counts");
        questions.exchange_ended(1);
        assert_eq!(questions.excuse(1, start, at(start, 20)), None);
    }

    #[test]
    fn a_question_outside_of_exchanges_excuses_all_that_were_running() {
        let start = Instant::now();
        let (mut questions, id) = (Questions::default(), RequestId::number(7));
        questions.asked(&id, None, at(start, 5));
        for (exchange, began, excused) in [(1, 0, true), (2, 5, true), (3, 6, false)] {
            let excuse = questions.excuse(exchange, at(start, began), at(start, 9));
            assert_eq!(excuse, excused.then(|| at(start, 9)), "{exchange}");
        }
        questions.exchange_ended(1);
        assert!(questions.excuse(2, start, at(start, 9)).is_some());
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_still_waits_is_kept_longest() {
        let now = Instant::now();
        let mut questions = Questions::default();
        let max = u64::try_from(QUESTIONS_MAX).unwrap_or_default();
        questions.asked(&RequestId::number(0), Some(0), now);
        questions.asked(&RequestId::number(1), Some(1), now);
        questions.settled(&RequestId::number(1), now);
        for n in 2..=max {
            questions.asked(&RequestId::number(n), Some(n), now);
        }
        assert_eq!(questions.0.len(), QUESTIONS_MAX);
        assert_eq!((questions.excuse(0, now, now), questions.excuse(1, now, now)), (Some(now), None));
        questions.asked(&RequestId::number(max + 1), Some(max + 1), now);
        assert_eq!((questions.0.len(), questions.excuse(0, now, now)), (QUESTIONS_MAX, None));
    }

    #[test]
    fn an_id_does_not_keep_the_message_it_came_in() {
        let message = Bytes::from(format!("7{}", " ".repeat(1_000)));
        let id = RawJson::parse(&message.slice(..1)).ok().and_then(RequestId::from_raw);
        let mut questions = Questions::default();
        if let Some(id) = &id {
            questions.asked(id, None, Instant::now());
        }
        drop(id);
        assert_eq!(questions.0.len(), 1);
        assert!(message.is_unique());
    }
}
