//! What the store keeps of a session: versioned, owned by a digest, and nobody's if it is of an older version.
//!
//! Releases side by side share these rows. What one of them adds keeps the version: who does not know a member leaves it as it is
//! ([`SessionRecord::over`]). The version is raised only for what a release that does not know it must not serve; such a row
//! is [`StoredSession::Newer`], for others to serve, and stays. In every version `v` and `terminated` mean what they mean here.

use std::collections::BTreeMap;

use bytes::Bytes;
use hawser_mcp::RawJson;
use hawser_owner::{OwnerDigest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The current version. A row of an older one is treated as absent and removed, never claimed by whoever asks first.
const VERSION: u32 = 1;

/// What a row of any version has.
#[derive(Debug, Deserialize)]
struct Head {
    v: u32,
    #[serde(default)]
    terminated: bool,
}

/// A session's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    v: u32,
    owner: String,
    endpoint: String,
    last_used: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opened: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
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
    /// Members of later releases.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// What is known of a session besides its seal.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord {
    pub(crate) owner: OwnerDigest,
    pub(crate) endpoint: String,
    pub(crate) opened: Timestamp,
    pub(crate) expires: Timestamp,
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
    /// Of a version that this release does not know: others serve it.
    Newer,
    /// Of an older version, or of another owner or endpoint than the sealed id says: nobody's.
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
    /// What is known of a session whose row is lost or cannot be read: that its owner uses it now. When it was used before is
    /// known to nobody, and not a reason to end it.
    pub(crate) const fn unknown(now: Timestamp) -> Self {
        Self {
            last_used: now,
            grant: None,
            capabilities: None,
            client_info: None,
            log_level: None,
            subscriptions: BTreeMap::new(),
        }
    }
}

/// What a record says anew, of a row that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anew {
    /// When the session was used: what its client asked for may be known better by another node.
    Use,
    /// What its client asked for, too.
    Wishes,
    /// Nothing but the use, since it was made from the seal alone.
    Little,
}

impl SessionRecord {
    pub(crate) fn to_bytes(&self) -> Bytes {
        row_bytes(&self.to_row())
    }

    /// Its row in place of the one that was found, which keeps what this record has nothing new to say about.
    pub(crate) fn over(&self, found: &[u8], anew: Anew) -> Bytes {
        let mut row = self.to_row();
        let Ok(found) = serde_json::from_slice::<Row>(found) else { return row_bytes(&row) };
        row.last_used = row.last_used.max(found.last_used);
        row.opened = found.opened.or(row.opened);
        // Nobody's grant ever changes. Who made the session from its seal alone does not know it.
        row.grant = found.grant.or(row.grant);
        row.rest = found.rest;
        if anew != Anew::Wishes {
            row.log_level = found.log_level;
            row.subscriptions = found.subscriptions;
        }
        if anew == Anew::Little {
            row.capabilities = found.capabilities.or(row.capabilities);
            row.client_info = found.client_info.or(row.client_info);
        }
        row_bytes(&row)
    }

    fn to_row(&self) -> Row {
        let raw = |json: &RawJson| RawValue::from_string(json.as_str().to_owned()).ok();
        Row {
            v: VERSION,
            owner: self.owner.to_hex(),
            endpoint: self.endpoint.clone(),
            last_used: self.last_used,
            opened: Some(self.opened),
            expires: Some(self.expires),
            terminated: false,
            grant: self.grant.clone(),
            capabilities: raw(&self.capabilities),
            client_info: raw(&self.client_info),
            log_level: self.log_level.clone(),
            subscriptions: self.subscriptions.clone(),
            rest: BTreeMap::new(),
        }
    }
}

/// The row that outlives a terminated session. `owner` is the digest in hexadecimal.
pub(crate) fn tombstone(owner: &str, endpoint: &str, expires: Timestamp, now: Timestamp) -> Bytes {
    row_bytes(&Row {
        v: VERSION,
        owner: owner.to_owned(),
        endpoint: endpoint.to_owned(),
        last_used: now,
        opened: None,
        expires: Some(expires),
        terminated: true,
        grant: None,
        capabilities: None,
        client_info: None,
        log_level: None,
        subscriptions: BTreeMap::new(),
        rest: BTreeMap::new(),
    })
}

/// A row as an administrator sees it.
#[derive(Debug)]
pub(crate) struct ShownRow {
    /// Digest in hexadecimal.
    pub(crate) owner: String,
    pub(crate) endpoint: String,
    pub(crate) opened: Option<Timestamp>,
    pub(crate) last_used: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) terminated: bool,
    pub(crate) grant: Option<String>,
    pub(crate) client_info: Option<RawJson>,
}

/// Reads a row without a sealed id to compare it with; `None` if it is not of the current version.
pub(crate) fn show(bytes: &[u8]) -> Option<ShownRow> {
    let row = serde_json::from_slice::<Row>(bytes).ok().filter(|row| row.v == VERSION)?;
    Some(ShownRow {
        owner: row.owner,
        endpoint: row.endpoint,
        opened: row.opened,
        last_used: row.last_used,
        expires: row.expires,
        terminated: row.terminated,
        grant: row.grant,
        client_info: object(row.client_info),
    })
}

/// Reads a row for a session whose seal named this owner and endpoint.
pub(crate) fn read(bytes: &[u8], owner: OwnerDigest, endpoint: &str) -> StoredSession {
    // Whoever wrote it: what is over is over.
    if is_tombstone(bytes) {
        return StoredSession::Terminated;
    }
    if serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.v > VERSION) {
        return StoredSession::Newer;
    }
    let Ok(row) = serde_json::from_slice::<Row>(bytes) else {
        return StoredSession::Foreign;
    };
    if row.v != VERSION || row.owner != owner.to_hex() || row.endpoint != endpoint {
        return StoredSession::Foreign;
    }
    StoredSession::Live(Box::new(StoredParts {
        last_used: row.last_used,
        grant: row.grant,
        capabilities: object(row.capabilities),
        client_info: object(row.client_info),
        log_level: row.log_level,
        subscriptions: row.subscriptions,
    }))
}

/// Whether a row says that its session is over.
pub(crate) fn is_tombstone(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.v >= VERSION && head.terminated)
}

fn object(value: Option<Box<RawValue>>) -> Option<RawJson> {
    RawJson::parse(&Bytes::from(String::from(Box::<str>::from(value?)))).ok().filter(RawJson::is_object)
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
            opened: Timestamp::from_seconds(5),
            expires: Timestamp::from_seconds(99),
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
        let previous = of_version(0);
        assert!(matches!(read(previous.as_bytes(), owner("alice"), "/mcp"), StoredSession::Foreign));
    }

    fn of_version(v: u32) -> String {
        String::from_utf8(record().to_bytes().to_vec()).unwrap().replace(r#""v":1"#, &format!(r#""v":{v}"#))
    }

    /// Two releases side by side: the older one neither serves nor touches what it does not understand, except that over is over.
    #[test]
    fn a_record_of_a_later_version_is_for_others_and_its_tombstone_for_all() {
        let newer = of_version(2);
        assert!(matches!(read(newer.as_bytes(), owner("alice"), "/mcp"), StoredSession::Newer));
        let unlike = br#"{"v":7,"shape":["of","another","kind"]}"#;
        assert!(matches!(read(unlike, owner("alice"), "/mcp"), StoredSession::Newer));
        let tombstone = br#"{"v":7,"terminated":true,"by":{"name":"x"}}"#;
        assert!(matches!(read(tombstone, owner("alice"), "/mcp"), StoredSession::Terminated));
    }

    #[test]
    fn members_of_a_later_release_are_kept_and_do_no_harm() {
        let mut later: Value = serde_json::from_slice(&record().to_bytes()).unwrap();
        later["label"] = serde_json::json!({ "since": "a later release", "n": [1, 2.5] });
        later["last_used"] = 70.into();
        later["log_level"] = "debug".into();
        let found = later.to_string();
        assert!(matches!(read(found.as_bytes(), owner("alice"), "/mcp"), StoredSession::Live(_)));
        let mut mine = record();
        mine.last_used = Timestamp::from_seconds(30);
        mine.opened = Timestamp::from_seconds(6);
        let written: Value = serde_json::from_slice(&mine.over(found.as_bytes(), Anew::Use)).unwrap();
        assert_eq!(written["label"], later["label"]);
        assert_eq!(written["last_used"], 70, "used later on another node");
        assert_eq!(written["opened"], 5);
        assert_eq!(written["log_level"], "debug");
        let written: Value = serde_json::from_slice(&mine.over(found.as_bytes(), Anew::Wishes)).unwrap();
        assert_eq!((written.get("log_level"), &written["label"]), (None, &later["label"]));
    }

    #[test]
    fn a_record_made_from_the_seal_alone_takes_nothing_away() {
        let found = record().to_bytes();
        let mut little = record();
        little.grant = None;
        let written: Value = serde_json::from_slice(&little.over(&found, Anew::Little)).unwrap();
        assert_eq!(written["grant"], "g");
        // Whatever its client asks for in between: a revocation of the grant has to find it.
        let written: Value = serde_json::from_slice(&little.over(&found, Anew::Wishes)).unwrap();
        assert_eq!(written["grant"], "g");
    }

    #[test]
    fn a_tombstone_is_terminated() {
        let bytes = tombstone(&owner("alice").to_hex(), "/mcp", Timestamp::from_seconds(9), Timestamp::from_seconds(1));
        assert!(matches!(read(&bytes, owner("alice"), "/mcp"), StoredSession::Terminated));
    }

    proptest! {
        #[test]
        fn no_bytes_are_ever_live_by_accident(bytes: Vec<u8>) {
            prop_assert!(matches!(read(&bytes, owner("alice"), "/mcp"), StoredSession::Foreign));
        }
    }
}
