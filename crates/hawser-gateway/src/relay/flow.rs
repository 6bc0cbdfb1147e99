//! How an answer comes over a channel that loses, doubles and reorders: as numbered pieces, so many at a time, sent again when they
//! are missed. Both sides are state machines over explicit time; whoever drives them sends what they return.
//!
//! A request is begun with only when who asked has heard that it has come, and has said that it waits: one that comes late, when it
//! was given up or brought again, has no effect.
//!
//! The asking side tells a window: what has come, and up to where more may come. It moves as the client reads, so a slow client
//! holds a bounded number of pieces on both sides. The answering side keeps what it has sent until the window says that it has
//! come. Both speak every [`BEAT`], so that each notices when the other is gone, and so that whatever was lost is noticed.

mod answering;
mod asking;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use self::answering::{Answering, PeerGone};
pub(super) use self::asking::{Asking, Break, Read};

/// Pieces that may be on their way or unread, at first.
pub(super) const WINDOW: u32 = 4;
/// So many more where there is much to come, if the node has room for them.
pub(super) const WIDER: u32 = 60;
/// Who has nothing to say says that it is there this often.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// Who has said nothing for so long is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(8);
/// What is missing is asked for, and sent again, once in this time.
pub(super) const AGAIN: Duration = Duration::from_millis(250);
/// What the other side says it has sent is missing if it has not come after this time.
pub(super) const ON_ITS_WAY: Duration = Duration::from_millis(500);
