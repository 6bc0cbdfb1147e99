//! Who watches an examination while it goes on.

use serde::Serialize;

use crate::finding::Finding;
use crate::report::{Attempt, Gap, Survival};
use crate::story::Line;

/// What just happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A part of the examination begins.
    Stage {
        /// What is done now.
        title: &'a str,
    },
    /// An operation after the refresh.
    Survival(&'a Survival),
    /// An attempt.
    Attempt(&'a Attempt),
    /// A line of the story.
    Line(&'a Line),
    /// Something wrong, when first met.
    Finding(&'a Finding),
    /// Something cannot be examined.
    NotExamined(&'a Gap),
}

/// Gets every event as it happens.
pub trait Observer: Send {
    /// Takes one event.
    fn event(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>) + Send> Observer for F {
    fn event(&mut self, event: &Event<'_>) {
        self(event);
    }
}
