//! How many answers of each kind there were: a run in which little happened proves little.

use std::fmt;

use serde::Serialize;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Sessions that were opened.
    pub sessions: u64,
    /// Requests of owners that were answered.
    pub served: u64,
    /// Requests of owners that were refused, since the session was over or may have been.
    pub over: u64,
    /// Requests that a node could not serve then.
    pub unavailable: u64,
    /// Requests that a dying node took with it.
    pub lost: u64,
    /// Requests of strangers, all refused.
    pub strangers: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Calls whose owners were told that they are done.
    pub calls_done: u64,
    /// Calls that came back to their owners with a question.
    pub asked: u64,
    /// Requests about calls that were answered with an error.
    pub calls_failed: u64,
    /// Requests about calls that were not answered to the end.
    pub calls_lost: u64,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.served += other.served;
        self.over += other.over;
        self.unavailable += other.unavailable;
        self.lost += other.lost;
        self.strangers += other.strangers;
        self.streams += other.streams;
        self.calls_done += other.calls_done;
        self.asked += other.asked;
        self.calls_failed += other.calls_failed;
        self.calls_lost += other.calls_lost;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sessions, {} streams; owners: {} served, {} over, {} unavailable, {} lost; \
             calls: {} done, {} parked, {} failed, {} lost; strangers: {} refused",
            self.sessions,
            self.streams,
            self.served,
            self.over,
            self.unavailable,
            self.lost,
            self.calls_done,
            self.asked,
            self.calls_failed,
            self.calls_lost,
            self.strangers
        )
    }
}
