//! What a principal keeps without a handle.

use hawser_owner::Timestamp;

use crate::world::{one_key, user};

#[test]
fn what_is_found_for_an_owner_is_that_owners() {
    let ring = one_key();
    let expires = Timestamp::from_seconds(9);
    let owned = ring.own(&user("alice"), expires, |owner| owner);
    assert_eq!(owned.owner(), ring.owner_digest(&user("alice")).1);
    assert_eq!((*owned, owned.expires()), (ring.local_owner(&user("alice")), expires), "found by the owner's own name");
    assert_ne!(owned.owner(), ring.own(&user("bob"), expires, |_| ()).owner());
}
