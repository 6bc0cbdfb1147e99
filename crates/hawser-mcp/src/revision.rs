//! Protocol revisions.

use std::fmt;

/// A revision of the session era ("legacy" in the terms of 2026-07-28, Versioning) that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2025-03-26: streamable HTTP, batches, no version header.
    V2025_03_26,
    /// 2025-06-18: version header, elicitation, structured results; no batches.
    V2025_06_18,
    /// 2025-11-25: URL elicitation, polling streams, 403 for a bad Origin.
    V2025_11_25,
}

impl Revision {
    /// All, oldest first.
    pub const ALL: [Self; 3] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];
    /// What is offered to a peer that asks for something unknown (Lifecycle, Version Negotiation).
    pub const LATEST: Self = Self::V2025_11_25;
    /// What a request without `MCP-Protocol-Version` is taken for (2025-06-18, Transports, Protocol Version Header).
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }

    /// The revision of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == name)
    }

    /// What to answer to `initialize`: the same revision if it is spoken, otherwise the latest.
    pub fn negotiate(requested: &str) -> Self {
        Self::from_name(requested).unwrap_or(Self::LATEST)
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
