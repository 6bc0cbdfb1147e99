//! W3C Trace Context in `_meta` (2026-07-28, General Fields): carried on as a child span.

use std::fmt::Write as _;

use super::{META, edit_meta, meta_key};
use crate::members::Members;
use crate::raw::RawJson;

/// Bytes of a version 00 `traceparent` (W3C Trace Context section 3.2.2).
const LENGTH: usize = 55;

/// The `traceparent` of a span below this one. `None` if it is malformed: then the trace is not carried on (section 4.3).
pub fn child_traceparent(traceparent: &str, span_id: [u8; 8]) -> Option<String> {
    let (head, rest) = traceparent.split_at_checked(LENGTH)?;
    let mut parts = head.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = parts.next().is_none()
        && hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && (rest.is_empty() || (version != "00" && rest.starts_with('-')));
    if !fits || zero(trace) || zero(parent) || span_id == [0; 8] {
        return None;
    }
    // Of the flags only `sampled` and `random` are defined; what a later version adds is not claimed to be understood.
    let flags = u8::from_str_radix(flags, 16).ok()? & 0x03;
    let mut child = format!("00-{trace}-");
    for byte in span_id {
        // Writing to a String cannot fail.
        let _ = write!(child, "{byte:02x}");
    }
    let _ = write!(child, "-{flags:02x}");
    Some(child)
}

fn hex(part: &str, length: usize) -> bool {
    part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn zero(part: &str) -> bool {
    part.bytes().all(|byte| byte == b'0')
}

/// The parameters with this `traceparent` in their `_meta`; `None` if they or their `_meta` cannot be read.
pub fn with_traceparent(params: &RawJson, traceparent: &str) -> Option<RawJson> {
    let params = Members::read(params, &[META]).ok()?;
    let traceparent = RawJson::string(traceparent);
    let meta = edit_meta(&params, &[], &[(meta_key::TRACEPARENT, &traceparent)], &[]).ok()??;
    Some(params.replace(&[(META, &meta)]))
}
