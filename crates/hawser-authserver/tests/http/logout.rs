//! Logging out (OpenID Connect RP-Initiated Logout 1.0): a browser's login ends with the grants that were made in it, nobody
//! else's do, and no other site can bring it about.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::browser::Browser;
use crate::world::{Client, World};

const BACK: &str = "https://app.example/bye?from=hawser";

async fn web_client(world: &World) -> Client {
    world
        .client(&json!({
            "client_name": "Web Client",
            "redirect_uris": ["https://app.example/callback"],
            "post_logout_redirect_uris": [BACK],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        }))
        .await
}

/// Grants in this browser, and what the client gets for the code.
async fn granted(world: &World, browser: &mut Browser<'_>, client: &Client, user: &str) -> Value {
    let answer = browser.grant(client, user, &[("scope", "openid mcp"), ("prompt", "consent login")]).await;
    let redeemed = world.redeem(client, &answer.location_parameters()["code"]).await;
    assert_eq!(redeemed.status, StatusCode::OK, "{}", redeemed.text());
    redeemed.json()
}

async fn refreshes(world: &World, client: &Client, tokens: &Value) -> bool {
    world.refresh(client, tokens["refresh_token"].as_str().unwrap()).await.status == StatusCode::OK
}

fn logout(parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("/oauth/logout?{query}")
}

async fn confirm(browser: &mut Browser<'_>, page: &Answer) -> Answer {
    browser.submit("/oauth/logout", page, &[]).await
}

#[tokio::test]
async fn it_is_advertised() {
    let world = World::new().await;
    let metadata = world.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["end_session_endpoint"], "http://127.0.0.1:8420/oauth/logout");
}

#[tokio::test]
async fn who_says_yes_is_logged_out_of_this_browser_and_of_nothing_else() {
    let world = World::new().await;
    let client = web_client(&world).await;
    let (mut here, mut there, mut of_bob) = (Browser::new(&world), Browser::new(&world), Browser::new(&world));
    let first = granted(&world, &mut here, &client, "alice").await;
    // She logged in once more in the same browser: what was granted before is not forgotten.
    let second = granted(&world, &mut here, &client, "alice").await;
    let elsewhere = granted(&world, &mut there, &client, "alice").await;
    let bobs = granted(&world, &mut of_bob, &client, "bob").await;

    let page = here.get("/oauth/logout").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("alice"), "{}", page.text());
    assert!(refreshes(&world, &client, &first).await, "a question ends nothing");
    let done = confirm(&mut here, &page).await;
    assert_eq!(done.status, StatusCode::OK);
    assert!(done.text().contains("You are logged out"), "{}", done.text());
    assert!(done.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));

    assert!(!refreshes(&world, &client, &first).await);
    assert!(!refreshes(&world, &client, &second).await);
    assert!(refreshes(&world, &client, &elsewhere).await);
    assert!(refreshes(&world, &client, &bobs).await);
    // The old cookie, kept by somebody, is nobody's.
    let asked = here.get(&client.request(&[])).await;
    assert!(asked.text().contains("Log in"), "{}", asked.text());
    assert!(here.get("/oauth/logout").await.text().contains("You are logged out"));
}

#[tokio::test]
async fn no_other_site_and_no_other_browser_logs_anybody_out() {
    let world = World::new().await;
    let client = web_client(&world).await;
    let (mut alice, mut bob) = (Browser::new(&world), Browser::new(&world));
    let tokens = granted(&world, &mut alice, &client, "alice").await;
    let theirs = granted(&world, &mut bob, &client, "bob").await;
    let page = alice.get("/oauth/logout").await;
    let bobs_page = bob.get("/oauth/logout").await;
    let (request, csrf) = (page.field("request"), page.field("csrf"));
    let (bobs_request, bobs_csrf) = (bobs_page.field("request"), bobs_page.field("csrf"));
    for form in [
        vec![("csrf", "guessed"), ("request", request.as_str())],
        vec![("csrf", bobs_csrf.as_str()), ("request", &request)],
        vec![("csrf", &bobs_csrf), ("request", &bobs_request)],
        vec![("csrf", &csrf)],
    ] {
        assert_eq!(alice.post("/oauth/logout", &form).await.status, StatusCode::FORBIDDEN, "{form:?}");
    }
    // Without her cookie, which another site's POST does not bring along.
    let form = [("request", request.as_str()), ("csrf", csrf.as_str())];
    assert_eq!(world.post("/oauth/logout", &form).await.status, StatusCode::FORBIDDEN);
    // A page that waits for a login or a consent is none that waits for this.
    let waiting = alice.get(&client.request(&[("prompt", "login")])).await;
    assert_eq!(confirm(&mut alice, &waiting).await.status, StatusCode::FORBIDDEN);
    assert!(refreshes(&world, &client, &tokens).await);
    assert!(refreshes(&world, &client, &theirs).await);
}

#[tokio::test]
async fn an_app_that_shows_the_users_id_token_logs_out_at_once_and_gets_its_user_back() {
    let world = World::new().await;
    let client = web_client(&world).await;
    let mut browser = Browser::new(&world);
    let tokens = granted(&world, &mut browser, &client, "alice").await;
    let hint = tokens["id_token"].as_str().unwrap();
    // "even when the exp time has passed"
    world.wait(3600);
    let to = logout(&[("id_token_hint", hint), ("post_logout_redirect_uri", BACK), ("state", "a b&c")]);
    let answer = browser.get(&to).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(answer.location(), format!("{BACK}&state=a+b%26c"));
    assert!(!refreshes(&world, &client, &tokens).await);
    // Once more: nothing is left to end, and the user comes back all the same.
    assert_eq!(browser.get(&to).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_hint_that_is_not_about_this_user_only_asks() {
    let world = World::new().await;
    let client = web_client(&world).await;
    let (mut alice, mut bob) = (Browser::new(&world), Browser::new(&world));
    let tokens = granted(&world, &mut alice, &client, "alice").await;
    let theirs = granted(&world, &mut bob, &client, "bob").await;
    let of_bob = theirs["id_token"].as_str().unwrap().to_owned();
    let own = tokens["id_token"].as_str().unwrap();
    let (signed, signature) = own.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let access = tokens["access_token"].as_str().unwrap().to_owned();
    for hint in [of_bob, forged, access, "x".to_owned()] {
        let page = alice.get(&logout(&[("id_token_hint", &hint)])).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        assert!(page.text().contains("Log out?"), "{}", page.text());
    }
    assert!(refreshes(&world, &client, &tokens).await);
}

#[tokio::test]
async fn nobody_is_sent_where_the_app_did_not_register_or_before_they_said_yes() {
    let world = World::new().await;
    let (client, other) = (web_client(&world).await, world.public_client().await);
    let mut browser = Browser::new(&world);
    let tokens = granted(&world, &mut browser, &client, "alice").await;
    // Nobody is logged in in this one.
    let mut empty = Browser::new(&world);
    let page = empty.get(&logout(&[("client_id", &client.id), ("post_logout_redirect_uri", BACK)])).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("Go back to app.example"), "{}", page.text());
    for wrong in
        ["https://app.example/bye", "https://app.example/bye?from=hawser&x", "https://evil.example/", "javascript:1"]
    {
        for id in [&client.id, &other.id] {
            let page = empty.get(&logout(&[("client_id", id), ("post_logout_redirect_uri", wrong)])).await;
            assert_eq!(page.status, StatusCode::OK);
            assert!(!page.text().contains("Go back"), "{wrong}: {}", page.text());
        }
    }
    let hint = tokens["id_token"].as_str().unwrap();
    let two = browser.get(&logout(&[("id_token_hint", hint), ("client_id", &other.id)])).await;
    assert_eq!(two.status, StatusCode::BAD_REQUEST);
    let twice = browser.get("/oauth/logout?state=a&state=b").await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    assert!(refreshes(&world, &client, &tokens).await);
    // After a yes.
    let page = browser.get(&logout(&[("client_id", &client.id), ("post_logout_redirect_uri", BACK)])).await;
    assert!(page.text().contains("Web Client"), "{}", page.text());
    assert_eq!(confirm(&mut browser, &page).await.location(), BACK);
}

#[tokio::test]
async fn an_apps_post_is_asked_about_with_get() {
    let world = World::new().await;
    let answer = world.post("/oauth/logout", &[("client_id", "client-x"), ("state", "s")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "http://127.0.0.1:8420/oauth/logout?client_id=client-x&state=s");
}

#[tokio::test]
async fn a_code_of_the_login_is_worth_nothing_after_the_logout() {
    let world = World::new().await;
    let client = web_client(&world).await;
    let mut browser = Browser::new(&world);
    let code = browser.grant(&client, "alice", &[]).await.location_parameters()["code"].clone();
    let page = browser.get("/oauth/logout").await;
    confirm(&mut browser, &page).await;
    assert_eq!(world.redeem(&client, &code).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn addresses_after_a_logout_are_held_to_what_redirect_uris_are() {
    let world = World::new().await;
    for wrong in ["javascript:alert(1)", "http://app.example/bye", "https://app.example/#x", "/bye"] {
        let metadata = json!({ "redirect_uris": ["https://app.example/cb"], "post_logout_redirect_uris": [wrong] });
        let answer = world.register(&metadata).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(answer.json()["error"], "invalid_client_metadata");
    }
}
