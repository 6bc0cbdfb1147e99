//! A second `Owned` that outlives the request that was admitted.

use hawser_owner::Owned;

fn keep(owned: &Owned<String>) -> Owned<String> {
    Clone::clone(owned)
}

fn main() {}
