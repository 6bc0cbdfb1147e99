//! The authorization server of the fake.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Hole, LoginPage, Shared, answer, json};

/// A code and what it was given for.
pub(crate) struct Code {
    user: String,
    challenge: String,
    redirect_uri: String,
}

type Fields = HashMap<String, String>;

fn fields(text: &str) -> Fields {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

pub(crate) fn serve(shared: &Arc<Shared>, parts: &Parts, body: &str) -> Response {
    let base = &shared.base;
    let query = fields(parts.uri.query().unwrap_or_default());
    let form = fields(body);
    match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/.well-known/oauth-protected-resource/mcp") => {
            json(200, &json!({"resource": format!("{base}/mcp"), "authorization_servers": [base]}))
        }
        ("GET", "/.well-known/oauth-authorization-server") => json(
            200,
            &json!({"issuer": base, "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"), "registration_endpoint": format!("{base}/register"),
                "revocation_endpoint": format!("{base}/revoke"), "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true}),
        ),
        ("POST", "/register") => {
            let wanted: Value = serde_json::from_str(body).unwrap_or_default();
            json(201, &json!({"client_id": "client-1", "redirect_uris": wanted["redirect_uris"]}))
        }
        ("GET", "/authorize") => login_page(shared, &query),
        ("POST", "/development") => redirect(shared, &form, form.get("development_user")),
        ("POST", "/login") => password(parts, &form),
        ("GET", "/consent") => consent_page(&query),
        ("POST", "/consent") => {
            let approved = form.get("decision").is_some_and(|decision| decision == "allow");
            redirect(shared, &form, form.get("user").filter(|_| approved))
        }
        ("POST", "/token") => token(shared, &form),
        ("POST", "/revoke") => {
            let mut tables = shared.tables();
            tables.revoked += usize::from(form.get("token").is_some_and(|token| tables.refresh.contains_key(token)));
            answer(200, &[], "")
        }
        _ => answer(404, &[], "not found"),
    }
}

const CARRIED: [&str; 3] = ["state", "code_challenge", "redirect_uri"];

fn hidden(from: &Fields) -> String {
    let escape = |text: &String| text.replace('&', "&amp;").replace('"', "&quot;");
    let field = |name: &str| from.get(name).map(escape).unwrap_or_default();
    CARRIED.map(|name| format!("<input type=hidden name={name} value=\"{}\">", field(name))).concat()
}

fn login_page(shared: &Shared, query: &Fields) -> Response {
    let given = |name: &str, value: &str| query.get(name).is_some_and(|given| given == value);
    let resource = format!("{}/mcp", shared.base);
    if !given("response_type", "code") || !given("code_challenge_method", "S256") || !given("resource", &resource) {
        return answer(400, &[], "bad request");
    }
    let hidden = hidden(query);
    let page = match shared.login {
        LoginPage::Development => format!(
            "<form method=post action=/development>{hidden}<button name=development_user value=alice>alice</button>
             <button name=development_user value=mallory>mallory</button></form>"
        ),
        LoginPage::Form => format!(
            "<form method=post action=/login>{hidden}<input type=hidden name=csrf value=c1><input name=username>
             <input type=password name=password><button name=decision value=cancel>Cancel</button>
             <button>Log in</button></form>"
        ),
    };
    answer(200, &[("content-type", "text/html"), ("set-cookie", "csrf=c1; Path=/login; HttpOnly")], page)
}

fn password(parts: &Parts, form: &Fields) -> Response {
    let cookie = parts.headers.get("cookie").and_then(|cookie| cookie.to_str().ok());
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let right = field("password") == field("username").chars().rev().collect::<String>();
    if cookie != Some("csrf=c1") || field("csrf") != "c1" || field("decision") == "cancel" || !right {
        return answer(403, &[], "refused");
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("user", field("username"));
    query.extend_pairs(CARRIED.iter().map(|name| (*name, field(name))));
    answer(303, &[("location", &format!("/consent?{}", query.finish()))], "")
}

fn consent_page(query: &Fields) -> Response {
    let user = query.get("user").cloned().unwrap_or_default();
    let page = format!(
        "<form method=post action=/consent>{}<input type=hidden name=user value={user}>
         <button name=decision value=deny>Deny</button><button name=decision value=allow>Allow</button></form>",
        hidden(query)
    );
    answer(200, &[("content-type", "text/html")], page)
}

fn redirect(shared: &Shared, form: &Fields, user: Option<&String>) -> Response {
    let Some(user) = user.cloned() else { return answer(403, &[], "refused") };
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let code = format!("code-{:x}", shared.fresh());
    let (challenge, redirect_uri) = (field("code_challenge"), field("redirect_uri"));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("code", &code).append_pair("state", &field("state")).append_pair("iss", &shared.base);
    let location = format!("{redirect_uri}?{}", query.finish());
    shared.tables().codes.insert(code, Code { user, challenge, redirect_uri });
    answer(303, &[("location", &location)], "")
}

fn token(shared: &Shared, form: &Fields) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let user = match field("grant_type") {
        "authorization_code" => {
            let verifier = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, field("code_verifier").as_bytes());
            let challenge = URL_SAFE_NO_PAD.encode(verifier);
            let code = shared.tables().codes.remove(field("code"));
            code.filter(|code| code.challenge == challenge && code.redirect_uri == field("redirect_uri"))
                .map(|code| code.user)
        }
        "refresh_token" => {
            let user = shared.tables().refresh.remove(field("refresh_token"));
            user.map(|user| if shared.hole == Hole::RenamesOnRefresh { format!("{user}-2") } else { user })
        }
        _ => None,
    };
    let Some(user) = user else { return json(400, &json!({"error": "invalid_grant"})) };
    let (access, refresh) = issue(shared, &user);
    json(200, &json!({"access_token": access, "token_type": "Bearer", "refresh_token": refresh, "expires_in": 600}))
}

/// New tokens for `user`.
pub(crate) fn issue(shared: &Shared, user: &str) -> (String, String) {
    let claims = json!({"iss": shared.base, "sub": user, "jti": shared.fresh()}).to_string();
    let access = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
    let refresh = format!("refresh-{:x}", shared.fresh());
    let mut tables = shared.tables();
    tables.tokens.insert(access.clone(), user.to_owned());
    tables.refresh.insert(refresh.clone(), user.to_owned());
    (access, refresh)
}
