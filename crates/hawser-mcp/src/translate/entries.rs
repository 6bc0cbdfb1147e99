//! Entries of lists.

use crate::header::ParamHeaders;
use crate::members::Members;
use crate::names::ListKind;
use crate::raw::RawJson;
use crate::revision::Revision;

const OUTPUT_SCHEMA: &str = "outputSchema";
const EXECUTION: &str = "execution";

/// An entry of a list of a server of revision `from`, for a client of revision `to`; `None` if it cannot be shown there.
pub fn entry(kind: ListKind, entry: &RawJson, from: Revision, to: Revision) -> Option<RawJson> {
    if kind != ListKind::Tools || (from.is_legacy() && to.is_legacy()) {
        return Some(entry.clone());
    }
    // Nobody could call it with the headers that it demands (2026-07-28, Streamable HTTP, Schema Extension).
    ParamHeaders::of_tool(entry).ok()?;
    let members = Members::read(entry, &[OUTPUT_SCHEMA, EXECUTION]).ok()?;
    if to.is_modern() { for_modern(entry, &members) } else { Some(for_legacy(entry, &members)) }
}

/// `execution` is of the experimental tasks of 2025-11-25. A tool that demands one cannot be called without.
fn for_modern(entry: &RawJson, members: &Members<'_>) -> Option<RawJson> {
    let Some(execution) = members.get(EXECUTION) else {
        return Some(entry.clone());
    };
    let support = Members::last_holds(&execution).and_then(|execution| execution.string("taskSupport"));
    (support.as_deref() != Some("required")).then(|| members.without(&[EXECUTION]))
}

/// Up to 2025-11-25 the output of a tool is an object (Tools, Output Schema).
fn for_legacy(entry: &RawJson, members: &Members<'_>) -> RawJson {
    let Some(schema) = members.get(OUTPUT_SCHEMA) else {
        return entry.clone();
    };
    let kind = Members::last_holds(&schema).and_then(|schema| schema.string("type"));
    if kind.as_deref() == Some("object") { entry.clone() } else { members.without(&[OUTPUT_SCHEMA]) }
}
