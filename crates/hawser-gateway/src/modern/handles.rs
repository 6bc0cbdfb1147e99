//! Handles of modern clients that stand for themselves: sealed for owner and endpoint, opened for the present credential.

use std::time::Duration;

use hawser_owner::{Binding, Payload, Standing};
use tracing::error;

use super::ModernCaller;
use crate::audit;

impl ModernCaller {
    /// What a presented handle says, if it is this owner's and in time. Whether it still stands is decided where it is used: a
    /// call can be taken once, a nonce be spent once, a backend knows its tasks. `what` names it in the audit log.
    pub(super) fn open_handle<P: Payload + Clone>(&self, what: &'static str, presented: &str) -> Option<P> {
        let (sessions, endpoint) = (&self.caller.sessions, self.session().endpoint());
        let now = sessions.now();
        let opened = sessions
            .ring()
            .open::<P>(presented, endpoint.id(), self.caller.principal(), now)
            .and_then(|proven| proven.admit(Standing::Live { last_used: now, idle_seconds: 0 }, now));
        match opened {
            Ok(owned) => Some((*owned).clone()),
            Err(refused) => {
                audit::handle_refused(endpoint.name(), what, &refused, self.caller.credential.client_id());
                None
            }
        }
    }

    /// A handle that is good for this owner at this endpoint, for so long.
    pub(super) fn seal_handle<P: Payload>(&self, payload: P, lifetime: Duration) -> Option<String> {
        let sessions = &self.caller.sessions;
        let now = sessions.now();
        let binding = Binding {
            endpoint: self.session().endpoint().id(),
            principal: self.caller.principal(),
            issued: now,
            expires: now.plus(lifetime),
        };
        match sessions.ring().mint(&binding, payload, sessions.entropy()) {
            Ok((sealed, _)) => Some(sealed),
            Err(error) => {
                error!(%error, "a handle could not be sealed");
                None
            }
        }
    }
}
