//! From the file as written to [`Settings`]: every value is checked, and every problem is collected before any is told.

mod auth;
mod backends;
mod endpoints;
mod limits;
mod network;
mod store;

use hawser_owner::{KeyRing, KeyRingDocument};
use secrecy::{ExposeSecret as _, SecretString};

use super::overrides::Overrides;
use super::problem::{Problem, Source};
use super::redact;
use super::secret::{Reference, Surroundings, resolve};
use super::settings::{KeyRingSettings, Settings};
use super::suggest;
use super::wire::{File, Text};

/// Collects problems while values are checked; a value with a problem is replaced by its default and checking goes on.
pub(super) struct Check<'a> {
    problems: Vec<Problem>,
    warnings: Vec<String>,
    around: &'a Surroundings<'a>,
}

impl Check<'_> {
    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Says that the value of `key` is wrong, showing it.
    fn wrong(&mut self, key: &str, value: &Text, help: impl Into<String>) {
        let message = format!("`{key}` cannot be `{}`", redact::value(&value.value));
        self.problem(Problem::new(Source::of(value), message).help(help));
    }

    /// The value read by `read`, or `None` if it is absent or wrong.
    fn optional<T, E: Into<String>>(
        &mut self,
        key: &str,
        value: Option<&Text>,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = value?;
        match read(&value.value) {
            Ok(read) => Some(read),
            Err(help) => {
                self.wrong(key, value, help);
                None
            }
        }
    }

    /// One of several words.
    fn choice<T: Copy>(&mut self, key: &str, value: Option<&Text>, choices: &[(&str, T)]) -> Option<T> {
        self.optional(key, value, |text| {
            let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
            found.ok_or_else(|| suggest::did_you_mean(text, &choices.iter().map(|(name, _)| *name).collect::<Vec<_>>()))
        })
    }

    /// A secret given as reference or as it stands.
    fn secret(&mut self, key: &str, source: &Source, value: &str) -> Option<SecretString> {
        match resolve(&Reference::of(value), self.around) {
            Ok(secret) => Some(secret),
            Err(missing) => {
                self.problem(Problem::new(source.clone(), format!("`{key}`: {}", missing.what)).help(missing.help));
                None
            }
        }
    }
}

/// Checks everything.
pub(super) fn validate(
    file: &File,
    overrides: &Overrides,
    around: &Surroundings<'_>,
) -> Result<Settings, Vec<Problem>> {
    let mut check = Check { problems: Vec::new(), warnings: Vec::new(), around };
    let listen = network::listen(&mut check, file, overrides);
    let public_url = network::public_url(&mut check, file, overrides, listen);
    let data_dir = network::data_dir(&mut check, file, overrides);
    let store = store::store(&mut check, file);
    let key_ring = key_ring(&mut check, file);
    let allowed_origins = network::allowed_origins(&mut check, file);
    let allowed_hosts = network::allowed_hosts(&mut check, file);
    let trusted_proxies = network::trusted_proxies(&mut check, file);
    let limits = limits::limits(&mut check, file.limits.as_ref());
    let sessions = limits::sessions(&mut check, file.sessions.as_ref());
    let admin = network::admin(&mut check, file);
    let drain = limits::drain(&mut check, file.drain.as_ref());
    let backends = backends::backends(&mut check, file, overrides, limits.request_timeout);
    let endpoints = endpoints::endpoints(&mut check, file, overrides, &backends);
    let reach =
        auth::Reach { listen, public_url: public_url.as_deref(), all_anonymous: endpoints.iter().all(|e| e.anonymous) };
    let (authorization_server, issuers) = auth::auth(&mut check, file.auth.as_ref(), &reach);
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(Settings {
        listen,
        public_url,
        data_dir,
        store,
        key_ring,
        allowed_origins,
        allowed_hosts,
        trusted_proxies,
        backends,
        endpoints,
        authorization_server,
        issuers,
        sessions,
        limits,
        drain,
        admin,
        warnings: check.warnings,
    })
}

/// The key ring is never written into the configuration itself: that file is copied around and looked at.
fn key_ring(check: &mut Check<'_>, file: &File) -> Option<KeyRingSettings> {
    let value = file.key_ring.as_ref()?;
    let source = Source::of(value);
    let file = match Reference::of(&value.value) {
        Reference::File(path) => Some(check.around.path(path)),
        Reference::Variable(_) => None,
        Reference::Literal(_) => {
            let problem = Problem::new(source, "`key_ring` is not a reference");
            check.problem(
                problem.help("write `env:NAME` or `file:PATH`; the keys do not belong into the configuration itself"),
            );
            return None;
        }
    };
    let secret = check.secret("key_ring", &source, &value.value)?;
    let wrong = |what: String| {
        Problem::new(source.clone(), format!("`key_ring` leads to {what}"))
            .help("expected {\"keys\": [{\"id\": 1, \"state\": \"active\", \"secret\": \"32 bytes in base64url\"}]}")
    };
    // Only the place of a JSON error is told: its text could quote a key.
    let document: KeyRingDocument = match serde_json::from_str(secret.expose_secret()) {
        Ok(document) => document,
        Err(error) => {
            check.problem(wrong(format!("no key ring: wrong at line {}, column {}", error.line(), error.column())));
            return None;
        }
    };
    match KeyRing::try_from(&document) {
        Ok(_) => Some(KeyRingSettings { document, file }),
        Err(error) => {
            check.problem(wrong(format!("a key ring that cannot be used: {error}")));
            None
        }
    }
}
