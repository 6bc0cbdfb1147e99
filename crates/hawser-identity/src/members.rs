//! JSON objects from strangers: every member once, values kept raw until somebody knows their type.
//!
//! Parsers differ in which of two members of the same name they believe (RFC 8259 section 4), so an object that has any is
//! refused (RFC 7515 section 4, RFC 7519 section 4).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Most members of an object that is looked at.
const MEMBERS_MAX: usize = 256;

/// The members of a JSON object, in order, names unescaped and unique.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The bytes are no such object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MembersError {
    NotAnObject,
    Duplicate,
}

/// A member is there, but of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongType;

impl<'a> Members<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, MembersError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MembersError::NotAnObject)?;
        let members: Self = serde_json::from_str(text).map_err(|_| MembersError::NotAnObject)?;
        let mut names: Vec<&str> = members.0.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        let twice = names.iter().zip(names.iter().skip(1)).any(|(name, next)| name == next);
        if twice { Err(MembersError::Duplicate) } else { Ok(members) }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The member as a `T`; `None` if it is absent. `null` is not absent.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, WrongType> {
        self.raw(name).map(|value| serde_json::from_str(value.get()).map_err(|_| WrongType)).transpose()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// A member name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duplicates_are_found_behind_escapes() {
        let twice = Members::parse(br#"{"iss":"a","x":1,"\u0069ss":"b"}"#);
        assert_eq!(twice.unwrap_err(), MembersError::Duplicate);
    }

    #[test]
    fn other_values_trailing_bytes_and_floods_are_no_objects() {
        let flood = format!("{{{}}}", (0..=MEMBERS_MAX).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        for bytes in ["[]", "1", "", "{} {}", "{\"a\":1,}", "{\"a\":}", &flood] {
            assert_eq!(Members::parse(bytes.as_bytes()).unwrap_err(), MembersError::NotAnObject, "{bytes}");
        }
        assert_eq!(Members::parse(b"{\"a\":\"\xff\"}").unwrap_err(), MembersError::NotAnObject);
    }

    #[test]
    fn types_are_exact_and_null_is_a_value() {
        let members = Members::parse(br#"{"n":1.0,"m":-1,"k":17,"z":null}"#).unwrap();
        assert_eq!(members.get::<u64>("n"), Err(WrongType));
        assert_eq!(members.get::<u64>("m"), Err(WrongType));
        assert_eq!(members.get::<u64>("k"), Ok(Some(17)));
        assert_eq!(members.get::<String>("z"), Err(WrongType));
        assert_eq!(members.get::<u64>("absent"), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Members::parse(&bytes);
        }

        #[test]
        fn every_unique_member_is_found(names in proptest::collection::btree_set(".{0,8}", 0..20)) {
            let object: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), name.len().into())).collect();
            let text = serde_json::to_vec(&object).unwrap();
            let members = Members::parse(&text).unwrap();
            for name in &names {
                prop_assert_eq!(members.get::<usize>(name), Ok(Some(name.len())));
            }
        }
    }
}
