//! Principals, keys and payloads of these tests.

use std::sync::atomic::{AtomicU8, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::{
    Binding, EndpointId, Entropy, EntropyError, HandleKind, Issuer, KeyId, KeyRing, KeyRingDocument, KeyState, Owned,
    Payload, Principal, Refused, RingKeyDocument, Subject, Tenant, Timestamp,
};

pub(crate) const ISSUED: Timestamp = Timestamp::from_seconds(1_000);
pub(crate) const EXPIRES: Timestamp = Timestamp::from_seconds(2_000);
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_500);

/// Other bytes every time, the same ones in every run.
#[derive(Default)]
pub(crate) struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.fill(self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

/// The system has no randomness.
pub(crate) struct Exhausted;

impl Entropy for Exhausted {
    fn fill(&self, _buffer: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

macro_rules! payload {
    ($name:ident, $kind:ident) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) Vec<u8>);

        impl Payload for $name {
            const KIND: HandleKind = HandleKind::$kind;

            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }

            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(Self(bytes.to_vec()))
            }
        }
    };
}

payload!(Session, Session);
payload!(Event, Event);
payload!(Cursor, Cursor);
payload!(RequestState, RequestState);
payload!(Task, Task);

pub(crate) fn key(id: u32, state: KeyState) -> RingKeyDocument {
    let secret = URL_SAFE_NO_PAD.encode([id.to_be_bytes()[3]; 32]);
    RingKeyDocument { id: KeyId(id), state, secret, created: None, since: None }
}

pub(crate) fn ring(keys: &[(u32, KeyState)]) -> KeyRing {
    let keys = keys.iter().map(|(id, state)| key(*id, *state)).collect();
    KeyRing::try_from(&KeyRingDocument { keys }).unwrap()
}

pub(crate) fn one_key() -> KeyRing {
    ring(&[(1, KeyState::Active)])
}

pub(crate) fn issuer(text: &str) -> Issuer {
    Issuer::new(text).unwrap()
}

pub(crate) fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

pub(crate) fn tenant(text: &str) -> Tenant {
    Tenant::new(text).unwrap()
}

pub(crate) fn user(name: &str) -> Principal {
    Principal::user(issuer("https://issuer.example"), None, subject(name))
}

pub(crate) fn endpoint() -> EndpointId {
    EndpointId::of_path("/mcp")
}

pub(crate) fn binding(principal: &Principal) -> Binding<'_> {
    Binding { endpoint: endpoint(), principal, issued: ISSUED, expires: EXPIRES }
}

/// A session of this principal.
pub(crate) fn mint(ring: &KeyRing, principal: &Principal) -> (String, Owned<Session>) {
    ring.mint(&binding(principal), Session(b"session".to_vec()), &Counting::default()).unwrap()
}

/// Why the handle does not open as a session of this principal.
pub(crate) fn refused(ring: &KeyRing, handle: &str, principal: &Principal) -> Refused {
    ring.open::<Session>(handle, endpoint(), principal, NOW).unwrap_err()
}

pub(crate) fn opens(ring: &KeyRing, handle: &str, principal: &Principal) -> bool {
    ring.open::<Session>(handle, endpoint(), principal, NOW).is_ok()
}
