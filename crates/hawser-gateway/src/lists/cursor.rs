//! Cursors: where the next page starts, in a list of which content. Bound to owner and endpoint by their seal, and to nothing
//! that a node would have to remember: any session of the owner may bring one to any node.

use std::time::Duration;

use hawser_mcp::{ErrorObject, ListKind, code};
use hawser_owner::{Binding, EndpointId, Entropy, KeyRing, Principal, Timestamp};
use tracing::debug;

use super::merged::ListDigest;
use crate::claims::CursorClaims;

/// How long a cursor is good, if the list stays the same for so long.
const LIFETIME: Duration = Duration::from_hours(24);

/// What cursors are sealed with, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Cursors<'a> {
    pub(crate) ring: &'a KeyRing,
    pub(crate) entropy: &'a dyn Entropy,
    pub(crate) endpoint: EndpointId,
    pub(crate) principal: &'a Principal,
    pub(crate) now: Timestamp,
}

impl Cursors<'_> {
    pub(super) fn seal(&self, kind: ListKind, list: ListDigest, offset: usize) -> Result<String, ErrorObject> {
        let binding = Binding {
            endpoint: self.endpoint,
            principal: self.principal,
            issued: self.now,
            expires: self.now.plus(LIFETIME),
        };
        let claims = CursorClaims { kind: tag(kind), list, offset: offset as u64 };
        let sealed = self.ring.mint(&binding, claims, self.entropy);
        sealed.map(|(cursor, _)| cursor).map_err(|error| ErrorObject::new(code::INTERNAL_ERROR, error.to_string()))
    }

    /// A cursor of this owner in a list of this kind; anything else is no cursor.
    pub(super) fn open(&self, kind: ListKind, cursor: &str) -> Option<(ListDigest, usize)> {
        match self.ring.open::<CursorClaims>(cursor, self.endpoint, self.principal, self.now) {
            Ok(proven) => {
                let claims = proven.claims();
                (claims.kind == tag(kind)).then_some((claims.list, usize::try_from(claims.offset).ok()?))
            }
            Err(refused) => {
                debug!(reason = refused.reason.as_str(), "a cursor was refused");
                None
            }
        }
    }
}

const fn tag(kind: ListKind) -> u8 {
    match kind {
        ListKind::Tools => 1,
        ListKind::Resources => 2,
        ListKind::ResourceTemplates => 3,
        ListKind::Prompts => 4,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_owner::{Issuer, KeyRingDocument, Subject, SystemEntropy};

    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_owner_endpoint_and_kind_for_a_day() {
        let entropy = SystemEntropy::new();
        let ring = KeyRing::try_from(&KeyRingDocument::generate(&entropy).unwrap()).unwrap();
        let user = |name: &str| {
            Principal::user(Issuer::new("https://issuer.example").unwrap(), None, Subject::new(name).unwrap())
        };
        let (alice, eve) = (user("alice"), user("eve"));
        let now = Timestamp::from_seconds(1_000_000);
        let endpoint = EndpointId::of_path("/mcp");
        let cursors = Cursors { ring: &ring, entropy: &entropy, endpoint, principal: &alice, now };
        let cursor = cursors.seal(ListKind::Tools, [7; 16], 1000).unwrap();
        assert_eq!(cursors.open(ListKind::Tools, &cursor), Some(([7; 16], 1000)));
        assert_eq!(cursors.open(ListKind::Prompts, &cursor), None);
        assert_eq!(Cursors { principal: &eve, ..cursors }.open(ListKind::Tools, &cursor), None);
        assert_eq!(Cursors { endpoint: EndpointId::of_path("/other"), ..cursors }.open(ListKind::Tools, &cursor), None);
        assert_eq!(Cursors { now: now.plus(LIFETIME), ..cursors }.open(ListKind::Tools, &cursor), None);
        assert_eq!(cursors.open(ListKind::Tools, &format!("{cursor}A")), None);
    }
}
