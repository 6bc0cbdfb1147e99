//! `store`: where state is kept.

use hawser_store::{RedisOptions, RedisOptionsError, RedisUrlError};
use secrecy::ExposeSecret as _;

use super::Check;
use crate::config::problem::{Problem, Source};
use crate::config::redact;
use crate::config::secret::{Reference, Unreadable, read_bounded};
use crate::config::settings::StoreKind;
use crate::config::suggest;
use crate::config::wire::{File, Store, StoreServer, Text};

/// Schemes of a server's address.
const SCHEMES: [&str; 6] = ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];
const FORMS: &str = "`redis://user:password@host:6379/0`, `redis+sentinel://host:26379,host:26379/NAME` or \
                     `redis+cluster://host:6379,host:6379` (`rediss` for TLS), or a reference to that: `env:NAME`, `file:PATH`";
/// Largest file of certificates that is read.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Where state is kept. A server, which other nodes may share, needs a key ring that they can share too.
pub(super) fn store(check: &mut Check<'_>, file: &File) -> StoreKind {
    let (store, source) = match &file.store {
        None => return StoreKind::File,
        Some(Store::Text(text)) if text.value == "file" => return StoreKind::File,
        Some(Store::Text(text)) if text.value == "memory" => return StoreKind::Memory,
        Some(Store::Text(text)) => (at(check, "store", text, &StoreServer::default()), Source::of(text)),
        Some(Store::Server(server)) => {
            let Some(url) = &server.url else {
                check.problem(Problem::new(Source::File, "`store` has no `url`").help(expected()));
                return StoreKind::File;
            };
            (at(check, "store.url", url, server), Source::of(url))
        }
    };
    let Some(store) = store else { return StoreKind::File };
    if file.key_ring.is_none() {
        let problem =
            Problem::new(source, "`store` can be shared by several gateways, and `key_ring` is not configured");
        check.problem(problem.help(
            "all of them need the same keys: make them with `hawser keys generate FILE` and set `key_ring: file:FILE`",
        ));
    }
    store
}

/// A server. Its address is a secret if it holds a password, so nothing of it is shown.
fn at(check: &mut Check<'_>, key: &str, url: &Text, server: &StoreServer) -> Option<StoreKind> {
    let reference = Reference::of(&url.value);
    if matches!(reference, Reference::Literal(_)) && !url.value.contains("://") {
        let nearest = suggest::nearest(&url.value, ["file", "memory"]);
        let help = nearest.map_or_else(
            || {
                if key == "store" {
                    format!("expected `file`, `memory`, or a server: {FORMS}")
                } else {
                    FORMS.to_owned()
                }
            },
            |word| format!("did you mean `{word}`?"),
        );
        check.wrong(key, url, help);
        return None;
    }
    let secret = check.secret(key, &Source::of(url), &url.value)?;
    let ca = match &server.ca {
        None => None,
        Some(path) => Some(certificates(check, path)?),
    };
    let prefix = server.prefix.as_ref().map(|prefix| &*prefix.value);
    match RedisOptions::new(secret.expose_secret(), prefix, ca.as_deref()) {
        Ok(options) => {
            if options.is_readable_on_the_way() {
                check.warn(
                    "what goes to the store can be read and changed on its way: use rediss:// unless that network is yours alone",
                );
            }
            Some(StoreKind::Redis(Box::new(options)))
        }
        Err(error) => {
            check.problem(refused(key, secret.expose_secret(), url, server, &error));
            None
        }
    }
}

fn expected() -> String {
    format!("expected {FORMS}")
}

fn certificates(check: &mut Check<'_>, path: &Text) -> Option<Vec<u8>> {
    match read_bounded(&check.around.path(&path.value), CA_BYTES_MAX) {
        Ok(pem) => Some(pem.into_bytes()),
        Err(unreadable) => {
            let help = match unreadable {
                Unreadable::Io(error) => format!("it cannot be read: {error}"),
                Unreadable::TooLarge => format!("it is larger than {CA_BYTES_MAX} bytes"),
                Unreadable::NotText => "it is not a PEM file".to_owned(),
            };
            check.wrong("store.ca", path, help);
            None
        }
    }
}

/// What is wrong, at the value that it is wrong with.
fn refused(key: &str, secret: &str, url: &Text, server: &StoreServer, error: &RedisOptionsError) -> Problem {
    let at = |text: Option<&Text>| Source::of(text.unwrap_or(url));
    match error {
        RedisOptionsError::Prefix => {
            Problem::new(at(server.prefix.as_ref()), "`store.prefix` cannot be used").help(error.to_string())
        }
        RedisOptionsError::Ca(_) | RedisOptionsError::CaWithoutTls => {
            Problem::new(at(server.ca.as_ref()), "`store.ca` cannot be used").help(error.to_string())
        }
        RedisOptionsError::Url(RedisUrlError::Scheme) => {
            // A scheme is no secret, but only what looks like one is taken for it.
            let scheme = secret.split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
            let plain = scheme.len() <= 20 && scheme.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'+');
            let nearest = plain.then(|| suggest::nearest(scheme, SCHEMES)).flatten();
            let help = nearest.map_or_else(expected, |scheme| format!("did you mean `{scheme}://`?"));
            let shown = if plain { format!(": `{}://` is unknown", redact::value(scheme)) } else { String::new() };
            Problem::new(Source::of(url), format!("`{key}` is not the address of a server{shown}")).help(help)
        }
        RedisOptionsError::Url(error) => {
            Problem::new(Source::of(url), format!("`{key}` is not the address of a server: {error}")).help(expected())
        }
    }
}
