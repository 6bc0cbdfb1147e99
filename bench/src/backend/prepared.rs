//! Results that are made once and sent often.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use super::message::Message;

/// What a call without `size` gets.
const DEFAULT_SIZE: usize = 100;
/// The largest text of a result.
const SIZE_MAX: usize = 128 << 20;
/// How many different results are kept.
const KEPT_MAX: usize = 64;
const PAGE: usize = 1000;
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// How long a client may keep a list. Not long: what is measured must not be that nobody asks.
const TTL_MS: u64 = 300_000;

/// The bytes of a result.
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The results of all servers.
pub(super) struct Prepared {
    tools: u32,
    /// One more tool is there after each change.
    changes: Cell<u32>,
    calls: RefCell<BTreeMap<(usize, bool), Rc<Body>>>,
    lists: RefCell<BTreeMap<(u32, usize, bool), Rc<Body>>>,
    discovery: Rc<Body>,
    empty: Rc<Body>,
}

impl Prepared {
    pub(super) fn new(tools: u32) -> Self {
        let discovery = json!({ "resultType": "complete", "supportedVersions": ["2026-07-28", "2025-11-25"],
            "capabilities": { "tools": { "listChanged": true } }, "ttlMs": TTL_MS, "cacheScope": "public",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "hawser-bench", "version": "1" } } });
        Self {
            tools,
            changes: Cell::new(0),
            calls: RefCell::default(),
            lists: RefCell::default(),
            discovery: Rc::new(Body(discovery.to_string().into_bytes())),
            empty: Rc::new(Body(b"{}".to_vec())),
        }
    }

    pub(super) fn discovery(&self) -> Rc<Body> {
        Rc::clone(&self.discovery)
    }

    pub(super) fn empty(&self) -> Rc<Body> {
        Rc::clone(&self.empty)
    }

    /// The tools are others from now on.
    pub(super) fn change(&self) {
        self.changes.set(self.changes.get() + 1);
        self.lists.borrow_mut().clear();
    }

    /// The result of a call.
    pub(super) fn call(&self, server: u32, message: &Message<'_>, modern: bool) -> Result<Rc<Body>, String> {
        let name = message.tool().unwrap_or_default();
        let known = number_of(name, server).is_some_and(|number| number < self.count());
        if !known {
            return Err(format!("no tool {name:?}"));
        }
        let size = message.size().unwrap_or(DEFAULT_SIZE);
        if size > SIZE_MAX {
            return Err(format!("a result of at most {SIZE_MAX} bytes"));
        }
        Ok(kept(&self.calls, (size, modern), || {
            let mut result = json!({ "content": [{ "type": "text", "text": text(size) }] });
            if modern {
                result["resultType"] = json!("complete");
            }
            result
        }))
    }

    /// A page of the list of tools; the cursor is where it begins.
    pub(super) fn list(&self, server: u32, cursor: Option<&str>, modern: bool) -> Option<Rc<Body>> {
        let start: usize = cursor.map_or(Some(0), |cursor| cursor.parse().ok())?;
        let count = usize::try_from(self.count()).ok()?;
        if start >= count || !start.is_multiple_of(PAGE) {
            return None;
        }
        Some(kept(&self.lists, (server, start, modern), || {
            let end = (start + PAGE).min(count);
            let tools: Vec<Value> = (start..end).map(|number| tool(number, server)).collect();
            let mut result = json!({ "tools": tools });
            if end < count {
                result["nextCursor"] = json!(end.to_string());
            }
            if modern {
                result["resultType"] = json!("complete");
                result["ttlMs"] = json!(TTL_MS);
                result["cacheScope"] = json!("public");
            }
            result
        }))
    }

    fn count(&self) -> u32 {
        self.tools.saturating_add(self.changes.get())
    }
}

/// What is kept under the key, or is made and kept.
fn kept<K: Ord>(all: &RefCell<BTreeMap<K, Rc<Body>>>, key: K, make: impl FnOnce() -> Value) -> Rc<Body> {
    let mut all = all.borrow_mut();
    if let Some(body) = all.get(&key) {
        return Rc::clone(body);
    }
    let body = Rc::new(Body(make().to_string().into_bytes()));
    if all.len() >= KEPT_MAX {
        all.pop_first();
    }
    all.insert(key, Rc::clone(&body));
    body
}

/// `echo` is the first tool of the first server; all others have numbers.
fn name(number: usize, server: u32) -> String {
    match (number, server) {
        (0, 0) => "echo".to_owned(),
        (0, server) => format!("echo_{server}"),
        (number, server) => format!("tool_{server}_{number}"),
    }
}

fn number_of(name: &str, server: u32) -> Option<u32> {
    let of_server = |text: &str| text.parse() == Ok(server);
    if let Some(rest) = name.strip_prefix("tool_") {
        let (of, number) = rest.split_once('_')?;
        return if of_server(of) { number.parse().ok().filter(|number| *number > 0) } else { None };
    }
    let echo = match name.strip_prefix("echo")? {
        "" => server == 0,
        of => of.strip_prefix('_').is_some_and(of_server),
    };
    echo.then_some(0)
}

fn tool(number: usize, server: u32) -> Value {
    json!({
        "name": name(number, server),
        "title": format!("Tool {number}"),
        "description": "Gives a text of the size that it is asked for. It is here to be called often.",
        "inputSchema": { "type": "object", "properties": {
            "size": { "type": "integer", "minimum": 0, "description": "How long the text is, in bytes." },
            "pause_ms": { "type": "integer", "minimum": 0, "description": "A pause in the middle of the text." },
        } },
    })
}

/// A text that takes so many bytes in JSON, with line breaks and quotes as texts have them.
fn text(size: usize) -> String {
    const LINE: &str = "A line of \"text\" as tools give it: some words, a number (42), and then the end.\n";
    /// Each line break and quote takes one byte more.
    const ENCODED: usize = LINE.len() + 3;
    let mut text = LINE.repeat(size / ENCODED);
    text.extend(std::iter::repeat_n('x', size % ENCODED));
    text
}

/// What a server says of itself at the opening of a session.
pub(super) fn hello(asked: Option<&str>) -> Value {
    let revision = REVISIONS.into_iter().find(|known| Some(*known) == asked).unwrap_or("2025-11-25");
    json!({ "protocolVersion": revision, "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": { "name": "hawser-bench", "version": "1" } })
}

/// The head of a response with this result, and the beginning of its message, which `}` ends.
pub(super) fn before(id: &str, body: &Body) -> Vec<u8> {
    let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
    let length = start.len() + body.bytes().len() + 1;
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{start}").into_bytes()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_the_bytes_that_are_asked_for() {
        for size in [0, 1, 100, 65_536] {
            assert_eq!(json!(text(size)).to_string().len(), size + 2);
        }
    }

    #[test]
    fn tools_are_known_by_the_names_in_the_list_alone() {
        for server in [0, 7] {
            for number in [0, 1, 999] {
                assert_eq!(number_of(&name(number, server), server), Some(u32::try_from(number).unwrap()));
                assert_eq!(number_of(&name(number, server), server + 1), None);
            }
        }
        assert_eq!(number_of("tool_0_0", 0), None);
        assert_eq!(number_of("echoes", 0), None);
    }

    #[test]
    fn a_list_is_whole_over_its_pages() {
        let prepared = Prepared::new(2500);
        let (mut cursor, mut names) = (None, Vec::new());
        loop {
            let page = prepared.list(1, cursor.as_deref(), true).unwrap();
            let page: Value = serde_json::from_slice(page.bytes()).unwrap();
            names
                .extend(page["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 2500);
        assert!(prepared.list(1, Some("7"), true).is_none());
    }
}
