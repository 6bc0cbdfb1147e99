//! The client's requests that wait for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hawser_mcp::RequestId;
use tokio_util::sync::CancellationToken;

/// Most requests at a time. The gateway has a bound of its own for what it works on; this one is for memory.
const REQUESTS_MAX: usize = 256;

/// The requests in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<RequestId, Cancelling>>>);

/// One request in flight; ends when dropped.
#[derive(Debug)]
pub(super) struct Flight {
    id: RequestId,
    all: Flights,
    cancelling: Cancelling,
}

#[derive(Clone, Debug)]
struct Cancelling {
    /// The client wants no answer any more.
    unwanted: CancellationToken,
    /// Whether that ends the work here: so it is in the stateless era, where leaving is cancelling. In the session era the
    /// gateway is told, and ends it.
    drops: bool,
}

/// Why a request is not begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// "The request ID MUST NOT have been previously used by the requestor" while it is in use.
    IdInUse,
    /// Too many at a time.
    TooMany,
}

impl Flights {
    /// Begins a request.
    pub(super) fn begin(&self, id: &RequestId, drops: bool) -> Result<Flight, NotBegun> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.contains_key(id) {
            return Err(NotBegun::IdInUse);
        }
        if flights.len() >= REQUESTS_MAX {
            return Err(NotBegun::TooMany);
        }
        let cancelling = Cancelling { unwanted: CancellationToken::new(), drops };
        flights.insert(id.clone(), cancelling.clone());
        Ok(Flight { id: id.clone(), all: self.clone(), cancelling })
    }

    /// The client wants no answer to a request any more. Whether that is all: nobody else must be told.
    pub(super) fn cancel(&self, id: &RequestId) -> bool {
        let flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cancelling) = flights.get(id) else { return false };
        cancelling.unwanted.cancel();
        cancelling.drops
    }
}

impl Flight {
    /// Whether the client still wants an answer.
    pub(super) fn is_wanted(&self) -> bool {
        !self.cancelling.unwanted.is_cancelled()
    }

    /// Ends when the work is to be dropped.
    pub(super) async fn dropped(&self) {
        if self.cancelling.drops {
            self.cancelling.unwanted.cancelled().await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_used_once_at_a_time_and_their_number_is_bounded() {
        let flights = Flights::default();
        let first = flights.begin(&RequestId::number(0), true).unwrap();
        assert_eq!(flights.begin(&RequestId::number(0), true).unwrap_err(), NotBegun::IdInUse);
        assert!(flights.begin(&RequestId::string("0"), true).is_ok());
        let others: Vec<_> = (1..REQUESTS_MAX)
            .map(|n| flights.begin(&RequestId::number(n.try_into().unwrap()), false).unwrap())
            .collect();
        assert_eq!(flights.begin(&RequestId::string("one more"), true).unwrap_err(), NotBegun::TooMany);
        drop(first);
        assert!(flights.begin(&RequestId::number(0), true).is_ok());
        drop(others);
        assert!(flights.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn cancelling_drops_what_is_modern_and_only_notes_what_is_legacy() {
        let flights = Flights::default();
        let modern = flights.begin(&RequestId::number(1), true).unwrap();
        let legacy = flights.begin(&RequestId::number(2), false).unwrap();
        assert!(flights.cancel(&RequestId::number(1)));
        assert!(!flights.cancel(&RequestId::number(2)) && !flights.cancel(&RequestId::number(3)));
        assert!(!modern.is_wanted() && !legacy.is_wanted());
        modern.dropped().await;
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), legacy.dropped());
        assert!(waits.await.is_err());
    }
}
