//! The lists of several backends as one.

use std::fmt;

use hawser_mcp::{ListKind, Members, RawJson};

use crate::naming::{EXPOSED_NAME_CHARS_MAX, Router};

/// One backend's share of a list.
#[derive(Debug)]
pub struct Source<'a> {
    /// Position of the backend.
    pub backend: usize,
    /// Its entries, as it sent them.
    pub entries: &'a [RawJson],
}

/// A list as a client sees it.
#[derive(Clone, Debug, Default)]
pub struct MergedList {
    /// The entries, names rewritten, everything else as the backend sent it; backends in their order.
    pub entries: Vec<RawJson>,
    /// What an administrator should know.
    pub warnings: Vec<NameWarning>,
}

/// Something about a name that an administrator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameWarning {
    /// An entry without a usable name or URI; left out.
    Unusable {
        /// The backend.
        backend: String,
        /// Position in its list.
        position: usize,
        /// What is wrong.
        reason: String,
    },
    /// The exposed name is longer than model providers accept.
    TooLong {
        /// The exposed name.
        name: String,
    },
    /// The exposed name has characters that model providers refuse.
    Characters {
        /// The exposed name.
        name: String,
    },
    /// Another backend has the same name or URI, or the name reads like another backend's; left out.
    Shadowed {
        /// The backend whose entry is left out.
        backend: String,
        /// The exposed name or URI.
        name: String,
    },
}

impl fmt::Display for NameWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { backend, position, reason } => {
                write!(f, "entry {position} of backend `{backend}` is left out: {reason}")
            }
            Self::TooLong { name } => write!(
                f,
                "`{name}` is longer than {EXPOSED_NAME_CHARS_MAX} characters, which many model providers refuse; a shorter backend \
                 name helps"
            ),
            Self::Characters { name } => write!(
                f,
                "`{name}` has characters other than letters, digits, `_` and `-`, which many model providers refuse"
            ),
            Self::Shadowed { backend, name } => {
                write!(f, "`{name}` of backend `{backend}` is left out: the name already leads to another backend")
            }
        }
    }
}

/// Merges the backends' entries. An entry that cannot be used is left out and reported; the others stay.
pub fn merge(router: &Router, kind: ListKind, sources: &[Source<'_>]) -> MergedList {
    let mut merged = MergedList::default();
    let mut seen = std::collections::HashSet::new();
    for source in sources {
        for (position, entry) in source.entries.iter().enumerate() {
            match expose(router, kind, source.backend, entry) {
                Err(reason) => merged.warnings.push(NameWarning::Unusable {
                    backend: router.name(source.backend).to_owned(),
                    position,
                    reason,
                }),
                Ok((name, entry)) => {
                    let renamed = matches!(kind, ListKind::Tools | ListKind::Prompts);
                    // Reachability first: a name that leads elsewhere must not take the place of the one it leads to.
                    if (renamed && !router.reaches(source.backend, &name)) || !seen.insert(name.clone()) {
                        let backend = router.name(source.backend).to_owned();
                        merged.warnings.push(NameWarning::Shadowed { backend, name });
                        continue;
                    }
                    if kind == ListKind::Tools {
                        merged.warnings.extend(name_warnings(&name));
                    }
                    merged.entries.push(entry);
                }
            }
        }
    }
    merged
}

/// An entry under its exposed name (or its URI, which stays).
fn expose(router: &Router, kind: ListKind, backend: usize, entry: &RawJson) -> Result<(String, RawJson), String> {
    let key = kind.entry_key();
    let members = Members::read(entry, &[key]).map_err(|error| error.to_string())?;
    let own = members.string(key).ok_or_else(|| format!("it has no `{key}`"))?;
    match kind {
        ListKind::Resources | ListKind::ResourceTemplates => Ok((own, entry.clone())),
        ListKind::Tools | ListKind::Prompts => {
            let exposed = router.expose(backend, &own).ok_or_else(|| "its backend is unknown".to_owned())?;
            let entry = members.replace(&[(key, &RawJson::string(&exposed))]);
            Ok((exposed, entry))
        }
    }
}

fn name_warnings(name: &str) -> Option<NameWarning> {
    if name.chars().count() > EXPOSED_NAME_CHARS_MAX {
        return Some(NameWarning::TooLong { name: name.to_owned() });
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (!name.bytes().all(fits)).then(|| NameWarning::Characters { name: name.to_owned() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::naming::Naming;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn router() -> Router {
        Router::new([("time".to_owned(), Naming::Prefix), ("plain".to_owned(), Naming::None)]).unwrap()
    }

    #[test]
    fn only_the_name_changes() {
        let tool = raw(r#"{"x":1.50, "name":"n","inputSchema":{"a":12345678901234567890123},"vendor":null}"#);
        let merged = merge(&router(), ListKind::Tools, &[Source { backend: 0, entries: &[tool] }]);
        assert_eq!(
            merged.entries.first().unwrap().as_str(),
            r#"{"x":1.50,"name":"time_n","inputSchema":{"a":12345678901234567890123},"vendor":null}"#
        );
        assert_eq!(merged.warnings, []);
    }

    #[test]
    fn an_unusable_entry_does_not_take_the_others_with_it() {
        let entries = [raw("{}"), raw(r#"{"name":"a","Name":"b"}"#), raw("3"), raw(r#"{"name":"ok"}"#)];
        let merged = merge(&router(), ListKind::Tools, &[Source { backend: 0, entries: &entries }]);
        assert_eq!(merged.entries.len(), 1);
        assert_eq!(merged.warnings.len(), 3);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_left_out_and_said() {
        let mine = [raw(r#"{"name":"time_n"}"#)];
        let theirs = [raw(r#"{"name":"n"}"#)];
        let sources = [Source { backend: 1, entries: &mine }, Source { backend: 0, entries: &theirs }];
        let merged = merge(&router(), ListKind::Tools, &sources);
        assert_eq!(merged.entries, [raw(r#"{"name":"time_n"}"#)], "the one that the name leads to");
        let shadowed = NameWarning::Shadowed { backend: "plain".to_owned(), name: "time_n".to_owned() };
        assert_eq!(merged.warnings, [shadowed]);
    }

    #[test]
    fn names_that_model_providers_refuse_are_said() {
        let entries = [raw(&format!(r#"{{"name":"{}"}}"#, "n".repeat(60))), raw(r#"{"name":"a.b"}"#)];
        let merged = merge(&router(), ListKind::Tools, &[Source { backend: 0, entries: &entries }]);
        assert_eq!(merged.entries.len(), 2);
        assert!(matches!(merged.warnings.as_slice(), [NameWarning::TooLong { .. }, NameWarning::Characters { .. }]));
    }
}
