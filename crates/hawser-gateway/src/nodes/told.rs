//! The messages themselves. They arrive sealed, so a node said them; it may still be a node of another version.

use bytes::Bytes;
use hawser_mcp::{ListKind, RawJson};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::claims::SessionKey;
use crate::relay::NodeName;

/// Longest message of a backend that is passed on from one node to another, in bytes: with what is around it, it still is a short
/// message between nodes.
pub(crate) const PASSED_ON_BYTES_MAX: usize = 12 * 1024;

/// Longest reason of a cancellation that is told.
const REASON_BYTES_MAX: usize = 2 * 1024;

/// A message: about which session, and for which node if not for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) to: Option<NodeName>,
    pub(super) session: SessionKey,
    pub(super) told: Told,
}

/// Most lists in one message.
pub(super) const LISTS_AT_ONCE: usize = 64;

/// Lists that changed, and that are not one owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListNews {
    /// The endpoint's path.
    pub(crate) endpoint: String,
    /// Whether they are for everyone, or else for all anonymous callers.
    pub(crate) everyone: bool,
    /// The backends by name, and which of their lists.
    pub(crate) changed: Vec<(String, ListKind)>,
}

/// What one node tells others of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The client has opened a GET stream here.
    Listens { client_id: Option<String> },
    /// The session is live here now: whoever has a stream of its client, say so.
    WhoListens,
    /// A notification for the client's GET stream.
    Message { message: RawJson },
    /// A backend's question for that stream, if it still is this client's.
    Question { number: u64, client_id: Option<String>, message: RawJson },
    /// The question was put to the client's stream.
    Put { number: u64 },
    /// The question found no stream.
    NotPut { number: u64 },
    /// The client does not want the answer to one of its requests.
    Cancelled { id: RawJson, reason: Option<String> },
    /// A notification of the client for every backend of the session.
    ForBackends { message: RawJson },
    /// The client has set this log level.
    LogLevel { level: String },
    /// The client has subscribed to a resource, or no longer is.
    Subscription { backend: String, uri: String, subscribed: bool },
}

/// How it is written. A kind that is not known here is one of a later version: it does not read, and is passed over.
#[derive(Serialize, Deserialize)]
struct WrittenLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    session: String,
    told: Written,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Listens { client_id: Option<String> },
    WhoListens {},
    Message { message: Box<RawValue> },
    Question { number: u64, client_id: Option<String>, message: Box<RawValue> },
    Put { number: u64 },
    NotPut { number: u64 },
    Cancelled { id: Box<RawValue>, reason: Option<String> },
    ForBackends { message: Box<RawValue> },
    LogLevel { level: String },
    Subscription { backend: String, uri: String, subscribed: bool },
}

#[derive(Serialize, Deserialize)]
struct WrittenNews {
    lists: WrittenLists,
}

#[derive(Serialize, Deserialize)]
struct WrittenLists {
    endpoint: String,
    everyone: bool,
    /// Name of the backend, and the method that reads the list.
    changed: Vec<(String, String)>,
}

impl ListNews {
    pub(super) fn to_bytes(&self) -> Bytes {
        let changed = self.changed.iter().map(|(backend, kind)| (backend.clone(), kind.method().to_owned()));
        let lists =
            WrittenLists { endpoint: self.endpoint.clone(), everyone: self.everyone, changed: changed.collect() };
        // Strings always serialise; nobody could read an empty message.
        serde_json::to_vec(&WrittenNews { lists }).unwrap_or_default().into()
    }

    /// Reads a message. A list of a kind that is not known here is passed over.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let WrittenLists { endpoint, everyone, changed } = serde_json::from_slice::<WrittenNews>(bytes).ok()?.lists;
        let changed = changed.into_iter().take(LISTS_AT_ONCE);
        let changed = changed.filter_map(|(backend, method)| Some((backend, ListKind::of_method(&method)?)));
        Some(Self { endpoint, everyone, changed: changed.collect() })
    }
}

impl Line {
    pub(super) fn to_bytes(&self) -> Bytes {
        let line = WrittenLine {
            to: self.to.map(|node| node.to_string()),
            session: self.session.to_hex(),
            told: self.told.clone().into_written(),
        };
        // Strings, numbers and JSON that is valid already always serialise; nobody could read an empty message.
        serde_json::to_vec(&line).unwrap_or_default().into()
    }

    /// Reads a message.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let line: WrittenLine = serde_json::from_slice(bytes).ok()?;
        let to = line.to.map(|node| node.parse()).transpose().ok()?;
        Some(Self { to, session: SessionKey::from_hex(&line.session)?, told: Told::read(line.told)? })
    }
}

impl Told {
    /// The same, short enough to be told: a reason may be cut.
    pub(super) fn cut(self) -> Self {
        match self {
            Self::Cancelled { id, reason: Some(reason) } => {
                let end = reason.floor_char_boundary(REASON_BYTES_MAX);
                Self::Cancelled { id, reason: Some(reason[..end].to_owned()) }
            }
            other => other,
        }
    }

    fn into_written(self) -> Written {
        match self {
            Self::Listens { client_id } => Written::Listens { client_id },
            Self::WhoListens => Written::WhoListens {},
            Self::Message { message } => Written::Message { message: written(&message) },
            Self::Question { number, client_id, message } => {
                Written::Question { number, client_id, message: written(&message) }
            }
            Self::Put { number } => Written::Put { number },
            Self::NotPut { number } => Written::NotPut { number },
            Self::Cancelled { id, reason } => Written::Cancelled { id: written(&id), reason },
            Self::ForBackends { message } => Written::ForBackends { message: written(&message) },
            Self::LogLevel { level } => Written::LogLevel { level },
            Self::Subscription { backend, uri, subscribed } => Written::Subscription { backend, uri, subscribed },
        }
    }

    fn read(written: Written) -> Option<Self> {
        Some(match written {
            Written::Listens { client_id } => Self::Listens { client_id },
            Written::WhoListens {} => Self::WhoListens,
            Written::Message { message } => Self::Message { message: raw(message)? },
            Written::Question { number, client_id, message } => {
                Self::Question { number, client_id, message: raw(message)? }
            }
            Written::Put { number } => Self::Put { number },
            Written::NotPut { number } => Self::NotPut { number },
            Written::Cancelled { id, reason } => Self::Cancelled { id: raw(id)?, reason },
            Written::ForBackends { message } => Self::ForBackends { message: raw(message)? },
            Written::LogLevel { level } => Self::LogLevel { level },
            Written::Subscription { backend, uri, subscribed } => Self::Subscription { backend, uri, subscribed },
        })
    }
}

fn written(json: &RawJson) -> Box<RawValue> {
    RawValue::from_string(json.as_str().to_owned()).unwrap_or_default()
}

fn raw(json: Box<RawValue>) -> Option<RawJson> {
    RawJson::parse(&Bytes::from(String::from(Box::<str>::from(json)))).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told() -> impl Strategy<Value = Told> {
        let json = || any::<Option<String>>().prop_map(|text| RawJson::from_serialize(&text).unwrap());
        prop_oneof![
            any::<Option<String>>().prop_map(|client_id| Told::Listens { client_id }),
            Just(Told::WhoListens),
            json().prop_map(|message| Told::Message { message }),
            (any::<u64>(), any::<Option<String>>(), json()).prop_map(|(number, client_id, message)| Told::Question {
                number,
                client_id,
                message
            }),
            any::<u64>().prop_map(|number| Told::Put { number }),
            any::<u64>().prop_map(|number| Told::NotPut { number }),
            (json(), any::<Option<String>>()).prop_map(|(id, reason)| Told::Cancelled { id, reason }),
            json().prop_map(|message| Told::ForBackends { message }),
            any::<String>().prop_map(|level| Told::LogLevel { level }),
            (any::<String>(), any::<String>(), any::<bool>())
                .prop_map(|(backend, uri, subscribed)| Told::Subscription { backend, uri, subscribed }),
        ]
    }

    #[test]
    fn what_a_later_version_says_is_passed_over() {
        let line = Line { to: None, session: SessionKey([7; 16]), told: Told::WhoListens };
        let known = String::from_utf8(line.to_bytes().to_vec()).unwrap();
        assert_eq!(Line::read(known.as_bytes()), Some(line.clone()));
        assert_eq!(Line::read(known.replace("who_listens", "who_sings").as_bytes()), None);
        let more = known.replace(r#""who_listens":{}"#, r#""who_listens":{"why":"later"}"#);
        assert_eq!(Line::read(more.as_bytes()), Some(line), "it may have more members");
    }

    fn list_news() -> impl Strategy<Value = ListNews> {
        let changed = (any::<String>(), proptest::sample::select(ListKind::ALL.to_vec()));
        let changed = proptest::collection::vec(changed, 0..=LISTS_AT_ONCE);
        (any::<String>(), any::<bool>(), changed).prop_map(|(endpoint, everyone, changed)| ListNews {
            endpoint,
            everyone,
            changed,
        })
    }

    #[test]
    fn news_of_lists_are_bounded_and_of_kinds_that_are_known() {
        let changed: Vec<_> = std::iter::repeat_n(("b", "tools/list"), LISTS_AT_ONCE + 1).collect();
        let many = serde_json::json!({ "lists": { "endpoint": "/mcp", "everyone": true, "changed": changed } });
        assert_eq!(ListNews::read(many.to_string().as_bytes()).unwrap().changed.len(), LISTS_AT_ONCE);
        let later =
            serde_json::json!({ "lists": { "endpoint": "/mcp", "everyone": false, "changed": [["b", "x/list"]] } });
        assert_eq!(ListNews::read(later.to_string().as_bytes()).unwrap().changed, []);
    }

    proptest! {
        #[test]
        fn news_of_lists_round_trip_and_are_no_lines(news in list_news()) {
            prop_assert_eq!(Line::read(&news.to_bytes()), None);
            prop_assert_eq!(ListNews::read(&news.to_bytes()), Some(news));
        }

        #[test]
        fn messages_round_trip(key: [u8; 16], to: Option<[u8; 8]>, told in told()) {
            let line = Line { to: to.map(NodeName::from_bytes), session: SessionKey(key), told };
            prop_assert_eq!(Line::read(&line.to_bytes()), Some(line));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = Line::read(&bytes);
        }
    }
}
