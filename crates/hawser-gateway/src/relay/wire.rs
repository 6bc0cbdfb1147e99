//! Bytes in, values out: what is read of a message that may be cut, old or nonsense.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Most header fields of a head.
const HEADERS_MAX: usize = 128;

/// Reads values from the front of some bytes. Every method gives `None` where they do not suffice.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn name(&mut self) -> Option<[u8; 8]> {
        self.array()
    }

    /// Bytes with their length before them.
    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    /// Whatever is left.
    pub(super) fn rest(&mut self) -> Bytes {
        Bytes::copy_from_slice(std::mem::take(&mut self.0))
    }

    pub(super) fn headers(&mut self) -> Option<HeaderMap> {
        let count = usize::from(self.u16()?);
        if count > HEADERS_MAX {
            return None;
        }
        let mut headers = HeaderMap::with_capacity(count);
        for _ in 0..count {
            let name = HeaderName::from_bytes(self.sized()?).ok()?;
            let mut value = HeaderValue::from_bytes(self.sized()?).ok()?;
            value.set_sensitive(name == http::header::AUTHORIZATION);
            headers.append(name, value);
        }
        Some(headers)
    }

    /// `value`, if everything was read.
    pub(super) fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// Appends bytes with their length before them. Lengths are far below the range: messages are limited by the store.
pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends header fields; those beyond the limit do not travel, and the reader would refuse them.
pub(super) fn put_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    let count = headers.len().min(HEADERS_MAX);
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
    for (name, value) in headers.iter().take(count) {
        put_sized(out, name.as_str().as_bytes());
        put_sized(out, value.as_bytes());
    }
}
