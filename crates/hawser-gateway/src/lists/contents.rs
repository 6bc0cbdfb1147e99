//! What lists say, each content once: owners who see the same of a backend share it, and what was made of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use hawser_mcp::{ListKind, ListPage, Members, RawJson, write_list};

use super::part::Fetched;

/// What an entry takes beside its text, in bytes: an estimate for the bounds.
pub(super) const ENTRY_OVERHEAD: usize = 64;
/// After so many new contents at least it is looked which are not used any more.
const LOOK_AFTER: usize = 64;

/// The entries of a list, which outlive a renewal that brings the same.
#[derive(Debug)]
pub(crate) struct Content {
    /// The same number, the same content; never used again.
    pub(super) id: u64,
    pub(crate) entries: Vec<RawJson>,
    pub(crate) bytes: usize,
    positions: OnceLock<HashMap<String, usize>>,
}

/// Names a content, whatever the order of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ContentName([u8; 32]);

/// The contents that are in use.
#[derive(Debug, Default)]
pub(super) struct Contents {
    known: HashMap<ContentName, Weak<Content>>,
    /// How many were new since it was looked last.
    new: usize,
}

impl Content {
    /// Takes the entries out of the messages that they came in, so that they keep no more than themselves.
    pub(super) fn new(id: u64, kind: ListKind, entries: &[RawJson]) -> Self {
        let text = write_list(kind, entries.iter(), None);
        let bytes = text.bytes().len() + entries.len() * ENTRY_OVERHEAD;
        // What was just written can be read.
        let entries = ListPage::read(kind, &text).map(|page| page.entries).unwrap_or_default();
        Self { id, entries, bytes, positions: OnceLock::new() }
    }

    /// The first entry of this name (or URI).
    pub(super) fn find(&self, kind: ListKind, name: &str) -> Option<&RawJson> {
        let positions = self.positions.get_or_init(|| {
            let mut positions = HashMap::with_capacity(self.entries.len());
            for (position, entry) in self.entries.iter().enumerate() {
                let key = kind.entry_key();
                if let Some(name) = Members::read(entry, &[key]).ok().and_then(|members| members.string(key)) {
                    positions.entry(name).or_insert(position);
                }
            }
            positions
        });
        self.entries.get(*positions.get(name)?)
    }
}

impl ContentName {
    /// Of what was read, and of all that decides how it is shown. Some servers list what they have as it comes, so the order does
    /// not count.
    pub(super) fn of(kind: ListKind, fetched: &Fetched) -> Self {
        let mut sorted: Vec<_> = fetched.entries.iter().map(|entry| entry.bytes().as_ref()).collect();
        sorted.sort_unstable();
        let mut context = Context::new(&SHA256);
        let circumstances =
            [kind.method(), fetched.revision.as_str(), if fetched.makes_headers { "headers" } else { "" }];
        for text in circumstances.into_iter().map(str::as_bytes).chain(sorted) {
            // With its length before it, no text can be taken for two.
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text);
        }
        let mut name = [0; 32];
        name.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(name)
    }
}

impl Contents {
    pub(super) fn get(&self, name: &ContentName) -> Option<Arc<Content>> {
        self.known.get(name)?.upgrade()
    }

    /// Takes a content in, unless the same is there already: then that one is given.
    pub(super) fn put(&mut self, name: ContentName, content: Content) -> Arc<Content> {
        if let Some(known) = self.get(&name) {
            return known;
        }
        let content = Arc::new(content);
        self.known.insert(name, Arc::downgrade(&content));
        self.new += 1;
        content
    }

    /// The numbers of those in use, now and then: whatever was made of others is never asked for again.
    pub(super) fn in_use(&mut self) -> Option<HashSet<u64>> {
        if self.new < LOOK_AFTER.max(self.known.len() / 2) {
            return None;
        }
        self.new = 0;
        self.known.retain(|_, content| content.strong_count() > 0);
        Some(self.known.values().filter_map(Weak::upgrade).map(|content| content.id).collect())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::super::part::Lifetime;
    use super::super::part::tests::fetched;
    use super::*;

    fn name(names: &[&str]) -> ContentName {
        ContentName::of(ListKind::Tools, &fetched(names, Lifetime::Announced(None)))
    }

    #[tokio::test]
    async fn a_content_is_named_by_its_entries_in_whatever_order_and_by_how_they_are_shown() {
        assert_eq!(name(&["a", "b"]), name(&["b", "a"]));
        for other in [&["a"][..], &["a", "b", "b"], &["ab"], &[]] {
            assert_ne!(name(&["a", "b"]), name(other));
        }
        let with_headers = Fetched { makes_headers: true, ..fetched(&["a"], Lifetime::Announced(None)) };
        assert_ne!(name(&["a"]), ContentName::of(ListKind::Tools, &with_headers));
        assert_ne!(name(&["a"]), ContentName::of(ListKind::Prompts, &fetched(&["a"], Lifetime::Announced(None))));
    }

    #[tokio::test]
    async fn a_content_is_there_once_and_for_as_long_as_it_is_used() {
        let mut contents = Contents::default();
        let content = |id| Content::new(id, ListKind::Tools, &fetched(&["a"], Lifetime::Announced(None)).entries);
        let first = contents.put(name(&["a"]), content(1));
        assert_eq!(contents.put(name(&["a"]), content(2)).id, 1);
        drop(first);
        assert!(contents.get(&name(&["a"])).is_none());
        let again = contents.put(name(&["a"]), content(3));
        assert_eq!(again.id, 3);
        for id in 0..LOOK_AFTER as u64 {
            assert!(contents.in_use().is_none() || id + 2 >= LOOK_AFTER as u64);
            contents.put(name(&[&id.to_string()]), content(10 + id));
        }
        contents.new = LOOK_AFTER;
        assert_eq!(contents.in_use(), Some(HashSet::from([3])));
        assert_eq!(contents.known.len(), 1);
    }

    #[test]
    fn what_is_kept_does_not_keep_the_message_it_came_in() {
        let message = Bytes::from_static(br#"{"tools":[{"name":"a"},{"name":"a","second":1}],"filler":"much"}"#);
        let message = Bytes::copy_from_slice(&message);
        let page = ListPage::read(ListKind::Tools, &RawJson::parse(&message).unwrap()).unwrap();
        let content = Content::new(1, ListKind::Tools, &page.entries);
        drop(page);
        assert!(message.is_unique());
        assert_eq!(content.entries.len(), 2);
    }
}
