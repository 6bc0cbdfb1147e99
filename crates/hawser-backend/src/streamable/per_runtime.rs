//! One of something for each runtime that asks for it.
//!
//! A connection is read and written by the runtime that opened it. Used from another one, each message wakes that other thread, which
//! costs more than the message.

use tokio::runtime::{Handle, Id};

/// One `T` for each runtime: as many as there are threads that serve.
pub(super) struct PerRuntime<T> {
    made: papaya::HashMap<Option<Id>, T>,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

impl<T: Clone> PerRuntime<T> {
    pub(super) fn new(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { made: papaya::HashMap::new(), make: Box::new(make) }
    }

    /// The present runtime's own.
    pub(super) fn get(&self) -> T {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        self.made.pin().get_or_insert_with(runtime, || (self.make)()).clone()
    }
}
