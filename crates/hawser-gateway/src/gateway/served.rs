//! What other nodes bring: requests that are answered like any other, and what is told to all.

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, StatusCode};
use tracing::debug;

use super::Gateway;
use crate::relay::{Hears, NodeName, Relayed, Serves};
use crate::reply::{self, Body};

#[async_trait]
impl Serves for Gateway {
    async fn serve(&self, from: NodeName, request: Relayed) -> Response<Body> {
        match request.into_request() {
            Ok(request) => self.handle(request).await,
            Err(error) => {
                debug!(node = %from, %error, "a relayed request is not one");
                reply::empty(StatusCode::BAD_REQUEST)
            }
        }
    }
}

impl Hears for Gateway {
    fn hear(&self, from: NodeName, message: Bytes) {
        self.0.sessions.hear_node(from, &message, &self.0.endpoints);
    }
}
