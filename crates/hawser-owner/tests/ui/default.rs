//! An `Owned` out of nothing.

use hawser_owner::Owned;

fn claim() -> Owned<String> {
    Default::default()
}

fn main() {}
