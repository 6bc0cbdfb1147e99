//! What nodes tell one another of sessions that are over, on the journal `sessions`.
//!
//! It can only end sessions, and what it ends is a row in the store as well. Who can write to the store could as well write that
//! row, so nothing here is sealed; but everything is bounded, and what cannot be read is taken for something that was missed.

use bytes::Bytes;
use hawser_owner::Timestamp;
use serde::{Deserialize, Serialize};

use super::ended::{Before, EndedSession, Over, Whose};
use crate::claims::SessionKey;

/// The journal's name.
pub(super) const JOURNAL: &str = "sessions";
/// A message of another version is of another release: its meaning is looked up in the store.
const VERSION: u32 = 1;
/// Longest path or grant in a message.
const TEXT_MAX: usize = 512;
/// An owner's digest in hexadecimal.
const DIGEST_CHARS: usize = 64;
/// Most owners in a message: one per key of a ring.
const OWNERS_MAX: usize = 64;

/// Something that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// A session.
    Ended(SessionKey, EndedSession),
    /// All sessions of somebody or something that were opened before a moment.
    Revoked(Vec<Whose>, Before),
    /// All sessions under a grant.
    Grant(String),
}

#[derive(Serialize, Deserialize)]
struct Message {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<EndedMessage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<RevokedMessage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct EndedMessage {
    session: String,
    owner: String,
    endpoint: String,
    expires: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RevokedMessage {
    #[serde(default)]
    owners: Vec<String>,
    #[serde(default)]
    endpoints: Vec<String>,
    before: Timestamp,
    until: Timestamp,
}

impl From<Over> for Announced {
    fn from(over: Over) -> Self {
        match over {
            Over::Session(key, ended) => Self::Ended(key, ended),
            Over::Whose(whose, before) => Self::Revoked(vec![whose], before),
        }
    }
}

impl Announced {
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut message = Message { v: VERSION, ended: None, revoked: None, grant: None };
        match self {
            Self::Ended(key, ended) => {
                let EndedSession { owner, endpoint, expires } = ended.clone();
                message.ended = Some(EndedMessage { session: key.to_hex(), owner, endpoint, expires });
            }
            Self::Revoked(whose, Before { before, until }) => {
                let (mut owners, mut endpoints) = (Vec::new(), Vec::new());
                for whose in whose {
                    match whose {
                        Whose::Owner(owner) => owners.push(owner.clone()),
                        Whose::Endpoint(endpoint) => endpoints.push(endpoint.clone()),
                    }
                }
                message.revoked = Some(RevokedMessage { owners, endpoints, before: *before, until: *until });
            }
            Self::Grant(grant) => message.grant = Some(grant.clone()),
        }
        // A struct of strings and numbers always serialises; an empty message would be taken for one that was missed.
        serde_json::to_vec(&message).unwrap_or_default().into()
    }

    /// Reads a message of another node.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let message = serde_json::from_slice::<Message>(bytes).ok().filter(|message| message.v == VERSION)?;
        let fits = |text: &String| text.len() <= TEXT_MAX;
        match (message.ended, message.revoked, message.grant) {
            (Some(EndedMessage { session, owner, endpoint, expires }), None, None) => {
                let ended = EndedSession { owner, endpoint, expires };
                let key = SessionKey::from_hex(&session)?;
                (fits(&ended.owner) && fits(&ended.endpoint)).then_some(Self::Ended(key, ended))
            }
            (None, Some(RevokedMessage { owners, endpoints, before, until }), None) => {
                // Digests are names of rows: one that no row can have would be tried to write for ever.
                let digest =
                    |text: &String| text.len() == DIGEST_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let few = owners.len() + endpoints.len() <= OWNERS_MAX;
                let fit = few && owners.iter().all(digest) && endpoints.iter().all(fits);
                let owners = owners.into_iter().map(Whose::Owner);
                let whose = owners.chain(endpoints.into_iter().map(Whose::Endpoint));
                fit.then(|| Self::Revoked(whose.collect(), Before { before, until }))
            }
            (None, None, Some(grant)) => fits(&grant).then_some(Self::Grant(grant)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_round_trip(key: [u8; 16], owner in "[0-9a-f]{64}", endpoint in "/[a-z]{0,20}", moment: u64, until: u64) {
            let (before, until) = (Timestamp::from_seconds(moment), Timestamp::from_seconds(until));
            let ended = EndedSession { owner: owner.clone(), endpoint: endpoint.clone(), expires: until };
            let whose = vec![Whose::Owner(owner), Whose::Endpoint(endpoint.clone())];
            for announced in [
                Announced::Ended(SessionKey(key), ended),
                Announced::Revoked(whose, Before { before, until }),
                Announced::Grant(endpoint),
            ] {
                prop_assert_eq!(Announced::read(&announced.to_bytes()), Some(announced));
            }
        }

        #[test]
        fn no_bytes_are_a_message_by_accident(bytes: Vec<u8>) {
            prop_assert_eq!(Announced::read(&bytes), None);
        }
    }

    #[test]
    fn messages_of_other_versions_and_oversized_ones_are_not_understood() {
        let long = "x".repeat(TEXT_MAX + 1);
        let many = vec!["x"; OWNERS_MAX + 1];
        for message in [
            serde_json::json!({ "v": 2, "grant": "g" }),
            serde_json::json!({ "v": 1 }),
            serde_json::json!({ "v": 1, "something": "else" }),
            serde_json::json!({ "v": 1, "grant": long }),
            serde_json::json!({ "v": 1, "revoked": { "owners": ["a b"], "before": 1, "until": 2 } }),
            serde_json::json!({ "v": 1, "revoked": { "owners": [""], "before": 1, "until": 2 } }),
            serde_json::json!({ "v": 1, "revoked": { "owners": ["a".repeat(TEXT_MAX)], "before": 1, "until": 2 } }),
            serde_json::json!({ "v": 1, "revoked": { "owners": many, "before": 1, "until": 2 } }),
            serde_json::json!({ "v": 1, "ended": { "session": "12", "owner": "o", "endpoint": "/", "expires": 1 } }),
        ] {
            assert_eq!(Announced::read(message.to_string().as_bytes()), None, "{message}");
        }
        assert!(Announced::read(br#"{"v":1,"grant":"g","of a later release":true}"#).is_some());
    }
}
