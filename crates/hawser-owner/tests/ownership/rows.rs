//! Secrets at rest: they open in the row they were sealed for, unchanged, under a key of the ring.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::KeyState::{Active, Retired};
use hawser_owner::{EntropyError, SealedRowError};
use proptest::prelude::*;

use crate::world::{Counting, Exhausted, mint, one_key, ring, user};

const ROW: &str = "token/alice";

fn sealed(secret: &[u8]) -> Vec<u8> {
    one_key().seal_row(ROW, secret, &Counting::default()).unwrap().0
}

#[test]
fn a_secret_opens_in_its_own_row_alone() {
    let sealed = sealed(b"secret");
    assert_eq!(one_key().open_row(ROW, &sealed).unwrap().as_slice(), b"secret");
    for other in ["token/bob", "token/alic", "token/alicee", "Token/alice", "token/alice ", ""] {
        assert_eq!(one_key().open_row(other, &sealed), Err(SealedRowError), "{other:?}");
    }
}

#[test]
fn every_flipped_bit_truncation_and_extension_is_refused() {
    let sealed = sealed(b"secret");
    let refused = |bytes: &[u8]| one_key().open_row(ROW, bytes) == Err(SealedRowError);
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&changed), "bit {bit}");
    }
    for end in 0..sealed.len() {
        assert!(refused(&sealed[..end]), "cut to {end}");
    }
    for more in 0..=255 {
        assert!(refused(&[sealed.as_slice(), &[more]].concat()), "with {more}");
    }
}

#[test]
fn rows_open_while_their_key_is_in_the_ring() {
    let sealed = sealed(b"secret");
    let rotated = ring(&[(2, Active), (1, Retired)]);
    assert_eq!(rotated.open_row(ROW, &sealed).unwrap().as_slice(), b"secret");
    assert_eq!(ring(&[(2, Active)]).open_row(ROW, &sealed), Err(SealedRowError));
    let anew = rotated.seal_row(ROW, b"secret", &Counting::default()).unwrap().0;
    assert_eq!(ring(&[(2, Active)]).open_row(ROW, &anew).unwrap().as_slice(), b"secret");
    assert_eq!(one_key().open_row(ROW, &anew), Err(SealedRowError));
}

#[test]
fn a_handle_is_no_row_and_a_row_no_handle() {
    let (keys, alice) = (one_key(), user("alice"));
    let handle = URL_SAFE_NO_PAD.decode(mint(&keys, &alice).0).unwrap();
    // The clear part is what a handle authenticates beside its content.
    for row in [ROW, "", "\u{1}\0\0\0\u{1}"] {
        assert_eq!(keys.open_row(row, &handle), Err(SealedRowError));
    }
    let row = keys.seal_row("\u{1}\0\0\0\u{1}", &[1; 65], &Counting::default()).unwrap();
    assert!(!crate::world::opens(&keys, &URL_SAFE_NO_PAD.encode(row.0), &alice));
}

#[test]
fn the_same_secret_looks_different_every_time() {
    let entropy = Counting::default();
    let seal = || one_key().seal_row(ROW, b"secret", &entropy).unwrap();
    assert!(seal() != seal());
    assert_eq!(one_key().seal_row(ROW, b"secret", &Exhausted).map(|_| ()), Err(EntropyError));
}

proptest! {
    #[test]
    fn any_secret_comes_back_and_does_not_show(row: String, secret: Vec<u8>, other: String) {
        let keys = one_key();
        let sealed = keys.seal_row(&row, &secret, &Counting::default()).unwrap().0;
        let opened = keys.open_row(&row, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), secret.as_slice());
        prop_assert!(secret.len() < 8 || !sealed.windows(secret.len()).any(|part| part == secret));
        prop_assert_eq!(keys.open_row(&other, &sealed).is_ok(), other == row);
    }

    #[test]
    fn any_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert_eq!(one_key().open_row(ROW, &bytes), Err(SealedRowError));
    }
}
