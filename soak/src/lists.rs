//! Lists that owners read, and what must be in them.

use serde_json::Value;

use crate::catalogue::PROMPTS;
use crate::exchange::{Attempt, End};
use crate::loot::Cursor;
use crate::random::Random;
use crate::world::BACKENDS;

/// A list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct List {
    pub(crate) method: &'static str,
    member: &'static str,
}

pub(crate) const TOOLS: List = List { method: "tools/list", member: "tools" };
const PAGED: List = List { method: "prompts/list", member: "prompts" };

/// How often a list is begun again, since it changed between its pages.
pub(crate) const BEGUN_AGAIN_MAX: u32 = 4;

/// One of them.
pub(crate) fn choose(random: &mut Random) -> List {
    if random.chance(50) { TOOLS } else { PAGED }
}

/// Whether a cursor is of a list that is another by now: its client starts again, as it is told.
pub(crate) fn has_changed(attempt: &Attempt) -> bool {
    matches!(&attempt.end, End::Response(response) if response["error"]["code"] == -32602)
}

impl List {
    /// Takes the names of a page; the cursor of the next one.
    pub(crate) fn take(self, result: &Value, names: &mut Vec<String>) -> Option<String> {
        let entries = result.get(self.member).and_then(Value::as_array);
        names.extend(entries.into_iter().flatten().filter_map(|entry| entry["name"].as_str().map(str::to_owned)));
        // However many pages there are, they are not more than this.
        let next = result.get("nextCursor").and_then(Value::as_str).filter(|_| names.len() < 10 * PROMPTS);
        next.map(str::to_owned)
    }

    /// Whether these are all names.
    pub(crate) fn complete(self, names: &[String]) -> bool {
        let others = names.iter().filter(|name| name.starts_with("many_")).count();
        self.missing(names).is_none() && (self.member == "tools" || others == PROMPTS)
    }

    /// A backend whose entries are not among these names.
    pub(crate) fn missing(self, names: &[String]) -> Option<usize> {
        let known = if self.member == "tools" { "test_side_effects" } else { "test_simple_prompt" };
        BACKENDS.iter().position(|backend| !names.iter().any(|name| *name == format!("{backend}_{known}")))
    }

    pub(crate) fn cursor(self, modern: bool, cursor: &str) -> Cursor {
        Cursor { modern, method: self.method, text: cursor.to_owned() }
    }
}
