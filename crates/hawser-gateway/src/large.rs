//! Large results that go from a backend to a client without being held.
//!
//! Only where nothing about the result is to be changed: both speak the same revision, and nothing was said to the client before,
//! so that the answer is a body of JSON. What is wrong with such a result may show when most of it has passed; then the body ends
//! with an error, and never looks complete.

use bytes::{Bytes, BytesMut};
use hawser_backend::{BackendError, BackendSession, Exchange};
use hawser_mcp::{ErrorObject, Outcome, RawJson, Response, method};
use tracing::warn;

use crate::call::{Call, failure, no_answer};
use crate::in_flight::{Attached, Flight, News, Over};
use crate::pending::decline;
use crate::reply::{Out, Part};

/// Lets a large result of this call come in pieces, if it can be passed on as it is.
pub(crate) fn prepare(call: &Call<'_>, from: &BackendSession, exchange: &mut Exchange, out: &Out) {
    let reads = matches!(
        call.method,
        method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ | method::COMPLETION_COMPLETE
    );
    if reads && from.server().revision == call.session.revision() && out.takes_large() {
        exchange.give_large_in_pieces();
    }
}

/// Answers with the large result that has begun to come. `None`: it was given, or nothing more is to be said.
pub(crate) async fn answer(
    call: &Call<'_>,
    exchange: Exchange,
    flight: &mut Flight,
    out: &Out,
) -> Option<Result<Outcome, ErrorObject>> {
    if out.takes_large() && flight.takes_nothing_more() {
        pass_on(call, exchange, flight, out).await;
        return None;
    }
    // What was said made a stream of the answer, and on a stream a message is kept whole.
    collect(call, exchange, flight, out).await
}

async fn pass_on(call: &Call<'_>, mut exchange: Exchange, flight: &mut Flight, out: &Out) {
    out.large(Part::More(Response::opening(flight.id()))).await;
    loop {
        let piece = tokio::select! {
            biased;
            over = flight.over() => return cut(call, exchange, flight, over).await,
            piece = exchange.piece() => piece,
        };
        let part = match piece {
            Ok(Some(piece)) => Part::More(piece),
            Ok(None) => return out.large(Part::Last(Bytes::from_static(b"}"))).await,
            Err(error) => return broke_off(call, &error.to_string()),
        };
        tokio::select! {
            biased;
            over = flight.over() => return cut(call, exchange, flight, over).await,
            () = out.large(part) => {}
        }
    }
}

/// The client's answer breaks off: its body ends without its last part.
fn broke_off(call: &Call<'_>, reason: &str) {
    warn!(endpoint = call.session.endpoint().name(), method = call.method, reason, "a large result was cut off");
}

async fn cut(call: &Call<'_>, exchange: Exchange, flight: &Flight, over: Over) {
    match over {
        Over::SessionEnded => broke_off(call, "the session has ended"),
        Over::Cancelled => {
            let reason = flight.reason();
            broke_off(call, reason.as_deref().unwrap_or("the client has cancelled"));
            exchange.cancel(reason.as_deref()).await;
        }
    }
}

/// Reads the whole result, which is bounded like any message.
async fn collect(
    call: &Call<'_>,
    mut exchange: Exchange,
    flight: &mut Flight,
    out: &Out,
) -> Option<Result<Outcome, ErrorObject>> {
    let backend = call.upstream.backend();
    let bytes_max = backend.message_bytes_max();
    let mut read = BytesMut::new();
    loop {
        let piece = tokio::select! {
            biased;
            news = flight.news() => {
                match news {
                    News::Over(over) => {
                        if over == Over::Cancelled {
                            exchange.cancel(flight.reason().as_deref()).await;
                        }
                        return no_answer(over);
                    }
                    News::Attached(Attached::Message(message)) => out.message(message).await,
                    News::Attached(Attached::Question(from, request)) => decline(&from, request.id),
                }
                continue;
            }
            piece = exchange.piece() => piece,
        };
        match piece {
            Ok(Some(piece)) if read.len() + piece.len() > bytes_max => {
                let error = BackendError::TooLarge { backend: backend.name().clone(), bytes_max };
                return Some(Err(failure(call, &error)));
            }
            Ok(Some(piece)) => read.extend_from_slice(&piece),
            Ok(None) => {
                let result = RawJson::parse(&read.freeze());
                return Some(result.map(Outcome::Result).map_err(|_| failure(call, &exchange.closed())));
            }
            Err(error) => return Some(Err(failure(call, &error))),
        }
    }
}
