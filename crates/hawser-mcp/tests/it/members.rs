//! Objects: one member is replaced, every other byte stays; what two readers could read differently is refused.

use bytes::Bytes;
use hawser_mcp::{ListKind, ListPage, Members, MembersError, RawJson, write_list};
use proptest::prelude::*;

use crate::json::{raw, space, value, write_string};

/// An object of distinct names, as text and as its members.
fn object() -> impl Strategy<Value = (String, Vec<(String, String)>)> {
    let members = proptest::collection::btree_map(any::<String>(), (value(), any::<bool>(), space()), 0..8);
    members.prop_map(|members| {
        let text: Vec<String> = members
            .iter()
            .map(|(name, (value, escape, space))| {
                format!("{space}{}{space}:{space}{value}{space}", write_string(name, *escape))
            })
            .collect();
        let members = members.into_iter().map(|(name, (value, ..))| (name, value)).collect();
        (format!("{{{}}}", text.join(",")), members)
    })
}

proptest! {
    #[test]
    fn members_are_read_in_order_with_their_exact_values((text, members) in object()) {
        let source = raw(&text);
        let read = Members::read(&source, &[]).unwrap();
        let read: Vec<(String, String)> =
            read.iter().map(|(name, value)| (name.to_owned(), value.as_str().to_owned())).collect();
        prop_assert_eq!(read, members);
    }

    #[test]
    fn replacing_some_members_keeps_all_others_byte_for_byte(
        (text, members) in object(), which in any::<prop::sample::Index>(), with in value(), added in any::<String>()
    ) {
        let source = raw(&text);
        let read = Members::read(&source, &[]).unwrap();
        let new = raw(&with);
        let replaced = if members.is_empty() { added.clone() } else { which.get(&members).0.clone() };
        let mut with: Vec<(&str, &RawJson)> = vec![(&replaced, &new)];
        if added != replaced {
            with.push((&added, &new));
        }
        let written = read.replace(&with);
        let again = Members::read(&written, &[]).unwrap();
        for (name, value) in &members {
            let expected = if *name == replaced || *name == added { new.as_str() } else { value.as_str() };
            let found = again.get(name).unwrap();
            prop_assert_eq!(found.as_str(), expected);
        }
        let found = again.get(&added).unwrap();
        prop_assert_eq!(found.as_str(), new.as_str());
        let names: Vec<String> = again.iter().map(|(name, _)| name.to_owned()).collect();
        let mut expected: Vec<String> = members.into_iter().map(|(name, _)| name).collect();
        for (name, _) in with {
            if !expected.iter().any(|found| found == name) {
                expected.push(name.to_owned());
            }
        }
        prop_assert_eq!(names, expected);
    }

    #[test]
    fn a_member_that_occurs_twice_is_refused_also_escaped((text, members) in object(), which in any::<prop::sample::Index>(), escape: bool) {
        prop_assume!(!members.is_empty());
        let name = write_string(&which.get(&members).0, escape);
        let doubled = format!("{},{name}:1}}", text.strip_suffix('}').unwrap());
        let doubled = raw(&doubled);
        let refused = matches!(Members::read(&doubled, &[]), Err(MembersError::Duplicate(_)));
        prop_assert!(refused);
    }

    #[test]
    fn a_twin_in_another_case_is_refused_wherever_it_stands(upper in proptest::collection::vec(any::<bool>(), 4), escape: bool, first: bool) {
        let twin: String =
            "name".chars().zip(&upper).map(|(letter, upper)| if *upper { letter.to_ascii_uppercase() } else { letter }).collect();
        prop_assume!(twin != "name");
        let twin = write_string(&twin, escape);
        let text = if first { format!(r#"{{{twin}:1,"name":2}}"#) } else { format!(r#"{{"name":2,{twin}:1}}"#) };
        for text in [text, format!("{{{twin}:1}}")] {
            let source = raw(&text);
            let refused = matches!(Members::read(&source, &["name"]), Err(MembersError::CaseTwin { expected: "name", .. }));
            prop_assert!(refused);
            prop_assert!(Members::read(&source, &[]).is_ok(), "members that are not routed by are the server's");
        }
    }

    #[test]
    fn values_that_are_no_objects_are_refused(value in value()) {
        let source = raw(&value);
        prop_assert_eq!(Members::read(&source, &[]).is_ok() || value.starts_with('{'), value.starts_with('{'));
    }

    #[test]
    fn a_list_that_is_written_is_read_again(entries in proptest::collection::vec(value(), 0..6), cursor in proptest::option::of(any::<String>())) {
        let entries: Vec<RawJson> = entries.iter().map(|entry| raw(entry)).collect();
        for kind in ListKind::ALL {
            let written = write_list(kind, entries.iter(), cursor.as_deref());
            let page = ListPage::read(kind, &written).unwrap();
            prop_assert_eq!(&page.entries, &entries);
            prop_assert_eq!(&page.next_cursor, &cursor);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        if let Ok(value) = RawJson::parse(&Bytes::from(bytes)) {
            let _ = Members::read(&value, &["name"]);
            let _ = ListPage::read(ListKind::Tools, &value);
        }
    }
}

#[test]
fn letters_that_fold_into_ascii_are_twins_too() {
    for (routed, twin) in [("cursor", "cur\u{17F}or"), ("taskId", "tas\u{212A}Id"), ("uri", "URI"), ("_meta", "_META")]
    {
        let source = raw(&format!(r#"{{"{twin}":1}}"#));
        let routed: &[&'static str] = match routed {
            "cursor" => &["cursor"],
            "taskId" => &["taskId"],
            "uri" => &["uri"],
            _ => &["_meta"],
        };
        assert!(matches!(Members::read(&source, routed), Err(MembersError::CaseTwin { .. })), "{twin}");
    }
}

#[test]
fn an_object_with_very_many_members_is_refused() {
    let members: Vec<String> = (0..1025).map(|n| format!(r#""m{n}":{n}"#)).collect();
    let source = raw(&format!("{{{}}}", members.join(",")));
    assert_eq!(Members::read(&source, &[]).err(), Some(MembersError::TooMany));
    let source = raw(&format!("{{{}}}", members.get(..1024).unwrap().join(",")));
    assert!(Members::read(&source, &[]).is_ok());
}
