//! One JSON value as the bytes it arrived in.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::members::{push_member, push_string};

/// One complete, well-formed JSON value in UTF-8: a slice of the message it came from. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(Bytes);

/// The bytes are not one JSON value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("not a JSON value: {0}")]
pub struct RawJsonError(pub(crate) String);

impl RawJson {
    /// Checks that the bytes are exactly one JSON value.
    pub fn parse(bytes: &Bytes) -> Result<Self, RawJsonError> {
        let trimmed = {
            let text = std::str::from_utf8(bytes).map_err(|error| RawJsonError(error.to_string()))?;
            let value: &RawValue = serde_json::from_str(text).map_err(|error| RawJsonError(error.to_string()))?;
            bytes.slice_ref(value.get().as_bytes())
        };
        Ok(Self(trimmed))
    }

    /// Takes a value out of the message that it was read from, without copying.
    pub(crate) fn slice_of(message: &Bytes, value: &RawValue) -> Self {
        Self(message.slice_ref(value.get().as_bytes()))
    }

    /// For text that this crate itself wrote as JSON.
    pub(crate) fn written(bytes: impl Into<Bytes>) -> Self {
        let raw = Self(bytes.into());
        debug_assert!(
            serde_json::from_slice::<&RawValue>(&raw.0).is_ok(),
            "this crate wrote something that is not JSON"
        );
        raw
    }

    /// Serialises what the gateway itself says.
    pub fn from_serialize(value: &impl Serialize) -> Result<Self, RawJsonError> {
        serde_json::to_vec(value).map(|bytes| Self(bytes.into())).map_err(|error| RawJsonError(error.to_string()))
    }

    /// A JSON string.
    pub fn string(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + 2);
        push_string(&mut out, text);
        Self::written(out)
    }

    /// A JSON number.
    pub fn number(number: u64) -> Self {
        Self::written(number.to_string())
    }

    /// An object of these members, in this order. The names must differ.
    pub fn object(members: &[(&str, &Self)]) -> Self {
        let mut out = vec![b'{'];
        for (name, value) in members {
            push_member(&mut out, name, value.bytes());
        }
        out.push(b'}');
        Self::written(out)
    }

    /// `{}`.
    pub fn empty_object() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// The exact bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The exact text.
    pub fn as_str(&self) -> &str {
        // Every constructor checked or wrote UTF-8; an empty string is not reachable and would be refused by any reader.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// The elements in order, raw, if the value is an array.
    pub fn elements(&self) -> Option<Vec<Self>> {
        if self.0.first() != Some(&b'[') {
            return None;
        }
        let values: Vec<&RawValue> = serde_json::from_slice(&self.0).ok()?;
        Some(values.into_iter().map(|value| Self::slice_of(&self.0, value)).collect())
    }

    /// An array of these values.
    pub fn array<'a>(values: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut out = vec![b'['];
        for value in values {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(value.bytes());
        }
        out.push(b']');
        Self::written(out)
    }

    /// The value as a string, if it is one.
    pub fn as_string(&self) -> Option<String> {
        if self.0.first() != Some(&b'"') {
            return None;
        }
        serde_json::from_slice(&self.0).ok()
    }

    /// Reads the value into a type: for the few things that the gateway itself interprets.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, RawJsonError> {
        serde_json::from_slice(&self.0).map_err(|error| RawJsonError(error.to_string()))
    }
}

impl fmt::Debug for RawJson {
    /// Tells the size only: arguments and results may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}
