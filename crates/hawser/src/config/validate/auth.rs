//! Who may come in, and who says so.

use std::net::SocketAddr;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use hawser_owner::{Issuer, Tenant};
use secrecy::{ExposeSecret as _, SecretString};
use serde_saphyr::Spanned;
use url::Url;

use super::Check;
use super::network::is_loopback;
use crate::config::problem::{Problem, Source};
use crate::config::redact;
use crate::config::scalar::switch;
use crate::config::secret::Reference;
use crate::config::settings::{AuthorizationServerSettings, IssuerSettings, UserSettings};
use crate::config::suggest::did_you_mean;
use crate::config::wire::{Auth, AuthorizationServer, ExternalServer, Text, User};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// Most local users, and most external issuers.
const USERS_MAX: usize = 10_000;
const ISSUERS_MAX: usize = 64;
/// Longest user name in bytes: with the authorization server's prefix it must fit a subject (255 bytes).
const USER_NAME_BYTES_MAX: usize = 200;
/// Longest life of a grant: a registered client is forgotten 120 days after its last use, and must not go before its grants.
const GRANT_LIFETIME_MAX: Duration = Duration::from_hours(120 * 24);
/// Asymmetric signatures only: a shared secret would let every resource server mint tokens, and `none` needs no key at all
/// (RFC 8725 sections 2.1 and 3.1).
const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// From where the gateway can be reached, as far as logging in depends on it.
pub(super) struct Reach<'a> {
    pub(super) listen: SocketAddr,
    pub(super) public_url: Option<&'a str>,
    pub(super) all_anonymous: bool,
}

impl Reach<'_> {
    fn public_url_is_loopback(&self) -> bool {
        self.public_url.is_none_or(|url| Url::parse(url).is_ok_and(|url| is_loopback(&url)))
    }
}

pub(super) fn auth(
    check: &mut Check<'_>,
    wire: Option<&Auth>,
    reach: &Reach<'_>,
) -> (Option<AuthorizationServerSettings>, Vec<IssuerSettings>) {
    let default = Auth::default();
    let wire = wire.unwrap_or(&default);
    let issuers = issuers(check, wire.issuers.as_deref().unwrap_or_default(), reach);
    let problems_before = check.problems.len();
    let server = authorization_server(check, wire.authorization_server.as_ref(), reach);
    let has_login = server.as_ref().is_some_and(|server| server.development_login || !server.users.is_empty());
    let has_issuer = wire.issuers.as_ref().is_some_and(|issuers| !issuers.is_empty());
    if has_login || check.problems.len() != problems_before {
        return (server, issuers);
    }
    if !has_issuer && !reach.all_anonymous {
        let help = if server.is_none() {
            "add `auth.issuers`, or turn `auth.authorization_server.enabled` on"
        } else if reach.listen.ip().is_loopback() && reach.public_url_is_loopback() {
            "add `auth.authorization_server.users` or `auth.issuers`, or turn `development_login` on"
        } else {
            "add `auth.authorization_server.users` or `auth.issuers`; development login works on loopback only"
        };
        check.problem(Problem::new(Source::File, "nobody could log in").help(help));
    }
    // An authorization server that nobody can log in at would only mislead clients: it is off, unless it was asked for.
    let asked_for = wire.authorization_server.as_ref().and_then(|server| server.enabled.as_ref());
    if let (Some(value), true) = (asked_for, server.is_some() && (has_issuer || reach.all_anonymous)) {
        let problem = Problem::new(Source::of(value), "nobody could log in at the embedded authorization server");
        check.problem(problem.help("add `auth.authorization_server.users`, or turn `enabled` off"));
    }
    (None, issuers)
}

fn authorization_server(
    check: &mut Check<'_>,
    wire: Option<&AuthorizationServer>,
    reach: &Reach<'_>,
) -> Option<AuthorizationServerSettings> {
    let default = AuthorizationServer::default();
    let wire = wire.unwrap_or(&default);
    let key = |name: &str| format!("auth.authorization_server.{name}");
    let enabled = check.optional(&key("enabled"), wire.enabled.as_ref(), switch).unwrap_or(true);
    let users = users(check, wire.users.as_deref().unwrap_or_default());
    let configured_users = wire.users.as_ref().is_some_and(|users| !users.is_empty());
    let development_login = development_login(check, wire.development_login.as_ref(), configured_users, enabled, reach);
    let token = wire.access_token_lifetime.as_ref();
    let (idle, lifetime) = (wire.refresh_idle.as_ref(), wire.refresh_lifetime.as_ref());
    let grace_bounds = Duration::ZERO..=Duration::from_mins(5);
    let settings = AuthorizationServerSettings {
        development_login,
        users,
        access_token_lifetime: check.duration(
            &key("access_token_lifetime"),
            token,
            Duration::from_mins(10),
            SECOND..=DAY,
        ),
        refresh_grace: check.duration(&key("refresh_grace"), wire.refresh_grace.as_ref(), 30 * SECOND, grace_bounds),
        refresh_idle: check.duration(&key("refresh_idle"), idle, 14 * DAY, SECOND..=GRANT_LIFETIME_MAX),
        refresh_lifetime: check.duration(&key("refresh_lifetime"), lifetime, 90 * DAY, SECOND..=GRANT_LIFETIME_MAX),
        signing_key_lifetime: check.duration(
            &key("signing_key_lifetime"),
            wire.signing_key_lifetime.as_ref(),
            30 * DAY,
            Duration::from_hours(1)..=3650 * DAY,
        ),
    };
    check.not_longer(
        ("refresh_idle", settings.refresh_idle, idle),
        ("refresh_lifetime", settings.refresh_lifetime, lifetime),
    );
    if !enabled && configured_users {
        check.warn("`auth.authorization_server.users` has no effect: the embedded authorization server is off");
    }
    enabled.then_some(settings)
}

/// Development login gives anyone who reaches it any name: both the listener and the public URL, behind which a proxy may
/// publish it, must be on loopback.
fn development_login(
    check: &mut Check<'_>,
    value: Option<&Text>,
    has_users: bool,
    enabled: bool,
    reach: &Reach<'_>,
) -> bool {
    let on_loopback = reach.listen.ip().is_loopback();
    let Some(value) = value else { return !has_users && on_loopback && reach.public_url_is_loopback() };
    let Some(wanted) = check.optional("auth.authorization_server.development_login", Some(value), switch) else {
        return false;
    };
    if wanted && enabled && !on_loopback {
        let message =
            format!("development login is refused: the gateway listens on {}, which is not loopback", reach.listen);
        let help = "anyone who reaches it could log in as anyone; add `users`, or listen on `127.0.0.1`";
        check.problem(Problem::new(Source::of(value), message).help(help));
    } else if wanted && enabled && !reach.public_url_is_loopback() {
        let url = reach.public_url.unwrap_or_default();
        let message = format!("development login is refused: `public_url` is {url}, which is not on loopback");
        let help = "anyone who reaches it could log in as anyone; add `users`, or leave `public_url` out";
        check.problem(Problem::new(Source::of(value), message).help(help));
    }
    wanted
}

fn users(check: &mut Check<'_>, wire: &[Spanned<User>]) -> Vec<UserSettings> {
    if let Some(extra) = wire.get(USERS_MAX) {
        check.problem(Problem::new(Source::of(extra), format!("there are more than {USERS_MAX} users")));
    }
    let mut users: Vec<UserSettings> = Vec::new();
    for (index, entry) in wire.iter().enumerate().take(USERS_MAX) {
        let (Some(name), Some(password)) = (&entry.value.name, &entry.value.password) else {
            let missing = if entry.value.name.is_none() { "name" } else { "password" };
            let message = format!("`auth.authorization_server.users[{index}]` has no `{missing}`");
            let help =
                "for example `{ name: alice, password: \"$argon2id$…\" }`; `hawser user hash-password` makes the hash";
            check.problem(Problem::new(Source::of(entry), message).help(help));
            continue;
        };
        let printable = name.value.trim() == name.value && !name.value.contains(char::is_control);
        if !printable || !(1..=USER_NAME_BYTES_MAX).contains(&name.value.len()) {
            let help = "a user name has 1 to 200 bytes, no control characters and no space around it";
            check.wrong("name", name, help);
            continue;
        }
        if users.iter().any(|user| user.name == name.value) {
            let message = format!("user `{}` is given twice", redact::value(&name.value));
            check.problem(Problem::new(Source::of(name), message).help("keep one of them"));
            continue;
        }
        if let Some(password_hash) = password_hash(check, &name.value, password) {
            users.push(UserSettings { name: name.value.clone(), password_hash });
        }
    }
    users
}

/// Only a hash with argon2id's name and readable parameters is taken: anything else could never match, or is a password.
fn password_hash(check: &mut Check<'_>, user: &str, value: &Text) -> Option<SecretString> {
    let key = format!("password of user {}", redact::value(user));
    let secret = check.secret(&key, &Source::of(value), &value.value)?;
    let parsed = PasswordHash::new(secret.expose_secret());
    let usable = parsed.is_ok_and(|hash| {
        hash.algorithm.as_str() == "argon2id"
            && hash.salt.is_some()
            && hash.hash.is_some()
            && argon2::Params::try_from(&hash).is_ok()
    });
    if usable {
        return Some(secret);
    }
    let what = if matches!(Reference::of(&value.value), Reference::Literal(_)) { "is not" } else { "does not lead to" };
    let message = format!("the password of user `{}` {what} an argon2id hash", redact::value(user));
    check.problem(
        Problem::new(Source::of(value), message)
            .help("make one with `hawser user hash-password`, and put it in quotes"),
    );
    None
}

fn issuers(check: &mut Check<'_>, wire: &[Spanned<ExternalServer>], reach: &Reach<'_>) -> Vec<IssuerSettings> {
    if let Some(extra) = wire.get(ISSUERS_MAX) {
        check.problem(Problem::new(Source::of(extra), format!("there are more than {ISSUERS_MAX} issuers")));
    }
    let mut issuers: Vec<IssuerSettings> = Vec::new();
    for (index, entry) in wire.iter().enumerate().take(ISSUERS_MAX) {
        let Some(name) = &entry.value.issuer else {
            let message = format!("`auth.issuers[{index}]` has no `issuer`");
            check.problem(
                Problem::new(Source::of(entry), message).help("for example `issuer: https://idp.example.com`"),
            );
            continue;
        };
        let key = |child: &str| format!("auth.issuers[{index}].{child}");
        let wrong = if issuers.iter().any(|issuer| issuer.issuer == name.value) {
            Some("it is given twice; keep one of them")
        } else if reach.public_url.is_some_and(|own| own == name.value.trim_end_matches('/')) {
            Some("it is this gateway's own `public_url`; the embedded authorization server needs no entry here")
        } else {
            secure_url(&name.value).err()
        };
        if let Some(help) = wrong.or_else(|| Issuer::new(name.value.as_str()).err().map(|_| "it is too long")) {
            let message = format!("`{}` cannot be `{}`", key("issuer"), redact::value(&name.value));
            check.problem(Problem::new(Source::of(name), message).help(help));
            continue;
        }
        let jwks_uri = check.optional(&key("jwks_uri"), entry.value.jwks_uri.as_ref(), secure_url);
        issuers.push(issuer(check, &key, name.value.clone(), jwks_uri, &entry.value));
    }
    issuers
}

fn issuer(
    check: &mut Check<'_>,
    key: &dyn Fn(&str) -> String,
    issuer: String,
    jwks_uri: Option<Url>,
    wire: &ExternalServer,
) -> IssuerSettings {
    let algorithm = |text: &str| {
        if ALGORITHMS.contains(&text) {
            return Ok(text.to_owned());
        }
        let reason = if text.starts_with("HS") { "a shared secret proves nothing here; " } else { "" };
        Err(format!("{reason}{}", did_you_mean(text, &ALGORITHMS)))
    };
    let token_type = |text: &str| {
        // RFC 2045 section 5.1 tokens; RFC 7515 section 4.1.9 allows the `application/` prefix to be left out.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+/".contains(c);
        let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(token);
        if fits { Ok(text.to_owned()) } else { Err("write a value of the JWT header `typ`, for example `at+jwt`") }
    };
    let claim = |text: &str| {
        let fits = !text.is_empty() && text.len() <= 128 && !text.contains(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err("write the name of a claim, for example `sub`") }
    };
    let client_id = |text: &str| {
        let fits = !text.is_empty() && text.len() <= 255 && !text.contains(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err("write the client id that the issuer knows this gateway by") }
    };
    let tenant_text = |text: &str| Tenant::new(text).map(|_| text.to_owned()).map_err(|error| error.to_string());
    let tenant_claim = check.optional(&key("tenant_claim"), wire.tenant_claim.as_ref(), claim);
    let tenant = check.optional(&key("tenant"), wire.tenant.as_ref(), tenant_text);
    if let (Some(value), None) = (&wire.tenant, &wire.tenant_claim) {
        let problem = Problem::new(Source::of(value), format!("`{}` is given without `tenant_claim`", key("tenant")));
        check.problem(problem.help("say which claim holds the tenant, for example `tenant_claim: tid`"));
    }
    IssuerSettings {
        issuer,
        jwks_uri,
        algorithms: list(check, &key("algorithms"), wire.algorithms.as_ref(), &["RS256", "ES256"], algorithm),
        token_types: list(check, &key("token_types"), wire.token_types.as_ref(), &["at+jwt", "JWT"], token_type),
        subject_claim: check
            .optional(&key("subject_claim"), wire.subject_claim.as_ref(), claim)
            .unwrap_or_else(|| "sub".to_owned()),
        tenant_claim,
        tenant,
        logout_audience: match &wire.backchannel_logout_audience {
            None => Vec::new(),
            given => list(check, &key("backchannel_logout_audience"), given.as_ref(), &[], client_id),
        },
    }
}

fn list<E: Into<String>>(
    check: &mut Check<'_>,
    key: &str,
    wire: Option<&Spanned<Vec<Text>>>,
    default: &[&str],
    read: impl Fn(&str) -> Result<String, E>,
) -> Vec<String> {
    const ENTRIES_MAX: usize = 16;
    let Some(Spanned { value: entries, .. }) = wire else {
        return default.iter().map(|text| (*text).to_owned()).collect();
    };
    if entries.is_empty() || entries.len() > ENTRIES_MAX {
        let source = entries.get(ENTRIES_MAX).map(Source::of).or_else(|| wire.map(Source::of)).unwrap_or(Source::File);
        let problem = Problem::new(source, format!("`{key}` must have 1 to {ENTRIES_MAX} entries"));
        check.problem(problem.help(format!("leave it out to get [{}]", default.join(", "))));
    }
    entries.iter().take(ENTRIES_MAX).filter_map(|entry| check.optional(key, Some(entry), &read)).collect()
}

/// Keys and issuer metadata decide who is let in: they come over TLS, or from this machine.
fn secure_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "write a URL, for example `https://idp.example.com`")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return Err("it must be https, unless it is on loopback"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("leave user, password, query and fragment out");
    }
    Ok(url)
}
