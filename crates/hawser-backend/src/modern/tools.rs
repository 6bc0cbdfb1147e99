//! Which arguments of which tools are mirrored into headers (MCP 2026-07-28, Streamable HTTP, Custom Headers from Tool
//! Parameters): learnt from every `tools/list` result that passes, for all sessions with one backend.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hawser_mcp::header::ParamHeaders;
use hawser_mcp::{ListKind, ListPage, Members, RawJson, write_list};

use crate::hello::clip;
use crate::name::BackendName;

/// Most tools with such arguments that are kept in mind. One more pushes another out, which is learnt again when the server
/// complains.
const TOOLS_MAX: usize = 4096;
/// Longest name of a tool that is kept in mind.
const NAME_BYTES_MAX: usize = 512;

/// What is known of one backend's tools.
#[derive(Debug, Default)]
pub(crate) struct Tools(Mutex<HashMap<String, Arc<ParamHeaders>>>);

impl Tools {
    /// What is mirrored for a tool, if anything.
    pub(crate) fn of(&self, name: &str) -> Option<Arc<ParamHeaders>> {
        self.tools(|tools| tools.get(name).cloned())
    }

    /// Takes in a `tools/list` result. "The client MUST exclude the invalid tool from the result": what is left of it, if it
    /// holds one.
    pub(crate) fn learn(&self, backend: &BackendName, result: &RawJson) -> Option<RawJson> {
        let page = ListPage::read(ListKind::Tools, result).ok()?;
        let mut good = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let name = Members::read(entry, &["name"]).ok().and_then(|tool| tool.string("name"));
            match ParamHeaders::of_tool(entry) {
                Ok(headers) => {
                    good.push(entry);
                    if let Some(name) = name {
                        self.note(name, headers);
                    }
                }
                Err(error) => {
                    let tool = name.as_deref().map(clip).unwrap_or_default();
                    tracing::warn!(%backend, tool, %error, "a tool is left out");
                }
            }
        }
        if good.len() == page.entries.len() {
            return None;
        }
        let list = write_list(ListKind::Tools, good.into_iter(), None);
        let list = Members::read(&list, &[]).ok()?.get(ListKind::Tools.member())?;
        Members::read(result, &[]).ok().map(|result| result.replace(&[(ListKind::Tools.member(), &list)]))
    }

    fn note(&self, name: String, headers: ParamHeaders) {
        self.tools(|tools| {
            if headers.is_empty() || name.len() > NAME_BYTES_MAX {
                tools.remove(&name);
                return;
            }
            if tools.len() >= TOOLS_MAX && !tools.contains_key(&name) {
                let one = tools.keys().next().cloned();
                one.and_then(|one| tools.remove(&one));
            }
            tools.insert(name, Arc::new(headers));
        });
    }

    fn tools<T>(&self, act: impl FnOnce(&mut HashMap<String, Arc<ParamHeaders>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
