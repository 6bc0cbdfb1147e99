//! A `Proven` written down instead of opened.

use hawser_owner::{KeyRing, Principal, Proven, Timestamp};

fn claim(ring: &KeyRing, victim: &Principal) -> Proven<String> {
    Proven {
        payload: "session".to_owned(),
        owner: ring.owner_digest(victim).1,
        issued: Timestamp::from_seconds(0),
        expires: Timestamp::from_seconds(u64::MAX),
    }
}

fn main() {}
