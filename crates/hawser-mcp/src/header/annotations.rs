//! Finding `x-mcp-header` in a tool's input schema, and refusing it where it must not be (2026-07-28, Schema Extension).

use thiserror::Error;

use crate::members::{Members, MembersError};
use crate::raw::RawJson;

/// The keyword that marks a property.
const KEYWORD: &str = "x-mcp-header";
/// Most marked properties of one tool.
const HEADERS_MAX: usize = 32;
/// Longest name of a header, without its prefix.
const NAME_BYTES_MAX: usize = 128;
/// Deepest schema that is looked into. Messages of a backend are bounded too; this function does not rely on it.
const DEPTH_MAX: usize = 128;
/// Largest schema with annotations, in bytes: every level is read anew.
const SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// Keywords whose values are maps of schemas under free names.
const MAPS: [&str; 4] = ["patternProperties", "dependentSchemas", "$defs", "definitions"];
/// Keywords whose values are data, not schemas.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];

/// Why a tool's annotations are invalid: the tool must not be offered (Schema Extension).
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BadAnnotation {
    /// The tool or its schema is ambiguous.
    #[error("the tool's `inputSchema` cannot be read: {0}")]
    Schema(#[from] MembersError),
    /// Nested too deeply to be checked.
    #[error("the tool's `inputSchema` is nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// Too large to be checked.
    #[error("an `inputSchema` with `x-mcp-header` may have at most {SCHEMA_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the name of a header.
    #[error("`x-mcp-header` must be a header name of 1 to {NAME_BYTES_MAX} bytes (RFC 9110 section 5.1)")]
    Name,
    /// Two properties with one header.
    #[error("the `x-mcp-header` {0:?} occurs twice")]
    Duplicate(String),
    /// On something that is not a string, an integer or a boolean.
    #[error("the property of the `x-mcp-header` {0:?} must have the type string, integer or boolean")]
    Type(String),
    /// Not on a property that only `properties` lead to.
    #[error("`x-mcp-header` is only allowed on properties that a chain of `properties` leads to")]
    Misplaced,
    /// Too many.
    #[error("a tool may have at most {HEADERS_MAX} `x-mcp-header`s")]
    TooMany,
}

/// One marked property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    /// The header's name, without its prefix.
    pub(super) name: String,
    /// The names of the properties that lead to it, the own one last.
    pub(super) path: Vec<String>,
}

/// All marked properties of a tool.
pub(super) fn find(tool: &RawJson) -> Result<Vec<Annotation>, BadAnnotation> {
    // Most tools have none: this spares the walk.
    if !may_hold_keyword(tool.as_str()) {
        return Ok(Vec::new());
    }
    let Some(schema) = Members::read(tool, &["inputSchema"])?.get("inputSchema") else {
        return Ok(Vec::new());
    };
    if may_hold_keyword(schema.as_str()) && schema.bytes().len() > SCHEMA_BYTES_MAX {
        return Err(BadAnnotation::TooLarge);
    }
    let mut search = Search { found: Vec::new(), path: Vec::new() };
    search.schema(&schema, true, 0)?;
    Ok(search.found)
}

struct Search {
    found: Vec<Annotation>,
    path: Vec<String>,
}

impl Search {
    /// Looks into a schema. `reachable`: only `properties` led here from the root.
    fn schema(&mut self, schema: &RawJson, reachable: bool, depth: usize) -> Result<(), BadAnnotation> {
        if depth > DEPTH_MAX {
            return Err(BadAnnotation::Depth);
        }
        if !schema.is_object() {
            return self.elements(schema, depth);
        }
        // Schemas without any annotation below may be as odd as they like: they are passed on, not acted on.
        if !may_hold_keyword(schema.as_str()) {
            return Ok(());
        }
        let members = Members::read(schema, &[KEYWORD, "properties", "type"])?;
        if let Some(name) = members.get(KEYWORD) {
            self.annotation(&members, &name, reachable)?;
        }
        for (keyword, value) in members.iter() {
            match keyword {
                "properties" => self.properties(&value, reachable, depth)?,
                _ if MAPS.contains(&keyword) => self.properties(&value, false, depth)?,
                _ if DATA.contains(&keyword) => {}
                _ => self.schema(&value, false, depth + 1)?,
            }
        }
        Ok(())
    }

    /// Schemas under free names: one of them may be called like the keyword.
    fn properties(&mut self, properties: &RawJson, reachable: bool, depth: usize) -> Result<(), BadAnnotation> {
        if !properties.is_object() {
            return self.elements(properties, depth);
        }
        for (name, schema) in Members::read(properties, &[])?.iter() {
            self.path.push(name.to_owned());
            self.schema(&schema, reachable, depth + 1)?;
            self.path.pop();
        }
        Ok(())
    }

    fn elements(&mut self, value: &RawJson, depth: usize) -> Result<(), BadAnnotation> {
        for element in value.elements().unwrap_or_default() {
            self.schema(&element, false, depth + 1)?;
        }
        Ok(())
    }

    fn annotation(&mut self, schema: &Members<'_>, name: &RawJson, reachable: bool) -> Result<(), BadAnnotation> {
        if !reachable || self.path.is_empty() {
            return Err(BadAnnotation::Misplaced);
        }
        let name = name.as_string().filter(|name| is_token(name)).ok_or(BadAnnotation::Name)?;
        if !matches!(schema.string("type").as_deref(), Some("string" | "integer" | "boolean")) {
            return Err(BadAnnotation::Type(name));
        }
        if self.found.iter().any(|found| found.name.eq_ignore_ascii_case(&name)) {
            return Err(BadAnnotation::Duplicate(name));
        }
        if self.found.len() == HEADERS_MAX {
            return Err(BadAnnotation::TooMany);
        }
        self.found.push(Annotation { name, path: self.path.clone() });
        Ok(())
    }
}

/// Whether the keyword can be in this JSON text: as it is, or with some of its letters escaped.
fn may_hold_keyword(text: &str) -> bool {
    let escaped_letter = |(at, _): (usize, &str)| {
        let digits = text.get(at + 4..at + 6);
        digits
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .is_some_and(|byte| KEYWORD.as_bytes().contains(&byte))
    };
    text.contains(KEYWORD) || text.match_indices("\\u00").any(escaped_letter)
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(tchar)
}
