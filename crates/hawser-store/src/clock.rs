//! A clock that tests set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;

use crate::contract::Subject;
use crate::{Store, WallClock};

/// Stands still until it is advanced.
#[derive(Clone)]
pub(crate) struct SetClock(Arc<AtomicU64>);

impl SetClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    pub(crate) fn wall_clock(&self) -> WallClock {
        let millis = Arc::clone(&self.0);
        Arc::new(move || UNIX_EPOCH + Duration::from_millis(millis.load(Ordering::SeqCst)))
    }

    /// A store on this clock, for the contract.
    pub(crate) fn subject(&self, store: Arc<dyn Store>) -> OnSetClock {
        OnSetClock { store, clock: self.clone() }
    }
}

pub(crate) struct OnSetClock {
    store: Arc<dyn Store>,
    clock: SetClock,
}

#[async_trait]
impl Subject for OnSetClock {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}
