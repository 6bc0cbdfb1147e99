//! `Mcp-Param-*`: arguments that a tool wants mirrored into headers (2026-07-28, Custom Headers from Tool Parameters).

use thiserror::Error;

use super::annotations::{Annotation, BadAnnotation, find};
use super::value::{HeaderValueError, decode_value, encode_value};
use crate::members::{Members, MembersError};
use crate::raw::RawJson;

/// What the name of every such header begins with.
pub const PARAM_PREFIX: &str = "Mcp-Param-";
/// Greatest integer that may be mirrored (Schema Extension: safe for JavaScript).
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// The `x-mcp-header` annotations of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamHeaders {
    headers: Vec<ParamHeader>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ParamHeader {
    /// With its prefix.
    name: String,
    /// The names of the members that lead to the argument.
    path: Vec<String>,
}

/// An argument that can be mirrored. All others (`null`, fractions, arrays, objects) are not: whether they fit the tool's schema
/// is for the tool to say.
#[derive(Debug, PartialEq, Eq)]
enum Argument {
    Text(String),
    Integer(i64),
}

/// Why arguments cannot be mirrored: the gateway would read them otherwise than the tool.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ArgumentError {
    /// An object is ambiguous.
    #[error("the arguments are ambiguous: {0}")]
    Members(#[from] MembersError),
    /// Another member has nearly the name of the one that is mirrored.
    #[error("a member of the arguments differs from the one for {0} only in letter case")]
    CaseTwin(String),
}

/// Why headers do not fit the arguments. The text names the header and no value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum HeaderMismatch {
    /// The argument is there, the header is not.
    #[error("the header {0} is missing")]
    Missing(String),
    /// The header is there, the argument is not.
    #[error("the header {0} has no argument to match")]
    Unexpected(String),
    /// The header is there more than once.
    #[error("the header {0} occurs more than once")]
    Repeated(String),
    /// Its value cannot be read.
    #[error("the value of the header {0} {1}")]
    Malformed(String, HeaderValueError),
    /// Another value.
    #[error("the header {0} does not match the argument")]
    Different(String),
    /// The arguments themselves cannot be mirrored.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

impl ParamHeaders {
    /// The annotations of a tool, as its entry in `tools/list` has them.
    pub fn of_tool(tool: &RawJson) -> Result<Self, BadAnnotation> {
        let header = |Annotation { name, path }| ParamHeader { name: format!("{PARAM_PREFIX}{name}"), path };
        Ok(Self { headers: find(tool)?.into_iter().map(header).collect() })
    }

    /// Whether the tool has none.
    pub const fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Whether this is one of the tool's headers. Those that are not are passed on by who stands in between (Server Behavior for
    /// Custom Headers).
    pub fn recognises(&self, header: &str) -> bool {
        self.headers.iter().any(|known| known.name.eq_ignore_ascii_case(header))
    }

    /// The headers that these arguments demand: name and encoded value.
    pub fn expected(&self, arguments: Option<&RawJson>) -> Result<Vec<(String, String)>, ArgumentError> {
        let mirrored = self.mirrored(arguments)?;
        let present = mirrored.into_iter().filter_map(|(name, argument)| Some((name.to_owned(), argument?)));
        Ok(present.map(|(name, argument)| (name, encode_value(&argument.into_text()))).collect())
    }

    /// Whether the headers say what the arguments say. `found` gives all values of a header by its name, which is to be matched
    /// without regard to case.
    pub fn verify<'h>(
        &self,
        arguments: Option<&RawJson>,
        found: impl Fn(&str) -> Vec<&'h [u8]>,
    ) -> Result<(), HeaderMismatch> {
        for (name, argument) in self.mirrored(arguments)? {
            match (argument, found(name).as_slice()) {
                (None, []) => {}
                (Some(_), []) => return Err(HeaderMismatch::Missing(name.to_owned())),
                (None, [_]) => return Err(HeaderMismatch::Unexpected(name.to_owned())),
                (Some(argument), [value]) => check(name, &argument, value)?,
                (_, [_, _, ..]) => return Err(HeaderMismatch::Repeated(name.to_owned())),
            }
        }
        Ok(())
    }

    /// Each header's name with the argument that it mirrors.
    fn mirrored(&self, arguments: Option<&RawJson>) -> Result<Vec<(&str, Option<Argument>)>, ArgumentError> {
        let absent = || self.headers.iter().map(|header| (header.name.as_str(), None)).collect();
        let Some(arguments) = arguments.filter(|_| !self.is_empty()) else {
            return Ok(absent());
        };
        let root = Members::read(arguments, &[])?;
        let read = |header| Ok((header_name(header), argument_at(&root, header)?));
        self.headers.iter().map(read).collect()
    }
}

fn header_name(header: &ParamHeader) -> &str {
    &header.name
}

/// The value at a header's path, if there is one that can be mirrored.
fn argument_at(root: &Members<'_>, header: &ParamHeader) -> Result<Option<Argument>, ArgumentError> {
    let Some((first, rest)) = header.path.split_first() else {
        return Ok(None);
    };
    let mut value = member(root, first, header)?;
    for name in rest {
        value = match value {
            Some(object) if object.is_object() => member(&Members::read(&object, &[])?, name, header)?,
            _ => return Ok(None),
        };
    }
    Ok(value.as_ref().and_then(Argument::read))
}

fn member(object: &Members<'_>, name: &str, header: &ParamHeader) -> Result<Option<RawJson>, ArgumentError> {
    if object.has_twin(name) {
        return Err(ArgumentError::CaseTwin(header.name.clone()));
    }
    Ok(object.get(name))
}

fn check(name: &str, argument: &Argument, value: &[u8]) -> Result<(), HeaderMismatch> {
    let malformed = |error| HeaderMismatch::Malformed(name.to_owned(), error);
    let value = std::str::from_utf8(value).map_err(|_| malformed(HeaderValueError::Character))?;
    let decoded = decode_value(value).map_err(malformed)?;
    let same = match argument {
        Argument::Text(text) => *text == decoded,
        // Server Validation: numerically, `42.0` is 42.
        Argument::Integer(number) => is_decimal(&decoded) && integer(&decoded) == Some(*number),
    };
    same.then_some(()).ok_or_else(|| HeaderMismatch::Different(name.to_owned()))
}

impl Argument {
    fn read(value: &RawJson) -> Option<Self> {
        match value.as_str() {
            "true" | "false" => Some(Self::Text(value.as_str().to_owned())),
            text if text.starts_with('"') => value.as_string().map(Self::Text),
            text => integer(text).map(Self::Integer),
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => number.to_string(),
        }
    }
}

/// Digits with at most a sign and a fraction: what numbers in headers look like.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    unsigned.split_once('.').map_or_else(|| digits(unsigned), |(whole, fraction)| digits(whole) && digits(fraction))
}

/// The integer that a JSON number is, in whatever way it is written (`42`, `42.0`, `4.2e1`), if it may be mirrored.
fn integer(text: &str) -> Option<i64> {
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    let number = match text.parse::<i64>() {
        Ok(number) => number,
        // A fraction or an exponent. Within the bounds every integral value is exact, and prints without either.
        Err(_) => text
            .parse::<f64>()
            .ok()
            .filter(|number| number.fract() == 0.0)
            .map(|number| format!("{number:.0}"))?
            .parse()
            .ok()?,
    };
    (-INTEGER_MAX..=INTEGER_MAX).contains(&number).then_some(number)
}
