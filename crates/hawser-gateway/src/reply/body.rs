//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use thiserror::Error;

/// The body of every answer of the gateway.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    /// Most answers: one message, or nothing.
    Whole(Full<Bytes>),
    Stream(UnsyncBoxBody<Bytes, BrokenAnswer>),
}

/// The body ends before its end: whoever sends it must not make it look complete. Large results and answers of other nodes can
/// break.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the answer broke off before its end")]
pub struct BrokenAnswer;

impl Body {
    /// One that is known as a whole.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Full::new(bytes)))
    }

    /// One that comes bit by bit.
    pub(crate) fn stream(body: impl http_body::Body<Data = Bytes, Error = BrokenAnswer> + Send + 'static) -> Self {
        Self(Kind::Stream(body.boxed_unsync()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(body) => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Kind::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}
