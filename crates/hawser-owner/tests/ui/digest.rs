//! An owner's digest comes from a principal and a key, not from bytes that somebody sent.

use hawser_owner::OwnerDigest;

fn forge(bytes: [u8; 32]) -> OwnerDigest {
    OwnerDigest::from_bytes(bytes)
}

fn main() {}
