//! Sealing a `requestState`, opening the one that a client brought back, and spending it once.

use std::time::Duration;

use bytes::Bytes;
use hawser_identity::Authenticated;
use hawser_mcp::{ErrorObject, Members, RawJson, Request, code};
use hawser_owner::{Refusal, Refused as HandleRefused};
use hawser_store::{Key, StoreError, Unavailable};
use tracing::{error, warn};

use super::ModernCaller;
use super::answer::Answer;
use super::request_state::{ANSWERS, RequestDigest, RequestState, Waits};
use super::spent;
use crate::audit;
use crate::claims::hex;
use crate::endpoint::Endpoint;
use crate::relay::NodeName;
use crate::sessions::Sessions;

/// What a presented state waits for, if it is this owner's, this client's, this request's, and in time.
pub(super) fn open(caller: &ModernCaller, request: &Request, presented: &RawJson) -> Result<Waits, Answer> {
    let presented = presented.as_string().ok_or_else(invalid_state)?;
    let state: RequestState = caller.open_handle("requestState", &presented).ok_or_else(invalid_state)?;
    let digest = digest(caller, request).ok_or_else(invalid_state)?;
    if state.request != digest {
        refused(caller, Refusal::Unknown);
        return Err(invalid_state());
    }
    Ok(state.waits)
}

/// The node at which the call is parked that a request brings input for, if that is another. Whether the state is good for this
/// request is decided there, and here only that it is this owner's.
pub(crate) fn parked_at(
    sessions: &Sessions,
    endpoint: &Endpoint,
    authenticated: &Authenticated,
    request: &Request,
) -> Option<NodeName> {
    let members = Members::read(request.params.as_ref()?, &ANSWERS).ok()?;
    let presented = members.string("requestState")?;
    let (principal, now) = (authenticated.principal(), sessions.now());
    let proven = sessions.ring().open::<RequestState>(&presented, endpoint.id(), principal, now).ok()?;
    match proven.claims().waits {
        Waits::Parked { node, .. } => Some(node).filter(|node| *node != sessions.nodes().here()),
        Waits::Backend { .. } | Waits::Nobody { .. } => None,
    }
}

fn digest(caller: &ModernCaller, request: &Request) -> Option<RequestDigest> {
    let client_id = caller.caller.credential.client_id();
    RequestDigest::of(client_id, &request.method, request.params.as_ref()?).ok()
}

pub(super) fn refused(caller: &ModernCaller, reason: Refusal) {
    let owner = caller.session().owner();
    let refused = HandleRefused { reason, owner: Some(owner), presented_by: owner };
    let endpoint = caller.session().endpoint().name();
    audit::handle_refused(endpoint, "requestState", &refused, caller.caller.credential.client_id());
}

pub(super) fn seal(caller: &ModernCaller, request: &Request, waits: Waits) -> Option<String> {
    let state = RequestState { request: digest(caller, request)?, waits };
    caller.seal_handle(state, caller.session().work().parked.patience())
}

pub(super) fn nonce(caller: &ModernCaller) -> Option<[u8; 16]> {
    let mut nonce = [0; 16];
    caller.caller.sessions.entropy().fill(&mut nonce).ok()?;
    Some(nonce)
}

/// Spends a state: of many that present it at the same time, on whatever node, one goes on.
pub(super) async fn use_up(caller: &ModernCaller, nonce: &[u8; 16]) -> Result<(), Answer> {
    // A little longer than the state is good for, for clocks that differ.
    let ttl = caller.session().work().parked.patience() + Duration::from_mins(5);
    let (sessions, mut mark) = (&caller.caller.sessions, [0; 16]);
    if sessions.entropy().fill(&mut mark).is_err() {
        return Err(Answer::unavailable());
    }
    let spent = match row(nonce) {
        Ok(row) => spent::spend(sessions.store(), &row, &Bytes::copy_from_slice(&mark), ttl).await,
        Err(error) => Err(error),
    };
    match spent {
        Ok(true) => Ok(()),
        Ok(false) => {
            refused(caller, Refusal::Terminated);
            Err(invalid_state())
        }
        Err(error) => {
            error!(%error, "whether a requestState was used before could not be looked up");
            Err(Answer::unavailable())
        }
    }
}

/// The request certainly was not processed: the state is as good as before.
pub(super) async fn restore(caller: &ModernCaller, nonce: &[u8; 16]) {
    let restored: Result<(), StoreError> = async { caller.caller.sessions.store().delete(&row(nonce)?).await }.await;
    if let Err(error) = restored {
        warn!(%error, "a requestState that was not used could not be restored");
    }
}

fn row(nonce: &[u8; 16]) -> Result<Key, StoreError> {
    Key::new("request-state", &hex(nonce)).map_err(|error| Unavailable { reason: error.to_string() }.into())
}

/// The one answer for every state that does not fit, whatever is wrong with it.
pub(super) fn invalid_state() -> Answer {
    let text = "this `requestState` is not valid (any more) for this request; start again without it";
    Answer::refused(&ErrorObject::new(code::INVALID_PARAMS, text))
}

/// The state was this request's, but its call is gone. Running it again could do twice what must be done once.
pub(super) fn not_waiting() -> Answer {
    let text = "the call that asked for this input does not wait any more: it was answered, given up, or lost when the \
                gateway restarted. It was not run again; start a new call if that is safe";
    Answer::refused(&ErrorObject::new(code::INVALID_PARAMS, text))
}
