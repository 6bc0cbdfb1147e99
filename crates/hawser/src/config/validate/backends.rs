//! The MCP servers behind the gateway.

use std::str::FromStr as _;
use std::time::Duration;

use hawser_backend::HEADERS_RESERVED;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_saphyr::Spanned;
use url::Url;

use super::Check;
use crate::config::overrides::{Overrides, Target, check_words, http_url, words};
use crate::config::problem::{Problem, Source};
use crate::config::redact;
use crate::config::scalar::Name;
use crate::config::settings::{BackendSettings, Naming, Transport};
use crate::config::wire::{Backend, Command, Entries, File, Text};

/// Most backends: each is a connection, and each list is merged from all of them.
const BACKENDS_MAX: usize = 256;
/// Most headers or environment variables of a backend.
const PAIRS_MAX: usize = 128;

pub(super) fn backends(
    check: &mut Check<'_>,
    file: &File,
    overrides: &Overrides,
    default_timeout: Duration,
) -> Vec<BackendSettings> {
    let mut backends: Vec<BackendSettings> = Vec::new();
    for (key, wire) in file.backends.iter().flat_map(|entries| &entries.0) {
        let name = match Name::new(&key.value) {
            Ok(name) => name,
            Err(help) => {
                let message = format!("a backend cannot be called `{}`", redact::value(&key.value));
                check.problem(Problem::new(Source::of(key), message).help(help));
                continue;
            }
        };
        if !overrides.backends.iter().any(|flag| flag.name == name) {
            backends.extend(backend(check, key, name, &wire.value, default_timeout));
        }
    }
    for flag in &overrides.backends {
        if backends.iter().any(|backend| backend.name == flag.name) {
            let problem = Problem::new(Source::Flag("--backend"), format!("backend `{}` is given twice", flag.name));
            check.problem(problem.help("give each backend a name of its own"));
            continue;
        }
        backends.push(BackendSettings {
            name: flag.name.clone(),
            transport: transport_of_flag(&flag.target),
            naming: Naming::Prefix,
            timeout: default_timeout,
        });
    }
    if backends.len() > BACKENDS_MAX {
        check.problem(Problem::new(Source::File, format!("there are more than {BACKENDS_MAX} backends")));
    }
    if backends.is_empty() && check.problems.is_empty() {
        check.warn("there are no backends: the gateway has nothing to offer; add one with `--backend NAME=URL` or under `backends:`");
    }
    backends
}

fn transport_of_flag(target: &Target) -> Transport {
    match target {
        Target::Url(url) => Transport::Http { url: url.clone(), headers: Vec::new() },
        Target::Command(words) => stdio(words.clone(), Vec::new(), None),
    }
}

fn stdio(mut words: Vec<String>, env: Vec<(String, SecretString)>, cwd: Option<std::path::PathBuf>) -> Transport {
    let arguments = words.split_off(words.len().min(1));
    Transport::Stdio { program: words.pop().unwrap_or_default(), arguments, env, cwd }
}

fn backend(
    check: &mut Check<'_>,
    key: &Text,
    name: Name,
    wire: &Backend,
    default_timeout: Duration,
) -> Option<BackendSettings> {
    let path = |child: &str| format!("backends.{name}.{child}");
    let namings = [("prefix", Naming::Prefix), ("none", Naming::None)];
    let naming = check.choice(&path("naming"), wire.naming.as_ref(), &namings).unwrap_or(Naming::Prefix);
    let bounds = Duration::from_secs(1)..=Duration::from_hours(1);
    let timeout = check.duration(&path("timeout"), wire.timeout.as_ref(), default_timeout, bounds);
    let transport = match (&wire.url, &wire.command) {
        (Some(url), None) => http_transport(check, &name, url, wire),
        (None, Some(command)) => stdio_transport(check, &name, command, wire),
        (Some(_), Some(command)) => {
            let message = format!("backend `{name}` has both `url` and `command`");
            check.problem(Problem::new(Source::of(command), message).help("keep the one that is meant"));
            None
        }
        (None, None) => {
            let message = format!("backend `{name}` has neither `url` nor `command`");
            let help = "add `url: http://127.0.0.1:3001/mcp` or `command: [program, argument]`";
            check.problem(Problem::new(Source::of(key), message).help(help));
            None
        }
    };
    Some(BackendSettings { name, transport: transport?, naming, timeout })
}

fn http_transport(check: &mut Check<'_>, name: &Name, url: &Text, wire: &Backend) -> Option<Transport> {
    misplaced(check, name, "env", wire.env.as_ref().and_then(first_key), "command");
    misplaced(check, name, "cwd", wire.cwd.as_ref().map(Source::of), "command");
    let dialects = [("auto", Dialect::Auto), ("sse", Dialect::Sse)];
    let dialect = check.choice(&format!("backends.{name}.transport"), wire.transport.as_ref(), &dialects);
    let dialect = dialect.unwrap_or(Dialect::Auto);
    let headers = headers(check, name, wire.headers.as_ref());
    let url = read_url(check, &format!("backends.{name}.url"), url)?;
    Some(match dialect {
        Dialect::Auto => Transport::Http { url, headers },
        Dialect::Sse => Transport::Sse { url, headers },
    })
}

/// What is spoken over HTTP.
#[derive(Clone, Copy)]
enum Dialect {
    Auto,
    Sse,
}

fn stdio_transport(
    check: &mut Check<'_>,
    name: &Name,
    command: &Spanned<Command>,
    wire: &Backend,
) -> Option<Transport> {
    misplaced(check, name, "headers", wire.headers.as_ref().and_then(first_key), "url");
    misplaced(check, name, "transport", wire.transport.as_ref().map(Source::of), "url");
    let env = environment(check, name, wire.env.as_ref());
    let cwd = wire.cwd.as_ref().map(|cwd| check.around.path(&cwd.value));
    let read = match &command.value {
        Command::Line(line) => words(line),
        Command::Words(list) => {
            let list: Vec<String> = list.iter().map(|word| word.value.clone()).collect();
            check_words(&list).map(|()| list)
        }
    };
    match read {
        Ok(words) => Some(stdio(words, env, cwd)),
        Err(help) => {
            check.problem(
                Problem::new(Source::of(command), format!("`backends.{name}.command` cannot be started")).help(help),
            );
            None
        }
    }
}

fn first_key(entries: &Entries<String>) -> Option<Source> {
    entries.0.first().map(|(key, _)| Source::of(key))
}

fn misplaced(check: &mut Check<'_>, name: &Name, key: &str, source: Option<Source>, other: &str) {
    if let Some(source) = source {
        let message = format!("`backends.{name}.{key}` only has a meaning with `{other}`");
        check.problem(Problem::new(source, message).help(format!("remove `{key}`")));
    }
}

/// An http or https URL; the message does not show a user part.
pub(super) fn read_url(check: &mut Check<'_>, key: &str, value: &Text) -> Option<Url> {
    match http_url(&value.value) {
        Ok(url) => Some(url),
        Err(help) => {
            let message = format!("`{key}` cannot be `{}`", redact::value(&value.value));
            check.problem(Problem::new(Source::of(value), message).help(help));
            None
        }
    }
}

fn headers(check: &mut Check<'_>, name: &Name, wire: Option<&Entries<String>>) -> Vec<(HeaderName, SecretString)> {
    let mut headers: Vec<(HeaderName, SecretString)> = Vec::new();
    for (key, value) in pairs(check, wire) {
        let header = format!("backends.{name}.headers.{}", redact::value(&key.value));
        let Ok(header_name) = HeaderName::from_str(&key.value) else {
            let problem =
                Problem::new(Source::of(key), format!("`{}` is not a header name", redact::value(&key.value)));
            check.problem(problem.help("letters, digits and `-`, for example `X-Api-Key`"));
            continue;
        };
        if HEADERS_RESERVED.contains(&header_name.as_str()) {
            let problem =
                Problem::new(Source::of(key), format!("header `{header_name}` is written by the gateway itself"));
            check.problem(problem.help("remove it"));
            continue;
        }
        if headers.iter().any(|(known, _)| *known == header_name) {
            let problem = Problem::new(Source::of(key), format!("header `{header_name}` is given twice"));
            check.problem(problem.help("header names are the same in upper and lower case; keep one of them"));
            continue;
        }
        let Some(secret) = check.secret(&header, &Source::of(value), &value.value) else { continue };
        if HeaderValue::from_str(secret.expose_secret()).is_err() {
            let problem =
                Problem::new(Source::of(value), format!("the value of `{header}` cannot be sent in a header"));
            check.problem(problem.help("it holds a line break or another control character"));
            continue;
        }
        headers.push((header_name, secret));
    }
    headers
}

fn environment(check: &mut Check<'_>, name: &Name, wire: Option<&Entries<String>>) -> Vec<(String, SecretString)> {
    let mut env = Vec::new();
    for (key, value) in pairs(check, wire) {
        if key.value.is_empty() || key.value.contains(['=', '\0']) {
            let problem = Problem::new(
                Source::of(key),
                format!("`{}` cannot name an environment variable", redact::value(&key.value)),
            );
            check.problem(problem.help("a name is not empty and has no `=`"));
            continue;
        }
        let path = format!("backends.{name}.env.{}", redact::value(&key.value));
        let Some(secret) = check.secret(&path, &Source::of(value), &value.value) else { continue };
        if secret.expose_secret().contains('\0') {
            let problem = Problem::new(Source::of(value), format!("the value of `{path}` holds a NUL byte"));
            check.problem(problem.help("an environment variable cannot hold one"));
            continue;
        }
        env.push((key.value.clone(), secret));
    }
    env
}

fn pairs<'f>(check: &mut Check<'_>, wire: Option<&'f Entries<String>>) -> &'f [(Text, Text)] {
    let pairs = wire.map_or(&[][..], |entries| &entries.0);
    if let Some((extra, _)) = pairs.get(PAIRS_MAX) {
        check.problem(Problem::new(Source::of(extra), format!("there are more than {PAIRS_MAX} entries here")));
    }
    pairs.get(..PAIRS_MAX).unwrap_or(pairs)
}
