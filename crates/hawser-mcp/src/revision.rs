//! Protocol revisions.

use std::fmt;

/// How a conversation is held (2026-07-28, Versioning, Terminology).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Era {
    /// Opened by `initialize`, up to 2025-11-25.
    Legacy,
    /// Every request for itself, told by its `_meta`, from 2026-07-28.
    Modern,
}

/// A revision that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2025-03-26: streamable HTTP, batches, no version header.
    V2025_03_26,
    /// 2025-06-18: version header, elicitation, structured results; no batches.
    V2025_06_18,
    /// 2025-11-25: URL elicitation, polling streams, 403 for a bad Origin.
    V2025_11_25,
    /// 2026-07-28: stateless requests, `server/discover`, multi round-trip requests, `subscriptions/listen`.
    V2026_07_28,
}

impl Revision {
    /// All, oldest first.
    pub const ALL: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// Those that `initialize` can negotiate, oldest first.
    pub const LEGACY: [Self; 3] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];
    /// Those that a request names in its `_meta`, oldest first.
    pub const MODERN: [Self; 1] = [Self::V2026_07_28];
    /// What `initialize` offers to a peer that asks for something unknown (2025-11-25, Lifecycle, Version Negotiation).
    pub const LATEST: Self = Self::V2025_11_25;
    /// The latest without `initialize`.
    pub const LATEST_MODERN: Self = Self::V2026_07_28;
    /// What a request without `MCP-Protocol-Version` is taken for (2025-06-18, Transports, Protocol Version Header).
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era it belongs to.
    pub const fn era(self) -> Era {
        match self {
            Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }

    /// Whether `initialize` negotiates it.
    pub const fn is_legacy(self) -> bool {
        matches!(self.era(), Era::Legacy)
    }

    /// Whether each request names it in its `_meta`.
    pub const fn is_modern(self) -> bool {
        matches!(self.era(), Era::Modern)
    }

    /// The revision of this name, of either era.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == name)
    }

    /// What to answer to `initialize`: the same revision if it is a legacy one, otherwise the latest of those.
    pub fn negotiate(requested: &str) -> Self {
        Self::from_name(requested).filter(|revision| revision.is_legacy()).unwrap_or(Self::LATEST)
    }

    /// Whether a POST may carry an array (2025-03-26 only).
    pub const fn allows_batches(self) -> bool {
        matches!(self, Self::V2025_03_26)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
