//! A `Proven` has not been admitted: what it carries cannot be acted on.

use hawser_owner::Proven;

struct Session;

impl Session {
    fn end_session(&self) {}
}

fn act(proven: &Proven<Session>) {
    proven.end_session();
}

fn main() {}
