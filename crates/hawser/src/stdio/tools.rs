//! What is known of tools whose arguments are mirrored into headers (2026-07-28, Custom Headers from Tool Parameters): the
//! client on the pipe has no headers, so it is done here, from the lists that pass by.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hawser_mcp::header::ParamHeaders;
use hawser_mcp::{Members, RawJson, Request, method};

/// Most tools that are kept in mind.
const TOOLS_MAX: usize = 10_000;

/// The tools with such arguments, by name.
#[derive(Debug, Default)]
pub(super) struct Tools(Mutex<HashMap<String, ParamHeaders>>);

impl Tools {
    /// Takes in a page of `tools/list`.
    pub(super) fn learn(&self, result: &RawJson) {
        let entries = Members::read(result, &[]).ok().and_then(|members| members.get("tools")?.elements());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in entries.into_iter().flatten() {
            let name = Members::read(&tool, &[]).ok().and_then(|members| members.string("name"));
            let (Some(name), Ok(headers)) = (name, ParamHeaders::of_tool(&tool)) else { continue };
            if headers.is_empty() {
                known.remove(&name);
            } else if known.len() < TOOLS_MAX || known.contains_key(&name) {
                known.insert(name, headers);
            }
        }
    }

    /// The headers that a request's arguments demand.
    pub(super) fn headers(&self, request: &Request) -> Vec<(String, String)> {
        let expected = || {
            let params = request.params.as_ref().filter(|_| request.method == method::TOOLS_CALL)?;
            let params = Members::read(params, &[]).ok()?;
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&params.string("name")?)?.expected(params.get("arguments").as_ref()).ok()
        };
        expected().unwrap_or_default()
    }
}
