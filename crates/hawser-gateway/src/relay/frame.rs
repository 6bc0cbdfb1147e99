//! What nodes say to each other, and how it is written: one frame after the other, each with its length before it.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::wire::{Reader, put_headers, put_sized};

/// Most bytes of a piece of a body.
pub(super) const PIECE_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a part of a request.
pub(super) const PART_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of what is told to all nodes at once.
pub(super) const TELL_BYTES_MAX: usize = 16 * 1024;

/// One request and its answer on their way between two nodes. Random, chosen by the node that asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ExchangeId(pub(super) u64);

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One thing that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// About one exchange.
    Of(ExchangeId, Word),
    /// To all nodes.
    Tell(Bytes),
}

/// What is said about one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// From who asks: a part of the request.
    Request {
        /// Its place, from zero.
        part: u16,
        /// How many there are.
        parts: u16,
        /// Its bytes.
        bytes: Bytes,
    },
    /// From who asks: what has come, and how much more may.
    Window(Window),
    /// From who asks: nothing more is wanted. The caller has left, or has everything.
    Leave,
    /// From who answers: the request is here, whole, and is being served.
    Accepted,
    /// From who answers: a piece of the answer, with its number.
    Piece(u32, Piece),
    /// From who answers: it is alive, and this many pieces have been sent.
    Sent(u32),
    /// From who answers: there is no such exchange here (any more), or no place for it.
    Gone,
}

/// How far the asking side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// All pieces below this number have come.
    pub(super) received: u32,
    /// Pieces below this number may be sent.
    pub(super) until: u32,
    /// Pieces are missing: what was sent from `received` on has to be sent again.
    pub(super) again: bool,
}

/// A piece of an answer. The head is the first, the end is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Status and headers.
    Head(StatusCode, HeaderMap),
    /// Bytes of the body.
    Data(Bytes),
    /// The body is complete.
    End,
    /// The body ends here although it is not complete.
    Broken,
}

impl Piece {
    /// Whether there is most likely more to come at once.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Data(data) if data.len() >= PIECE_BYTES_MAX)
    }
}

const REQUEST: u8 = 1;
const WINDOW: u8 = 2;
const LEAVE: u8 = 3;
const ACCEPTED: u8 = 4;
const HEAD: u8 = 5;
const DATA: u8 = 6;
const END: u8 = 7;
const BROKEN: u8 = 8;
const SENT: u8 = 9;
const GONE: u8 = 10;
const TELL: u8 = 11;

impl Frame {
    /// Appends the frame.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut frame = Vec::with_capacity(self.weight());
        match self {
            Self::Tell(bytes) => {
                frame.push(TELL);
                frame.extend_from_slice(bytes);
            }
            Self::Of(exchange, word) => word.write(*exchange, &mut frame),
        }
        put_sized(out, &frame);
    }

    /// Roughly how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        const FIXED: usize = 32;
        FIXED
            + match self {
                Self::Tell(bytes) | Self::Of(_, Word::Request { bytes, .. } | Word::Piece(_, Piece::Data(bytes))) => {
                    bytes.len()
                }
                Self::Of(_, Word::Piece(_, Piece::Head(_, headers))) => {
                    headers.iter().map(|(name, value)| FIXED + name.as_str().len() + value.len()).sum()
                }
                Self::Of(..) => 0,
            }
    }

    /// All frames of a message, those of an unknown kind left out; `None` if it is not well formed.
    pub(super) fn read_all(message: &[u8]) -> Option<Vec<Self>> {
        let mut reader = Reader(message);
        let mut frames = Vec::new();
        while !reader.0.is_empty() {
            let mut frame = Reader(reader.sized()?);
            let kind = frame.u8()?;
            if (REQUEST..=TELL).contains(&kind) {
                frames.push(Self::read(kind, &mut frame)?);
            }
        }
        Some(frames)
    }

    fn read(kind: u8, frame: &mut Reader<'_>) -> Option<Self> {
        if kind == TELL {
            return (frame.0.len() <= TELL_BYTES_MAX).then(|| Self::Tell(frame.rest()));
        }
        let exchange = ExchangeId(frame.u64()?);
        Word::read(kind, frame).map(|word| Self::Of(exchange, word))
    }
}

impl Word {
    fn write(&self, exchange: ExchangeId, frame: &mut Vec<u8>) {
        let mut begin = |kind: u8| {
            frame.push(kind);
            frame.extend_from_slice(&exchange.0.to_be_bytes());
        };
        match self {
            Self::Request { part, parts, bytes } => {
                begin(REQUEST);
                frame.extend_from_slice(&part.to_be_bytes());
                frame.extend_from_slice(&parts.to_be_bytes());
                frame.extend_from_slice(bytes);
            }
            Self::Window(window) => {
                begin(WINDOW);
                frame.extend_from_slice(&window.received.to_be_bytes());
                frame.extend_from_slice(&window.until.to_be_bytes());
                frame.push(u8::from(window.again));
            }
            Self::Leave => begin(LEAVE),
            Self::Accepted => begin(ACCEPTED),
            Self::Piece(number, piece) => {
                begin(match piece {
                    Piece::Head(..) => HEAD,
                    Piece::Data(_) => DATA,
                    Piece::End => END,
                    Piece::Broken => BROKEN,
                });
                frame.extend_from_slice(&number.to_be_bytes());
                match piece {
                    Piece::Head(status, headers) => {
                        frame.extend_from_slice(&status.as_u16().to_be_bytes());
                        put_headers(frame, headers);
                    }
                    Piece::Data(bytes) => frame.extend_from_slice(bytes),
                    Piece::End | Piece::Broken => {}
                }
            }
            Self::Sent(pieces) => {
                begin(SENT);
                frame.extend_from_slice(&pieces.to_be_bytes());
            }
            Self::Gone => begin(GONE),
        }
    }

    fn read(kind: u8, frame: &mut Reader<'_>) -> Option<Self> {
        let word = match kind {
            REQUEST => {
                let (part, parts, bytes) = (frame.u16()?, frame.u16()?, frame.rest());
                (part < parts && bytes.len() <= PART_BYTES_MAX).then_some(Self::Request { part, parts, bytes })?
            }
            WINDOW => {
                let (received, until) = (frame.u32()?, frame.u32()?);
                let again = match frame.u8()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                (received <= until).then_some(Self::Window(Window { received, until, again }))?
            }
            LEAVE => Self::Leave,
            ACCEPTED => Self::Accepted,
            HEAD => {
                let (number, status) = (frame.u32()?, StatusCode::from_u16(frame.u16()?).ok()?);
                Self::Piece(number, Piece::Head(status, frame.headers()?))
            }
            DATA => {
                let (number, bytes) = (frame.u32()?, frame.rest());
                (bytes.len() <= PIECE_BYTES_MAX).then_some(Self::Piece(number, Piece::Data(bytes)))?
            }
            END => Self::Piece(frame.u32()?, Piece::End),
            BROKEN => Self::Piece(frame.u32()?, Piece::Broken),
            SENT => Self::Sent(frame.u32()?),
            GONE => Self::Gone,
            _ => return None,
        };
        frame.end(word)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::HeaderValue;
    use http::header::{CONTENT_TYPE, SET_COOKIE};
    use proptest::prelude::*;

    use super::*;

    fn pieces() -> impl Strategy<Value = Piece> {
        let value = proptest::collection::vec(b' '..=b'~', 0..20);
        let head = (100_u16..600, value.clone(), value).prop_map(|(status, one, two)| {
            let mut headers = HeaderMap::new();
            headers.append(CONTENT_TYPE, HeaderValue::from_bytes(&one).unwrap());
            headers.append(SET_COOKIE, HeaderValue::from_bytes(&two).unwrap());
            headers.append(SET_COOKIE, HeaderValue::from_bytes(&one).unwrap());
            Piece::Head(StatusCode::from_u16(status).unwrap(), headers)
        });
        let data = proptest::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| Piece::Data(bytes.into()));
        prop_oneof![head, data, Just(Piece::End), Just(Piece::Broken)]
    }

    fn words() -> impl Strategy<Value = Word> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..100);
        let request = (any::<u16>(), 1..=u16::MAX, bytes).prop_map(|(part, parts, bytes)| Word::Request {
            part: part % parts,
            parts,
            bytes: bytes.into(),
        });
        let window = (any::<u32>(), any::<u32>(), any::<bool>())
            .prop_map(|(one, two, again)| Word::Window(Window { received: one.min(two), until: one.max(two), again }));
        prop_oneof![
            request,
            window,
            Just(Word::Leave),
            Just(Word::Accepted),
            (any::<u32>(), pieces()).prop_map(|(number, piece)| Word::Piece(number, piece)),
            any::<u32>().prop_map(Word::Sent),
            Just(Word::Gone),
        ]
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let tell = proptest::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| Frame::Tell(bytes.into()));
        prop_oneof![tell, (any::<u64>(), words()).prop_map(|(id, word)| Frame::Of(ExchangeId(id), word))]
    }

    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            frame.write(&mut out);
        }
        out
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(frames in proptest::collection::vec(frames(), 0..8)) {
            let message = written(&frames);
            prop_assert!(message.len() <= frames.iter().map(Frame::weight).sum::<usize>());
            prop_assert_eq!(Frame::read_all(&message), Some(frames));
        }

        #[test]
        fn a_message_that_is_cut_is_refused_or_shorter(frames in proptest::collection::vec(frames(), 1..4), at: prop::sample::Index) {
            let message = written(&frames);
            let cut = Frame::read_all(&message[..at.index(message.len())]);
            prop_assert!(cut.is_none_or(|cut| frames.starts_with(&cut) && cut.len() < frames.len()));
        }

        #[test]
        fn no_message_makes_it_panic(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::read_all(&message);
        }
    }

    #[test]
    fn frames_of_a_later_kind_are_left_out() {
        let mut message = Vec::new();
        put_sized(&mut message, &[TELL + 1, 7, 7]);
        Frame::Tell("known".into()).write(&mut message);
        assert_eq!(Frame::read_all(&message), Some(vec![Frame::Tell("known".into())]));
    }

    #[test]
    fn what_is_larger_than_agreed_is_refused() {
        let too_large = |max: usize| Bytes::from(vec![0; max + 1]);
        let exchange = ExchangeId(7);
        for frame in [
            Frame::Tell(too_large(TELL_BYTES_MAX)),
            Frame::Of(exchange, Word::Request { part: 0, parts: 1, bytes: too_large(PART_BYTES_MAX) }),
            Frame::Of(exchange, Word::Piece(0, Piece::Data(too_large(PIECE_BYTES_MAX)))),
            Frame::Of(exchange, Word::Request { part: 1, parts: 1, bytes: Bytes::new() }),
        ] {
            assert_eq!(Frame::read_all(&written(&[frame])), None);
        }
    }
}
