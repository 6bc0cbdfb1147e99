//! What is said outside of any request: the GET stream of the session (2025-11-25, Transports, Listening for Messages from the
//! Server), for as long as the session lives.

use http::StatusCode;
use tokio::time::sleep;

use super::answer::{Answer, Position};
use super::head::{self, Session};
use super::lines::Output;
use crate::serve::LocalGateway;

/// Passes on what comes, and opens the stream again where it ended: a client that reads slowly loses it now and then.
pub(super) async fn listen(gateway: LocalGateway, output: Output, session: Session) {
    let mut position = Position::default();
    loop {
        let request = head::get(gateway.path(), &session, position.last_event_id.as_ref());
        match Answer::read(gateway.handle(request).await).await {
            Answer::Stream(mut stream) => {
                while let Some(message) = stream.next().await {
                    output.message(&message).await;
                }
                let came = stream.position();
                position.retry = came.retry;
                if came.last_event_id.is_some() {
                    position.last_event_id.clone_from(&came.last_event_id);
                }
            }
            Answer::Whole(StatusCode::SERVICE_UNAVAILABLE, _) => {}
            // The session is over, or the gateway offers no stream.
            Answer::Whole(..) => return,
        }
        sleep(position.retry).await;
    }
}
