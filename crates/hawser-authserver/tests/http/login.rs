//! Logging in, and staying logged in.

use std::net::IpAddr;

use axum::body::Body;
use hawser_authserver::{AuthServerConfig, ClientAddress, LoginMethods, Resource};
use http::{Request, StatusCode};
use serde_json::json;

use crate::answer::{Answer, claims};
use crate::browser::Browser;
use crate::world::{World, config};

const PASSWORD: &str = "correct horse";

async fn page(browser: &mut Browser<'_>, world: &World) -> Answer {
    let client = world.public_client().await;
    browser.get(&client.request(&[])).await
}

#[tokio::test]
async fn a_password_logs_in_and_the_subject_is_not_the_development_users() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    let login = browser.get(&client.request(&[])).await;
    let answer = browser.submit("/oauth/login", &login, &[("username", "alice"), ("password", PASSWORD)]).await;
    let consent = browser.get(&answer.location()).await;
    let answer = browser.submit("/oauth/consent", &consent, &[("decision", "approve")]).await;
    let code = answer.location_parameters()["code"].clone();
    let tokens = world.redeem(&client, &code).await.json();
    assert_eq!(claims(&tokens["access_token"])["sub"], "user:alice");
    assert_eq!(claims(&world.tokens(&client, "alice").await["access_token"])["sub"], "dev:alice");
}

#[tokio::test]
async fn wrong_name_and_wrong_password_get_the_same_page() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    let login = page(&mut browser, &world).await;
    let mut pages = Vec::new();
    for (name, password) in [("alice", "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD), ("alice", "")] {
        let answer = browser.submit("/oauth/login", &login, &[("username", name), ("password", password)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(!answer.headers.contains_key("set-cookie"));
        pages.push(answer.text().replace(&format!("value=\"{name}\" autocomplete"), ""));
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]));
    browser.submit("/oauth/login", &login, &[("development_user", "mallory")]).await.is_error_page(400);
}

#[tokio::test]
async fn guessing_is_slowed_down_per_name_and_address() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    let login = browser.get(&client.request(&[])).await;
    let cookie = browser.cookie_header();
    let attempt = async |address: &str, password: &str| {
        let (request, csrf) = (login.field("request"), login.field("csrf"));
        let form = [("request", request.as_str()), ("csrf", &csrf), ("username", "alice"), ("password", password)];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post("/oauth/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &cookie)
            .extension(ClientAddress(address.parse::<IpAddr>().unwrap()));
        world.send(request.body(Body::from(body)).unwrap()).await.status
    };
    for _ in 0..5 {
        assert_eq!(attempt("192.0.2.1", "wrong").await, StatusCode::BAD_REQUEST);
    }
    // Even the right one now has to wait; from elsewhere it need not.
    assert_eq!(attempt("192.0.2.1", PASSWORD).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(attempt("192.0.2.2", PASSWORD).await, StatusCode::SEE_OTHER);
    world.wait(300);
    assert_eq!(attempt("192.0.2.1", PASSWORD).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_login_form_of_another_browser_logs_nobody_in() {
    let world = World::new().await;
    let (mut attacker, mut victim) = (Browser::new(&world), Browser::new(&world));
    let theirs = page(&mut attacker, &world).await;
    page(&mut victim, &world).await;
    victim.submit("/oauth/login", &theirs, &[("development_user", "bob")]).await.is_error_page(403);
    let request = theirs.field("request");
    attacker.post("/oauth/login", &[("request", &request), ("development_user", "bob")]).await.is_error_page(403);
    attacker.cookies.clear();
    attacker.submit("/oauth/login", &theirs, &[("development_user", "bob")]).await.is_error_page(403);
}

/// A tunnel or reverse proxy in front of the loopback listener, and a web site whose name resolves to loopback.
#[tokio::test]
async fn the_development_login_is_for_this_computer_alone() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    let login = page(&mut browser, &world).await;
    let cookie = browser.cookie_header();
    let attempt = async |address: &str, fields: &[(&str, &str)]| {
        let (request, csrf) = (login.field("request"), login.field("csrf"));
        let form = [("request", request.as_str()), ("csrf", &csrf), ("development_user", "alice")];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post("/oauth/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &cookie)
            .extension(ClientAddress(address.parse::<IpAddr>().unwrap()));
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        world.send(request.body(Body::from(body)).unwrap()).await
    };
    for (address, fields) in [
        ("192.0.2.1", vec![]),
        ("127.0.0.1", vec![("host", "tunnel.example")]),
        ("127.0.0.1", vec![("x-forwarded-for", "192.0.2.1")]),
        ("127.0.0.1", vec![("forwarded", "for=192.0.2.1")]),
    ] {
        let answer = attempt(address, &fields).await;
        answer.is_error_page(403);
        assert!(!answer.headers.contains_key("set-cookie"), "{fields:?}");
    }
    assert_eq!(attempt("127.0.0.1", &[("host", "localhost:8420")]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_cookie_is_replaced_at_login_and_guarded() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    let login = browser.get(&client.request(&[])).await;
    let before = browser.cookies.clone();
    let answer = browser.submit("/oauth/login", &login, &[("development_user", "alice")]).await;
    let header = answer.header("set-cookie");
    for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "hawser-login-8420="] {
        assert!(header.contains(attribute), "{header}");
    }
    assert!(!header.contains("Secure"), "{header}");
    let after = browser.cookies.clone();
    assert_ne!(before, after);
    assert!(browser.get(&client.request(&[])).await.text().contains("decision"));
    // Fixation: whoever knew the cookie from before is not logged in.
    browser.cookies = before;
    assert!(browser.get(&client.request(&[])).await.text().contains("development_user"));
    // Two cookies of the name: neither counts.
    browser.cookies = after;
    let pair = browser.cookie_header();
    let planted = format!("{pair}; {}", pair.replace('=', "=A"));
    let request = Request::get(client.request(&[])).header("cookie", planted).body(Body::empty()).unwrap();
    assert!(world.send(request).await.text().contains("development_user"));
    // The login ends on its own.
    world.wait(8 * 3600);
    assert!(browser.get(&client.request(&[])).await.text().contains("development_user"));
}

#[tokio::test]
async fn over_https_the_cookie_has_the_host_prefix() {
    let https = AuthServerConfig {
        issuer: "https://mcp.example.com".to_owned(),
        resources: vec![Resource { identifier: "https://mcp.example.com/mcp".to_owned(), name: String::new() }],
        login: LoginMethods { users: config().login.users, development: None },
        ..AuthServerConfig::default()
    };
    let world = World::with(https).await;
    let client = world.client(&json!({ "redirect_uris": ["https://app.example/cb"] })).await;
    let answer = world.get(&client.request(&[("resource", "")])).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-hawser-login=") && cookie.contains("; Secure") && cookie.contains("; Path=/"));
    assert!(!cookie.contains("Domain"));
    assert!(!answer.text().contains("development_user"));
}

#[tokio::test]
async fn prompt_login_and_max_age_ask_again_and_end() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    browser.log_in(&client, "alice", &[]).await;
    world.wait(100);
    let kept = browser.get(&client.request(&[("max_age", "100")])).await;
    assert!(kept.text().contains("decision"));
    for extra in [("prompt", "login"), ("max_age", "99"), ("max_age", "0")] {
        let login = browser.get(&client.request(&[extra])).await;
        assert!(login.text().contains("development_user"), "{extra:?}");
        // The consent page cannot be reached around the login.
        browser.submit("/oauth/consent", &login, &[("decision", "approve")]).await.is_error_page(403);
        let answer = browser.submit("/oauth/login", &login, &[("development_user", "alice")]).await;
        let consent = browser.get(&answer.location()).await;
        let answer = browser.submit("/oauth/consent", &consent, &[("decision", "approve")]).await;
        let code = answer.location_parameters()["code"].clone();
        let tokens = world.redeem(&client, &code).await.json();
        assert_eq!(claims(&tokens["access_token"])["auth_time"], world.now());
        world.wait(100);
    }
    browser.get(&client.request(&[("max_age", "1"), ("prompt", "none")])).await.is_error_redirect("login_required");
}

#[tokio::test]
async fn logging_in_anew_ends_the_login_before() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    browser.log_in(&client, "alice", &[]).await;
    let before = browser.cookies.clone();
    let consent = browser.log_in(&client, "bob", &[("prompt", "login")]).await;
    assert!(consent.text().contains("<strong>bob</strong>"));
    browser.cookies = before;
    assert!(browser.get(&client.request(&[])).await.text().contains("development_user"));
}

#[tokio::test]
async fn tk14_a_removed_user_can_do_nothing_any_more() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    let code = browser.grant(&client, "bob", &[]).await.location_parameters()["code"].clone();
    let tokens = world.tokens(&client, "bob").await;
    let mut without = config();
    without.login.development.as_mut().unwrap().users.retain(|user| user != "bob");
    let after = world.node(without).await;
    after.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await.is_error(400, "invalid_grant");
    after.redeem(&client, &code).await.is_error(400, "invalid_grant");
    let claims = claims(&tokens["access_token"]);
    let standing = after.server.grant_standing(claims["grant"].as_str().unwrap()).await.unwrap();
    assert_eq!(standing, hawser_authserver::GrantStanding::Revoked);
    let mut elsewhere = Browser::new(&after);
    elsewhere.cookies.clone_from(&browser.cookies);
    assert!(elsewhere.get(&client.request(&[])).await.text().contains("development_user"));
}
