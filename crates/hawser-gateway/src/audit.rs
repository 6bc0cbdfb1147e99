//! Audit events: every refusal and every change of a session, with digests instead of names.

use hawser_identity::Authenticated;
use hawser_owner::{OwnerDigest, Refused};
use tracing::info;

/// The `tracing` target of audit events.
pub const TARGET: &str = "hawser::audit";

/// A handle was refused: the client learns only "not found", the reason stays here.
pub(crate) fn refused(endpoint: &str, operation: &str, refused: &Refused, authenticated: &Authenticated) {
    handle_refused(endpoint, operation, refused, authenticated.client_id());
}

/// A handle that a client brought back was refused.
pub(crate) fn handle_refused(endpoint: &str, operation: &str, refused: &Refused, client_id: Option<&str>) {
    info!(
        target: TARGET,
        event = "session_refused",
        endpoint,
        operation,
        reason = refused.reason.as_str(),
        owner = refused.owner.map(|owner| owner.to_string()),
        presented_by = %refused.presented_by,
        client_id,
    );
}

/// A credential was refused.
pub(crate) fn unauthenticated(endpoint: &str, reason: &str) {
    info!(target: TARGET, event = "unauthenticated", endpoint, reason);
}

/// A session was opened.
pub(crate) fn opened(endpoint: &str, owner: OwnerDigest, client_id: Option<&str>) {
    info!(target: TARGET, event = "session_opened", endpoint, owner = %owner, client_id);
}

/// The store could not be asked about a session; it is served by its seal and looked up later.
pub(crate) fn served_by_seal(endpoint: &str, owner: OwnerDigest) {
    info!(target: TARGET, event = "session_served_by_seal", endpoint, owner = %owner);
}

/// All sessions of an owner or an endpoint, or all under a grant, were ended.
pub(crate) fn revoked(what: &str, name: &str, reason: &'static str) {
    info!(target: TARGET, event = "sessions_revoked", what, name, reason);
}

/// A session ended.
pub(crate) fn terminated(endpoint: &str, owner: OwnerDigest, reason: &'static str) {
    info!(target: TARGET, event = "session_terminated", endpoint, owner = %owner, reason);
}

/// A stored record was not of the current version; nobody may claim it.
pub(crate) fn foreign_record(endpoint: &str, owner: OwnerDigest) {
    info!(target: TARGET, event = "foreign_record_removed", endpoint, presented_by = %owner);
}
