//! From proven to owned: what the gateway knows of a handle beyond its seal.

use hawser_owner::{Owned, Proven, Refusal, Refused, Standing, Timestamp};
use proptest::prelude::*;

use crate::world::{EXPIRES, NOW, Session, endpoint, mint, one_key, user};

fn proven() -> Proven<Session> {
    let (ring, alice) = (one_key(), user("alice"));
    let (handle, _) = mint(&ring, &alice);
    ring.open(&handle, endpoint(), &alice, NOW).unwrap()
}

fn live(last_used: u64, idle_seconds: u64) -> Standing {
    Standing::Live { last_used: Timestamp::from_seconds(last_used), idle_seconds }
}

fn admit(standing: Standing, now: u64) -> Result<Owned<Session>, Refused> {
    proven().admit(standing, Timestamp::from_seconds(now))
}

#[test]
fn what_stands_is_admitted_with_all_it_carries() {
    let alice = one_key().owner_digest(&user("alice")).1;
    let owned = admit(live(1_400, 300), 1_500).unwrap();
    assert_eq!((&owned.0, owned.owner(), owned.expires()), (&b"session".to_vec(), alice, EXPIRES));
    let mapped = owned.map(|session| session.0.len());
    assert_eq!((*mapped, mapped.owner(), mapped.expires()), (7, alice, EXPIRES));
}

#[test]
fn a_handle_may_idle_for_exactly_as_long_as_allowed() {
    for (last_used, now, idle, admitted) in [
        (1_400, 1_500, 100, true),
        (1_399, 1_500, 100, false),
        (1_500, 1_500, 0, true),
        (1_499, 1_500, 0, false),
        (0, 1_999, u64::MAX, true),
        // A clock that went back, or a node that is ahead.
        (u64::MAX, 1_500, 0, true),
    ] {
        let answer = admit(live(last_used, idle), now).map(drop).map_err(|refused| refused.reason);
        assert_eq!(answer, if admitted { Ok(()) } else { Err(Refusal::Idle) }, "{last_used} {now} {idle}");
    }
}

#[test]
fn what_was_ended_or_is_nobodys_is_refused_in_the_owners_name() {
    let alice = one_key().owner_digest(&user("alice")).1;
    for (standing, reason) in [
        (Standing::Terminated, Refusal::Terminated),
        (Standing::ForeignRecord, Refusal::ForeignRecord),
        (live(0, 1), Refusal::Idle),
    ] {
        let refused = admit(standing, 1_500).unwrap_err();
        assert_eq!(refused, Refused { reason, owner: Some(alice), presented_by: alice });
    }
}

#[test]
fn a_handle_that_expired_while_its_standing_was_looked_up_is_refused() {
    assert!(admit(live(1_999, 100), 1_999).is_ok());
    assert_eq!(admit(live(2_000, 100), 2_000).unwrap_err().reason, Refusal::Expired);
    assert_eq!(admit(live(2_000, 100), u64::MAX).unwrap_err().reason, Refusal::Expired);
    assert_eq!(admit(Standing::Terminated, 2_000).unwrap_err().reason, Refusal::Terminated);
}

#[test]
fn reasons_have_different_names() {
    let all = [
        Refusal::Malformed,
        Refusal::UnknownKey,
        Refusal::Forged,
        Refusal::WrongKind,
        Refusal::WrongEndpoint,
        Refusal::NotOwner,
        Refusal::Expired,
        Refusal::Idle,
        Refusal::Terminated,
        Refusal::ForeignRecord,
        Refusal::OtherClient,
        Refusal::Unknown,
    ];
    let mut names: Vec<_> = all.iter().map(|reason| reason.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
}

proptest! {
    #[test]
    fn admission_is_idling_and_expiry_and_nothing_else(last_used: u64, idle_seconds: u64, now: u64) {
        let admitted = admit(live(last_used, idle_seconds), now).is_ok();
        prop_assert_eq!(admitted, now < EXPIRES.seconds() && now.saturating_sub(last_used) <= idle_seconds);
    }
}
