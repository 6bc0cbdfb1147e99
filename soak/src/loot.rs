//! What strangers got hold of: every handle of every owner, as if all logs and all memories had leaked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::random::Random;
use crate::session::Session;

/// How much of each kind is kept; the oldest goes.
const KEPT: usize = 256;

/// A list's cursor.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) modern: bool,
    pub(crate) method: &'static str,
    pub(crate) text: String,
}

/// Everything.
#[derive(Default)]
pub(crate) struct Loot(Mutex<Piles>);

#[derive(Default)]
struct Piles {
    sessions: VecDeque<Arc<Session>>,
    events: VecDeque<(Arc<Session>, String)>,
    questions: VecDeque<(Arc<Session>, Value)>,
    cursors: VecDeque<Cursor>,
    states: VecDeque<Value>,
}

fn put<T>(pile: &mut VecDeque<T>, one: T) {
    if pile.len() >= KEPT {
        pile.pop_front();
    }
    pile.push_back(one);
}

fn any<T: Clone>(pile: &VecDeque<T>, random: &mut Random) -> Option<T> {
    pile.get(random.below(pile.len())).cloned()
}

impl Loot {
    fn piles(&self) -> MutexGuard<'_, Piles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session(&self, session: &Arc<Session>) {
        put(&mut self.piles().sessions, Arc::clone(session));
    }

    pub(crate) fn event(&self, session: &Arc<Session>, id: &str) {
        put(&mut self.piles().events, (Arc::clone(session), id.to_owned()));
    }

    pub(crate) fn question(&self, session: &Arc<Session>, id: &Value) {
        put(&mut self.piles().questions, (Arc::clone(session), id.clone()));
    }

    pub(crate) fn cursor(&self, cursor: Cursor) {
        put(&mut self.piles().cursors, cursor);
    }

    /// The parameters of a retry, state included.
    pub(crate) fn state(&self, retry: &Value) {
        put(&mut self.piles().states, retry.clone());
    }

    pub(crate) fn any_session(&self, random: &mut Random) -> Option<Arc<Session>> {
        any(&self.piles().sessions, random)
    }

    pub(crate) fn any_event(&self, random: &mut Random) -> Option<(Arc<Session>, String)> {
        any(&self.piles().events, random)
    }

    pub(crate) fn any_question(&self, random: &mut Random) -> Option<(Arc<Session>, Value)> {
        any(&self.piles().questions, random)
    }

    pub(crate) fn any_cursor(&self, random: &mut Random) -> Option<Cursor> {
        any(&self.piles().cursors, random)
    }

    pub(crate) fn any_state(&self, random: &mut Random) -> Option<Value> {
        any(&self.piles().states, random)
    }
}
