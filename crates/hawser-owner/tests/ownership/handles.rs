//! A handle: what it carries, where and until when it is good, and what each refusal says.

use hawser_owner::{
    Binding, EndpointId, EntropyError, HANDLE_CHARS_MAX, HandleKind, KeyState, Payload, Refusal, SealError, Timestamp,
};
use proptest::prelude::*;

use crate::world::{
    Counting, Cursor, EXPIRES, Event, Exhausted, ISSUED, NOW, RequestState, Session, Task, binding, endpoint, mint,
    one_key, refused, ring, user,
};

#[test]
fn a_minted_handle_opens_with_what_it_was_minted_for() {
    let (ring, alice) = (one_key(), user("alice"));
    let (handle, owned) = mint(&ring, &alice);
    assert_eq!((&*owned, owned.expires()), (&Session(b"session".to_vec()), EXPIRES));
    assert_eq!(owned.owner(), ring.owner_digest(&alice).1);
    let proven = ring.open::<Session>(&handle, endpoint(), &alice, NOW).unwrap();
    assert_eq!(proven.claims(), &Session(b"session".to_vec()));
    assert_eq!((proven.issued(), proven.expires(), proven.owner()), (ISSUED, EXPIRES, owned.owner()));
}

#[test]
fn a_handle_is_visible_ascii_and_tells_nothing() {
    let (ring, alice) = (one_key(), user("alice"));
    let entropy = Counting::default();
    let mint = || ring.mint(&binding(&alice), Session(b"session".to_vec()), &entropy).unwrap().0;
    let (first, second) = (mint(), mint());
    // MCP 2025-11-25, Transports, Session Management: visible ASCII characters.
    assert!(first.bytes().all(|byte| byte.is_ascii_graphic()), "{first}");
    assert_eq!(first.len(), second.len());
    let same = first.bytes().zip(second.bytes()).skip(8).filter(|(a, b)| a == b).count();
    assert!(same < first.len() / 4, "beyond version and key, the same content looks different every time");
}

#[test]
fn other_owners_are_refused_with_both_digests() {
    let (ring, alice, bob) = (one_key(), user("alice"), user("bob"));
    let (handle, owned) = mint(&ring, &alice);
    let refused = refused(&ring, &handle, &bob);
    assert_eq!(refused.reason, Refusal::NotOwner);
    assert_eq!((refused.owner, refused.presented_by), (Some(owned.owner()), ring.owner_digest(&bob).1));
}

#[test]
fn another_kind_is_refused() {
    let (ring, alice) = (one_key(), user("alice"));
    let entropy = Counting::default();
    let handles = [
        (HandleKind::Session, ring.mint(&binding(&alice), Session(vec![]), &entropy).unwrap().0),
        (HandleKind::Event, ring.mint(&binding(&alice), Event(vec![]), &entropy).unwrap().0),
        (HandleKind::Cursor, ring.mint(&binding(&alice), Cursor(vec![]), &entropy).unwrap().0),
        (HandleKind::RequestState, ring.mint(&binding(&alice), RequestState(vec![]), &entropy).unwrap().0),
        (HandleKind::Task, ring.mint(&binding(&alice), Task(vec![]), &entropy).unwrap().0),
    ];
    for (kind, handle) in &handles {
        let answers = [
            (HandleKind::Session, ring.open::<Session>(handle, endpoint(), &alice, NOW).map(drop)),
            (HandleKind::Event, ring.open::<Event>(handle, endpoint(), &alice, NOW).map(drop)),
            (HandleKind::Cursor, ring.open::<Cursor>(handle, endpoint(), &alice, NOW).map(drop)),
            (HandleKind::RequestState, ring.open::<RequestState>(handle, endpoint(), &alice, NOW).map(drop)),
            (HandleKind::Task, ring.open::<Task>(handle, endpoint(), &alice, NOW).map(drop)),
        ];
        for (asked, answer) in answers {
            let expected = if asked == *kind { Ok(()) } else { Err(Refusal::WrongKind) };
            assert_eq!(answer.map_err(|refused| refused.reason), expected, "{kind:?} as {asked:?}");
        }
    }
}

#[test]
fn another_endpoint_is_refused() {
    let (ring, alice) = (one_key(), user("alice"));
    let (handle, owned) = mint(&ring, &alice);
    for path in ["/", "", "/mcp/", "/MCP", "mcp", "/mcp/other", "/mcp?x"] {
        let refused = ring.open::<Session>(&handle, EndpointId::of_path(path), &alice, NOW).unwrap_err();
        assert_eq!(refused.reason, Refusal::WrongEndpoint, "{path:?}");
        assert_eq!((refused.owner, refused.presented_by), (Some(owned.owner()), owned.owner()));
    }
}

#[test]
fn a_handle_ends_exactly_when_it_expires() {
    let (ring, alice) = (one_key(), user("alice"));
    let (handle, _) = mint(&ring, &alice);
    for (now, good) in [(0, true), (1_000, true), (1_999, true), (2_000, false), (2_001, false), (u64::MAX, false)] {
        let answer = ring.open::<Session>(&handle, endpoint(), &alice, Timestamp::from_seconds(now));
        let expected = if good { Ok(()) } else { Err(Refusal::Expired) };
        assert_eq!(answer.map(drop).map_err(|refused| refused.reason), expected, "at {now}");
    }
}

#[test]
fn whose_it_is_counts_before_how_old_it_is() {
    let (ring, alice, bob) = (one_key(), user("alice"), user("bob"));
    let (handle, _) = mint(&ring, &alice);
    let refused = ring.open::<Session>(&handle, endpoint(), &bob, EXPIRES).unwrap_err();
    assert_eq!(refused.reason, Refusal::NotOwner);
}

#[test]
fn what_is_not_the_form_of_a_handle_is_malformed() {
    let (ring, alice) = (one_key(), user("alice"));
    let long = "A".repeat(HANDLE_CHARS_MAX + 1);
    for text in
        ["", "A", "AA", "AQAAAAE", "session", "\u{e9}", "\0", "../..", "1868a90c-95b1-4b5e-8d2f-0123456789ab", &long]
    {
        let refused = refused(&ring, text, &alice);
        assert_eq!((refused.reason, refused.owner), (Refusal::Malformed, None), "{text:?}");
        assert_eq!(refused.presented_by, ring.owner_digest(&alice).1);
    }
}

/// Opens only if it says so itself.
#[derive(Debug)]
struct Picky(bool);

impl Payload for Picky {
    const KIND: HandleKind = HandleKind::Session;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.0));
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        (bytes == [1]).then_some(Self(true))
    }
}

#[test]
fn a_payload_that_cannot_be_read_is_forged() {
    let (ring, alice) = (one_key(), user("alice"));
    for (payload, good) in [(true, true), (false, false)] {
        let (handle, _) = ring.mint(&binding(&alice), Picky(payload), &Counting::default()).unwrap();
        let answer = ring.open::<Picky>(&handle, endpoint(), &alice, NOW);
        assert_eq!(
            answer.map(|proven| proven.claims().0).map_err(|refused| refused.reason),
            if good { Ok(true) } else { Err(Refusal::Forged) }
        );
    }
}

#[test]
fn without_randomness_nothing_is_minted() {
    let minted = one_key().mint(&binding(&user("alice")), Session(vec![]), &Exhausted);
    assert_eq!(minted.map(drop).unwrap_err(), SealError::Entropy(EntropyError));
}

#[test]
fn a_handle_has_at_most_as_many_characters_as_are_looked_at() {
    let (ring, alice) = (one_key(), user("alice"));
    let mint = |bytes: usize| ring.mint(&binding(&alice), Session(vec![7; bytes]), &Counting::default());
    let longest = (0..HANDLE_CHARS_MAX).rev().find_map(|bytes| mint(bytes).ok()).unwrap();
    assert!((HANDLE_CHARS_MAX - 3..=HANDLE_CHARS_MAX).contains(&longest.0.len()), "{}", longest.0.len());
    let proven = ring.open::<Session>(&longest.0, endpoint(), &alice, NOW).unwrap();
    assert_eq!(proven.claims(), &*longest.1);
    assert_eq!(mint(longest.1.0.len() + 1).map(drop).unwrap_err(), SealError::TooLong);
    assert_eq!(mint(1_000_000).map(drop).unwrap_err(), SealError::TooLong);
}

proptest! {
    #[test]
    fn any_payload_and_times_come_back(payload: Vec<u8>, issued: u64, expires in 1_u64.., path: String) {
        let (ring, alice) = (ring(&[(u32::MAX, KeyState::Active)]), user("alice"));
        let endpoint = EndpointId::of_path(&path);
        let (issued, expires) = (Timestamp::from_seconds(issued), Timestamp::from_seconds(expires));
        let binding = Binding { endpoint, principal: &alice, issued, expires };
        let (handle, _) = ring.mint(&binding, Session(payload.clone()), &Counting::default()).unwrap();
        let proven = ring.open::<Session>(&handle, endpoint, &alice, Timestamp::from_seconds(expires.seconds() - 1)).unwrap();
        prop_assert_eq!((&proven.claims().0, proven.issued(), proven.expires()), (&payload, issued, expires));
    }
}
