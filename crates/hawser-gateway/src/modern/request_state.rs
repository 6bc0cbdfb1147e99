//! `requestState`: what a modern client brings back with the input it was asked for (MCP 2026-07-28, Multi Round-Trip
//! Requests, Server Requirements 4 and 5).
//!
//! Sealed for owner and endpoint like every handle; besides, it fits only the request it was given for (method and every
//! parameter but the answers), only for the client it was given to, for a while, and once.

use aws_lc_rs::digest::{Context, SHA256};
use hawser_mcp::{Members, MembersError, RawJson};
use hawser_owner::{HandleKind, Payload};
use serde_json::Value;

use super::backend_tag::BackendTag;
use crate::claims::SessionKey;
use crate::relay::NodeName;

/// Members of the params in which a retry may differ from the request it repeats.
pub(crate) const ANSWERS: [&str; 3] = ["_meta", "inputResponses", "requestState"];
/// Longest `requestState` of a backend that is carried on its behalf, in bytes.
pub(crate) const STATE_BYTES_MAX: usize = 32 * 1024;

/// What request a state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// Over client, method and params. Spelling does not matter: members are taken in the order of their names, so that a client
    /// that writes its request anew is understood.
    pub(crate) fn of(client_id: Option<&str>, method: &str, params: &RawJson) -> Result<Self, MembersError> {
        let members = Members::read(params, &ANSWERS)?;
        let mut context = Context::new(&SHA256);
        update_text(&mut context, client_id.unwrap_or_default());
        context.update(&[u8::from(client_id.is_some())]);
        update_text(&mut context, method);
        let mut repeated: Vec<_> = members.iter().filter(|(name, _)| !ANSWERS.contains(name)).collect();
        repeated.sort_by_key(|(name, _)| *name);
        for (name, value) in repeated {
            update_text(&mut context, name);
            let value: Value = value.read().map_err(|_| MembersError::NotAnObject)?;
            update_value(&mut context, &value);
        }
        let mut digest = [0; 32];
        digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Self(digest))
    }
}

/// Length first, so that no two sequences of texts are the same bytes.
fn update_text(context: &mut Context, text: &str) {
    context.update(&(text.len() as u64).to_be_bytes());
    context.update(text.as_bytes());
}

fn update_value(context: &mut Context, value: &Value) {
    match value {
        Value::Null => context.update(b"n"),
        Value::Bool(flag) => context.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => {
            context.update(b"#");
            update_text(context, &number.to_string());
        }
        Value::String(text) => {
            context.update(b"s");
            update_text(context, text);
        }
        Value::Array(values) => {
            context.update(b"a");
            context.update(&(values.len() as u64).to_be_bytes());
            for value in values {
                update_value(context, value);
            }
        }
        Value::Object(members) => {
            context.update(b"o");
            context.update(&(members.len() as u64).to_be_bytes());
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            for (name, value) in members {
                update_text(context, name);
                update_value(context, value);
            }
        }
    }
}

/// What a `requestState` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestState {
    pub(crate) request: RequestDigest,
    pub(crate) waits: Waits,
}

/// Who waits for the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A call that is parked in a session of this node.
    Parked { node: NodeName, session: SessionKey, number: u64 },
    /// A modern backend with its own state. The nonce makes the state good for once.
    Backend { backend: BackendTag, nonce: [u8; 16], state: String },
    /// Nobody: the request is simply sent again (legacy `URLElicitationRequiredError`).
    Nobody { nonce: [u8; 16] },
}

impl Payload for RequestState {
    const KIND: HandleKind = HandleKind::RequestState;
    /// It travels in bodies, and carries a backend's own state.
    const CHARS_MAX: usize = 48 * 1024;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request.0);
        match &self.waits {
            Waits::Parked { node, session, number } => {
                out.push(1);
                out.extend_from_slice(&node.to_bytes());
                out.extend_from_slice(&session.0);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Waits::Backend { backend, nonce, state } => {
                out.push(2);
                backend.encode(out);
                out.extend_from_slice(nonce);
                out.extend_from_slice(state.as_bytes());
            }
            Waits::Nobody { nonce } => {
                out.push(3);
                out.extend_from_slice(nonce);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (request, rest) = bytes.split_first_chunk()?;
        let (tag, rest) = rest.split_first()?;
        let waits = match tag {
            1 => {
                let (node, rest) = rest.split_first_chunk()?;
                let (session, rest) = rest.split_first_chunk()?;
                let (node, session) = (NodeName::from_bytes(*node), SessionKey(*session));
                Waits::Parked { node, session, number: u64::from_be_bytes(rest.try_into().ok()?) }
            }
            2 => {
                let (backend, rest) = BackendTag::decode(rest)?;
                let (nonce, rest) = rest.split_first_chunk()?;
                let state = std::str::from_utf8(rest).ok()?.to_owned();
                Waits::Backend { backend, nonce: *nonce, state }
            }
            3 => Waits::Nobody { nonce: rest.try_into().ok()? },
            _ => return None,
        };
        Some(Self { request: RequestDigest(*request), waits })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(params: &str) -> RequestDigest {
        let params = RawJson::parse(&bytes::Bytes::copy_from_slice(params.as_bytes())).unwrap();
        RequestDigest::of(Some("c"), "tools/call", &params).unwrap()
    }

    #[test]
    fn a_retry_is_the_same_request_however_it_is_spelled() {
        let asked = digest(r#"{"name":"t","arguments":{"a":1,"b":[true,null]},"_meta":{"x":1}}"#);
        let retried =
            r#"{"requestState":"s","inputResponses":{"1":{}}, "arguments":{ "b":[true,null],"a":1 },"name":"\u0074"}"#;
        assert_eq!(asked, digest(retried));
    }

    #[test]
    fn another_request_another_client_or_another_method_has_another_digest() {
        let asked = digest(r#"{"name":"t","arguments":{"a":1}}"#);
        for other in [
            r#"{"name":"u","arguments":{"a":1}}"#,
            r#"{"name":"t","arguments":{"a":2}}"#,
            r#"{"name":"t","arguments":{"a":"1"}}"#,
            r#"{"name":"t","arguments":{"b":1}}"#,
            r#"{"name":"t","arguments":[["a",1]]}"#,
            r#"{"name":"t","arguments":{"a":1},"task":{}}"#,
            r#"{"name":"t"}"#,
        ] {
            assert_ne!(asked, digest(other), "{other}");
        }
        let params = RawJson::parse(&bytes::Bytes::from_static(br#"{"name":"t","arguments":{"a":1}}"#)).unwrap();
        for (client, method) in [(None, "tools/call"), (Some("d"), "tools/call"), (Some("c"), "prompts/get")] {
            assert_ne!(asked, RequestDigest::of(client, method, &params).unwrap());
        }
    }

    fn waits() -> impl Strategy<Value = Waits> {
        prop_oneof![
            (any::<[u8; 8]>(), any::<[u8; 16]>(), any::<u64>()).prop_map(|(node, key, number)| Waits::Parked {
                node: NodeName::from_bytes(node),
                session: SessionKey(key),
                number
            }),
            (BackendTag::any(), any::<[u8; 16]>(), any::<String>())
                .prop_map(|(backend, nonce, state)| Waits::Backend { backend, nonce, state }),
            any::<[u8; 16]>().prop_map(|nonce| Waits::Nobody { nonce }),
        ]
    }

    proptest! {
        #[test]
        fn a_state_round_trips(request: [u8; 32], waits in waits()) {
            let state = RequestState { request: RequestDigest(request), waits };
            let mut bytes = Vec::new();
            state.encode(&mut bytes);
            prop_assert_eq!(RequestState::decode(&bytes), Some(state));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = RequestState::decode(&bytes);
        }
    }
}
