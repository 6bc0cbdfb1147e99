//! A JSON body that is read as a whole, unless it turns out to be a large result.

use bytes::{Bytes, BytesMut};
use hawser_mcp::{Limits, RequestId, ResponseReader};
use http::StatusCode;
use hyper::body::Body as _;

use super::connections::ResponseBody;

/// Room made at once for a body of announced length; the rest only as it comes.
const RESERVED_BYTES_MAX: usize = 1024 * 1024;

/// A body, as far as it has come.
pub(super) struct Whole {
    pub(super) status: StatusCode,
    pub(super) body: ResponseBody,
    announced: Option<u64>,
    read: Read,
    opening: Opening,
}

/// What has come.
enum Read {
    /// One piece, as it came.
    One(Bytes),
    Many(BytesMut),
}

/// Whether it is a response whose result can be passed on as it arrives.
enum Opening {
    /// Asked as soon as it is known to have so many bytes.
    From(usize),
    /// It is large, and its result has not begun.
    Reading(Box<ResponseReader>),
    /// It is not, or nobody wants to know.
    No,
}

impl Whole {
    /// A body of which nothing has been read; `large` is from how many bytes on its result is to be passed on as it arrives.
    pub(super) fn new(status: StatusCode, body: ResponseBody, large: Option<usize>) -> Self {
        let announced = body.size_hint().exact();
        let opening = large.map_or(Opening::No, Opening::From);
        Self { status, body, announced, read: Read::One(Bytes::new()), opening }
    }

    /// How long its sender says it is.
    pub(super) fn announced(&self) -> Option<usize> {
        self.announced.and_then(|bytes| usize::try_from(bytes).ok())
    }

    /// How much has come.
    pub(super) fn len(&self) -> usize {
        match &self.read {
            Read::One(one) => one.len(),
            Read::Many(many) => many.len(),
        }
    }

    /// Looks at a piece, before it is added. Gives the reader and what has come of the result if that is large and has begun: then
    /// nothing is to be added any more.
    pub(super) fn look(&mut self, piece: &Bytes, id: u64, limits: &Limits) -> Option<(ResponseReader, Vec<Bytes>)> {
        let mut begun = Vec::with_capacity(2);
        if let Opening::From(large) = self.opening {
            let bytes = self.announced().unwrap_or_default().max(self.len() + piece.len());
            if bytes < large {
                return None;
            }
            let mut reader = Box::new(ResponseReader::new(RequestId::number(id), *limits));
            let Ok(so_far) = reader.push(&self.so_far()) else {
                self.opening = Opening::No;
                return None;
            };
            begun.push(so_far);
            self.opening = Opening::Reading(reader);
        }
        let Opening::Reading(reader) = &mut self.opening else { return None };
        // What is wrong is told by who reads the whole.
        let Ok(more) = reader.push(piece) else {
            self.opening = Opening::No;
            return None;
        };
        begun.push(more);
        match std::mem::replace(&mut self.opening, Opening::No) {
            Opening::Reading(reader) if reader.has_begun() => Some((*reader, begun)),
            opening => {
                self.opening = opening;
                None
            }
        }
    }

    /// Adds a piece.
    pub(super) fn add(&mut self, piece: Bytes) {
        if self.len() == 0 && self.body.is_end_stream() {
            self.read = Read::One(piece);
            return;
        }
        let room = self.announced().unwrap_or_default().min(RESERVED_BYTES_MAX).max(piece.len());
        if let Read::One(one) = &self.read {
            let mut many = BytesMut::with_capacity(room);
            many.extend_from_slice(one);
            self.read = Read::Many(many);
        }
        if let Read::Many(many) = &mut self.read {
            many.extend_from_slice(&piece);
        }
    }

    /// All of it.
    pub(super) fn take(&mut self) -> Bytes {
        match std::mem::replace(&mut self.read, Read::One(Bytes::new())) {
            Read::One(one) => one,
            Read::Many(many) => many.freeze(),
        }
    }

    /// A copy of what has come.
    fn so_far(&self) -> Bytes {
        match &self.read {
            Read::One(one) => one.clone(),
            Read::Many(many) => Bytes::copy_from_slice(many),
        }
    }
}
