//! The ids under which questions of backends are put to clients, and under which clients tell progress of them.
//!
//! An answer comes with whatever request reaches whatever node: the id names the node whose call waits for it. It is not a
//! secret: who answers is checked there, by session, owner and client.

use hawser_mcp::{RawJson, RequestId};

use crate::relay::NodeName;

/// Names a question: the node that put it, and its number in the session there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuestionId {
    pub(crate) node: NodeName,
    pub(crate) number: u64,
}

impl QuestionId {
    /// As clients see it, in an id or a progress token.
    pub(crate) fn to_raw(self) -> RawJson {
        RawJson::string(&format!("{}.{}", self.node, self.number))
    }

    /// The JSON-RPC id of the question.
    pub(crate) fn to_request_id(self) -> RequestId {
        RequestId::from_raw(self.to_raw()).unwrap_or_else(|| RequestId::number(self.number))
    }

    /// Reads an id, or a progress token, that a client sent; `None` if no node ever gave it out.
    pub(crate) fn read(id: &RequestId) -> Option<Self> {
        let text = id.raw().as_string()?;
        let (node, number) = text.split_once('.')?;
        // One spelling for every number, so that an id is compared by what it means.
        let plain = number.bytes().all(|byte| byte.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
        Some(Self { node: node.parse().ok()?, number: number.parse().ok().filter(|_| plain)? })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Option<QuestionId> {
        let raw = RawJson::parse(&bytes::Bytes::copy_from_slice(json.as_bytes())).unwrap();
        QuestionId::read(&RequestId::from_raw(raw)?)
    }

    #[test]
    fn only_what_a_node_gave_out_is_one() {
        assert!(read(r#""0123456789abcdef.7""#).is_some());
        for other in [
            "7",
            r#""7""#,
            r#""0123456789abcdef.""#,
            r#""0123456789abcdef.07""#,
            r#""0123456789abcdef.+7""#,
            r#""0123456789ABCDEF.7""#,
            r#""0123456789abcde.7""#,
            r#""0123456789abcdef0.7""#,
            r#""0123456789abcdef.99999999999999999999""#,
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn ids_round_trip(node: [u8; 8], number: u64) {
            let id = QuestionId { node: NodeName::from_bytes(node), number };
            prop_assert_eq!(QuestionId::read(&id.to_request_id()), Some(id));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = RequestId::from_raw(RawJson::string(&text)).and_then(|id| QuestionId::read(&id));
        }
    }
}
