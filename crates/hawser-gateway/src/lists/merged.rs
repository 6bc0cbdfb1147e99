//! One list made of many: translated for the client's revision, named, and known by a digest of its content.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use hawser_catalog::{Router, Source, merge};
use hawser_mcp::header::ParamHeaders;
use hawser_mcp::{Era, ListKind, Members, RawJson, Revision, translate};
use tracing::{debug, warn};

use super::contents::ENTRY_OVERHEAD;
use super::part::Part;

/// Names a list by its content: the same on every node, and another as soon as anything is.
pub(crate) type ListDigest = [u8; 16];

/// A list as clients of one revision see it.
#[derive(Debug)]
pub(crate) struct MergedList {
    pub(crate) entries: Vec<RawJson>,
    pub(crate) digest: ListDigest,
    pub(crate) bytes: usize,
}

impl MergedList {
    /// Merges the backends' lists in the order of the backends.
    pub(crate) fn of(
        endpoint: &str,
        router: &Router,
        kind: ListKind,
        to: Revision,
        parts: &[(usize, Arc<Part>)],
    ) -> Self {
        let translated: Vec<_> =
            parts.iter().map(|(backend, part)| (*backend, presentable(router, *backend, part, to))).collect();
        let sources: Vec<_> = translated
            .iter()
            .map(|(backend, entries)| Source { backend: *backend, entries: entries.as_slice() })
            .collect();
        let merged = merge(router, kind, &sources);
        for warning in &merged.warnings {
            debug!(endpoint, %warning, "while merging {}", kind.method());
        }
        Self::new(merged.entries)
    }

    fn new(entries: Vec<RawJson>) -> Self {
        let bytes = entries.iter().map(|entry| entry.bytes().len() + ENTRY_OVERHEAD).sum();
        Self { digest: digest(&entries), entries, bytes }
    }
}

/// The entries of a list that clients of a revision can be shown.
fn presentable(router: &Router, backend: usize, part: &Part, to: Revision) -> Vec<RawJson> {
    let shown = part.content.entries.iter().filter_map(|entry| {
        if part.kind == ListKind::Tools
            && (part.makes_headers || to.era() == Era::Modern)
            && let Err(error) = ParamHeaders::of_tool(entry)
        {
            // "Clients MUST exclude the tool from the result of `tools/list` and SHOULD log a warning" (2026-07-28, Tools,
            // x-mcp-header). Merged lists are kept, so this is not said at every request.
            let tool = Members::read(entry, &[]).ok().and_then(|members| members.string("name")).unwrap_or_default();
            let tool: String = tool.chars().take(128).collect();
            warn!(backend = router.name(backend), tool, %error, "a tool is left out: its x-mcp-header annotation is not valid");
            return None;
        }
        translate::entry(part.kind, entry, part.revision, to)
    });
    shown.collect()
}

fn digest(entries: &[RawJson]) -> ListDigest {
    let mut context = Context::new(&SHA256);
    for entry in entries {
        // With its length before it, no entry can be taken for two.
        context.update(&(entry.bytes().len() as u64).to_be_bytes());
        context.update(entry.bytes());
    }
    let mut digest = ListDigest::default();
    digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

#[cfg(test)]
mod tests {
    use super::super::part::tests::raw;
    use super::*;

    #[test]
    fn a_digest_tells_lists_apart_by_content_order_and_borders() {
        let lists = [vec![], vec![raw("1")], vec![raw("12")], vec![raw("1"), raw("2")], vec![raw("2"), raw("1")]];
        let digests: std::collections::HashSet<_> = lists.iter().map(|list| digest(list)).collect();
        assert_eq!(digests.len(), lists.len());
        assert_eq!(digest(&[raw("1")]), digest(&[raw("1")]));
    }
}
