//! What comes on this node's channels.

use std::time::Duration;

use hawser_owner::Timestamp;
use hawser_store::Delivery;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Shared;
use super::frame::Frame;
use super::letter::{self, Channel, Unread};
use super::name::NodeName;
use super::replays::Replays;

/// Pause before a channel is subscribed to again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Letters that are not read are told of this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What is heard.
pub(super) enum Heard {
    /// A frame of another node.
    Frame(NodeName, Frame),
    /// Some may have been lost here.
    Missed,
}

impl Shared {
    /// Reads a channel until dropped. `take` must be quick: what comes meanwhile may be lost.
    pub(super) async fn listen(&self, channel: Channel, mut take: impl FnMut(Heard)) {
        // Others were there before this node was: what was told to them then may be repeated by anybody.
        let since = if channel == Channel::Nodes { (self.clock)() } else { Timestamp::from_seconds(0) };
        let mut replays = Replays::new(since);
        let mut complaints = Complaints::default();
        loop {
            match self.store.subscribe(&channel.name()).await {
                Ok(mut subscription) => {
                    take(Heard::Missed);
                    while let Some(delivery) = subscription.next().await {
                        let Delivery::Message(bytes) = delivery else {
                            take(Heard::Missed);
                            continue;
                        };
                        match self.read(channel, &bytes, &mut replays) {
                            Ok((from, frames)) => frames.into_iter().for_each(|frame| take(Heard::Frame(from, frame))),
                            Err(reason) => complaints.note(channel, reason),
                        }
                    }
                }
                Err(error) => warn!(channel = channel.name(), %error, "other nodes are not heard"),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    fn read(&self, channel: Channel, bytes: &[u8], replays: &mut Replays) -> Result<(NodeName, Vec<Frame>), Unread> {
        let letter = letter::open(&self.ring, channel, bytes)?;
        if letter.from == self.name {
            return Ok((letter.from, Vec::new()));
        }
        replays.admit(letter.from, letter.number, letter.at, (self.clock)())?;
        let frames = Frame::read_all(&letter.message).ok_or(Unread::Malformed)?;
        Ok((letter.from, frames))
    }
}

/// Letters that were not read, told of now and then.
#[derive(Debug, Default)]
struct Complaints {
    count: u64,
    told: Option<Instant>,
    other_version: bool,
}

impl Complaints {
    fn note(&mut self, channel: Channel, reason: Unread) {
        if let Unread::Version(version) = reason {
            if !std::mem::replace(&mut self.other_version, true) {
                info!(channel = channel.name(), version, "a node of another version is not understood");
            }
            return;
        }
        self.count += 1;
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= COMPLAIN_EVERY) {
            warn!(channel = channel.name(), count = self.count, %reason, "letters of other nodes were not read");
            (self.count, self.told) = (0, Some(now));
        }
    }
}
