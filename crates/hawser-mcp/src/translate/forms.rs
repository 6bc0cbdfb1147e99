//! Forms of elicitation for clients of 2025-06-18 (Elicitation, Supported Schema Types).

use crate::members::Members;
use crate::raw::RawJson;

/// The schema with every choice written as that revision writes it; `None` if it has a choice of several values.
pub(super) fn plain_form(schema: &RawJson) -> Option<RawJson> {
    let members = Members::read(schema, &["properties", "required"]).ok()?;
    let Some(properties) = members.get("properties") else {
        return Some(schema.clone());
    };
    let fields = Members::read(&properties, &[]).ok()?;
    let mut plain = Vec::new();
    for (name, field) in fields.iter() {
        plain.push((name.to_owned(), plain_field(field)?));
    }
    let with: Vec<(&str, &RawJson)> = plain.iter().map(|(name, field)| (name.as_str(), field)).collect();
    Some(members.replace(&[("properties", &fields.replace(&with))]))
}

/// One of several: `enum` and `enumNames`, where later revisions write `oneOf`.
fn plain_field(field: RawJson) -> Option<RawJson> {
    let members = Members::read(&field, &["type", "oneOf", "enum", "enumNames"]).ok()?;
    if members.string("type").as_deref() == Some("array") {
        return None;
    }
    let Some(options) = members.get("oneOf") else {
        return Some(field);
    };
    let mut values = Vec::new();
    let mut titles = Vec::new();
    for option in options.elements()? {
        let option = Members::read(&option, &["const", "title"]).ok()?;
        let value = option.get("const")?;
        titles.push(option.get("title").unwrap_or_else(|| value.clone()));
        values.push(value);
    }
    let with = [("enum", &RawJson::array(&values)), ("enumNames", &RawJson::array(&titles))];
    Some(members.edit(&with, &["oneOf"]))
}
