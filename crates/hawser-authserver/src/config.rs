//! What an administrator decides about the authorization server, checked before it opens.

use std::collections::BTreeSet;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use thiserror::Error;
use url::{Host, Url};

use crate::scope;

/// Longest user name in bytes: with its prefix it must fit a subject (255 bytes).
const USER_NAME_BYTES_MAX: usize = 200;

/// Everything the authorization server is told.
#[derive(Clone, Debug)]
pub struct AuthServerConfig {
    /// The issuer identifier and base of every URL: `https://host[/path]` without a trailing slash; `http` on loopback.
    pub issuer: String,
    /// The protected resources that tokens can be for. The first one is meant by clients that name none.
    pub resources: Vec<Resource>,
    /// The scopes that exist besides `openid`; also what a request without `scope` gets.
    pub scopes: Vec<String>,
    /// How people prove who they are.
    pub login: LoginMethods,
    /// How long an access token is valid.
    pub access_token_lifetime: Duration,
    /// How long a key signs tokens before another one does, at least an hour.
    pub signing_key_lifetime: Duration,
    /// How long an authorization code is valid.
    pub code_lifetime: Duration,
    /// How long a rotated refresh token still answers with its family's head. Zero leaves only the recovery of a lost
    /// response.
    pub refresh_grace: Duration,
    /// A grant that is not refreshed for so long ends.
    pub refresh_idle: Duration,
    /// A grant ends after so long, however often it is refreshed.
    pub refresh_lifetime: Duration,
    /// How long a browser stays logged in.
    pub login_lifetime: Duration,
    /// How long a remembered consent spares the question.
    pub consent_lifetime: Duration,
    /// How long a revocation is remembered at least: as long as anything lives that was opened under a grant.
    pub revocation_memory: Duration,
    /// Dynamic client registration.
    pub registration: RegistrationLimits,
}

/// An MCP endpoint that tokens can be issued for (RFC 8707).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The canonical resource identifier, put into `aud`.
    pub identifier: String,
    /// What the consent page calls it.
    pub name: String,
}

/// How people prove who they are.
#[derive(Clone, Debug, Default)]
pub struct LoginMethods {
    /// Users with a password.
    pub users: Vec<LocalUser>,
    /// Login without a proof, on loopback only.
    pub development: Option<DevelopmentLogin>,
}

/// A user with a password.
#[derive(Clone)]
pub struct LocalUser {
    /// The name to log in with. The subject is `user:` followed by it.
    pub name: String,
    /// An argon2id hash in PHC string format.
    pub password_hash: String,
}

impl std::fmt::Debug for LocalUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Login by the press of a button, for trying things out on one's own machine.
#[derive(Clone, Debug)]
pub struct DevelopmentLogin {
    /// The users on offer. Their subjects are `dev:` followed by the name.
    pub users: Vec<String>,
}

/// Bounds of dynamic client registration (RFC 7591 section 5).
#[derive(Clone, Debug)]
pub struct RegistrationLimits {
    /// Whether clients may register themselves.
    pub enabled: bool,
    /// Registrations that one address may make at once; the allowance is refilled evenly over an hour.
    pub per_address: u32,
    /// Registrations that all addresses together may make at once on one node; refilled evenly over an hour.
    pub global: u32,
    /// Registrations within `unused_lifetime`, over all nodes: bounds how many unused clients can be stored.
    pub unused_max: u32,
    /// A client that never got a token is forgotten after so long.
    pub unused_lifetime: Duration,
    /// A client that got one is forgotten so long after its last use; at least `refresh_lifetime`.
    pub used_lifetime: Duration,
    /// Private redirect schemes without a dot that may be registered all the same, lower case. RFC 8252 section 7.1 wants
    /// reverse domain names, but well-known editors register their own name, and one such address fails a registration.
    pub private_schemes: Vec<String>,
}

/// Editors that are known to register `NAME://…` among their redirect URIs.
const EDITOR_SCHEMES: [&str; 4] = ["cursor", "vscode", "vscode-insiders", "windsurf"];

/// Schemes that browsers and systems give a meaning of their own: never an app that waits for an answer.
const MEANINGFUL_SCHEMES: [&str; 20] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "http",
    "https",
    "intent",
    "jar",
    "javascript",
    "mailto",
    "sms",
    "ssh",
    "tel",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

const DAY: Duration = Duration::from_hours(24);

impl Default for RegistrationLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            per_address: 120,
            global: 1200,
            unused_max: 5000,
            unused_lifetime: DAY,
            used_lifetime: DAY * 120,
            private_schemes: EDITOR_SCHEMES.map(str::to_owned).to_vec(),
        }
    }
}

impl Default for AuthServerConfig {
    /// Sensible lifetimes; issuer, resources and login methods are the administrator's to name.
    fn default() -> Self {
        Self {
            issuer: String::new(),
            resources: Vec::new(),
            scopes: vec!["mcp".to_owned()],
            login: LoginMethods::default(),
            access_token_lifetime: Duration::from_mins(10),
            signing_key_lifetime: DAY * 30,
            code_lifetime: Duration::from_mins(1),
            refresh_grace: Duration::from_secs(30),
            refresh_idle: DAY * 14,
            refresh_lifetime: DAY * 90,
            login_lifetime: Duration::from_hours(8),
            consent_lifetime: DAY * 90,
            revocation_memory: DAY * 8,
            registration: RegistrationLimits::default(),
        }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The issuer identifier cannot be one (RFC 8414 section 2).
    #[error("issuer {issuer:?}: {reason}")]
    Issuer {
        /// The value.
        issuer: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No resource to issue tokens for.
    #[error("there is no resource to issue tokens for")]
    NoResource,
    /// A resource identifier cannot be one (RFC 8707 section 2).
    #[error("resource {identifier:?}: {reason}")]
    Resource {
        /// The value.
        identifier: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A scope cannot be one.
    #[error("scope {scope:?}: {reason}")]
    Scope {
        /// The value.
        scope: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A private redirect scheme cannot be allowed.
    #[error("redirect scheme {scheme:?}: {reason}")]
    Scheme {
        /// The value.
        scheme: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody could log in.
    #[error("there is no way to log in: configure users, or the development login on loopback")]
    NoLogin,
    /// The development login would be reachable by others.
    #[error("the development login is for loopback only, and the issuer {issuer:?} is not on loopback")]
    DevelopmentLoginExposed {
        /// The issuer.
        issuer: String,
    },
    /// A user cannot be used.
    #[error("user {name:?}: {reason}")]
    User {
        /// The user's name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A duration is out of its range.
    #[error("{setting} must be {range}")]
    Duration {
        /// Which one.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
}

impl AuthServerConfig {
    /// Checks everything that can be checked without opening the store.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let issuer = self.issuer_url()?;
        self.validate_resources()?;
        self.validate_scopes()?;
        self.validate_login(&issuer)?;
        self.validate_private_schemes()?;
        self.validate_durations()
    }

    /// The issuer, parsed and checked.
    pub(crate) fn issuer_url(&self) -> Result<Url, ConfigError> {
        let wrong = |reason| ConfigError::Issuer { issuer: self.issuer.clone(), reason };
        let url = Url::parse(&self.issuer).map_err(|_| wrong("not a URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(wrong("plain http is for loopback only")),
            _ => return Err(wrong("not an http or https URL")),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has a query or a fragment"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("has user information"));
        }
        if self.issuer.ends_with('/') {
            return Err(wrong("ends with a slash"));
        }
        // Clients compare byte for byte (RFC 8414 section 3.3), so only the form that URL libraries reproduce will do.
        let canonical = url.as_str().strip_suffix('/').unwrap_or(url.as_str());
        if canonical != self.issuer {
            return Err(wrong("not in canonical form (lower-case host, no default port, no dot segments)"));
        }
        Ok(url)
    }

    fn validate_resources(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for Resource { identifier, .. } in &self.resources {
            let wrong = |reason| ConfigError::Resource { identifier: identifier.clone(), reason };
            let url = Url::parse(identifier).map_err(|_| wrong("not an absolute URL"))?;
            if url.fragment().is_some() {
                return Err(wrong("has a fragment"));
            }
            if !matches!(url.scheme(), "http" | "https") {
                return Err(wrong("not an http or https URL"));
            }
            if !seen.insert(identifier) {
                return Err(wrong("occurs twice"));
            }
        }
        if seen.is_empty() { Err(ConfigError::NoResource) } else { Ok(()) }
    }

    fn validate_scopes(&self) -> Result<(), ConfigError> {
        let wrong = |scope: &str, reason| ConfigError::Scope { scope: scope.to_owned(), reason };
        let mut seen = BTreeSet::new();
        for scope in &self.scopes {
            if !scope::is_token(scope) {
                return Err(wrong(scope, "not a scope token (RFC 6749 section 3.3)"));
            }
            if scope == scope::OPENID || scope == scope::OFFLINE_ACCESS {
                return Err(wrong(scope, "is not the administrator's to configure"));
            }
            if !seen.insert(scope) {
                return Err(wrong(scope, "occurs twice"));
            }
        }
        if seen.is_empty() { Err(wrong("", "at least one scope is needed")) } else { Ok(()) }
    }

    fn validate_login(&self, issuer: &Url) -> Result<(), ConfigError> {
        let wrong = |name: &str, reason| ConfigError::User { name: name.to_owned(), reason };
        let development = self.login.development.as_ref();
        if self.login.users.is_empty() && development.is_none_or(|login| login.users.is_empty()) {
            return Err(ConfigError::NoLogin);
        }
        if development.is_some() && !is_loopback(issuer) {
            return Err(ConfigError::DevelopmentLoginExposed { issuer: self.issuer.clone() });
        }
        for user in &self.login.users {
            let hash = PasswordHash::new(&user.password_hash)
                .map_err(|_| wrong(&user.name, "the password is not a hash in PHC string format"))?;
            if hash.algorithm.as_str() != "argon2id" || hash.hash.is_none() || hash.salt.is_none() {
                return Err(wrong(&user.name, "the password is not an argon2id hash"));
            }
        }
        let local: Vec<&str> = self.login.users.iter().map(|user| user.name.as_str()).collect();
        let offered = development.map_or(&[][..], |login| login.users.as_slice());
        for names in [local, offered.iter().map(String::as_str).collect()] {
            let mut seen = BTreeSet::new();
            for name in names {
                if name.is_empty() || name.len() > USER_NAME_BYTES_MAX || name.chars().any(char::is_control) {
                    return Err(wrong(name, "a name has 1 to 200 bytes and no control characters"));
                }
                if !seen.insert(name) {
                    return Err(wrong(name, "occurs twice"));
                }
            }
        }
        Ok(())
    }

    fn validate_private_schemes(&self) -> Result<(), ConfigError> {
        let wrong = |scheme: &str, reason| Err(ConfigError::Scheme { scheme: scheme.to_owned(), reason });
        for scheme in &self.registration.private_schemes {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
            if !scheme.bytes().all(inner) || !scheme.starts_with(|first: char| first.is_ascii_lowercase()) {
                return wrong(scheme, "not a URI scheme in lower case (RFC 3986 section 3.1)");
            }
            if MEANINGFUL_SCHEMES.contains(&scheme.as_str()) || scheme.starts_with("ms-") {
                return wrong(scheme, "browsers and systems give it a meaning of their own");
            }
        }
        Ok(())
    }

    fn validate_durations(&self) -> Result<(), ConfigError> {
        let wrong = |setting, range| Err(ConfigError::Duration { setting, range });
        let second = Duration::from_secs(1);
        if !(second..=DAY).contains(&self.access_token_lifetime) {
            return wrong("access_token_lifetime", "1 second to 24 hours");
        }
        if !(Duration::from_hours(1)..=DAY * 3660).contains(&self.signing_key_lifetime) {
            return wrong("signing_key_lifetime", "1 hour to 10 years");
        }
        if !(second..=Duration::from_mins(10)).contains(&self.code_lifetime) {
            return wrong("code_lifetime", "1 second to 10 minutes");
        }
        if self.refresh_grace > Duration::from_mins(5) {
            return wrong("refresh_grace", "at most 300 seconds");
        }
        if self.refresh_lifetime < second || self.refresh_lifetime > DAY * 3660 {
            return wrong("refresh_lifetime", "1 second to 10 years");
        }
        if !(second..=self.refresh_lifetime).contains(&self.refresh_idle) {
            return wrong("refresh_idle", "1 second to refresh_lifetime");
        }
        if !(Duration::from_mins(1)..=DAY * 30).contains(&self.login_lifetime) {
            return wrong("login_lifetime", "1 minute to 30 days");
        }
        if self.consent_lifetime > DAY * 3660 {
            return wrong("consent_lifetime", "at most 10 years");
        }
        let registration = &self.registration;
        if registration.unused_lifetime < Duration::from_mins(1) {
            return wrong("registration.unused_lifetime", "at least 1 minute");
        }
        if registration.used_lifetime < self.refresh_lifetime.max(registration.unused_lifetime) {
            return wrong("registration.used_lifetime", "at least refresh_lifetime and registration.unused_lifetime");
        }
        if registration.enabled
            && (registration.per_address == 0 || registration.global == 0 || registration.unused_max == 0)
        {
            return wrong("the limits of registration", "at least 1 each");
        }
        Ok(())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
