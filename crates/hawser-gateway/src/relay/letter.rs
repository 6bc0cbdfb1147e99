//! Messages under seal. Whoever can write to the store can put anything on a channel: only what was sealed with the key ring,
//! for this channel, by the node that it names, lately and for the first time is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hawser_owner::{Entropy, EntropyError, KeyRing, Timestamp};
use thiserror::Error;

use super::name::NodeName;
use super::wire::Reader;

/// How letters are written. Another version is another language: it is not read.
const VERSION: u8 = 1;

/// Where letters are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// To one node.
    Node(NodeName),
    /// To all.
    Nodes,
}

impl Channel {
    /// Its name in the store.
    pub(super) fn name(self) -> String {
        match self {
            Self::Node(name) => format!("node/{name}"),
            Self::Nodes => "nodes".to_owned(),
        }
    }

    /// What a letter's seal is bound to.
    fn label(self, from: NodeName) -> String {
        format!("relay/{VERSION}/{}/from/{from}", self.name())
    }
}

/// Writes letters in the name of one node.
pub(super) struct Writer {
    from: NodeName,
    ring: Arc<KeyRing>,
    entropy: Arc<dyn Entropy>,
    written: AtomicU64,
}

impl Writer {
    pub(super) fn new(from: NodeName, ring: Arc<KeyRing>, entropy: Arc<dyn Entropy>) -> Self {
        Self { from, ring, entropy, written: AtomicU64::new(0) }
    }

    /// A letter with this message.
    pub(super) fn seal(&self, to: Channel, now: Timestamp, message: &[u8]) -> Result<Bytes, EntropyError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let mut text = Vec::with_capacity(16 + message.len());
        text.extend_from_slice(&now.seconds().to_be_bytes());
        text.extend_from_slice(&number.to_be_bytes());
        text.extend_from_slice(message);
        let sealed = self.ring.seal_row(&to.label(self.from), &text, self.entropy.as_ref())?;
        let mut letter = Vec::with_capacity(9 + sealed.0.len());
        letter.push(VERSION);
        letter.extend_from_slice(&self.from.to_bytes());
        letter.extend_from_slice(&sealed.0);
        Ok(letter.into())
    }
}

/// What was in a letter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// Who wrote it.
    pub(super) from: NodeName,
    /// When, by the writer's clock.
    pub(super) at: Timestamp,
    /// Which of the writer's letters it is.
    pub(super) number: u64,
    /// The message.
    pub(super) message: Bytes,
}

/// Why a letter is not read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Unread {
    #[error("it is written in version {0}, and this node reads version {VERSION}")]
    Version(u8),
    #[error("it is cut")]
    Cut,
    #[error("its seal does not open under this key ring, channel and sender")]
    Seal,
    #[error("it was written too long ago or in the future; are the clocks of the nodes set?")]
    Time,
    #[error("it has been read already, or is older than what is remembered")]
    Replayed,
    #[error("letters of too many nodes are remembered")]
    TooManyNodes,
    #[error("its message is not well formed")]
    Malformed,
}

/// Opens a letter that came on this channel.
pub(super) fn open(ring: &KeyRing, channel: Channel, letter: &[u8]) -> Result<Letter, Unread> {
    let mut reader = Reader(letter);
    match reader.u8() {
        Some(VERSION) => {}
        Some(other) => return Err(Unread::Version(other)),
        None => return Err(Unread::Cut),
    }
    let from = NodeName::from_bytes(reader.name().ok_or(Unread::Cut)?);
    let text = ring.open_row(&channel.label(from), reader.0).map_err(|_| Unread::Seal)?;
    let mut text = Reader(&text);
    let at = Timestamp::from_seconds(text.u64().ok_or(Unread::Cut)?);
    let number = text.u64().ok_or(Unread::Cut)?;
    Ok(Letter { from, at, number, message: text.rest() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_owner::{KeyRingDocument, SystemEntropy};
    use proptest::prelude::*;

    use super::*;

    fn ring() -> Arc<KeyRing> {
        Arc::new(KeyRing::try_from(&KeyRingDocument::generate(&SystemEntropy::new()).unwrap()).unwrap())
    }

    fn name(number: u8) -> NodeName {
        NodeName::from_bytes([number; 8])
    }

    fn writer(from: NodeName, ring: &Arc<KeyRing>) -> Writer {
        Writer::new(from, Arc::clone(ring), Arc::new(SystemEntropy::new()))
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    #[test]
    fn a_letter_is_read_where_it_was_sent_and_nowhere_else() {
        let ring = ring();
        let writer = writer(name(1), &ring);
        let here = Channel::Node(name(2));
        writer.seal(here, NOW, b"first").unwrap();
        let letter = writer.seal(here, NOW, b"hello").unwrap();
        let read = open(&ring, here, &letter).unwrap();
        assert_eq!(read, Letter { from: name(1), at: NOW, number: 1, message: "hello".into() });
        for elsewhere in [Channel::Node(name(3)), Channel::Nodes] {
            assert_eq!(open(&ring, elsewhere, &letter), Err(Unread::Seal));
        }
        assert_eq!(open(&self::ring(), here, &letter), Err(Unread::Seal), "another key ring");
    }

    #[test]
    fn nobody_speaks_for_another_node() {
        let ring = ring();
        let here = Channel::Node(name(2));
        let mut letter = writer(name(1), &ring).seal(here, NOW, b"hello").unwrap().to_vec();
        letter[1..9].copy_from_slice(&name(7).to_bytes());
        assert_eq!(open(&ring, here, &letter), Err(Unread::Seal));
    }

    #[test]
    fn another_version_is_told_apart_from_a_forgery() {
        let ring = ring();
        let mut letter = writer(name(1), &ring).seal(Channel::Nodes, NOW, b"hello").unwrap().to_vec();
        letter[0] = VERSION + 1;
        assert_eq!(open(&ring, Channel::Nodes, &letter), Err(Unread::Version(VERSION + 1)));
    }

    proptest! {
        #[test]
        fn no_change_goes_unnoticed(at: prop::sample::Index, bit in 0_u8..8) {
            let ring = ring();
            let mut letter = writer(name(1), &ring).seal(Channel::Nodes, NOW, b"hello").unwrap().to_vec();
            let at = at.index(letter.len());
            letter[at] ^= 1 << bit;
            prop_assert!(open(&ring, Channel::Nodes, &letter).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(open(&ring(), Channel::Nodes, &bytes).is_err());
        }
    }
}
