//! Keys change while the ring is in use: nobody is refused what is theirs, and nobody becomes somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hawser_owner::KeyState::{self, Active, Published, Retired};
use hawser_owner::{
    KeyId, KeyRing, KeyRingDocument, KeyRingError, Refusal, RingChange, SealedRowError, StepError, SystemEntropy,
    Timestamp,
};
use proptest::prelude::*;

use crate::world::{Counting, NOW, key, mint, opens, refused, ring, user};

fn document(keys: &[(u32, KeyState)]) -> KeyRingDocument {
    KeyRingDocument { keys: keys.iter().map(|(id, state)| key(*id, *state)).collect() }
}

fn ids(ids: &[u32]) -> Vec<KeyId> {
    ids.iter().copied().map(KeyId).collect()
}

#[test]
fn what_was_made_under_a_key_opens_until_the_key_is_removed() {
    let (alice, bob) = (user("alice"), user("bob"));
    let ring = ring(&[(1, Active)]);
    let (handle, owned) = mint(&ring, &alice);
    let row = ring.seal_row("row", b"secret", &Counting::default()).unwrap().0;
    let derived = ring.derive(None, "cookie").unwrap();

    for (keys, activated) in [
        (&[(1, Active), (2, Published)][..], None),
        (&[(1, Retired), (2, Active)], Some(KeyId(2))),
        (&[(1, Retired), (2, Retired), (3, Active)], Some(KeyId(3))),
        (&[(1, Active), (3, Retired)], Some(KeyId(1))),
        (&[(1, Published), (3, Active)], Some(KeyId(3))),
    ] {
        assert_eq!(ring.replace(&document(keys)).unwrap().activated, activated, "{keys:?}");
        assert!(opens(&ring, &handle, &alice), "{keys:?}");
        let by_bob = refused(&ring, &handle, &bob);
        assert_eq!((by_bob.reason, by_bob.owner), (Refusal::NotOwner, Some(owned.owner())), "{keys:?}");
        assert_eq!(ring.open_row("row", &row).unwrap().as_slice(), b"secret");
        assert_eq!(ring.derive(Some(derived.0), "cookie"), Some(derived.clone()));
        assert_eq!(ring.owner_digest_under(KeyId(1), &alice), Some(owned.owner()));
    }

    let change = ring.replace(&document(&[(3, Active)])).unwrap();
    assert_eq!(change, RingChange { removed: ids(&[1]), ..RingChange::default() });
    assert_eq!(refused(&ring, &handle, &alice).reason, Refusal::UnknownKey);
    assert_eq!(refused(&ring, &handle, &bob).reason, Refusal::UnknownKey);
    assert_eq!(ring.open_row("row", &row), Err(SealedRowError));
    assert_eq!(ring.derive(Some(KeyId(1)), "cookie"), None);
}

#[test]
fn in_the_memory_of_a_node_an_owner_stays_the_same() {
    let (alice, bob) = (user("alice"), user("bob"));
    let ring = ring(&[(1, Active)]);
    let found = |principal| *ring.own(principal, NOW, |owner| owner);
    let (before, digest) = (ring.local_owner(&alice), ring.owner_digest(&alice).1);
    for keys in [&[(1, Retired), (2, Active)][..], &[(3, Active)]] {
        ring.replace(&document(keys)).unwrap();
        assert_eq!(ring.local_owner(&alice), before);
        assert_eq!(found(&alice), before);
        assert_ne!(found(&bob), before);
        assert_ne!(ring.owner_digest(&alice).1, digest, "what is stored names the key");
    }
}

#[test]
fn an_owner_can_be_looked_for_under_every_key() {
    let alice = user("alice");
    let ring = ring(&[(1, Retired), (2, Active), (3, Published)]);
    let all = ring.owner_digests(&alice);
    for id in [1, 2, 3] {
        assert!(all.contains(&ring.owner_digest_under(KeyId(id), &alice).unwrap()), "{id}");
    }
    assert_eq!(all.len(), 3);
    assert!(ring.owner_digests(&user("bob")).iter().all(|digest| !all.contains(digest)));
}

#[test]
fn a_document_that_cannot_be_used_changes_nothing() {
    let alice = user("alice");
    let ring = ring(&[(1, Active), (2, Published)]);
    let (handle, _) = mint(&ring, &alice);
    let mut other_secret = document(&[(1, Retired), (2, Active)]);
    other_secret.keys[0].secret.clone_from(&key(9, Active).secret);
    for (bad, error) in [
        (document(&[]), KeyRingError::ActiveKeys(0)),
        (document(&[(2, Published)]), KeyRingError::ActiveKeys(0)),
        (document(&[(1, Active), (2, Active)]), KeyRingError::ActiveKeys(2)),
        (document(&[(1, Active), (2, Published), (2, Published)]), KeyRingError::DuplicateId(KeyId(2))),
        (other_secret, KeyRingError::OtherSecret(KeyId(1))),
    ] {
        assert_eq!(ring.replace(&bad).unwrap_err(), error);
        assert_eq!(ring.states(), [(KeyId(1), Active), (KeyId(2), Published)]);
        assert!(opens(&ring, &handle, &alice));
    }
}

#[test]
fn a_change_says_what_it_costs() {
    let ring = ring(&[(1, Active)]);
    let replace = |keys| ring.replace(&document(keys)).unwrap();
    assert_eq!(replace(&[(1, Active)]), RingChange::default());
    assert_eq!(replace(&[(1, Active), (2, Published)]), RingChange { added: ids(&[2]), ..RingChange::default() });
    let activated = RingChange { activated: Some(KeyId(2)), ..RingChange::default() };
    assert_eq!(replace(&[(1, Retired), (2, Active)]), activated);
    // Never published, and what was made a moment ago is lost.
    let all_at_once = RingChange {
        activated: Some(KeyId(3)),
        unpublished: true,
        added: ids(&[3]),
        removed: ids(&[1, 2]),
        lost: Some(KeyId(2)),
    };
    assert_eq!(replace(&[(3, Active)]), all_at_once);
}

#[test]
fn a_key_that_is_missing_is_looked_for_before_anybody_is_refused() {
    let alice = user("alice");
    let other_node = ring(&[(1, Retired), (2, Active)]);
    let (handle, _) = mint(&other_node, &alice);
    let row = other_node.seal_row("row", b"secret", &Counting::default()).unwrap().0;
    let unknown = mint(&ring(&[(9, Active)]), &alice).0;

    let ring = ring(&[(1, Active)]);
    let asked = Arc::new(AtomicUsize::new(0));
    ring.on_unknown_key(Box::new({
        let asked = Arc::clone(&asked);
        move |ring: &KeyRing, _| {
            asked.fetch_add(1, Ordering::Relaxed);
            ring.replace(&document(&[(1, Retired), (2, Active)])).unwrap();
        }
    }));
    assert!(opens(&ring, &handle, &alice));
    assert_eq!(ring.open_row("row", &row).unwrap().as_slice(), b"secret");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "a key that is known is not asked for");
    assert_eq!(refused(&ring, &unknown, &alice).reason, Refusal::UnknownKey);
    assert_eq!(refused(&ring, "nonsense", &alice).reason, Refusal::Malformed);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn replacing_the_ring_does_not_disturb_those_who_use_it() {
    let alice = user("alice");
    let ring = Arc::new(ring(&[(1, Active)]));
    let (handle, _) = mint(&ring, &alice);
    std::thread::scope(|threads| {
        let users: Vec<_> = (0..3)
            .map(|_| {
                threads.spawn(|| {
                    for _ in 0..500 {
                        assert!(opens(&ring, &handle, &alice));
                        let (new, _) = mint(&ring, &alice);
                        assert!(opens(&ring, &new, &alice));
                    }
                })
            })
            .collect();
        let turns = [document(&[(1, Active), (2, Retired)]), document(&[(1, Retired), (2, Active)])];
        for turn in turns.iter().cycle().take(500) {
            ring.replace(turn).unwrap();
        }
        for user in users {
            user.join().unwrap();
        }
    });
}

#[test]
fn a_key_goes_from_published_to_active_to_retired_to_removed() {
    let at = Timestamp::from_seconds;
    let entropy = SystemEntropy::new();
    let mut keys = KeyRingDocument::generate(&entropy).unwrap().dated(at(100));
    let first = keys.keys[0].id;
    let second = keys.add(&entropy, at(200)).unwrap();
    let states = |keys: &KeyRingDocument| keys.keys.iter().map(|key| (key.id, key.state)).collect::<Vec<_>>();
    assert_eq!(states(&keys), [(first, Active), (second, Published)]);
    assert_eq!(keys.age(second, at(260)), Some(Duration::from_mins(1)));

    assert_eq!(keys.remove(first), Err(StepError::Active(first)));
    assert_eq!(keys.retire(first, at(300)), Err(StepError::Active(first)));
    assert_eq!(keys.activate(first, at(300)), Err(StepError::Already(first, Active)));
    assert_eq!(keys.activate(KeyId(0), at(300)), Err(StepError::Unknown(KeyId(0))));

    keys.activate(second, at(300)).unwrap();
    assert_eq!(states(&keys), [(first, Retired), (second, Active)]);
    assert_eq!((keys.keys[0].created, keys.keys[0].since), (Some(at(100)), Some(at(300))));
    assert_eq!(keys.retire(first, at(400)), Err(StepError::Already(first, Retired)));
    keys.remove(first).unwrap();
    assert_eq!(states(&keys), [(second, Active)]);

    let third = keys.add(&entropy, at(500)).unwrap();
    keys.retire(third, at(600)).unwrap();
    assert_eq!(states(&keys), [(second, Active), (third, Retired)]);
    while keys.keys.len() < 16 {
        keys.add(&entropy, at(700)).unwrap();
    }
    assert_eq!(keys.add(&entropy, at(700)), Err(KeyRingError::TooManyKeys));
    let text = serde_json::to_string(&keys).unwrap();
    let read: KeyRingDocument = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

proptest! {
    /// Whatever steps are taken in whatever order: there is always one active key, and what was made under a key that is
    /// still there still opens, for its owner alone.
    #[test]
    fn no_step_loses_what_its_key_still_opens(steps in proptest::collection::vec((0_u8..4, 0_usize..16), 1..40)) {
        let entropy = Counting::default();
        let system = SystemEntropy::new();
        let mut keys = KeyRingDocument::generate(&system).unwrap();
        let ring = KeyRing::try_from(&keys).unwrap();
        let (alice, bob) = (user("alice"), user("bob"));
        let mut handles = Vec::new();
        for (step, at) in steps {
            let binding = crate::world::binding(&alice);
            let handle = ring.mint(&binding, crate::world::Session(vec![]), &entropy).unwrap().0;
            handles.push((ring.active_key(), handle));
            let id = keys.keys[at % keys.keys.len()].id;
            let _ = match step {
                0 => keys.add(&system, NOW).map(drop).map_err(|error| error.to_string()),
                1 => keys.activate(id, NOW).map_err(|error| error.to_string()),
                2 => keys.retire(id, NOW).map_err(|error| error.to_string()),
                _ => keys.remove(id).map_err(|error| error.to_string()),
            };
            let change = ring.replace(&keys).unwrap();
            prop_assert!(change.lost.is_none() && !change.unpublished);
            for (made_under, handle) in &handles {
                prop_assert_eq!(opens(&ring, handle, &alice), keys.key(*made_under).is_ok());
                prop_assert!(!opens(&ring, handle, &bob));
            }
        }
    }
}
