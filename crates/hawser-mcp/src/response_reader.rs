//! One response with a large result, read as it arrives: the result passes through as slices of what came, and is never held.
//!
//! All around the result is kept, with `null` in its place, and read by [`parse_message`] when it is complete. So what is
//! ambiguous is refused by the same rules as in a message that is read whole; only that it may be known when the result has
//! passed already. Whoever passes it on must not make it look complete before [`ResponseReader::finish`] has said that it is.

use bytes::Bytes;
use thiserror::Error;

use crate::frame::{FrameError, Limits, Message, Outcome, RequestId, Response, parse_message, read_result_opening};
use crate::utf8_walk::Utf8Walk;
use crate::value_walk::{Unfit, ValueWalk, is_space};

/// Most bytes that a response may have besides its result.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// What stands for the result: no value that could go on with what follows it.
const PLACEHOLDER: &[u8] = b"null";

/// Reads one response, cut anywhere. Memory: what is around the result, and a flag for each level of nesting.
#[derive(Debug)]
pub struct ResponseReader {
    id: RequestId,
    limits: Limits,
    text: Utf8Walk,
    /// The message without its result.
    envelope: Vec<u8>,
    at: At,
    walk: ValueWalk,
    result: Place,
}

/// Where the reader stands in the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the opening brace.
    Start,
    /// Before the first name, or the end.
    FirstName,
    /// Before another name.
    Name,
    /// In the name that began at this place of the envelope.
    InName(usize),
    /// Before the colon.
    Colon,
    /// Before a value.
    Value,
    /// In a value.
    InValue,
    /// After a value.
    After,
    /// After the closing brace.
    Closed,
}

/// Where the reader stands in respect of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It has not come.
    Before,
    /// The next value is it.
    Next,
    /// Within it.
    Within,
    /// It has passed.
    After,
}

/// Why a response that is read as it arrives is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ResponseError {
    /// It is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// There is too much around the result.
    #[error("a large response has over {ENVELOPE_BYTES_MAX} bytes besides its result")]
    Envelope,
    /// Its id is not the request's.
    #[error("it is a response to another request")]
    OtherId,
    /// A message, but no response with a result.
    #[error("it is no response with a result")]
    NoResult,
}

impl ResponseReader {
    /// A reader for the response to the request of this id.
    pub fn new(id: RequestId, limits: Limits) -> Self {
        // The result is within the message's own object.
        let walk = ValueWalk::new(limits.depth.saturating_sub(1));
        let text = Utf8Walk::default();
        Self { id, limits, text, envelope: Vec::new(), at: At::Start, walk, result: Place::Before }
    }

    /// Takes a chunk; gives the bytes of the result that are in it, as a slice of it. After an error nothing of the response may be
    /// used any more.
    pub fn push(&mut self, chunk: &Bytes) -> Result<Bytes, ResponseError> {
        self.text.push(chunk).map_err(|_| FrameError::Utf8)?;
        let mut piece = Bytes::new();
        let mut rest: &[u8] = chunk;
        while let Some((byte, tail)) = rest.split_first() {
            if !matches!(self.at, At::InName(_) | At::InValue) {
                if !self.begins(*byte)? {
                    self.keep(&[*byte])?;
                    rest = tail;
                }
                continue;
            }
            let ended = self.walk.push(rest).map_err(|unfit| self.refused(unfit))?;
            let (taken, left) = rest.split_at(ended.unwrap_or(rest.len()));
            if self.result == Place::Within {
                piece = chunk.slice_ref(taken);
            } else {
                self.keep(taken)?;
            }
            if ended.is_some() {
                self.ended();
            }
            rest = left;
        }
        Ok(piece)
    }

    /// Whether the result has begun.
    pub const fn has_begun(&self) -> bool {
        matches!(self.result, Place::Within | Place::After)
    }

    /// Nothing more comes: whether all of it was one response with a result to this request.
    pub fn finish(self) -> Result<(), ResponseError> {
        if !self.text.is_whole() {
            return Err(FrameError::Utf8.into());
        }
        match parse_message(&self.envelope.into(), &self.limits)? {
            Message::Response(Response { id, outcome: Outcome::Result(_) }) => {
                if id.as_ref() == Some(&self.id) {
                    Ok(())
                } else {
                    Err(ResponseError::OtherId)
                }
            }
            _ => Err(ResponseError::NoResult),
        }
    }

    /// One byte between names and values; `true` if a name or a value begins with it, and it is still to be taken.
    fn begins(&mut self, byte: u8) -> Result<bool, ResponseError> {
        if is_space(byte) {
            return Ok(false);
        }
        self.at = match (self.at, byte) {
            (At::Start, b'{') => At::FirstName,
            (At::FirstName | At::Name, b'"') => {
                self.walk = ValueWalk::new(self.limits.depth);
                self.at = At::InName(self.envelope.len());
                return Ok(true);
            }
            (At::FirstName | At::After, b'}') => At::Closed,
            (At::Colon, b':') => At::Value,
            (At::After, b',') => At::Name,
            (At::Value, _) => {
                self.walk = ValueWalk::new(self.limits.depth.saturating_sub(1));
                self.at = At::InValue;
                if self.result == Place::Next {
                    self.result_begins()?;
                }
                return Ok(true);
            }
            _ => return Err(syntax()),
        };
        Ok(false)
    }

    /// What came before the result already refuses it, or does not.
    fn result_begins(&mut self) -> Result<(), ResponseError> {
        self.keep(PLACEHOLDER)?;
        self.result = Place::Within;
        let so_far: Bytes = [self.envelope.as_slice(), b"}"].concat().into();
        match read_result_opening(&so_far)? {
            Some(id) if id != self.id => Err(ResponseError::OtherId),
            _ => Ok(()),
        }
    }

    /// A name or a value has ended.
    fn ended(&mut self) {
        let At::InName(from) = self.at else {
            self.at = At::After;
            if self.result == Place::Within {
                self.result = Place::After;
            }
            return;
        };
        self.at = At::Colon;
        let name = self.envelope.get(from..).unwrap_or_default();
        // One that occurs again is refused with all the rest of the envelope.
        if self.result == Place::Before && serde_json::from_slice::<String>(name).is_ok_and(|name| name == "result") {
            self.result = Place::Next;
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ResponseError> {
        if self.envelope.len() + bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(ResponseError::Envelope);
        }
        self.envelope.extend_from_slice(bytes);
        Ok(())
    }

    fn refused(&self, unfit: Unfit) -> ResponseError {
        match unfit {
            Unfit::Syntax => syntax(),
            Unfit::Depth => FrameError::Depth(self.limits.depth).into(),
        }
    }
}

fn syntax() -> ResponseError {
    FrameError::Syntax("unexpected character or number".to_owned()).into()
}
