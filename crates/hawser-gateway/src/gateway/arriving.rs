//! A request's body, read to its end: only so much of it, and only for so long.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use crate::config::Limits;
use crate::edge::EdgeError;

pub(super) async fn read<B>(body: B, limits: &Limits) -> Result<Bytes, EdgeError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let max = limits.request_body;
    // A length that is announced is believed: nobody waits for bytes that will be refused.
    if usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX) > max {
        return Err(EdgeError::BodyTooLarge(max));
    }
    let body = pin!(body);
    let mut all = pin!(collect(body, max));
    // Most have come with their head: for those no timer is set.
    if let Poll::Ready(read) = poll_fn(|context| Poll::Ready(all.as_mut().poll(context))).await {
        return read;
    }
    tokio::time::timeout(limits.body_timeout, all).await.unwrap_or(Err(EdgeError::Body))
}

async fn collect<B>(mut body: Pin<&mut B>, max: usize) -> Result<Bytes, EdgeError>
where
    B: http_body::Body<Data = Bytes>,
{
    let mut first = Bytes::new();
    // Only a body in several pieces is copied.
    let mut joined = BytesMut::new();
    let mut length = 0_usize;
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(|_| EdgeError::Body)?.into_data() else { continue };
        length = length.checked_add(data.len()).filter(|length| *length <= max).ok_or(EdgeError::BodyTooLarge(max))?;
        if length == data.len() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use proptest::prelude::*;

    use super::*;

    fn limits(max: usize) -> Limits {
        Limits { request_body: max, body_timeout: Duration::from_secs(1), ..Limits::default() }
    }

    /// A body of unknown length in pieces, each of which comes at once.
    fn pieces(pieces: Vec<Vec<u8>>) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send {
        let frames = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece))));
        StreamBody::new(futures_util::stream::iter(frames.collect::<VecDeque<_>>()))
    }

    #[test]
    fn what_is_there_is_taken_as_it_is_and_without_a_timer() {
        let body = Bytes::from_static(b"{}");
        // Outside of a runtime: a timer would not be possible.
        let read = read(Full::new(body.clone()), &limits(2)).now_or_never().unwrap().unwrap();
        assert_eq!(read.as_ptr(), body.as_ptr());
        let nothing = super::read(Full::new(Bytes::new()), &limits(2)).now_or_never().unwrap().unwrap();
        assert!(nothing.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_not_waited_for_without_end() {
        let frames = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{")))]);
        let body = StreamBody::new(futures_util::StreamExt::chain(frames, futures_util::stream::pending()));
        assert_eq!(read(body, &limits(9)).await, Err(EdgeError::Body));
    }

    #[tokio::test]
    async fn what_breaks_off_is_refused() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"{}"))), Err(std::io::Error::other("gone"))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        assert_eq!(read(body, &limits(9)).await, Err(EdgeError::Body));
    }

    proptest! {
        #[test]
        fn all_of_it_or_nothing(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5), 0..6),
            max in 0_usize..20,
        ) {
            let whole = parts.concat();
            let read = read(pieces(parts), &limits(max)).now_or_never().unwrap();
            if whole.len() <= max {
                prop_assert_eq!(read.unwrap(), whole);
            } else {
                prop_assert_eq!(read.unwrap_err(), EdgeError::BodyTooLarge(max));
            }
        }
    }
}
