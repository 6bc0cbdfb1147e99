//! Rings of keys: handles outlive the key they were made under for as long as it is in the ring, and no longer.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hawser_owner::KeyState::{Active, Published, Retired};
use hawser_owner::{
    EntropyError, KeyId, KeyRing, KeyRingDocument, KeyRingError, Principal, Refusal, RingKeyDocument, SystemEntropy,
};

use crate::world::{Counting, Exhausted, key, mint, one_key, opens, refused, ring, user};

fn error(keys: Vec<RingKeyDocument>) -> KeyRingError {
    KeyRing::try_from(&KeyRingDocument { keys }).map(|_| "a ring").unwrap_err()
}

#[test]
fn a_handle_opens_while_its_key_is_in_the_ring() {
    let alice = user("alice");
    let (handle, owned) = mint(&ring(&[(1, Active)]), &alice);
    for (keys, good) in [
        (ring(&[(1, Active), (2, Published)]), true),
        (ring(&[(2, Active), (1, Retired)]), true),
        // The node that makes handles may activate a key before this one does.
        (ring(&[(2, Active), (1, Published)]), true),
        (ring(&[(3, Active), (2, Retired), (1, Retired)]), true),
    ] {
        assert_eq!(opens(&keys, &handle, &alice), good, "{keys:?}");
        let by_bob = refused(&keys, &handle, &user("bob"));
        assert_eq!((by_bob.reason, by_bob.owner), (Refusal::NotOwner, Some(owned.owner())), "{keys:?}");
    }
    let dropped = ring(&[(2, Active), (3, Published)]);
    let refused = refused(&dropped, &handle, &alice);
    assert_eq!((refused.reason, refused.owner), (Refusal::UnknownKey, None));
    assert_eq!(refused.presented_by, dropped.owner_digest(&alice).1);
}

#[test]
fn only_the_active_key_makes_handles() {
    let alice = user("alice");
    let keys = ring(&[(1, Retired), (2, Active), (3, Published)]);
    let (handle, owned) = mint(&keys, &alice);
    assert!(opens(&ring(&[(2, Active)]), &handle, &alice));
    assert!(!opens(&ring(&[(1, Active), (3, Retired)]), &handle, &alice));
    assert_eq!(keys.owner_digest(&alice), (KeyId(2), owned.owner()));
}

#[test]
fn a_key_of_the_same_id_and_another_secret_opens_nothing() {
    let alice = user("alice");
    let mut other = key(2, Active);
    other.id = KeyId(1);
    let other = KeyRing::try_from(&KeyRingDocument { keys: vec![other] }).unwrap();
    let (handle, _) = mint(&one_key(), &alice);
    assert_eq!(refused(&other, &handle, &alice).reason, Refusal::Forged);
    assert_ne!(other.owner_digest(&alice).1, one_key().owner_digest(&alice).1);
}

#[test]
fn an_owner_has_another_digest_under_every_key() {
    let keys = ring(&[(1, Retired), (2, Active)]);
    let alice = user("alice");
    let (id, digest) = keys.owner_digest(&alice);
    assert_eq!(keys.owner_digest_under(id, &alice), Some(digest));
    let old = keys.owner_digest_under(KeyId(1), &alice).unwrap();
    assert_ne!(old, digest);
    assert_eq!(one_key().owner_digest(&alice).1, old, "what an older record holds can still be compared");
    assert_eq!(keys.owner_digest_under(KeyId(3), &alice), None);
}

#[test]
fn derived_keys_differ_by_label_and_key_and_stay_the_same() {
    let keys = ring(&[(1, Retired), (2, Active)]);
    let derive = |id: Option<u32>, label: &str| *keys.derive(id.map(KeyId), label).unwrap().1;
    assert_eq!(keys.derive(None, "cookie").unwrap().0, KeyId(2));
    assert_eq!(derive(None, "cookie"), derive(Some(2), "cookie"));
    let one_key = one_key().derive(None, "cookie").unwrap().1;
    assert_eq!(derive(Some(1), "cookie"), *one_key, "in every ring with that key");
    let all = [derive(Some(1), "cookie"), derive(None, "cookie"), derive(None, "Cookie"), derive(None, "")];
    for (index, key) in all.iter().enumerate() {
        assert!(!all.iter().skip(index + 1).any(|other| other == key));
    }
    assert!(keys.derive(Some(KeyId(3)), "cookie").is_none());
}

/// Whoever may choose a label must not get the keys that make handles, rows and digests.
#[test]
fn no_label_derives_a_key_of_the_rings_own() {
    let keys = one_key();
    let derived = |label: &str| *keys.derive(None, label).unwrap().1;
    let opens = |label: &str, sealed: &[u8], aad: &[u8]| {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived(label)).unwrap());
        let (nonce, text) = sealed[5..].split_first_chunk::<NONCE_LEN>().unwrap();
        key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut text.to_vec()).is_ok()
    };
    let handle = URL_SAFE_NO_PAD.decode(mint(&keys, &user("alice")).0).unwrap();
    let row = keys.seal_row("row", b"secret", &Counting::default()).unwrap().0;
    let digest = keys.owner_digest(&Principal::anonymous()).1;
    for label in ["handle", "row", "owner"] {
        assert!(!opens(label, &handle, &handle[..5]), "{label}");
        assert!(!opens(label, &row, b"row"), "{label}");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &derived(label)), &[3, 0, 0, 0]);
        assert_ne!(tag.as_ref(), digest.as_bytes(), "{label}");
    }
}

#[test]
fn a_generated_ring_works_and_is_another_one_every_time() {
    let generate = || KeyRingDocument::generate(&SystemEntropy::new()).unwrap();
    let (first, second) = (generate(), generate());
    assert_ne!(first.keys[0].secret, second.keys[0].secret);
    let [first, second] = [first, second].map(|document| KeyRing::try_from(&document).unwrap());
    let alice = user("alice");
    let (handle, _) = mint(&first, &alice);
    assert!(opens(&first, &handle, &alice));
    assert!(!opens(&second, &handle, &alice));
    assert_eq!(KeyRingDocument::generate(&Exhausted).unwrap_err(), KeyRingError::Entropy(EntropyError));
}

#[test]
fn a_ring_needs_exactly_one_active_key() {
    assert_eq!(error(vec![]), KeyRingError::ActiveKeys(0));
    assert_eq!(error(vec![key(1, Published), key(2, Retired)]), KeyRingError::ActiveKeys(0));
    assert_eq!(error(vec![key(1, Active), key(2, Active)]), KeyRingError::ActiveKeys(2));
}

#[test]
fn key_ids_are_unique_and_keys_are_few() {
    assert_eq!(error(vec![key(1, Active), key(1, Retired)]), KeyRingError::DuplicateId(KeyId(1)));
    let keys = |count| (0..count).map(|id| key(id, if id == 0 { Active } else { Retired })).collect::<Vec<_>>();
    assert!(KeyRing::try_from(&KeyRingDocument { keys: keys(16) }).is_ok());
    assert_eq!(error(keys(17)), KeyRingError::TooManyKeys);
}

#[test]
fn a_secret_is_32_bytes_in_one_way_of_writing() {
    // Has a character that the two alphabets write differently, and padding in both.
    let bytes = [0xfb; 32];
    let good = URL_SAFE_NO_PAD.encode(bytes);
    let with = |secret: &str| {
        let mut key = key(9, Active);
        key.secret = secret.to_owned();
        let keys = vec![key];
        KeyRing::try_from(&KeyRingDocument { keys }).map(|_| ())
    };
    assert_eq!(with(&good), Ok(()));
    for bad in [
        "",
        "secret",
        &URL_SAFE_NO_PAD.encode([0xfb; 31]),
        &URL_SAFE_NO_PAD.encode([0xfb; 33]),
        &URL_SAFE.encode(bytes),
        &STANDARD.encode(bytes),
        &format!(" {good}"),
        &format!("{good}\n"),
    ] {
        let error = with(bad).unwrap_err();
        assert_eq!(error, KeyRingError::Secret(KeyId(9)), "{bad:?}");
        assert!(bad.is_empty() || !error.to_string().contains(&format!("`{bad}`")), "{error}");
    }
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    let document = KeyRingDocument { keys: vec![key(1, Active), key(2, Retired)] };
    let keys = KeyRing::try_from(&document).unwrap();
    let mut short = key(1, Active);
    short.secret = "AQEBAQ".to_owned();
    let bad = error(vec![short]);
    for text in
        [format!("{document:?}"), format!("{document:#?}"), format!("{keys:?}"), bad.to_string(), format!("{bad:?}")]
    {
        assert!(text.contains('1'), "{text} names the key");
        for secret in [&key(1, Active).secret, &key(2, Active).secret] {
            assert!(!text.contains(&secret[..6]), "{text}");
        }
        assert!(!text.contains("1, 1, 1"), "{text}");
    }
}

#[test]
fn a_document_is_read_strictly() {
    let read = |text: &str| serde_json::from_str::<KeyRingDocument>(text);
    let text = serde_json::to_string(&KeyRingDocument { keys: vec![key(7, Active)] }).unwrap();
    let again = read(&text).unwrap();
    assert_eq!((again.keys[0].id, again.keys[0].state), (KeyId(7), Active));
    assert_eq!(again.keys[0].secret, key(7, Active).secret);
    for bad in [
        "{}".to_owned(),
        text.replace("active", "Active"),
        text.replace("active", "dropped"),
        text.replace("\"id\"", "\"kid\""),
        text.replace(":7", ":-7"),
        text.replace(":7", ":4294967296"),
        text.replace(":7", ":\"7\""),
        text.replace("\"state\"", "\"note\":\"\",\"state\""),
        text.replace("\"keys\"", "\"note\":1,\"keys\""),
    ] {
        let error = read(&bad).map(drop).unwrap_err().to_string();
        assert!(!error.contains("BwcH"), "{error}");
    }
}
