//! Who a credential proved to be.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use thiserror::Error;

/// Longest issuer identifier accepted, in bytes.
const ISSUER_BYTES_MAX: usize = 2048;
/// Longest subject accepted, in bytes (RFC 7519 `sub`; OpenID Connect Core section 2 sets 255 ASCII characters).
const SUBJECT_BYTES_MAX: usize = 255;

/// What kind of party a principal is. A client that is named like a user is still not that user (OAuth 2.1 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalKind {
    /// A person (resource owner).
    User,
    /// A client acting for itself (`client_credentials`).
    Client,
    /// Nobody in particular; equal only to itself.
    Anonymous,
}

impl PrincipalKind {
    /// The name used in audit events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Anonymous => "anonymous",
        }
    }

    const fn tag(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Client => 2,
            Self::Anonymous => 3,
        }
    }
}

macro_rules! exact_text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes the value exactly as given: nothing is trimmed, folded or normalised.
            pub fn new(value: impl Into<Box<str>>) -> Result<Self, PrincipalError> {
                let value = value.into();
                if value.is_empty() {
                    return Err(PrincipalError::Empty { field: $field });
                }
                if value.len() > $max {
                    return Err(PrincipalError::TooLong { field: $field, max: $max });
                }
                if value.contains('\0') {
                    return Err(PrincipalError::Nul { field: $field });
                }
                Ok(Self(value))
            }

            /// The exact text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

exact_text!(
    /// An issuer identifier (RFC 8414 section 2), as configured: no case folding, no slash trimming.
    Issuer,
    "issuer",
    ISSUER_BYTES_MAX
);
exact_text!(
    /// A subject, unique only together with its issuer (OpenID Connect Core section 2).
    Subject,
    "subject",
    SUBJECT_BYTES_MAX
);
exact_text!(
    /// The tenant, where one issuer serves several.
    Tenant,
    "tenant",
    SUBJECT_BYTES_MAX
);

/// Why a text cannot name a principal.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalError {
    /// The value has no bytes.
    #[error("{field} is empty")]
    Empty {
        /// Which part.
        field: &'static str,
    },
    /// The value is longer than allowed.
    #[error("{field} is longer than {max} bytes")]
    TooLong {
        /// Which part.
        field: &'static str,
        /// The limit in bytes.
        max: usize,
    },
    /// The value contains a NUL byte.
    #[error("{field} contains a NUL byte")]
    Nul {
        /// Which part.
        field: &'static str,
    },
}

/// The party that a credential proved. Two principals are the same only if every part is the same byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(Parts);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Parts {
    Anonymous,
    Known { kind: PrincipalKind, issuer: Issuer, tenant: Option<Tenant>, subject: Subject },
}

impl Principal {
    /// A person known to `issuer` as `subject`.
    pub const fn user(issuer: Issuer, tenant: Option<Tenant>, subject: Subject) -> Self {
        Self(Parts::Known { kind: PrincipalKind::User, issuer, tenant, subject })
    }

    /// A client that acts for itself; `subject` is its client id.
    pub const fn client(issuer: Issuer, tenant: Option<Tenant>, subject: Subject) -> Self {
        Self(Parts::Known { kind: PrincipalKind::Client, issuer, tenant, subject })
    }

    /// Whoever sends a request without credentials to an endpoint that asks for none.
    pub const fn anonymous() -> Self {
        Self(Parts::Anonymous)
    }

    /// User, client or anonymous.
    pub const fn kind(&self) -> PrincipalKind {
        match &self.0 {
            Parts::Anonymous => PrincipalKind::Anonymous,
            Parts::Known { kind, .. } => *kind,
        }
    }

    /// The issuer, unless anonymous.
    pub const fn issuer(&self) -> Option<&Issuer> {
        match &self.0 {
            Parts::Anonymous => None,
            Parts::Known { issuer, .. } => Some(issuer),
        }
    }

    /// The subject, unless anonymous.
    pub const fn subject(&self) -> Option<&Subject> {
        match &self.0 {
            Parts::Anonymous => None,
            Parts::Known { subject, .. } => Some(subject),
        }
    }

    /// The tenant, where the issuer has several.
    pub const fn tenant(&self) -> Option<&Tenant> {
        match &self.0 {
            Parts::Anonymous => None,
            Parts::Known { tenant, .. } => tenant.as_ref(),
        }
    }

    /// The name under a ring's key.
    pub(crate) fn digest(&self, key: &hmac::Key) -> OwnerDigest {
        OwnerDigest(self.tag(key))
    }

    /// The name in memory, under a key for names in memory.
    pub(crate) fn local(&self, key: &hmac::Key) -> LocalOwner {
        LocalOwner(self.tag(key))
    }

    /// HMAC-SHA-256 over the length-prefixed parts, as much of it as is asked for. Prefixes keep `("ab", "c")` and
    /// `("a", "bc")` apart.
    fn tag<const BYTES: usize>(&self, key: &hmac::Key) -> [u8; BYTES] {
        let mut context = hmac::Context::with_key(key);
        context.update(&[self.kind().tag()]);
        let parts =
            [self.issuer().map(Issuer::as_str), self.tenant().map(Tenant::as_str), self.subject().map(Subject::as_str)];
        for part in parts {
            match part {
                None => context.update(&[0]),
                Some(text) => {
                    context.update(&[1]);
                    context.update(&(text.len() as u64).to_be_bytes());
                    context.update(text.as_bytes());
                }
            }
        }
        let mut tag = [0; BYTES];
        tag.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        tag
    }
}

/// An owner's name in the memory of one process, by which all that is theirs is counted and found together. Unlike an
/// [`OwnerDigest`] it stays the same when the ring's keys change, and it is never told to anybody or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalOwner([u8; 16]);

/// An owner's name in handles, in the store and in the audit log: keyed, so that it tells nothing to who lacks the key.
#[derive(Clone, Copy, Eq)]
pub struct OwnerDigest([u8; Self::BYTES]);

impl OwnerDigest {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// The raw digest.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The whole digest in hexadecimal: a key for owner-bound rows and caches.
    pub fn to_hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(Self::BYTES * 2), |mut hex, byte| {
            use fmt::Write as _;
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl OwnerDigest {
    /// Whether this is the digest that [`to_hex`](Self::to_hex) wrote so.
    pub fn is_hex(&self, hex: &str) -> bool {
        let nibble = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
        let digits = self.0.iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 15)]);
        hex.len() == Self::BYTES * 2 && digits.eq(hex.bytes())
    }
}

impl PartialEq for OwnerDigest {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for OwnerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerDigest({self})")
    }
}

/// The first eight bytes in hexadecimal: enough to correlate audit events.
impl fmt::Display for OwnerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
