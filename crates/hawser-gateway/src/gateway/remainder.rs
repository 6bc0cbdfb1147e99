//! What a refused request still has in its body. Most refusals are said before the body is read, often before it has come: a
//! connection that is closed over that takes the client's next request with it, which is then lost without an answer
//! (RFC 9112, sections 9.3 and 9.6).

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Response};
use http_body_util::BodyExt as _;

use crate::reply::Body;

/// As much of a refused body is read, and thrown away.
const BYTES_MAX: u64 = 64 << 10;
/// As long is waited for it.
const WAIT: Duration = Duration::from_secs(1);

/// Reads the rest away; where it is too long or too slow, says that the connection ends here.
pub(super) async fn discard<B>(mut body: Pin<&mut B>, response: &mut Response<Body>)
where
    B: http_body::Body<Data = Bytes> + Send,
{
    let all = async {
        let mut left = BYTES_MAX.checked_sub(body.size_hint().lower())?;
        while let Some(frame) = body.frame().await {
            let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(u64::try_from(length).ok()?)?;
        }
        Some(())
    };
    if !matches!(tokio::time::timeout(WAIT, all).await, Ok(Some(()))) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
