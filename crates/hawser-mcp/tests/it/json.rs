//! Arbitrary JSON as text, with white space and number forms that no typed round trip would keep.

use bytes::Bytes;
use hawser_mcp::RawJson;
use proptest::prelude::*;

/// White space between tokens (RFC 8259 section 2).
pub(crate) fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,2}"
}

/// A JSON string as text, with some characters escaped that need not be.
pub(crate) fn string() -> impl Strategy<Value = String> {
    any::<(String, bool)>().prop_map(|(text, escape)| write_string(&text, escape))
}

/// Writes a string, escaping all of it or only what must be.
pub(crate) fn write_string(text: &str, escape: bool) -> String {
    let plain = serde_json::to_string(text).unwrap();
    if !escape {
        return plain;
    }
    let escaped: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{}\"", escaped.concat())
}

/// Any JSON value as text, nested up to four levels.
pub(crate) fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        string(),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec((space(), inner.clone()), 0..5).prop_map(|items| {
                let items: Vec<String> =
                    items.into_iter().map(|(space, item)| format!("{space}{item}{space}")).collect();
                format!("[{}]", items.join(","))
            }),
            proptest::collection::vec((space(), string(), inner), 0..5).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(space, name, value)| format!("{space}{name}{space}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

pub(crate) fn raw(text: &str) -> RawJson {
    RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

/// The same bytes in pieces, cut at arbitrary places.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut start = 0;
    let mut pieces = Vec::new();
    for cut in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(bytes.get(start..cut).unwrap());
        start = cut;
    }
    pieces
}

pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(any::<usize>(), 0..12)
}
