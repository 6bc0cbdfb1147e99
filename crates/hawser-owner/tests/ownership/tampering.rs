//! One text per handle: whatever else is presented is refused, and nothing makes the gateway stumble.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hawser_owner::{KeyState, Refusal};
use proptest::prelude::*;

use crate::world::{endpoint, mint, one_key, opens, refused, ring, user};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const KEY_ID: std::ops::Range<usize> = 1..5;

#[test]
fn every_flipped_bit_is_refused() {
    let (ring, alice) = (one_key(), user("alice"));
    let (handle, _) = mint(&ring, &alice);
    let bytes = URL_SAFE_NO_PAD.decode(&handle).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let refused = refused(&ring, &URL_SAFE_NO_PAD.encode(changed), &alice);
        let expected = match bit / 8 {
            0 => Refusal::Malformed,
            at if KEY_ID.contains(&at) => Refusal::UnknownKey,
            _ => Refusal::Forged,
        };
        assert_eq!((refused.reason, refused.owner), (expected, None), "bit {bit}");
        assert_eq!(refused.presented_by, ring.owner_digest(&alice).1, "bit {bit}");
    }
}

#[test]
fn every_other_character_at_every_place_is_refused() {
    let (ring, alice) = (one_key(), user("alice"));
    let (handle, _) = mint(&ring, &alice);
    for at in 0..handle.len() {
        for character in ALPHABET.iter().chain(b"+/=. \n~\x7f") {
            let mut changed = handle.clone().into_bytes();
            if std::mem::replace(&mut changed[at], *character) != *character {
                let changed = String::from_utf8(changed).unwrap();
                assert!(!opens(&ring, &changed, &alice), "{:?} at {at}", char::from(*character));
            }
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let (ring, alice) = (one_key(), user("alice"));
    let (handle, _) = mint(&ring, &alice);
    let bytes = URL_SAFE_NO_PAD.decode(&handle).unwrap();
    for end in 0..handle.len() {
        assert!(!opens(&ring, &handle[..end], &alice), "cut to {end}");
        assert!(!opens(&ring, &handle[end + 1..], &alice), "without the first {end}");
    }
    for end in 0..bytes.len() {
        assert!(!opens(&ring, &URL_SAFE_NO_PAD.encode(&bytes[..end]), &alice), "cut to {end} bytes");
    }
    for more in 0..=255 {
        let longer = [bytes.as_slice(), &[more]].concat();
        assert!(!opens(&ring, &URL_SAFE_NO_PAD.encode(longer), &alice), "with {more}");
    }
    for character in ALPHABET {
        assert!(!opens(&ring, &format!("{handle}{}", char::from(*character)), &alice));
    }
    assert!(!opens(&ring, &format!("{handle}{handle}"), &alice));
}

#[test]
fn what_is_too_long_is_not_even_decrypted() {
    let (ring, alice) = (one_key(), user("alice"));
    let mut bytes = URL_SAFE_NO_PAD.decode(mint(&ring, &alice).0).unwrap();
    for (length, reason) in [(3072, Refusal::Forged), (3073, Refusal::Malformed), (3075, Refusal::Malformed)] {
        bytes.resize(length, 0);
        assert_eq!(refused(&ring, &URL_SAFE_NO_PAD.encode(&bytes), &alice).reason, reason, "{length} bytes");
    }
}

#[test]
fn only_one_way_to_write_the_bytes_is_accepted() {
    let (ring, alice) = (one_key(), user("alice"));
    // Payloads of all lengths modulo three, so that there are spare bits and padding.
    for extra in 0..3 {
        let payload = crate::world::Session(vec![0xfb; 30 + extra]);
        let binding = crate::world::binding(&alice);
        let (handle, _) = ring.mint(&binding, payload, &crate::world::Counting::default()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&handle).unwrap();
        let mut others = vec![
            STANDARD.encode(&bytes),
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE.encode(&bytes),
            format!("{handle}="),
            format!("{handle}=="),
            format!("{handle}===="),
            format!(" {handle}"),
            format!("{handle} "),
            format!("{handle}\n"),
            format!("{handle}\0"),
            format!("\"{handle}\""),
            format!("{},{handle}", &handle),
            handle.replacen('A', "%41", 1),
            format!("{}\r\n{}", &handle[..40], &handle[40..]),
        ];
        // The last character's spare bits.
        let last = handle.bytes().next_back().unwrap();
        others.extend(
            ALPHABET
                .iter()
                .filter(|other| **other != last)
                .map(|other| format!("{}{}", &handle[..handle.len() - 1], char::from(*other))),
        );
        for other in others.iter().filter(|other| **other != handle) {
            assert!(!opens(&ring, other, &alice), "{other:?}");
        }
        assert!(ring.open::<crate::world::Session>(&handle, endpoint(), &alice, crate::world::NOW).is_ok());
    }
}

#[test]
fn the_key_id_is_part_of_the_seal() {
    let keys = ring(&[(1, KeyState::Active), (3, KeyState::Retired)]);
    let (handle, _) = mint(&keys, &user("alice"));
    let mut bytes = URL_SAFE_NO_PAD.decode(&handle).unwrap();
    bytes[4] = 3;
    let refused = refused(&keys, &URL_SAFE_NO_PAD.encode(bytes), &user("alice"));
    assert_eq!((refused.reason, refused.owner), (Refusal::Forged, None));
}

#[test]
fn parts_of_two_handles_make_no_third() {
    let (ring, alice) = (one_key(), user("alice"));
    let entropy = crate::world::Counting::default();
    let mint = |principal, payload: &[u8]| {
        let payload = crate::world::Session(payload.to_vec());
        URL_SAFE_NO_PAD.decode(ring.mint(&crate::world::binding(principal), payload, &entropy).unwrap().0).unwrap()
    };
    let (own, bobs) = (mint(&alice, b"session"), mint(&user("bob"), b"SESSION"));
    for cut in 6..own.len() {
        for spliced in [[&own[..cut], &bobs[cut..]].concat(), [&bobs[..cut], &own[cut..]].concat()] {
            assert!(!opens(&ring, &URL_SAFE_NO_PAD.encode(spliced), &alice), "cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_refused(text: String) {
        prop_assert!(!opens(&one_key(), &text, &user("alice")));
    }

    #[test]
    fn any_bytes_after_a_good_start_are_refused(rest: Vec<u8>, keep in 0_usize..160) {
        let (ring, alice) = (one_key(), user("alice"));
        let bytes = URL_SAFE_NO_PAD.decode(mint(&ring, &alice).0).unwrap();
        let start = bytes.get(..keep).unwrap_or(&bytes);
        let text = URL_SAFE_NO_PAD.encode([start, &rest].concat());
        prop_assert!(!opens(&ring, &text, &alice) || rest.is_empty() || bytes.ends_with(&rest));
    }
}
