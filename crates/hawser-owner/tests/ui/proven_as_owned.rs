//! What demands an `Owned` does not take a `Proven`.

use hawser_owner::{Owned, Proven};

fn end(_session: Owned<String>) {}

fn act(proven: Proven<String>) {
    end(proven);
}

fn main() {}
