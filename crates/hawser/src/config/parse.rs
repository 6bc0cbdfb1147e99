//! From YAML text to [`wire::File`], within bounds, and from the parser's errors to [`Problem`]s.

use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{Error, Options};

use super::problem::{Place, Problem, Source};
use super::redact::{self, Structure};
use super::suggest;
use super::wire::File;

/// What the parser may spend on a file. A configuration with a thousand backends stays far below.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            flow_nesting_limit: 32,
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 256,
            max_anchors: 256,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: 4 << 20,
            max_documents: 16,
            max_total_scalar_bytes: 4 << 20,
            max_merge_keys: 0,
        },
        merge_keys: MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// Reads the shape of the file. The parser stops at the first key or type that does not belong, so there is one problem.
pub(super) fn parse(text: &str) -> Result<File, Problem> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| problem(error.without_snippet(), text))
}

fn problem(error: &Error, text: &str) -> Problem {
    let source = error.location().and_then(Place::of).map_or(Source::File, Source::Place);
    let new = |message: String| Problem::new(source.clone(), message);
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            new(format!("unknown key{}", shown_key(field, &source, text))).help(unknown_key_help(field, expected))
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or_else(String::new, |key| shown_key(key, &source, text));
            new(format!("the key{key} is given twice")).help("keep one of them")
        }
        Error::Unexpected { expected, .. } => shape(new, expected),
        Error::NullIntoString { .. } => {
            new("there is no value here".to_owned()).help("write a value, or leave the key out to get its default")
        }
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            new(format!("expected {expected}")).help("for example `[mcp-server-time, --local-timezone=UTC]`")
        }
        Error::MultipleDocuments { .. } => {
            new("the file holds more than one YAML document".to_owned()).help("remove the `---` in the middle")
        }
        Error::MergeKeyNotAllowed { .. } => {
            new("merge keys (`<<`) are not supported".to_owned()).help("write the keys out")
        }
        Error::UnsupportedTag { .. } | Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            new("YAML tags have no meaning here".to_owned()).help("remove the `!…` tag")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            new("the file is too deep or too large, or expands to too much".to_owned())
                .help("a configuration nests at most 32 levels and 100000 values; write aliases (`*name`) out")
        }
        Error::UnknownAnchor { .. } => new("this alias (`*name`) refers to no anchor (`&name`)".to_owned())
            .help("put text that starts with `*` in quotes"),
        Error::AliasError { error, .. } => problem(error, text),
        other => Problem::new(source.clone(), format!("not valid YAML: {}", without_place(&other.to_string())))
            .help("check indentation (spaces, no tabs), quotes and brackets around here"),
    }
}

/// The key for a message, unless the line it stands in hides it: with a colon or a bracket out of place, what the parser
/// took for a key may be a password.
fn shown_key(key: &str, source: &Source, text: &str) -> String {
    let Source::Place(place) = source else { return String::new() };
    let lines: Vec<&str> = redact::lines(text);
    let shown = redact::line(&lines, place.line - 1, Structure::Broken).is_some_and(|line| line.contains(key));
    if shown { format!(" `{}`", redact::key(key)) } else { String::new() }
}

fn shape(new: impl Fn(String) -> Problem, expected: &str) -> Problem {
    match expected {
        "mapping start" => {
            new("expected a mapping here".to_owned()).help("keys and values: `key: value`, or `{}` for none")
        }
        "sequence start" => new("expected a list here".to_owned()).help("for example `[one, two]`"),
        "string scalar" => {
            new("expected a single value here, found a list or a mapping".to_owned()).help("write `key: value`")
        }
        other => new(format!("expected {other}")),
    }
}

fn unknown_key_help(field: &str, expected: &[&'static str]) -> String {
    // What people bring along from other programs' configuration.
    let elsewhere = match field {
        "args" if expected.contains(&"command") => Some("put the arguments into `command: [program, argument]`"),
        "mcpServers" | "servers" if expected.contains(&"backends") => Some("did you mean `backends`?"),
        "port" | "host" | "address" | "bind" if expected.contains(&"listen") => {
            Some("did you mean `listen`? It takes `127.0.0.1:8420`")
        }
        _ => None,
    };
    match (elsewhere, suggest::nearest(field, expected.iter().copied())) {
        (Some(help), _) => help.to_owned(),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => format!(
            "the keys here are {}",
            expected.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The text without the parser's own line and column: the report shows the place itself.
fn without_place(text: &str) -> &str {
    text.split(" at line ").next().unwrap_or(text)
}
