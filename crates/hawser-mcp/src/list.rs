//! Pages of `tools/list` and its three siblings, entries raw.

use serde_json::value::RawValue;

use crate::members::Members;
use crate::names::ListKind;
use crate::raw::{RawJson, RawJsonError};

/// One page of a backend's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The entries, raw, in order.
    pub entries: Vec<RawJson>,
    /// Where the next page starts; an empty string is a cursor like any other (2025-06-18, Pagination).
    pub next_cursor: Option<String>,
}

impl ListPage {
    /// Reads the result of the kind's list method.
    pub fn read(kind: ListKind, result: &RawJson) -> Result<Self, RawJsonError> {
        let members =
            Members::read(result, &[kind.member(), "nextCursor"]).map_err(|error| RawJsonError(error.to_string()))?;
        let list = members
            .get(kind.member())
            .ok_or_else(|| RawJsonError(format!("the result has no member `{}`", kind.member())))?;
        let values: Vec<&RawValue> = serde_json::from_str(list.as_str())
            .map_err(|_| RawJsonError(format!("`{}` is not an array", kind.member())))?;
        let entries = values.into_iter().map(|value| RawJson::slice_of(list.bytes(), value)).collect();
        let next_cursor = match members.get("nextCursor") {
            None => None,
            Some(cursor) if cursor.as_str() == "null" => None,
            Some(cursor) => {
                Some(cursor.as_string().ok_or_else(|| RawJsonError("`nextCursor` is not a string".to_owned()))?)
            }
        };
        Ok(Self { entries, next_cursor })
    }
}

/// A list result with these entries.
pub fn write_list<'a>(
    kind: ListKind,
    entries: impl Iterator<Item = &'a RawJson>,
    next_cursor: Option<&str>,
) -> RawJson {
    let mut out = format!(r#"{{"{}":["#, kind.member());
    for (index, entry) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(entry.as_str());
    }
    out.push(']');
    if let Some(cursor) = next_cursor {
        out.push_str(r#","nextCursor":"#);
        out.push_str(RawJson::string(cursor).as_str());
    }
    out.push('}');
    RawJson::written(out)
}
