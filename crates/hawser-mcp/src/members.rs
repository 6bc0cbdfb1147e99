//! The members of one JSON object, in order, with their values raw.
//!
//! Two objects that a gateway and a backend read differently are an attack: the gateway decides on one `name`, the backend
//! acts on the other. Duplicate members are refused here, also escaped ones. For the members that are routed by, so are
//! names that differ only in letter case, which some backends take for the same (CVE-2026-27896).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::raw::RawJson;

/// Most members an object may have where the gateway looks into it.
const MEMBERS_MAX: usize = 1024;

/// Insignificant whitespace (RFC 8259 section 2).
const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

type Entries<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// An object's members in their order.
#[derive(Debug)]
pub struct Members<'a> {
    source: &'a Bytes,
    entries: Entries<'a>,
}

/// Why an object is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum MembersError {
    /// Not an object at all.
    #[error("expected an object")]
    NotAnObject,
    /// A member occurs twice.
    #[error("the member {0:?} occurs twice")]
    Duplicate(String),
    /// A member differs from one the gateway routes by only in letter case.
    #[error("the member {found:?} differs from {expected:?} only in letter case")]
    CaseTwin {
        /// What was sent.
        found: String,
        /// What the specification calls it.
        expected: &'static str,
    },
    /// A member that must be an object is something else.
    #[error("the member {0:?} is not an object")]
    MemberNotAnObject(&'static str),
    /// A member that must be a string is something else.
    #[error("the member {0:?} is not a string")]
    MemberNotAString(&'static str),
    /// More members than are looked at.
    #[error("an object may have at most {MEMBERS_MAX} members here")]
    TooMany,
}

/// Why text is no object that can be used.
#[derive(Debug)]
pub(crate) enum NotMembers {
    /// Not JSON.
    Syntax(serde_json::Error),
    /// JSON, but not such an object.
    Refused(MembersError),
}

impl From<MembersError> for NotMembers {
    fn from(error: MembersError) -> Self {
        Self::Refused(error)
    }
}

impl<'a> Members<'a> {
    /// Reads an object. `routed` are the members that the gateway acts on: none of them may have a twin in another case.
    pub fn read(source: &'a RawJson, routed: &[&'static str]) -> Result<Self, MembersError> {
        Self::parse(source.bytes(), source.as_str(), routed).map_err(|refused| match refused {
            NotMembers::Syntax(_) => MembersError::NotAnObject,
            NotMembers::Refused(error) => error,
        })
    }

    /// The same for text that nobody has read yet, within its message.
    pub(crate) fn parse(source: &'a Bytes, text: &'a str, routed: &[&'static str]) -> Result<Self, NotMembers> {
        if !text.trim_start_matches(JSON_SPACE).starts_with('{') {
            let _: &RawValue = serde_json::from_str(text).map_err(NotMembers::Syntax)?;
            return Err(MembersError::NotAnObject.into());
        }
        let entries = walk(text, MEMBERS_MAX).map_err(NotMembers::Syntax)?;
        let entries = entries.ok_or(MembersError::TooMany)?;
        for (index, (name, _)) in entries.iter().enumerate() {
            if entries.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(MembersError::Duplicate(clip(name)).into());
            }
            if let Some(expected) = routed.iter().find(|routed| **routed != name.as_ref() && same_folded(routed, name))
            {
                return Err(MembersError::CaseTwin { found: clip(name), expected }.into());
            }
        }
        Ok(Self { source, entries })
    }

    /// Reads an object as lenient readers do: of members of the same name the last one holds, and there is no limit to their
    /// number. For what is written anew without being routed by. `None` if it is not an object.
    pub(crate) fn last_holds(source: &'a RawJson) -> Option<Self> {
        let all = source.is_object().then(|| walk(source.as_str(), usize::MAX).ok()).flatten()??;
        let mut at: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(all.len());
        let mut entries: Entries<'a> = Vec::with_capacity(all.len());
        for (name, value) in all {
            if let Some(earlier) = at.get(&name).and_then(|index| entries.get_mut(*index)) {
                earlier.1 = value;
            } else {
                at.insert(name.clone(), entries.len());
                entries.push((name, value));
            }
        }
        Some(Self { source: source.bytes(), entries })
    }

    /// Whether a member differs from this name only in letter case.
    pub(crate) fn has_twin(&self, name: &str) -> bool {
        self.entries.iter().any(|(found, _)| found != name && same_folded(name, found))
    }

    /// The raw value of a member.
    pub fn get(&self, name: &str) -> Option<RawJson> {
        self.entries.iter().find(|(found, _)| found == name).map(|(_, value)| RawJson::slice_of(self.source, value))
    }

    /// The value of a member that must be a string, if it is there and one.
    pub fn string(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|value| value.as_string())
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, RawJson)> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), RawJson::slice_of(self.source, value)))
    }

    /// The object with some members' values replaced (appended where absent). All other values are the same bytes.
    #[must_use]
    pub fn replace(&self, with: &[(&str, &RawJson)]) -> RawJson {
        self.edit(with, &[])
    }

    /// The object without some members. All other values are the same bytes.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> RawJson {
        self.edit(&[], names)
    }

    /// The object with some members' values replaced (appended where absent) and others removed. A name on both lists is
    /// replaced. All other values are the same bytes.
    #[must_use]
    pub fn edit(&self, with: &[(&str, &RawJson)], without: &[&str]) -> RawJson {
        let added: usize = with.iter().map(|(name, value)| name.len() + value.bytes().len() + 4).sum();
        let mut out = Vec::with_capacity(self.source.len() + added);
        out.push(b'{');
        for (name, value) in &self.entries {
            match with.iter().find(|(replaced, _)| replaced == name) {
                Some((_, raw)) => push_member(&mut out, name, raw.bytes()),
                None if without.contains(&name.as_ref()) => {}
                None => push_member(&mut out, name, value.get().as_bytes()),
            }
        }
        for (name, value) in with.iter().filter(|(name, _)| !self.entries.iter().any(|(found, _)| found == name)) {
            push_member(&mut out, name, value.bytes());
        }
        out.push(b'}');
        RawJson::written(out)
    }
}

pub(crate) fn push_member(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    push_string(out, name);
    out.push(b':');
    out.extend_from_slice(value);
}

/// A JSON string (RFC 8259 section 7).
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// All members of an object; `Ok(None)` if there are more than `max`, an error if it is not a well-formed object.
fn walk(text: &str, max: usize) -> Result<Option<Entries<'_>>, serde_json::Error> {
    struct Walk(usize);
    impl<'de> Visitor<'de> for Walk {
        type Value = Option<Entries<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::with_capacity(8);
            let mut count = 0;
            while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                count += 1;
                if count <= self.0 {
                    entries.push((name.0, value));
                }
            }
            Ok((count <= self.0).then_some(entries))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let entries = deserializer.deserialize_map(Walk(max))?;
    deserializer.end()?;
    Ok(entries)
}

/// A member name, borrowed where the text has no escapes (`&str` alone would refuse those).
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Name<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text).map(Name)
    }
}

/// Simple case folding as lenient readers do it, including U+017F (long s) and U+212A (Kelvin sign).
fn same_folded(expected: &str, found: &str) -> bool {
    // Within ASCII both foldings are one; only a character beyond it can turn into a letter.
    if expected.is_ascii() && found.is_ascii() {
        return expected.eq_ignore_ascii_case(found);
    }
    let fold = |text: &str| text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect::<String>();
    // Folding changes the number of bytes by at most a factor of three; anything longer cannot be equal.
    found.len() <= expected.len() * 3 && fold(expected) == fold(found)
}

fn clip(name: &str) -> String {
    name.chars().take(64).collect()
}
