//! What clients say of themselves: kept once for all sessions whose clients say the same.
//!
//! Thousands of sessions are of a few kinds of clients. Where somebody makes every client different, the bytes of all kinds
//! together are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hawser_mcp::{RawJson, Revision};

use crate::lists::View;

/// Bytes of all that clients say of themselves, after which no session is opened for one more before another is set aside.
pub(crate) const DECLARED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a client said at `initialize`, or says with every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Declared {
    pub(crate) revision: Revision,
    pub(crate) capabilities: RawJson,
    pub(crate) client_info: RawJson,
}

impl Declared {
    fn bytes(&self) -> usize {
        self.capabilities.bytes().len() + self.client_info.bytes().len()
    }
}

/// A kind of client.
#[derive(Debug)]
pub(crate) struct ClientKind {
    declared: Declared,
    view: View,
    kinds: Arc<ClientKinds>,
}

/// The kinds of clients that there are.
#[derive(Debug)]
pub(crate) struct ClientKinds {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Declared, Weak<ClientKind>>,
    bytes: usize,
}

impl ClientKinds {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), bytes_max })
    }

    /// Whether there is room for one more kind of client.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().bytes < self.bytes_max
    }

    /// The kind of a client.
    pub(crate) fn of(self: &Arc<Self>, declared: &Declared) -> Arc<ClientKind> {
        let mut state = self.lock();
        if let Some(kind) = state.known.get(declared).and_then(Weak::upgrade) {
            return kind;
        }
        state.bytes = state.bytes.saturating_add(declared.bytes());
        let view = View::of(declared.revision, &declared.capabilities, &declared.client_info);
        let kind = Arc::new(ClientKind { declared: declared.clone(), view, kinds: Arc::clone(self) });
        state.known.insert(declared.clone(), Arc::downgrade(&kind));
        kind
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientKind {
    pub(crate) const fn declared(&self) -> &Declared {
        &self.declared
    }

    /// What lists depend on of it.
    pub(crate) const fn view(&self) -> View {
        self.view
    }

    /// Whether only one session has such a client.
    pub(crate) fn is_alone(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }
}

impl Drop for ClientKind {
    fn drop(&mut self) {
        let mut state = self.kinds.lock();
        state.bytes = state.bytes.saturating_sub(self.declared.bytes());
        // Another may have come under the same name since nobody holds this one any more.
        if state.known.get(&self.declared).is_some_and(|kind| kind.strong_count() == 0) {
            state.known.remove(&self.declared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str) -> Declared {
        let client_info = RawJson::object(&[("name", &RawJson::string(name))]);
        Declared { revision: Revision::LATEST, capabilities: RawJson::empty_object(), client_info }
    }

    #[test]
    fn clients_that_say_the_same_are_one_kind_and_the_last_takes_it_along() {
        let kinds = ClientKinds::new(1000);
        let (one, same, other) = (kinds.of(&declared("a")), kinds.of(&declared("a")), kinds.of(&declared("b")));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert!(!one.is_alone() && other.is_alone());
        drop((one, same, other));
        let state = kinds.lock();
        assert!(state.known.is_empty() && state.bytes == 0);
    }

    #[test]
    fn there_is_room_for_so_many_bytes_and_again_when_one_has_gone() {
        let kinds = ClientKinds::new(declared("a").bytes() * 2);
        let one = kinds.of(&declared("a"));
        let _same = kinds.of(&declared("a"));
        assert!(kinds.has_room());
        let other = kinds.of(&declared("b"));
        assert!(!kinds.has_room());
        drop(other);
        assert!(kinds.has_room());
        drop(one);
    }
}
