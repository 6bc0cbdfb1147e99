//! A request on its way to the node that holds what it is about.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request};
use http_body_util::Full;

use super::frame::PART_BYTES_MAX;
use super::wire::{Reader, put_headers, put_sized};
use crate::edge::LAST_EVENT_ID;

/// Everything of a head that the gateway reads. Nothing else travels.
const HEADERS: [HeaderName; 6] = [ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LAST_EVENT_ID, ORIGIN];
/// `Mcp-Session-Id`, `MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name` and the mirrored parameters.
const HEADER_PREFIX: &str = "mcp-";

/// A request that another node is to answer: the head as far as the gateway reads it, and the body.
pub struct Relayed {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// The mark of a request that another node brought. It is an extension of the request: nothing that comes over HTTP has any.
#[derive(Clone, Copy, Debug)]
struct ByRelay;

impl fmt::Debug for Relayed {
    /// Without headers and body: credentials are in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relayed").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Relayed {
    /// The request with this head and body; `None` if another node brought it. One hop has to suffice: who minted a handle names
    /// itself in it.
    pub fn of(parts: &Parts, body: Bytes) -> Option<Self> {
        if parts.extensions.get::<ByRelay>().is_some() {
            return None;
        }
        let headers = passed_on(&parts.headers);
        Some(Self { method: parts.method.clone(), path: parts.uri.path().to_owned(), headers, body })
    }

    /// As it is answered here: like one that came over HTTP, but for its mark.
    pub(crate) fn into_request(self) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder().method(self.method).uri(self.path).body(Full::new(self.body))?;
        *request.headers_mut() = self.headers;
        request.extensions_mut().insert(ByRelay);
        Ok(request)
    }

    /// Whether it is answered once; a stream that is opened by GET is taken up again elsewhere.
    pub(super) fn is_call(&self) -> bool {
        self.method != Method::GET
    }

    /// As it is written, in parts.
    pub(super) fn to_parts(&self) -> Vec<Bytes> {
        let mut out = Vec::with_capacity(1024 + self.body.len());
        put_sized(&mut out, self.method.as_str().as_bytes());
        put_sized(&mut out, self.path.as_bytes());
        put_headers(&mut out, &self.headers);
        out.extend_from_slice(&self.body);
        let whole = Bytes::from(out);
        (0..whole.len())
            .step_by(PART_BYTES_MAX)
            .map(|at| whole.slice(at..whole.len().min(at + PART_BYTES_MAX)))
            .collect()
    }

    /// Reads what [`Relayed::to_parts`] wrote, put together; `None` if it is something else.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let method = Method::from_bytes(reader.sized()?).ok()?;
        let path = std::str::from_utf8(reader.sized()?).ok()?.to_owned();
        // A node of another version may have another opinion of what travels.
        let headers = passed_on(&reader.headers()?);
        Some(Self { method, path, headers, body: reader.rest() })
    }
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let read = |name: &HeaderName| HEADERS.contains(name) || name.as_str().starts_with(HEADER_PREFIX);
    headers.iter().filter(|(name, _)| read(name)).map(|(name, value)| (name.clone(), value.clone())).fold(
        HeaderMap::new(),
        |mut passed, (name, value)| {
            passed.append(name, value);
            passed
        },
    )
}
