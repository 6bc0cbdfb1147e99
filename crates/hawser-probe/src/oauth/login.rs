//! The authorization code flow with PKCE, driven without a browser: pages are read, forms filled in, redirects followed
//! with cookies, until the redirect to the loopback address that nobody listens on.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN};
use http::{HeaderMap, Method};
use url::Url;
use url::form_urlencoded::Serializer;

use super::cookies::Jar;
use super::form::{Control, Form, Kind, forms};
use super::{Discovered, Grant, OAuthError, metadata, random_text, redirect_uri, short, token};
use crate::secret::Secret;
use crate::wire::{Answer, Wire, printable, web_address};

const LOGIN: &str = "login";
const RESPONSE: &str = "authorization response";

/// Redirects and forms of one login, together.
const HOPS_MAX: usize = 24;

/// Whom to log in as.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name, also the name on a development login's button.
    pub user: String,
    /// The password, where the login asks for one.
    pub password: Option<Secret>,
}

impl Login {
    /// Everything from a 401 to tokens: discovery, registration, login and consent, code for tokens.
    pub async fn run(&self, wire: &Wire, target: &Url, refusal: &HeaderMap) -> Result<Grant, OAuthError> {
        let discovered = metadata::discover(wire, target, refusal).await?;
        let client = token::register(wire, &discovered).await?;
        self.authorize(wire, discovered, client).await
    }

    /// From discovered metadata and a client to tokens.
    pub async fn authorize(
        &self,
        wire: &Wire,
        discovered: Discovered,
        client: token::Client,
    ) -> Result<Grant, OAuthError> {
        let (state, verifier) = (random_text()?, random_text()?);
        let start = authorization_request(&discovered, &client.id, &state, &verifier)?;
        let mut walk = Walk { wire, login: self, jar: Jar::default(), home: start.origin(), signed_in: false };
        let parameters = walk.until_redirect(start).await?;
        let code = accept(&parameters, &discovered, &state)?;
        token::redeem(wire, discovered, client, &code, &verifier).await
    }
}

fn authorization_request(
    discovered: &Discovered,
    client_id: &str,
    state: &Secret,
    verifier: &Secret,
) -> Result<Url, OAuthError> {
    let mut url = web_address(&discovered.server.authorization_endpoint).map_err(OAuthError::wire(LOGIN))?;
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes()));
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", redirect_uri()?.as_str())
        .append_pair("state", state.expose())
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .append_pair("resource", &discovered.resource);
    // Refresh tokens are the point; OpenID providers give one for this scope, and only with consent asked (OIDC Core 11).
    let offline = discovered.server.scopes_supported.iter().any(|scope| scope == "offline_access");
    let mut scopes: Vec<&str> = discovered.scope.as_deref().unwrap_or_default().split_ascii_whitespace().collect();
    if offline && !scopes.contains(&"offline_access") {
        scopes.push("offline_access");
        query.append_pair("prompt", "consent");
    }
    if !scopes.is_empty() {
        query.append_pair("scope", &scopes.join(" "));
    }
    drop(query);
    Ok(url)
}

/// Checks the authorization response: the state, then the issuer (RFC 9207), then errors, then the code.
fn accept(parameters: &[(String, String)], discovered: &Discovered, state: &Secret) -> Result<Secret, OAuthError> {
    let one = |name: &str| {
        let mut values = parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            _ => Err(OAuthError::refused(RESPONSE, format!("`{name}` is there twice"))),
        }
    };
    if one("state")? != Some(state.expose()) {
        return Err(OAuthError::refused(RESPONSE, "`state` is not the one that was sent"));
    }
    match one("iss")? {
        Some(issuer) if issuer != discovered.server.issuer => {
            let problem = format!("`iss` is `{}`, not the issuer that was asked (RFC 9207)", short(issuer));
            return Err(OAuthError::refused(RESPONSE, problem));
        }
        None if discovered.server.authorization_response_iss_parameter_supported => {
            return Err(OAuthError::refused(RESPONSE, "`iss` is missing although the metadata promises it (RFC 9207)"));
        }
        _ => {}
    }
    if let Some(error) = one("error")? {
        return Err(OAuthError::refused(RESPONSE, format!("the authorization server said {}", short(error))));
    }
    let code = one("code")?.ok_or_else(|| OAuthError::refused(RESPONSE, "`code` is missing"))?;
    Ok(Secret::new(code))
}

/// One walk through the pages of an authorization server.
struct Walk<'a> {
    wire: &'a Wire,
    login: &'a Login,
    jar: Jar,
    /// The only origin that gets the password.
    home: url::Origin,
    signed_in: bool,
}

/// The next request of a walk.
enum Next {
    Get(Url),
    Post(Url, String),
}

impl Walk<'_> {
    async fn until_redirect(&mut self, start: Url) -> Result<Vec<(String, String)>, OAuthError> {
        let redirect = redirect_uri()?;
        let mut here = start.clone();
        let mut next = Next::Get(start);
        for _ in 0..HOPS_MAX {
            let (Next::Get(url) | Next::Post(url, _)) = &next;
            if url.origin() == redirect.origin() && url.path() == redirect.path() {
                // response_mode=form_post brings the same parameters in the body.
                let pairs = match &next {
                    Next::Get(url) => url.query().unwrap_or_default(),
                    Next::Post(_, body) => body,
                };
                return Ok(url::form_urlencoded::parse(pairs.as_bytes()).into_owned().collect());
            }
            let to = url.clone();
            let answer = self.fetch(&here, next).await?;
            self.jar.take(&to, &answer.headers);
            next = self.decide(&to, &answer)?;
            here = to;
        }
        Err(OAuthError::refused(LOGIN, format!("no authorization response after {HOPS_MAX} pages and redirects")))
    }

    async fn fetch(&self, from: &Url, next: Next) -> Result<Answer, OAuthError> {
        let (method, url, body) = match next {
            Next::Get(url) => (Method::GET, url, None),
            Next::Post(url, body) => (Method::POST, url, Some(body)),
        };
        let mut request = self.wire.request(method, &url).header(ACCEPT, "text/html");
        if let Some(line) = self.jar.line(&url) {
            request = request.header(COOKIE, line);
        }
        if let Some(body) = body {
            // Browsers send Origin with a form; servers that check it for CSRF protection rely on that.
            request = request
                .header(ORIGIN, from.origin().ascii_serialization())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body);
        }
        self.wire.fetch(request).await.map_err(OAuthError::wire(LOGIN))
    }

    fn decide(&mut self, here: &Url, answer: &Answer) -> Result<Next, OAuthError> {
        if answer.status.is_redirection() {
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let to = location.and_then(|location| here.join(location).ok());
            let to = to.filter(|to| matches!(to.scheme(), "http" | "https"));
            return to
                .map(Next::Get)
                .ok_or_else(|| OAuthError::refused(LOGIN, format!("{} redirects to no web address", printable(here))));
        }
        if !answer.status.is_success() {
            return Err(OAuthError::status(LOGIN, answer));
        }
        let page = String::from_utf8_lossy(&answer.body);
        let found = forms(&page);
        let filled = choose(&found, self.login, self.signed_in)
            .ok_or_else(|| OAuthError::refused(LOGIN, no_way_on(&found, self.signed_in, here)))?;
        let action = here.join(&filled.form.action).map_err(|error| OAuthError::refused(LOGIN, error.to_string()))?;
        if filled.has_password && action.origin() != self.home {
            let problem = format!("the password form goes to {}, another origin", printable(&action));
            return Err(OAuthError::refused(LOGIN, problem));
        }
        self.signed_in |= filled.identifies;
        let body = Serializer::new(String::new()).extend_pairs(filled.pairs).finish();
        if filled.form.post {
            return Ok(Next::Post(action, body));
        }
        let mut get = action;
        get.set_query(Some(&body));
        Ok(Next::Get(get))
    }
}

fn no_way_on(found: &[Form], signed_in: bool, here: &Url) -> String {
    let page = printable(here);
    match (found.is_empty(), signed_in) {
        (true, _) => format!("{page} has no form to go on with"),
        (_, true) => format!("{page} has no form that approves (was the login refused?)"),
        (_, false) => format!("{page} has no login form that this user can fill in"),
    }
}

/// A form, filled in.
struct Filled<'a> {
    form: &'a Form,
    pairs: Vec<(String, String)>,
    identifies: bool,
    has_password: bool,
}

/// Picks the form that goes on and fills it in: first one that says who we are, then one that approves, then one that
/// has nothing to fill in (an intermediate page that a script would submit).
fn choose<'a>(found: &'a [Form], login: &Login, signed_in: bool) -> Option<Filled<'a>> {
    let identify = || {
        let development = found.iter().find_map(|form| development_login(form, login));
        development.or_else(|| found.iter().find_map(|form| password_login(form, login)))
    };
    let approve = || found.iter().find_map(approve);
    let bare = || found.iter().find_map(bare);
    // The login form coming again means that the login was refused: fill it in once only.
    if signed_in { approve().or_else(bare) } else { identify().or_else(approve).or_else(bare) }
}

/// A development login: a button (or a hidden field, one form per user) with the name, or a field to write it in.
fn development_login<'a>(form: &'a Form, login: &Login) -> Option<Filled<'a>> {
    let development: Vec<&Control> =
        form.controls.iter().filter(|control| control.name == "development_user").collect();
    let with_name = development.iter().find(|control| control.value == login.user);
    let control = with_name.or_else(|| development.iter().find(|control| control.kind == Kind::Text))?;
    let pressed = (control.kind == Kind::Submit).then_some(*control);
    let fill = (control.kind == Kind::Text).then(|| (control.name.clone(), login.user.clone()));
    Some(filled(form, pressed, &fill.into_iter().collect::<Vec<_>>(), true))
}

/// A form with a field for the name, and perhaps one for the password.
fn password_login<'a>(form: &'a Form, login: &Login) -> Option<Filled<'a>> {
    let name = ["username", "login", "user", "email"].iter().find_map(|name| form.control(name))?;
    let visible = matches!(name.kind, Kind::Text);
    let mut fill = vec![(name.name.clone(), login.user.clone())];
    if let Some(field) = form.controls.iter().find(|control| control.kind == Kind::Password) {
        fill.push((field.name.clone(), login.password.as_ref()?.expose().to_owned()));
    }
    let pressed = form.buttons().find(|button| !refuses(button));
    visible.then(|| filled(form, pressed, &fill, true))
}

fn approve(form: &Form) -> Option<Filled<'_>> {
    if form.controls.iter().any(|control| control.kind == Kind::Password || control.name == "development_user") {
        return None;
    }
    let button = form.buttons().find(|button| approves(button))?;
    Some(filled(form, Some(button), &[], false))
}

fn bare(form: &Form) -> Option<Filled<'_>> {
    let plain = form.controls.iter().all(|control| matches!(control.kind, Kind::Hidden | Kind::Submit));
    let harmless = plain && !form.buttons().any(refuses) && form.control("development_user").is_none();
    (harmless && !form.controls.is_empty()).then(|| filled(form, form.buttons().next(), &[], false))
}

fn filled<'a>(form: &'a Form, pressed: Option<&Control>, fill: &[(String, String)], identifies: bool) -> Filled<'a> {
    let mut pairs = Vec::new();
    for control in form.controls.iter().filter(|control| !control.name.is_empty()) {
        if let Some(pair) = fill.iter().find(|(name, _)| *name == control.name) {
            pairs.push(pair.clone());
        } else if matches!(control.kind, Kind::Hidden | Kind::Text | Kind::Check { checked: true })
            || pressed.is_some_and(|pressed| std::ptr::eq(pressed, control))
        {
            pairs.push((control.name.clone(), control.value.clone()));
        }
    }
    let has_password = form.controls.iter().any(|control| control.kind == Kind::Password);
    Filled { form, pairs, identifies, has_password }
}

fn says(button: &Control, words: &[&str]) -> bool {
    let text = format!("{} {} {}", button.name, button.value, button.label).to_ascii_lowercase();
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| words.contains(&word))
}

fn approves(button: &Control) -> bool {
    const YES: [&str; 11] = [
        "allow",
        "approve",
        "accept",
        "authorize",
        "authorise",
        "continue",
        "yes",
        "grant",
        "confirm",
        "agree",
        "true",
    ];
    says(button, &YES) && !refuses(button)
}

fn refuses(button: &Control) -> bool {
    says(button, &["deny", "cancel", "reject", "refuse", "no", "decline", "abort", "logout", "back"])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn pairs(page: &str, signed_in: bool) -> Option<Vec<(String, String)>> {
        let login = Login { user: "alice".into(), password: Some(Secret::new("pw")) };
        choose(&forms(page), &login, signed_in).map(|filled| filled.pairs)
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_development_button_of_the_right_user_is_pressed() {
        let page = r"<form method=post><input type=hidden name=csrf value=1><button name=development_user value=bob>
            bob</button><button name=development_user value=alice>alice</button></form>";
        assert_eq!(pairs(page, false), Some(owned(&[("csrf", "1"), ("development_user", "alice")])));
        let field = "<form><input name=development_user value=dev><button>Log in</button></form>";
        assert_eq!(pairs(field, false), Some(owned(&[("development_user", "alice")])));
        let both = format!("<form><input name=username><input type=password name=password></form>{page}");
        assert_eq!(pairs(&both, false), pairs(page, false), "no password is needed where a button will do");
        let other = "<form method=post><button name=development_user value=bob>bob</button></form>";
        assert_eq!(pairs(other, false), None, "nobody else is logged in instead");
    }

    #[test]
    fn name_and_password_are_filled_in_once() {
        let page = "<form><input name=username><input type=password name=password><button>Go</button></form>";
        assert_eq!(pairs(page, false), Some(owned(&[("username", "alice"), ("password", "pw")])));
        assert_eq!(pairs(page, true), None, "the form coming again means the login failed");
    }

    #[test]
    fn consent_is_given_by_the_approving_button_only() {
        let page = r"<form method=post><input type=hidden name=csrf value=9><button name=decision value=deny>Cancel</button>
            <button name=decision value=allow>Allow access</button></form>";
        assert_eq!(pairs(page, true), Some(owned(&[("csrf", "9"), ("decision", "allow")])));
        assert_eq!(pairs("<form><button name=d value=deny>Deny</button></form>", true), None);
    }

    fn discovered(promised: bool) -> Discovered {
        let server = serde_json::json!({"issuer": "https://as", "authorization_endpoint": "https://as/a",
            "token_endpoint": "https://as/t", "authorization_response_iss_parameter_supported": promised});
        Discovered { resource: "https://rs".into(), scope: None, server: serde_json::from_value(server).unwrap() }
    }

    fn response(query: &str, promised: bool) -> Result<String, String> {
        let parameters: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        accept(&parameters, &discovered(promised), &Secret::new("s"))
            .map(|code| code.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn az10_an_authorization_response_is_checked_before_its_code_is_used() {
        assert_eq!(response("code=c&state=s&iss=https://as", true), Ok("c".into()));
        assert_eq!(response("code=c&state=s", false), Ok("c".into()));
        for (query, word) in [
            ("code=c&state=other&iss=https://as", "state"),
            ("code=c&state=s&iss=https://evil", "iss"),
            ("code=c&state=s", "iss"),
            ("code=c&code=d&state=s&iss=https://as", "twice"),
            ("error=access_denied&state=s&iss=https://as", "access_denied"),
            ("state=s&iss=https://as", "code"),
        ] {
            assert!(response(query, true).unwrap_err().contains(word), "{query}");
        }
    }
}
