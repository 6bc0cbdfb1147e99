//! Which backend a sealed handle leads to. Handles outlive the process, and the configuration may have changed by then: a
//! position would lead what belongs to one backend, and the input for it, to another. A name leads there or nowhere.

use crate::session::Session;
use crate::upstream::Upstream;

/// A backend's name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendTag(String);

impl BackendTag {
    /// The tag of the backend at this position.
    pub(super) fn of(session: &Session, position: usize) -> Option<Self> {
        session.endpoint().backend(position).map(|backend| Self(backend.name().to_string()))
    }

    /// Whether it is this one.
    pub(super) fn is(&self, upstream: &Upstream) -> bool {
        upstream.backend().name().as_str() == self.0
    }

    /// Its position, if the endpoint still has it.
    pub(super) fn find(&self, session: &Session) -> Option<usize> {
        session.endpoint().backends().position(|backend| backend.name().as_str() == self.0)
    }

    /// Names have at most 32 characters; a longer one would be cut and lead nowhere.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let length = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        out.push(length);
        out.extend(self.0.bytes().take(usize::from(length)));
    }

    /// The tag, and what comes after it.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = bytes.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        Some((Self(std::str::from_utf8(name).ok()?.to_owned()), rest))
    }
}

#[cfg(test)]
impl BackendTag {
    /// Any tag that there can be.
    pub(super) fn any() -> impl proptest::strategy::Strategy<Value = Self> {
        proptest::strategy::Strategy::prop_map("[a-z0-9-]{1,32}", Self)
    }
}
