//! How long a result may be kept and for whom (2026-07-28, Caching).

use crate::members::Members;
use crate::raw::RawJson;

/// `ttlMs` and `cacheScope` of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Milliseconds from its receipt on in which it counts as fresh.
    pub ttl_ms: u64,
    /// For whom.
    pub scope: CacheScope,
}

/// Who may be given a kept result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheScope {
    /// Everyone.
    Public,
    /// The caller it was fetched for.
    Private,
}

impl CacheScope {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

impl Freshness {
    /// Not to be kept at all: what is said for servers that do not say (2026-07-28, Caching).
    pub const NONE: Self = Self { ttl_ms: 0, scope: CacheScope::Private };

    /// Of something made of two parts: as fresh as the staler, as private as the more private.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { ttl_ms: self.ttl_ms.min(other.ttl_ms), scope: self.scope.max(other.scope) }
    }
}

/// What a result says of its freshness; `None` if it says nothing, or nothing that is well formed.
pub fn freshness(result: &RawJson) -> Option<Freshness> {
    let members = Members::read(result, &["ttlMs", "cacheScope"]).ok()?;
    let ttl_ms = members.get("ttlMs")?.read().ok()?;
    let scope = match members.string("cacheScope")?.as_str() {
        "public" => CacheScope::Public,
        "private" => CacheScope::Private,
        _ => return None,
    };
    Some(Freshness { ttl_ms, scope })
}
