//! What the store keeps of a session: versioned, owned by a digest, and nobody's if it is of another version.

use std::collections::BTreeMap;

use bytes::Bytes;
use hawser_mcp::RawJson;
use hawser_owner::{OwnerDigest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The current version. A row of any other version is treated as absent and removed, never claimed by whoever asks first.
const VERSION: u32 = 1;

/// A session's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    v: u32,
    owner: String,
    endpoint: String,
    last_used: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    terminated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capabilities: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_info: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_level: Option<String>,
    /// Resource URIs by backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    subscriptions: BTreeMap<String, Vec<String>>,
}

/// What is known of a session besides its seal.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord {
    pub(crate) owner: OwnerDigest,
    pub(crate) endpoint: String,
    pub(crate) last_used: Timestamp,
    /// The grant under which it was opened, if the embedded authorization server made it.
    pub(crate) grant: Option<String>,
    pub(crate) capabilities: RawJson,
    pub(crate) client_info: RawJson,
    /// The log level that the client set.
    pub(crate) log_level: Option<String>,
    /// The resources it subscribed to, by backend.
    pub(crate) subscriptions: BTreeMap<String, Vec<String>>,
}

/// A row as it was found.
#[derive(Debug)]
pub(crate) enum StoredSession {
    Live(Box<StoredParts>),
    Terminated,
    /// Of another version, owner or endpoint than the sealed id says: not ours to interpret.
    Foreign,
}

/// What a live row holds. Parts that cannot be read are absent.
#[derive(Debug)]
pub(crate) struct StoredParts {
    pub(crate) last_used: Timestamp,
    pub(crate) grant: Option<String>,
    pub(crate) capabilities: Option<RawJson>,
    pub(crate) client_info: Option<RawJson>,
    pub(crate) log_level: Option<String>,
    pub(crate) subscriptions: BTreeMap<String, Vec<String>>,
}

impl StoredParts {
    /// What is known of a session whose row is lost: when it was opened.
    pub(crate) const fn unknown(opened: Timestamp) -> Self {
        Self {
            last_used: opened,
            grant: None,
            capabilities: None,
            client_info: None,
            log_level: None,
            subscriptions: BTreeMap::new(),
        }
    }
}

impl SessionRecord {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let raw = |json: &RawJson| RawValue::from_string(json.as_str().to_owned()).ok();
        row_bytes(&Row {
            v: VERSION,
            owner: self.owner.to_hex(),
            endpoint: self.endpoint.clone(),
            last_used: self.last_used,
            terminated: false,
            grant: self.grant.clone(),
            capabilities: raw(&self.capabilities),
            client_info: raw(&self.client_info),
            log_level: self.log_level.clone(),
            subscriptions: self.subscriptions.clone(),
        })
    }
}

/// The row that outlives a terminated session.
pub(crate) fn tombstone(owner: OwnerDigest, endpoint: &str, now: Timestamp) -> Bytes {
    row_bytes(&Row {
        v: VERSION,
        owner: owner.to_hex(),
        endpoint: endpoint.to_owned(),
        last_used: now,
        terminated: true,
        grant: None,
        capabilities: None,
        client_info: None,
        log_level: None,
        subscriptions: BTreeMap::new(),
    })
}

/// Reads a row for a session whose seal named this owner and endpoint.
pub(crate) fn read(bytes: &[u8], owner: OwnerDigest, endpoint: &str) -> StoredSession {
    let Ok(row) = serde_json::from_slice::<Row>(bytes) else {
        return StoredSession::Foreign;
    };
    if row.v != VERSION || row.owner != owner.to_hex() || row.endpoint != endpoint {
        return StoredSession::Foreign;
    }
    if row.terminated {
        return StoredSession::Terminated;
    }
    let raw = |value: Option<Box<RawValue>>| {
        RawJson::parse(&Bytes::from(String::from(Box::<str>::from(value?)))).ok().filter(RawJson::is_object)
    };
    StoredSession::Live(Box::new(StoredParts {
        last_used: row.last_used,
        grant: row.grant,
        capabilities: raw(row.capabilities),
        client_info: raw(row.client_info),
        log_level: row.log_level,
        subscriptions: row.subscriptions,
    }))
}

fn row_bytes(row: &Row) -> Bytes {
    // A struct of strings, numbers and already valid JSON always serialises; an empty row would read as foreign.
    serde_json::to_vec(row).unwrap_or_default().into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_owner::{Issuer, KeyRing, KeyRingDocument, Principal, Subject, SystemEntropy};
    use proptest::prelude::*;

    use super::*;

    fn owner(subject: &str) -> OwnerDigest {
        let document = serde_json::json!({"keys": [{"id": 1, "state": "active", "secret": "A".repeat(43)}]});
        let document: KeyRingDocument = serde_json::from_value(document).unwrap();
        let ring = KeyRing::try_from(&document).unwrap();
        let _ = SystemEntropy::new();
        ring.owner_digest(&Principal::user(Issuer::new("https://i").unwrap(), None, Subject::new(subject).unwrap())).1
    }

    fn record() -> SessionRecord {
        SessionRecord {
            owner: owner("alice"),
            endpoint: "/mcp".to_owned(),
            last_used: Timestamp::from_seconds(7),
            grant: Some("g".to_owned()),
            capabilities: RawJson::empty_object(),
            client_info: RawJson::empty_object(),
            log_level: None,
            subscriptions: BTreeMap::new(),
        }
    }

    #[test]
    fn a_record_reads_back_for_its_owner_and_endpoint_only() {
        let bytes = record().to_bytes();
        assert!(matches!(
            read(&bytes, owner("alice"), "/mcp"),
            StoredSession::Live(parts) if parts.last_used.seconds() == 7 && parts.grant.is_some()
        ));
        assert!(matches!(read(&bytes, owner("eve"), "/mcp"), StoredSession::Foreign));
        assert!(matches!(read(&bytes, owner("alice"), "/other"), StoredSession::Foreign));
    }

    /// The rows of stacklok/toolhive#5306: a hash of the token's bytes and its salt.
    #[test]
    fn a_record_that_binds_to_token_bytes_is_nobodys() {
        let old = br#"{"vmcp.token.hash":"9f86d081884c7d65","vmcp.token.salt":"c2FsdA"}"#;
        assert!(matches!(read(old, owner("alice"), "/mcp"), StoredSession::Foreign));
        let mut next = String::from_utf8(record().to_bytes().to_vec()).unwrap();
        next = next.replace(r#""v":1"#, r#""v":2"#);
        assert!(matches!(read(next.as_bytes(), owner("alice"), "/mcp"), StoredSession::Foreign));
    }

    #[test]
    fn a_tombstone_is_terminated() {
        let bytes = tombstone(owner("alice"), "/mcp", Timestamp::from_seconds(1));
        assert!(matches!(read(&bytes, owner("alice"), "/mcp"), StoredSession::Terminated));
    }

    proptest! {
        #[test]
        fn no_bytes_are_ever_live_by_accident(bytes: Vec<u8>) {
            prop_assert!(matches!(read(&bytes, owner("alice"), "/mcp"), StoredSession::Foreign));
        }
    }
}
