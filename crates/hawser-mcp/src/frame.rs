//! JSON-RPC 2.0 frames as MCP uses them: read strictly, written anew, payloads untouched.

use std::fmt;

use bytes::Bytes;
use memchr::memchr2;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::error::{ErrorObject, code};
use crate::members::{Members, MembersError, NotMembers};
use crate::raw::RawJson;

const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// Room for the names and marks of an envelope.
const ENVELOPE_BYTES: usize = 64;
/// Longest request id in bytes of JSON text.
const ID_BYTES_MAX: usize = 1024;
/// Longest method name in bytes.
const METHOD_BYTES_MAX: usize = 128;

/// What a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of arrays and objects. Raw values are skipped without recursion, so nothing else bounds it.
    pub depth: usize,
    /// Most messages in a batch (2025-03-26 only).
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, batch: 64 }
    }
}

/// A request id as its sender wrote it: a string or an integer. Equal only in the same type and text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(RawJson);

/// One JSON-RPC message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Answers a request.
    Response(Response),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the sender.
    pub id: RequestId,
    /// What is asked for.
    pub method: String,
    /// An object, if present.
    pub params: Option<RawJson>,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What is told.
    pub method: String,
    /// An object, if present.
    pub params: Option<RawJson>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's id; `None` where the sender could not tell. JSON-RPC 2.0 (section 5) has `null` for that, MCP no member at
    /// all (2025-11-25 and 2026-07-28, schema: `JSONRPCErrorResponse`): both are read, the latter is written.
    pub id: Option<RequestId>,
    /// How it went.
    pub outcome: Outcome,
}

/// How a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The `result` member, raw.
    Result(RawJson),
    /// The `error` member, raw: an object.
    Error(RawJson),
}

/// What a POST carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// One message.
    Single(Message),
    /// An array of messages (MCP 2025-03-26, Basic Protocol, Batching), never empty.
    Batch(Vec<Result<Message, FrameError>>),
}

/// Why bytes are not a message. The text names the part and goes to the sender.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// Not UTF-8.
    #[error("the message is not UTF-8")]
    Utf8,
    /// Not JSON.
    #[error("the message is not JSON: {0}")]
    Syntax(String),
    /// Nested too deeply.
    #[error("the message is nested deeper than {0} levels")]
    Depth(usize),
    /// A batch with no or too many messages.
    #[error("a batch holds between 1 and {0} messages")]
    BatchSize(usize),
    /// The envelope's members are ambiguous.
    #[error("the message is ambiguous: {0}")]
    Envelope(#[from] MembersError),
    /// `jsonrpc` is not `"2.0"`.
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    /// `id` is neither string nor integer.
    #[error("`id` must be a string or an integer of at most {ID_BYTES_MAX} bytes")]
    Id,
    /// `method` is not a usable string.
    #[error("`method` must be a string of 1 to {METHOD_BYTES_MAX} bytes")]
    Method,
    /// `params` is not an object.
    #[error("`params` must be an object")]
    Params,
    /// `error` is not an object.
    #[error("`error` must be an object")]
    Error,
    /// Neither request, notification nor response, or several at once.
    #[error("a message has either `method`, or `id` with exactly one of `result` and `error`")]
    Shape,
}

impl FrameError {
    /// The JSON-RPC error to answer with (JSON-RPC 2.0 section 5.1).
    pub fn to_error(&self) -> ErrorObject {
        let code = match self {
            Self::Utf8 | Self::Syntax(_) => code::PARSE_ERROR,
            _ => code::INVALID_REQUEST,
        };
        ErrorObject::new(code, self.to_string())
    }
}

impl RequestId {
    /// An integer id of our own.
    pub fn number(number: u64) -> Self {
        Self(RawJson::number(number))
    }

    /// A string id of our own.
    pub fn string(text: &str) -> Self {
        Self(RawJson::string(text))
    }

    /// Takes a raw value that is a string or an integer.
    pub fn from_raw(raw: RawJson) -> Option<Self> {
        let text = raw.as_str();
        let integer = !text.is_empty()
            && text.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() || (at == 0 && byte == b'-'));
        ((integer || text.starts_with('"')) && text.len() <= ID_BYTES_MAX).then_some(Self(raw))
    }

    /// The id as JSON.
    pub const fn raw(&self) -> &RawJson {
        &self.0
    }

    /// The number, if the id is one that [`RequestId::number`] could have made.
    pub fn as_number(&self) -> Option<u64> {
        self.0.as_str().parse().ok()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0.as_str())
    }
}

/// Reads the body of a POST: one message, or a batch.
pub fn parse_body(bytes: &Bytes, limits: &Limits) -> Result<Body, FrameError> {
    let text = checked_text(bytes, limits)?;
    if !text.trim_ascii_start().starts_with('[') {
        return read_message(bytes, text).map(Body::Single);
    }
    let values = elements(text, limits.batch).map_err(|error| FrameError::Syntax(syntax(&error)))?;
    match values {
        Some(values) if !values.is_empty() => {
            Ok(Body::Batch(values.into_iter().map(|value| read_message(bytes, value.get())).collect()))
        }
        _ => Err(FrameError::BatchSize(limits.batch)),
    }
}

/// Reads exactly one message.
pub fn parse_message(bytes: &Bytes, limits: &Limits) -> Result<Message, FrameError> {
    let text = checked_text(bytes, limits)?;
    read_message(bytes, text)
}

fn checked_text<'a>(bytes: &'a Bytes, limits: &Limits) -> Result<&'a str, FrameError> {
    let text = std::str::from_utf8(bytes).map_err(|_| FrameError::Utf8)?;
    if deeper_than(text.as_bytes(), limits.depth) {
        return Err(FrameError::Depth(limits.depth));
    }
    Ok(text)
}

fn read_message(whole: &Bytes, text: &str) -> Result<Message, FrameError> {
    let envelope = read_envelope(whole, text)?;
    check_version(&envelope.get("jsonrpc").ok_or(FrameError::Version)?)?;
    let id = envelope.get("id");
    match (envelope.get("method"), envelope.get("result"), envelope.get("error")) {
        (Some(method), None, None) => read_call(id, &method, envelope.get("params")),
        (None, result, error) => read_response(id, result, error),
        _ => Err(FrameError::Shape),
    }
}

fn read_envelope<'a>(whole: &'a Bytes, text: &'a str) -> Result<Members<'a>, FrameError> {
    Members::parse(whole, text, &ENVELOPE).map_err(|error| match error {
        NotMembers::Syntax(error) => FrameError::Syntax(syntax(&error)),
        NotMembers::Refused(error) => FrameError::Envelope(error),
    })
}

fn check_version(version: &RawJson) -> Result<(), FrameError> {
    // Hardly anybody writes it with escapes.
    let known = version.as_str() == r#""2.0""# || version.as_string().as_deref() == Some("2.0");
    if known { Ok(()) } else { Err(FrameError::Version) }
}

/// Reads a response of which nothing has come after its result, as far as that can be judged; gives its id, where that came first.
pub(crate) fn read_result_opening(message: &Bytes) -> Result<Option<RequestId>, FrameError> {
    let envelope = read_envelope(message, std::str::from_utf8(message).map_err(|_| FrameError::Utf8)?)?;
    envelope.get("jsonrpc").map_or(Ok(()), |version| check_version(&version))?;
    if envelope.get("method").is_some() || envelope.get("error").is_some() {
        return Err(FrameError::Shape);
    }
    envelope.get("id").map(|id| RequestId::from_raw(id).ok_or(FrameError::Id)).transpose()
}

fn read_call(id: Option<RawJson>, method: &RawJson, params: Option<RawJson>) -> Result<Message, FrameError> {
    let method = method.as_string().filter(|method| (1..=METHOD_BYTES_MAX).contains(&method.len()));
    let method = method.ok_or(FrameError::Method)?;
    if params.as_ref().is_some_and(|params| !params.is_object()) {
        return Err(FrameError::Params);
    }
    Ok(match id {
        None => Message::Notification(Notification { method, params }),
        Some(id) => {
            let id = RequestId::from_raw(id).ok_or(FrameError::Id)?;
            Message::Request(Request { id, method, params })
        }
    })
}

fn read_response(id: Option<RawJson>, result: Option<RawJson>, error: Option<RawJson>) -> Result<Message, FrameError> {
    let outcome = match (result, error) {
        (Some(result), None) => Outcome::Result(result),
        (None, Some(error)) if error.is_object() => Outcome::Error(error),
        (None, Some(_)) => return Err(FrameError::Error),
        _ => return Err(FrameError::Shape),
    };
    let id = match id {
        Some(id) if id.as_str() == "null" && matches!(outcome, Outcome::Error(_)) => None,
        Some(id) => Some(RequestId::from_raw(id).ok_or(FrameError::Id)?),
        None if matches!(outcome, Outcome::Error(_)) => None,
        None => return Err(FrameError::Id),
    };
    Ok(Message::Response(Response { id, outcome }))
}

fn elements(text: &str, max: usize) -> Result<Option<Vec<&RawValue>>, serde_json::Error> {
    struct Elements(usize);
    impl<'de> Visitor<'de> for Elements {
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut values = Vec::new();
            let mut over = false;
            while let Some(value) = seq.next_element::<&'de RawValue>()? {
                over |= values.len() == self.0;
                if !over {
                    values.push(value);
                }
            }
            Ok((!over).then_some(values))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = deserializer.deserialize_seq(Elements(max))?;
    deserializer.end()?;
    Ok(values)
}

/// Whether arrays and objects nest deeper than `max`, in one pass that neither recurses nor allocates. Most bytes of most messages
/// are text, which is leapt over.
fn deeper_than(json: &[u8], max: usize) -> bool {
    let mut depth = 0_usize;
    let mut rest = json.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => rest = after_string(rest.as_slice()).iter(),
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What follows the string that these bytes are in.
fn after_string(mut json: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', json) {
        let is_end = json.get(at) == Some(&b'"');
        json = json.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return json;
        }
    }
    &[]
}

/// What the parser said, without quoting the message.
fn syntax(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "a value has the wrong type",
        _ => "unexpected character or number",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

impl Request {
    /// The request on the wire.
    pub fn to_bytes(&self) -> Bytes {
        write_call(Some(&self.id), &self.method, self.params.as_ref())
    }
}

impl Notification {
    /// A notification of our own.
    pub fn new(method: impl Into<String>, params: Option<RawJson>) -> Self {
        Self { method: method.into(), params }
    }

    /// The notification on the wire.
    pub fn to_bytes(&self) -> Bytes {
        write_call(None, &self.method, self.params.as_ref())
    }
}

impl Response {
    /// A successful answer.
    pub const fn result(id: RequestId, result: RawJson) -> Self {
        Self { id: Some(id), outcome: Outcome::Result(result) }
    }

    /// A refusal of our own.
    pub fn error(id: Option<RequestId>, error: &ErrorObject) -> Self {
        Self { id, outcome: Outcome::Error(error.to_raw()) }
    }

    /// The beginning of a successful answer on the wire: its result and a closing brace are to follow.
    pub fn opening(id: &RequestId) -> Bytes {
        let mut out = opening(Some(id), 0);
        out.extend_from_slice(b",\"result\":");
        out.into()
    }

    /// The response on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let (name, value) = match &self.outcome {
            Outcome::Result(result) => ("result", result),
            Outcome::Error(error) => ("error", error),
        };
        let mut out = opening(self.id.as_ref(), value.bytes().len());
        push_part(&mut out, name, value);
        out.push(b'}');
        out.into()
    }
}

impl Message {
    /// The message on the wire.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Notification(notification) => notification.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

fn write_call(id: Option<&RequestId>, method: &str, params: Option<&RawJson>) -> Bytes {
    let mut out = opening(id, method.len() + params.map_or(0, |params| params.bytes().len()));
    push_part(&mut out, "method", &RawJson::string(method));
    if let Some(params) = params {
        push_part(&mut out, "params", params);
    }
    out.push(b'}');
    out.into()
}

/// The start of a message, with room for so much more.
fn opening(id: Option<&RequestId>, more: usize) -> Vec<u8> {
    let id_len = id.map_or(0, |id| id.0.bytes().len());
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + id_len + more);
    out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
    if let Some(id) = id {
        push_part(&mut out, "id", &id.0);
    }
    out
}

/// One more part of the envelope; the names are ours.
fn push_part(out: &mut Vec<u8>, name: &str, value: &RawJson) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(value.bytes());
}
