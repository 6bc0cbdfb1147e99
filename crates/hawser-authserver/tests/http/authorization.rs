//! The authorization endpoint and the consent page.

use hawser_authserver::{AuthServerConfig, Resource};
use http::StatusCode;
use serde_json::json;

use crate::answer::claims;
use crate::browser::Browser;
use crate::world::{CALLBACK, ISSUER, RESOURCE, World, challenge_of, config};

#[tokio::test]
async fn az1_az3_an_untrusted_redirect_gets_a_page_and_never_a_redirect() {
    let world = World::new().await;
    let client = world.public_client().await;
    for (name, value) in [
        ("client_id", "client-unknownunknownunknown"),
        ("client_id", "https://app.example/client.json"),
        ("client_id", ""),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://localhost:49152/callback#x"),
        ("redirect_uri", "http://localhost:49152/other"),
        ("redirect_uri", "http://127.0.0.1:49152/callback"),
    ] {
        world.get(&client.request(&[(name, value)])).await.is_error_page(400);
    }
    // Twice is no better, even if both are right.
    for twice in [("client_id", client.id.as_str()), ("redirect_uri", CALLBACK)] {
        world.get(&client.request(&[twice, twice])).await.is_error_page(400);
    }
    world.get("/oauth/authorize").await.is_error_page(400);
    world.get("/oauth/authorize?client_id=%ff").await.is_error_page(400);
    let long = "x".repeat(20_000);
    world.get(&client.request(&[("state", &long)])).await.is_error_page(414);
}

#[tokio::test]
async fn az4_az5_az6_az7_az8_every_other_error_goes_to_the_client_with_state_and_iss() {
    let world = World::new().await;
    let client = world.public_client().await;
    let short = "x".repeat(42);
    let long = "x".repeat(129);
    let odd = format!("{}!", "x".repeat(43));
    let challenge = challenge_of("v");
    for (extra, error) in [
        (vec![("code_challenge", "")], "invalid_request"),
        (vec![("code_challenge", short.as_str())], "invalid_request"),
        (vec![("code_challenge", &long)], "invalid_request"),
        (vec![("code_challenge", &odd)], "invalid_request"),
        (vec![("code_challenge_method", "")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge", &challenge), ("code_challenge", &challenge)], "invalid_request"),
        (vec![("response_type", "")], "invalid_request"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "code id_token")], "unsupported_response_type"),
        (vec![("response_mode", "fragment")], "invalid_request"),
        (vec![("nonce", "1"), ("nonce", "2")], "invalid_request"),
        (vec![("unknown", "1"), ("unknown", "2")], "invalid_request"),
        (vec![("scope", "nothing-here")], "invalid_scope"),
        (vec![("scope", "a\"b")], "invalid_scope"),
        (vec![("resource", "https://other.example/mcp")], "invalid_target"),
        (vec![("resource", "/mcp")], "invalid_target"),
        (vec![("resource", "http://127.0.0.1:8420/mcp#x")], "invalid_target"),
        (vec![("request", "eyJ")], "request_not_supported"),
        (vec![("request_uri", "https://x")], "request_uri_not_supported"),
        (vec![("prompt", "none login")], "invalid_request"),
        (vec![("max_age", "-1")], "invalid_request"),
        (vec![("prompt", "none")], "login_required"),
    ] {
        let answer = world.get(&client.request(&extra)).await;
        answer.is_error_redirect(error);
        assert_eq!(answer.location_parameters()["state"], "a state / with = characters", "{extra:?}");
    }
    let answer = world.get(&client.request(&[("state", "1"), ("state", "2")])).await;
    answer.is_error_redirect("invalid_request");
    assert!(!answer.location_parameters().contains_key("state"));
}

/// Anyone can register a site. A link to us that cannot be answered must not be a link to that site.
#[tokio::test]
async fn az4_nothing_but_a_click_leads_to_a_registered_site_before_somebody_logged_in() {
    let world = World::new().await;
    let site = world.confidential_client("none").await;
    for wrong in [("scope", "nonsense"), ("code_challenge", ""), ("response_type", "token"), ("resource", "x")] {
        let page = world.get(&site.request(&[wrong, ("state", "\"><script>")])).await;
        page.is_error_page(400);
        let text = page.text();
        let href = text.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
        let back = url::Url::parse(&href).unwrap();
        assert_eq!((back.host_str(), back.path()), (Some("app.example"), "/callback"));
        for (name, value) in [("state", "\"><script>"), ("iss", ISSUER)] {
            assert!(back.query_pairs().any(|pair| pair == (name.into(), value.into())), "{href}");
        }
        assert!(text.contains("Go back to app.example") && !text.contains("<script>"), "{text}");
    }
    // Nor does a link that asks for no interaction, until there is a login.
    world.get(&site.request(&[("prompt", "none")])).await.is_error_page(400);
    let mut browser = Browser::new(&world);
    browser.log_in(&site, "alice", &[]).await;
    browser.get(&site.request(&[("prompt", "none")])).await.is_error_redirect("consent_required");
    // Back to a program on the user's own computer leads nowhere else.
    let native = world.public_client().await;
    world.get(&native.request(&[("prompt", "none")])).await.is_error_redirect("login_required");
    world.get(&native.request(&[("scope", "nonsense")])).await.is_error_redirect("invalid_scope");
}

#[tokio::test]
async fn az10_success_is_a_303_with_code_unchanged_state_and_iss() {
    let world = World::new().await;
    let client = world.public_client().await;
    let answer = Browser::new(&world).grant(&client, "alice", &[("unknown", "ignored")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(answer.location().starts_with(&format!("{CALLBACK}?")), "{}", answer.location());
    let parameters = answer.location_parameters();
    assert_eq!(parameters.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
    assert_eq!(parameters["state"], "a state / with = characters");
    assert_eq!(parameters["iss"], ISSUER);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn az8_az9_defaults_for_scope_and_resource() {
    let world = World::new().await;
    let client = world.public_client().await;
    let code = world.code(&client, "alice", &[("resource", ""), ("scope", "")]).await;
    let tokens = world.redeem(&client, &code).await.json();
    assert_eq!(tokens["scope"], "mcp");
    assert_eq!(claims(&tokens["access_token"])["aud"], RESOURCE);
    // However it is written, the token has the canonical identifier.
    for resource in ["http://127.0.0.1:8420", "HTTP://127.0.0.1:8420/mcp/"] {
        let code = world.code(&client, "alice", &[("resource", resource)]).await;
        assert_eq!(claims(&world.redeem(&client, &code).await.json()["access_token"])["aud"], RESOURCE);
    }
}

/// Clients ask for `offline_access` whether it is advertised or not, at times for nothing else, and repeat it at a refresh.
#[tokio::test]
async fn offline_access_is_no_reason_to_refuse_and_grants_nothing() {
    let world = World::new().await;
    let client = world.public_client().await;
    for asked in ["offline_access", "mcp offline_access"] {
        let code = world.code(&client, "alice", &[("scope", asked), ("prompt", "consent")]).await;
        let tokens = world.redeem(&client, &code).await.json();
        assert_eq!(tokens["scope"], "mcp", "{asked}");
        let refresh_token = tokens["refresh_token"].as_str().unwrap();
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("scope", asked)];
        let refreshed = world.token(&client, &form).await;
        assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.text());
        assert_eq!(claims(&refreshed.json()["access_token"])["scope"], "mcp");
    }
}

#[tokio::test]
async fn a_state_is_not_demanded_and_not_invented() {
    let world = World::new().await;
    let client = world.public_client().await;
    let answer = Browser::new(&world).grant(&client, "alice", &[("state", "")]).await;
    let parameters = answer.location_parameters();
    assert_eq!(parameters.keys().map(String::as_str).collect::<Vec<_>>(), ["code", "iss"]);
}

#[tokio::test]
async fn az11_a_denial_reaches_the_client_and_grants_nothing() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    let consent = browser.log_in(&client, "alice", &[]).await;
    let answer = browser.submit("/oauth/consent", &consent, &[("decision", "deny")]).await;
    answer.is_error_redirect("access_denied");
    // Before a login there is nobody to deny.
    let mut stranger = Browser::new(&world);
    let login = stranger.get(&client.request(&[])).await;
    stranger.submit("/oauth/consent", &login, &[("decision", "deny")]).await.is_error_page(403);
}

#[tokio::test]
async fn az12_pages_cannot_be_framed_cached_or_referred_from() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    let login = browser.get(&client.request(&[])).await;
    let error = browser.get("/oauth/authorize").await;
    let consent = browser.log_in(&client, "alice", &[]).await;
    for page in [&login, &consent, &error] {
        let policy = page.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert!(!page.headers.contains_key("access-control-allow-origin"));
        // The style sheet is the one that the policy names.
        let text = page.text();
        let style = text.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = challenge_of(style).replace('-', "+").replace('_', "/");
        assert!(policy.contains(&format!("'sha256-{hash}='")), "{policy}");
    }
}

#[tokio::test]
async fn az13_a_consent_without_our_token_from_this_browser_grants_nothing() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut alice = Browser::new(&world);
    let consent = alice.log_in(&client, "alice", &[]).await;
    let (request, csrf) = (consent.field("request"), consent.field("csrf"));
    let approve = ("decision", "approve");
    // Missing, wrong, and another request's token.
    alice.post("/oauth/consent", &[("request", &request), approve]).await.is_error_page(403);
    alice.post("/oauth/consent", &[("request", &request), ("csrf", "x"), approve]).await.is_error_page(403);
    let other = alice.get(&client.request(&[])).await;
    let foreign = other.field("csrf");
    alice.post("/oauth/consent", &[("request", &request), ("csrf", &foreign), approve]).await.is_error_page(403);
    // Another user's browser with alice's fields, and no browser at all.
    let mut bob = Browser::new(&world);
    bob.log_in(&client, "bob", &[]).await;
    let fields = [("request", request.as_str()), ("csrf", csrf.as_str()), approve];
    bob.post("/oauth/consent", &fields).await.is_error_page(403);
    world.post("/oauth/consent", &fields).await.is_error_page(403);
    // Too late, and a decision that is none.
    alice.post("/oauth/consent", &[("request", &request), ("csrf", &csrf), ("decision", "?")]).await.is_error_page(403);
    assert_eq!(alice.post("/oauth/consent", &fields).await.status, StatusCode::SEE_OTHER);
    world.wait(601);
    alice.post("/oauth/consent", &fields).await.is_error_page(403);
}

/// A shared computer: one user leaves the page open, or somebody copied it, and another logs in in the same browser.
#[tokio::test]
async fn az13_a_consent_page_of_an_earlier_login_is_worth_nothing_to_the_next() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    let of_alice = browser.log_in(&client, "alice", &[]).await;
    let login_page = browser.get(&client.request(&[("prompt", "login")])).await;
    let answer = browser.submit("/oauth/login", &login_page, &[("development_user", "bob")]).await;
    browser.submit("/oauth/consent", &of_alice, &[("decision", "approve")]).await.is_error_page(403);
    // Nor can the login form be sent once more, now that it led to a login.
    browser.submit("/oauth/login", &login_page, &[("development_user", "alice")]).await.is_error_page(403);
    let of_bob = browser.get(&answer.location()).await;
    let approved = browser.submit("/oauth/consent", &of_bob, &[("decision", "approve")]).await;
    let code = approved.location_parameters()["code"].clone();
    assert_eq!(claims(&world.redeem(&client, &code).await.json()["access_token"])["sub"], "dev:bob");
}

#[tokio::test]
async fn az14_the_consent_page_names_everything_and_warns() {
    let world = World::new().await;
    let metadata = json!({
        "client_name": "<script>alert(1)</script>",
        "redirect_uris": ["http://localhost/callback"],
        "token_endpoint_auth_method": "none",
    });
    let client = world.client(&metadata).await;
    let consent = Browser::new(&world).log_in(&client, "alice", &[("scope", "mcp openid")]).await.text();
    for part in [client.id.as_str(), "localhost:49152", "<code>mcp</code>", "<code>openid</code>", RESOURCE, "alice"] {
        assert!(consent.contains(part), "{part} is not in {consent}");
    }
    assert!(consent.contains("Nobody has verified") && consent.contains("class=\"warning\""));
    assert!(!consent.contains("<script"), "{consent}");

    let web = world.confidential_client("client_secret_basic").await;
    let consent = Browser::new(&world).log_in(&web, "alice", &[]).await.text();
    assert!(consent.contains("<strong>app.example</strong>") && !consent.contains("class=\"warning\""));
}

#[tokio::test]
async fn az15_consent_is_remembered_for_exactly_what_it_was_given_for() {
    let two = AuthServerConfig {
        resources: vec![
            Resource { identifier: RESOURCE.to_owned(), name: String::new() },
            Resource { identifier: format!("{ISSUER}/other"), name: String::new() },
        ],
        scopes: vec!["mcp".to_owned(), "admin".to_owned()],
        ..config()
    };
    let other_resource = two.resources[1].identifier.clone();
    let world = World::with(two).await;
    let web = world.confidential_client("client_secret_basic").await;
    let mut browser = Browser::new(&world);
    let granted = browser.grant(&web, "alice", &[("scope", "mcp")]).await;
    // A client that got a token is remembered longer than the consent.
    world.redeem(&web, &granted.location_parameters()["code"]).await;
    let again = browser.get(&web.request(&[("scope", "mcp")])).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    assert!(again.location_parameters().contains_key("code"));
    let silent = browser.get(&web.request(&[("scope", "mcp"), ("prompt", "none")])).await;
    assert!(silent.location_parameters().contains_key("code"));

    for changed in [
        vec![("scope", "mcp admin")],
        vec![("scope", "admin")],
        vec![("scope", "mcp"), ("resource", other_resource.as_str())],
        vec![("scope", "mcp"), ("prompt", "consent")],
    ] {
        assert_eq!(browser.get(&web.request(&changed)).await.status, StatusCode::OK, "{changed:?}");
    }
    browser.get(&web.request(&[("scope", "admin"), ("prompt", "none")])).await.is_error_redirect("consent_required");
    // Another client with the same redirect, and another user, are asked.
    let twin = world.confidential_client("client_secret_basic").await;
    assert_eq!(browser.get(&twin.request(&[("scope", "mcp")])).await.status, StatusCode::OK);
    let consent = Browser::new(&world).log_in(&web, "bob", &[("scope", "mcp")]).await;
    assert_eq!(consent.status, StatusCode::OK);
    // So is everybody after a while.
    world.wait(91 * 24 * 3600);
    let consent = browser.log_in(&web, "alice", &[("scope", "mcp")]).await;
    assert_eq!(consent.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_anything_on_the_computer_could_pose_as_is_asked_for_every_time() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    browser.grant(&client, "alice", &[]).await;
    assert_eq!(browser.get(&client.request(&[])).await.status, StatusCode::OK);
    browser.get(&client.request(&[("prompt", "none")])).await.is_error_redirect("consent_required");
}

#[tokio::test]
async fn a_request_by_post_and_without_redirect_uri_works_where_only_one_is_registered() {
    let world = World::new().await;
    let web = world.confidential_client("client_secret_basic").await;
    let mut browser = Browser::new(&world);
    let query = web.request(&[("redirect_uri", "")]).split_once('?').unwrap().1.to_owned();
    let form: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sent_on = browser.post("/oauth/authorize", &form).await;
    assert_eq!(sent_on.status, StatusCode::SEE_OTHER);
    let page = browser.get(&sent_on.location()).await;
    let answer = browser.submit("/oauth/login", &page, &[("development_user", "alice")]).await;
    let consent = browser.get(&answer.location()).await;
    let answer = browser.submit("/oauth/consent", &consent, &[("decision", "approve")]).await;
    assert!(answer.location().starts_with("https://app.example/callback?code="), "{}", answer.location());
}

/// Browsers leave a `SameSite=Lax` cookie out of another site's POST.
#[tokio::test]
async fn another_sites_post_does_not_log_the_user_out() {
    let world = World::new().await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    browser.log_in(&client, "alice", &[]).await;
    let query = client.request(&[]).split_once('?').unwrap().1.to_owned();
    let form: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sent_on = world.post("/oauth/authorize", &form).await;
    assert!(!sent_on.headers.contains_key("set-cookie"));
    assert!(sent_on.location().starts_with(&format!("{ISSUER}/oauth/authorize?")), "{}", sent_on.location());
    assert!(browser.get(&sent_on.location()).await.text().contains("<strong>alice</strong>"));
    let state = "x".repeat(13_000);
    world.post("/oauth/authorize", &[("state", &state)]).await.is_error_page(414);
}
