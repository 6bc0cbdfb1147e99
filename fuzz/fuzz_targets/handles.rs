//! Handles: nothing but a minted handle opens, and only for its owner; rows likewise.
//!
//! Input: a byte that says what the rest is. `T` a text as presented, `B` the bytes below the base64, `E` edits of a minted
//! handle (position, new character), `R` a sealed row, `X` edits of a sealed row (position, xor).

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::{
    Binding, EndpointId, Entropy, EntropyError, HandleKind, Issuer, KeyId, KeyRing, KeyRingDocument, KeyState, Payload,
    Principal, RingKeyDocument, Subject, Timestamp,
};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_seconds(1_000);

struct World {
    ring: KeyRing,
    alice: Principal,
    mallory: Principal,
    endpoint: EndpointId,
    handle: String,
    row: Vec<u8>,
}

#[derive(Debug, PartialEq)]
struct Session(Vec<u8>);

impl Payload for Session {
    const KIND: HandleKind = HandleKind::Session;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.to_vec()))
    }
}

/// The same bytes every time, so that a finding can be repeated.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.fill(0x5a);
        Ok(())
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = |id, state, byte: u8| {
        let secret = URL_SAFE_NO_PAD.encode([byte; 32]);
        RingKeyDocument { id: KeyId(id), state, secret, created: None, since: None }
    };
    let document = KeyRingDocument { keys: vec![key(1, KeyState::Active, 1), key(2, KeyState::Retired, 2)] };
    let ring = KeyRing::try_from(&document).expect("a key ring");
    let user = |name: &str| {
        let issuer = Issuer::new("https://issuer.example").expect("an issuer");
        Principal::user(issuer, None, Subject::new(name).expect("a subject"))
    };
    let (alice, endpoint) = (user("alice"), EndpointId::of_path("/mcp"));
    let binding = Binding { endpoint, principal: &alice, issued: NOW, expires: Timestamp::from_seconds(2_000) };
    let (handle, _) = ring.mint(&binding, Session(b"session".to_vec()), &Fixed).expect("a handle");
    let row = ring.seal_row("row", b"secret", &Fixed).expect("a row").0;
    World { ring, mallory: user("mallory"), alice, endpoint, handle, row }
});

fuzz_target!(|data: &[u8]| {
    let Some((what, rest)) = data.split_first() else { return };
    match what {
        b'T' => present(&String::from_utf8_lossy(rest)),
        b'B' => present(&URL_SAFE_NO_PAD.encode(rest)),
        b'E' => present(&String::from_utf8_lossy(&edited(WORLD.handle.as_bytes(), rest, |_, new| new))),
        b'R' => open_row(rest),
        b'X' => open_row(&edited(&WORLD.row, rest, |old, new| old ^ new)),
        _ => {}
    }
});

/// Applies edits of two bytes each, position and value. A position beyond the end appends.
fn edited(original: &[u8], edits: &[u8], edit: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut out = original.to_vec();
    for [at, value] in edits.as_chunks::<2>().0 {
        match out.get_mut(usize::from(*at)) {
            Some(byte) => *byte = edit(*byte, *value),
            None => out.push(*value),
        }
    }
    out
}

fn present(text: &str) {
    let World { ring, alice, mallory, endpoint, handle, .. } = &*WORLD;
    let opened = ring.open::<Session>(text, *endpoint, alice, NOW);
    assert_eq!(opened.is_ok(), text == handle, "what opens is what was minted");
    if let Ok(proven) = opened {
        assert_eq!(proven.claims(), &Session(b"session".to_vec()));
    }
    let refused = ring.open::<Session>(text, *endpoint, mallory, NOW).expect_err("nobody else's");
    assert_eq!(refused.owner.is_some(), text == handle, "an owner is known only from a seal that holds");
    ring.open::<Session>(text, EndpointId::of_path("/other"), alice, NOW).expect_err("nowhere else");
}

fn open_row(sealed: &[u8]) {
    let opened = WORLD.ring.open_row("row", sealed);
    assert_eq!(opened.is_ok(), sealed == WORLD.row, "what opens is what was sealed");
    if let Ok(secret) = opened {
        assert_eq!(secret.as_slice(), b"secret");
    }
    WORLD.ring.open_row("other row", sealed).expect_err("in no other row");
}
