//! The virtual MCP servers that the gateway offers.

use super::Check;
use crate::config::overrides::Overrides;
use crate::config::problem::{Problem, Source};
use crate::config::redact;
use crate::config::scalar::{Name, switch};
use crate::config::settings::{BackendSettings, EndpointSettings, Naming};
use crate::config::suggest;
use crate::config::wire::{Endpoint, File, Text};

/// Most endpoints.
const ENDPOINTS_MAX: usize = 64;
/// Longest path in characters; it is part of resource identifiers.
const PATH_CHARS_MAX: usize = 128;
/// First segments that belong to the gateway itself.
const RESERVED: [&str; 5] = ["oauth", ".well-known", "healthz", "readyz", "backchannel-logout"];

pub(super) fn endpoints(
    check: &mut Check<'_>,
    file: &File,
    overrides: &Overrides,
    backends: &[BackendSettings],
) -> Vec<EndpointSettings> {
    let all = || backends.iter().map(|backend| backend.name.clone()).collect::<Vec<_>>();
    let configured = file.endpoints.as_ref().map_or(&[][..], |entries| &entries.0);
    if configured.is_empty() {
        let endpoints: Vec<_> = Name::new("default")
            .map(|name| EndpointSettings { name, path: "/mcp".to_owned(), backends: all(), anonymous: false })
            .into_iter()
            .collect();
        check_naming(check, &endpoints, backends, &Source::File);
        return endpoints;
    }
    if let Some((extra, _)) = configured.get(ENDPOINTS_MAX) {
        check.problem(Problem::new(Source::of(extra), format!("there are more than {ENDPOINTS_MAX} endpoints")));
    }
    let mut endpoints: Vec<EndpointSettings> = Vec::new();
    for (key, wire) in configured.iter().take(ENDPOINTS_MAX) {
        let name = match Name::new(&key.value) {
            Ok(name) => name,
            Err(help) => {
                let message = format!("an endpoint cannot be called `{}`", redact::value(&key.value));
                check.problem(Problem::new(Source::of(key), message).help(help));
                continue;
            }
        };
        let endpoint = endpoint(check, file, name, key, &wire.value, backends, &endpoints);
        check_naming(check, std::slice::from_ref(&endpoint), backends, &Source::of(key));
        endpoints.push(endpoint);
    }
    for backend in backends {
        if endpoints.iter().any(|endpoint| endpoint.backends.contains(&backend.name)) {
            continue;
        }
        if overrides.backends.iter().any(|flag| flag.name == backend.name) {
            let message = format!("backend `{}` belongs to no endpoint", backend.name);
            let help = "the configuration lists the backends of every endpoint; add it there, or leave out `backends` of one to give it all";
            check.problem(Problem::new(Source::Flag("--backend"), message).help(help));
        } else {
            check.warn(format!("backend `{}` belongs to no endpoint", backend.name));
        }
    }
    endpoints
}

fn endpoint(
    check: &mut Check<'_>,
    file: &File,
    name: Name,
    key: &Text,
    wire: &Endpoint,
    backends: &[BackendSettings],
    before: &[EndpointSettings],
) -> EndpointSettings {
    let default_path = if name.as_str() == "default" { "/mcp".to_owned() } else { format!("/mcp/{name}") };
    let path = check.optional(&format!("endpoints.{name}.path"), wire.path.as_ref(), read_path).unwrap_or(default_path);
    if let Some(twin) = before.iter().find(|other| other.path == path) {
        let source = Source::of(wire.path.as_ref().unwrap_or(key));
        let message = format!("endpoints `{}` and `{name}` have the same path `{path}`", twin.name);
        check.problem(Problem::new(source, message).help("give each endpoint a path of its own"));
    }
    let anonymous =
        check.optional(&format!("endpoints.{name}.anonymous"), wire.anonymous.as_ref(), switch).unwrap_or(false);
    let members = match &wire.backends {
        None => backends.iter().map(|backend| backend.name.clone()).collect(),
        Some(list) => members(check, file, &name, list, backends),
    };
    EndpointSettings { name, path, backends: members, anonymous }
}

fn members(check: &mut Check<'_>, file: &File, name: &Name, list: &[Text], backends: &[BackendSettings]) -> Vec<Name> {
    let mut members: Vec<Name> = Vec::new();
    for text in list {
        let Some(backend) = backends.iter().find(|backend| backend.name.as_str() == text.value) else {
            // A backend with a problem of its own is not unknown.
            let in_file = file.backends.iter().flat_map(|entries| &entries.0).any(|(key, _)| key.value == text.value);
            if !in_file {
                let names: Vec<&str> = backends.iter().map(|backend| backend.name.as_str()).collect();
                let help = match suggest::nearest(&text.value, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add it under `backends:`, or remove it here".to_owned(),
                };
                let message =
                    format!("endpoint `{name}` names a backend `{}` that does not exist", redact::value(&text.value));
                check.problem(Problem::new(Source::of(text), message).help(help));
            }
            continue;
        };
        if members.contains(&backend.name) {
            let message = format!("endpoint `{name}` names backend `{}` twice", backend.name);
            check.problem(Problem::new(Source::of(text), message).help("keep one of them"));
            continue;
        }
        members.push(backend.name.clone());
    }
    members
}

/// Names without prefix can only come from one backend, or adding another would rename or hide tools.
fn check_naming(check: &mut Check<'_>, endpoints: &[EndpointSettings], backends: &[BackendSettings], source: &Source) {
    for endpoint in endpoints {
        let bare: Vec<String> = backends
            .iter()
            .filter(|backend| backend.naming == Naming::None && endpoint.backends.contains(&backend.name))
            .map(|backend| format!("`{}`", backend.name))
            .collect();
        if bare.len() > 1 {
            let message =
                format!("endpoint `{}` has several backends with `naming: none`: {}", endpoint.name, bare.join(", "));
            let help = "at most one backend of an endpoint may keep its own names; use `naming: prefix` for the others";
            check.problem(Problem::new(source.clone(), message).help(help));
        }
    }
}

fn read_path(text: &str) -> Result<String, String> {
    let example = "write a path, for example `/mcp` or `/team/mcp`";
    let rest = text.strip_prefix('/').filter(|rest| !rest.is_empty()).ok_or(example)?;
    if text.len() > PATH_CHARS_MAX {
        return Err(format!("a path has at most {PATH_CHARS_MAX} characters"));
    }
    let mut segments = rest.split('/');
    let well_formed = |segment: &str| {
        let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(unreserved)
    };
    if !segments.clone().all(well_formed) {
        return Err(
            "a path has letters, digits, `-`, `.`, `_` and `~` between single slashes, and none at its end".to_owned()
        );
    }
    match segments.next() {
        Some(first) if RESERVED.contains(&first) => {
            Err(format!("`/{first}` and paths below it belong to the gateway itself; {example}"))
        }
        _ => Ok(text.to_owned()),
    }
}
