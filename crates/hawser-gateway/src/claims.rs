//! What a session id carries under its seal.

use aws_lc_rs::digest;
use hawser_mcp::{Members, RawJson, Revision};
use hawser_owner::{HandleKind, Payload};

use crate::event_log::StreamKind;
use crate::lists::ListDigest;
use crate::relay::NodeName;

/// Random name of a session in memory and in the store; never shown to clients outside the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey(pub(crate) [u8; Self::BYTES]);

impl SessionKey {
    const BYTES: usize = 16;
    /// The first that there can be, in their order.
    pub(crate) const FIRST: Self = Self([0; Self::BYTES]);

    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Reads the name that [`to_hex`](Self::to_hex) gave.
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let (digits, rest) = hex.as_bytes().as_chunks::<2>();
        let mut key = [0; Self::BYTES];
        if digits.len() != Self::BYTES || !rest.is_empty() {
            return None;
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        for (byte, [high, low]) in key.iter_mut().zip(digits) {
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Some(Self(key))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The payload of an `Mcp-Session-Id`: enough to serve the session when its record cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionClaims {
    pub(crate) key: SessionKey,
    pub(crate) revision: Revision,
    pub(crate) capabilities: CapabilityBits,
    pub(crate) idle_seconds: u32,
}

/// The client capabilities that decide what a backend may ask (MCP 2025-11-25, Lifecycle, Capability Negotiation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct CapabilityBits(u16);

const ROOTS: u16 = 1;
const ROOTS_LIST_CHANGED: u16 = 1 << 1;
const SAMPLING: u16 = 1 << 2;
const SAMPLING_TOOLS: u16 = 1 << 3;
const ELICITATION: u16 = 1 << 4;
const ELICITATION_FORM: u16 = 1 << 5;
const ELICITATION_URL: u16 = 1 << 6;
/// Bit, capability and member of it.
const BITS: [(u16, &str, Option<&str>); 7] = [
    (ROOTS, "roots", None),
    (ROOTS_LIST_CHANGED, "roots", Some("listChanged")),
    (SAMPLING, "sampling", None),
    (SAMPLING_TOOLS, "sampling", Some("tools")),
    (ELICITATION, "elicitation", None),
    (ELICITATION_FORM, "elicitation", Some("form")),
    (ELICITATION_URL, "elicitation", Some("url")),
];

impl CapabilityBits {
    /// Reads a client's capabilities.
    pub(crate) fn of(capabilities: &RawJson) -> Self {
        let Ok(members) = Members::read(capabilities, &[]) else {
            return Self::default();
        };
        let has = |capability: &str, member: Option<&str>| {
            let value = members.get(capability).filter(RawJson::is_object)?;
            let Some(member) = member else { return Some(()) };
            let value = Members::read(&value, &[]).ok()?.get(member)?;
            (value.is_object() || value.as_str() == "true").then_some(())
        };
        let bits = BITS.iter().filter(|(_, capability, member)| has(capability, *member).is_some());
        Self(bits.fold(0, |set, (bit, ..)| set | bit))
    }

    /// The capabilities again, without whatever else the client declared.
    pub(crate) fn to_capabilities(self) -> RawJson {
        let mut capabilities = serde_json::Map::new();
        for (_, capability, member) in BITS.iter().filter(|(bit, ..)| self.0 & bit != 0) {
            let entry = capabilities.entry(*capability).or_insert_with(|| serde_json::json!({}));
            if let (Some(member), Some(object)) = (member, entry.as_object_mut()) {
                let value = if *member == "listChanged" { serde_json::json!(true) } else { serde_json::json!({}) };
                object.insert((*member).to_owned(), value);
            }
        }
        RawJson::from_serialize(&capabilities).unwrap_or_else(|_| RawJson::empty_object())
    }
}

impl Payload for SessionClaims {
    const KIND: HandleKind = HandleKind::Session;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.0);
        out.push(match self.revision {
            Revision::V2025_03_26 => 1,
            Revision::V2025_06_18 => 2,
            Revision::V2025_11_25 => 3,
            // No session is ever opened in the modern era; `decode` refuses the number.
            Revision::V2026_07_28 => 4,
        });
        out.extend_from_slice(&self.capabilities.0.to_be_bytes());
        out.extend_from_slice(&self.idle_seconds.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk()?;
        let (revision, rest) = rest.split_first()?;
        let (capabilities, rest) = rest.split_first_chunk()?;
        let idle_seconds = u32::from_be_bytes(rest.try_into().ok()?);
        let revision = match revision {
            1 => Revision::V2025_03_26,
            2 => Revision::V2025_06_18,
            3 => Revision::V2025_11_25,
            _ => return None,
        };
        Some(Self {
            key: SessionKey(*key),
            revision,
            capabilities: CapabilityBits(u16::from_be_bytes(*capabilities)),
            idle_seconds,
        })
    }
}

/// The payload of a list cursor: where the next page starts, in a list of which content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CursorClaims {
    pub(crate) kind: u8,
    pub(crate) list: ListDigest,
    pub(crate) offset: u64,
}

impl Payload for CursorClaims {
    const KIND: HandleKind = HandleKind::Cursor;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        out.extend_from_slice(&self.list);
        out.extend_from_slice(&self.offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (list, rest) = rest.split_first_chunk()?;
        let offset = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Self { kind: *kind, list: *list, offset })
    }
}

/// Names the client that reads a stream, without naming it: a digest of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientTag([u8; Self::BYTES]);

impl ClientTag {
    const BYTES: usize = 16;

    /// The tag of a client; that of no client is one of its own.
    pub(crate) fn of(client_id: Option<&str>) -> Self {
        let mut tag = [0; Self::BYTES];
        if let Some(client_id) = client_id {
            let digest = digest::digest(&digest::SHA256, client_id.as_bytes());
            tag.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        }
        Self(tag)
    }
}

/// The payload of an event id: a position in a stream of a session, and the client that may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventClaims {
    pub(crate) session: SessionKey,
    /// The node that has the stream.
    pub(crate) node: NodeName,
    /// Of the log that numbers the streams.
    pub(crate) epoch: u64,
    pub(crate) kind: StreamKind,
    pub(crate) stream: u64,
    pub(crate) position: u64,
    pub(crate) client: ClientTag,
}

impl Payload for EventClaims {
    const KIND: HandleKind = HandleKind::Event;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.node.to_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.push(match self.kind {
            StreamKind::Call => 1,
            StreamKind::Standing => 2,
        });
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.client.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (session, rest) = bytes.split_first_chunk()?;
        let (node, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let client = ClientTag(rest.try_into().ok()?);
        let kind = match kind {
            1 => StreamKind::Call,
            2 => StreamKind::Standing,
            _ => return None,
        };
        let (epoch, stream) = (u64::from_be_bytes(*epoch), u64::from_be_bytes(*stream));
        let position = u64::from_be_bytes(*position);
        let (session, node) = (SessionKey(*session), NodeName::from_bytes(*node));
        Some(Self { session, node, epoch, kind, stream, position, client })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn capabilities_survive_the_seal_as_far_as_backends_need_them() {
        let declared = RawJson::from_serialize(&serde_json::json!({
            "roots": {"listChanged": true}, "sampling": {}, "elicitation": {"form": {}, "url": {}}, "experimental": {"x": {}}
        }))
        .unwrap();
        let restored: serde_json::Value = CapabilityBits::of(&declared).to_capabilities().read().unwrap();
        let expected = serde_json::json!({
            "roots": {"listChanged": true}, "sampling": {}, "elicitation": {"form": {}, "url": {}}
        });
        assert_eq!(restored, expected);
        assert_eq!(CapabilityBits::of(&RawJson::empty_object()).to_capabilities().as_str(), "{}");
    }

    #[test]
    fn names_of_sessions_are_read_in_one_spelling() {
        for wrong in ["", "0", &"0".repeat(31), &"0".repeat(33), &"A".repeat(32), &"g".repeat(32), &"é".repeat(16)] {
            assert_eq!(SessionKey::from_hex(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn names_round_trip(key: [u8; 16]) {
            prop_assert_eq!(SessionKey::from_hex(&SessionKey(key).to_hex()), Some(SessionKey(key)));
        }

        #[test]
        fn claims_round_trip(key: [u8; 16], revision in 0_usize..3, bits in 0_u16..128, idle_seconds: u32) {
            let claims = SessionClaims {
                key: SessionKey(key),
                revision: *Revision::LEGACY.get(revision).unwrap(),
                capabilities: CapabilityBits(bits),
                idle_seconds,
            };
            let mut bytes = Vec::new();
            claims.encode(&mut bytes);
            prop_assert_eq!(SessionClaims::decode(&bytes), Some(claims));
            bytes.push(0);
            prop_assert_eq!(SessionClaims::decode(&bytes), None, "trailing bytes");
        }

        #[test]
        fn positions_round_trip(key: [u8; 16], node: [u8; 8], epoch: u64, call: bool, stream: u64, position: u64, client: Option<String>) {
            let kind = if call { StreamKind::Call } else { StreamKind::Standing };
            let client = ClientTag::of(client.as_deref());
            let (session, node) = (SessionKey(key), NodeName::from_bytes(node));
            let claims = EventClaims { session, node, epoch, kind, stream, position, client };
            let mut bytes = Vec::new();
            claims.encode(&mut bytes);
            prop_assert_eq!(EventClaims::decode(&bytes), Some(claims));
            bytes.pop();
            prop_assert_eq!(EventClaims::decode(&bytes), None, "cut short");
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes: Vec<u8>) {
            let _ = SessionClaims::decode(&bytes);
            let _ = CursorClaims::decode(&bytes);
            let _ = EventClaims::decode(&bytes);
        }
    }
}
