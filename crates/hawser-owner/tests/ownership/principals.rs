//! A principal is every byte of what the credential said.

use hawser_owner::{Issuer, Principal, PrincipalError, PrincipalKind, Subject, Tenant};
use proptest::prelude::*;

use crate::world::{issuer, mint, one_key, opens, subject, tenant, user};

/// All different, and close to each other.
fn lookalikes() -> Vec<Principal> {
    let at = |text: &str| issuer(text);
    let base = "https://issuer.example";
    vec![
        user("alice"),
        Principal::client(at(base), None, subject("alice")),
        Principal::anonymous(),
        user("anonymous"),
        user("Alice"),
        user("alice "),
        user(" alice"),
        user("alice/"),
        user("alic\u{435}"),
        // The same letter, composed and decomposed.
        user("\u{e9}"),
        user("e\u{301}"),
        Principal::user(at("https://issuer.example/"), None, subject("alice")),
        Principal::user(at("https://Issuer.example"), None, subject("alice")),
        Principal::user(at("https://issuer.example:443"), None, subject("alice")),
        Principal::user(at("http://issuer.example"), None, subject("alice")),
        Principal::user(at(base), Some(tenant("alice")), subject("alice")),
        Principal::user(at(base), Some(tenant("Alice")), subject("alice")),
        Principal::user(at(base), Some(tenant("a")), subject("bc")),
        Principal::user(at(base), Some(tenant("ab")), subject("c")),
        Principal::user(at(base), None, subject("abc")),
        Principal::user(at("ab"), None, subject("c")),
        Principal::user(at("a"), None, subject("bc")),
        Principal::user(at("a"), Some(tenant("b")), subject("c")),
        Principal::user(at("abc"), None, subject("abc")),
        // What marks a part inside the digest, inside a part.
        Principal::user(at("a\u{1}b"), Some(tenant("c")), subject("d")),
        Principal::user(at("a"), Some(tenant("b\u{1}c")), subject("d")),
        Principal::user(at("a"), Some(tenant("b")), subject("c\u{1}d")),
    ]
}

#[test]
fn every_part_of_a_principal_matters_byte_for_byte() {
    let (ring, all) = (one_key(), lookalikes());
    for (mine, owner) in all.iter().enumerate() {
        let (handle, _) = mint(&ring, owner);
        for (other, presenter) in all.iter().enumerate() {
            assert_eq!(owner == presenter, mine == other, "{owner:?} and {presenter:?}");
            let same = ring.owner_digest(owner) == ring.owner_digest(presenter);
            assert_eq!(same, mine == other, "{owner:?} and {presenter:?}");
            assert_eq!(opens(&ring, &handle, presenter), mine == other, "{owner:?} and {presenter:?}");
        }
    }
}

#[test]
fn anonymous_has_no_name_and_equals_only_itself() {
    let anonymous = Principal::anonymous();
    assert_eq!(anonymous.kind(), PrincipalKind::Anonymous);
    assert_eq!((anonymous.issuer(), anonymous.tenant(), anonymous.subject()), (None, None, None));
    assert_eq!(anonymous, Principal::anonymous());
}

#[test]
fn the_parts_come_back_as_they_went_in() {
    let client = Principal::client(issuer("HTTPS://X/"), Some(tenant(" t ")), subject("\u{e9} S"));
    assert_eq!(client.kind(), PrincipalKind::Client);
    assert_eq!(client.issuer().unwrap().as_str(), "HTTPS://X/");
    assert_eq!(client.tenant().unwrap().as_str(), " t ");
    assert_eq!(client.subject().unwrap().as_str(), "\u{e9} S");
}

#[test]
fn what_cannot_name_a_principal_is_refused() {
    assert_eq!(Subject::new(""), Err(PrincipalError::Empty { field: "subject" }));
    assert_eq!(Tenant::new(""), Err(PrincipalError::Empty { field: "tenant" }));
    assert_eq!(Issuer::new(""), Err(PrincipalError::Empty { field: "issuer" }));
    assert_eq!(Subject::new("a\0"), Err(PrincipalError::Nul { field: "subject" }));
    assert_eq!(Issuer::new("\0"), Err(PrincipalError::Nul { field: "issuer" }));
    assert!(Subject::new("s".repeat(255)).is_ok());
    assert_eq!(Subject::new("s".repeat(256)), Err(PrincipalError::TooLong { field: "subject", max: 255 }));
    // Bytes, not characters.
    assert_eq!(Subject::new("\u{e9}".repeat(128)), Err(PrincipalError::TooLong { field: "subject", max: 255 }));
    assert!(Issuer::new("i".repeat(2048)).is_ok());
    assert_eq!(Issuer::new("i".repeat(2049)), Err(PrincipalError::TooLong { field: "issuer", max: 2048 }));
}

#[test]
fn a_digest_names_nobody() {
    let digest = one_key().owner_digest(&user("alice")).1;
    assert_eq!(digest.to_hex().len(), 64);
    assert!(digest.to_hex().starts_with(&digest.to_string()), "what the log shows is how the row is found");
    assert_eq!(format!("{digest:?}"), format!("OwnerDigest({digest})"));
    assert_eq!(digest.to_string().len(), 16);
}

/// Texts that are likely to be confused with each other.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab/\u{1}]{1,3}", "[aA]", Just("\u{e9}".to_owned()), Just("e\u{301}".to_owned()), "\\PC{1,8}"]
}

fn principal() -> impl Strategy<Value = Principal> {
    let known = (any::<bool>(), text(), proptest::option::of(text()), text()).prop_map(|(client, iss, tid, sub)| {
        let make = if client { Principal::client } else { Principal::user };
        make(issuer(&iss), tid.map(|tid| tenant(&tid)), subject(&sub))
    });
    prop_oneof![1 => Just(Principal::anonymous()), 9 => known]
}

proptest! {
    #[test]
    fn a_handle_opens_for_an_equal_principal_alone(owner in principal(), presenter in principal()) {
        let ring = one_key();
        let (handle, owned) = mint(&ring, &owner);
        prop_assert_eq!(opens(&ring, &handle, &presenter), owner == presenter);
        prop_assert_eq!(ring.owner_digest(&presenter).1 == owned.owner(), owner == presenter);
        prop_assert!(opens(&ring, &handle, &owner));
    }
}
