//! A body, cut into pieces: large frames into several, small ones that are there together into one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use super::frame::{PIECE_BYTES_MAX, Piece};
use crate::reply::Body;

/// What is left of a body.
pub(super) struct Chunks {
    body: Option<Body>,
    /// What came and did not fit.
    rest: Bytes,
    end: Piece,
}

impl Chunks {
    pub(super) const fn new(body: Body) -> Self {
        Self { body: Some(body), rest: Bytes::new(), end: Piece::End }
    }

    /// The next piece: data, and in the end an end, again and again.
    pub(super) async fn next(&mut self) -> Piece {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Piece> {
        let mut gathered = BytesMut::new();
        loop {
            if !self.rest.is_empty() {
                if gathered.is_empty() {
                    let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES_MAX));
                    return Poll::Ready(Piece::Data(piece));
                }
                if gathered.len() + self.rest.len() > PIECE_BYTES_MAX {
                    return Poll::Ready(Piece::Data(gathered.freeze()));
                }
                gathered.extend_from_slice(&std::mem::take(&mut self.rest));
            }
            let polled = match &mut self.body {
                Some(body) => Pin::new(body).poll_frame(context),
                None => Poll::Ready(None),
            };
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are not used by anything here.
                    let Ok(data) = frame.into_data() else { continue };
                    if data.len() >= PIECE_BYTES_MAX || !gathered.is_empty() {
                        self.rest = data;
                    } else {
                        gathered.extend_from_slice(&data);
                    }
                }
                Poll::Ready(end) => {
                    if end.is_some() {
                        self.end = Piece::Broken;
                    }
                    self.body = None;
                    let piece = if gathered.is_empty() { self.end.clone() } else { Piece::Data(gathered.freeze()) };
                    return Poll::Ready(piece);
                }
                Poll::Pending if gathered.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Piece::Data(gathered.freeze())),
            }
        }
    }
}
