//! Who is logged out loses what was opened in their name, on the spot, and nobody else loses anything: logout tokens of an
//! external issuer (OpenID Connect Back-Channel Logout 1.0), and the logout page of the embedded authorization server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_tests::{Capture, Fixture, Gateway, Legacy, Modern, Nodes, Speaks, TokenIssuer, until};
use serde_json::{Value, json};
use url::Url;

const SOON: Duration = Duration::from_secs(10);
/// What is ended is over everywhere within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

struct Stage {
    issuer: TokenIssuer,
    gateway: Gateway,
    fixture: Fixture,
    url: Url,
    capture: Capture,
}

impl Stage {
    async fn new() -> Result<Self> {
        let issuer = TokenIssuer::start().await?;
        let fixture = Fixture::start(Speaks::Legacy).await?;
        let gateway = Gateway::start(json!({
            "backends": { "everything": { "url": fixture.url(), "naming": "none" } },
            "auth": { "authorization_server": { "enabled": false }, "issuers": [issuer.configuration()] },
        }))
        .await?;
        Ok(Self { url: gateway.mcp()?, issuer, gateway, fixture, capture: Capture::new() })
    }

    fn token(&self, subject: &str) -> Result<String> {
        self.issuer.access_token(subject, self.url.as_str())
    }

    async fn legacy(&self, subject: &str) -> Result<Legacy> {
        Legacy::open(&self.url, Some(&self.token(subject)?), json!({ "elicitation": {} }), &self.capture).await
    }

    fn modern(&self, subject: &str) -> Result<Modern> {
        Ok(Modern::new(&self.url, Some(&self.token(subject)?), &self.capture)?.declaring(json!({ "elicitation": {} })))
    }

    /// Posts a logout token; gives the status and the body.
    async fn log_out(&self, token: &str) -> Result<(u16, String)> {
        log_out(&self.gateway, &[("logout_token", token)]).await
    }

    fn logout_of(&self, subject: &str, id: &str) -> Result<String> {
        self.issuer.sign("logout+jwt", &self.issuer.logout_claims(subject, id))
    }
}

async fn log_out(gateway: &Gateway, form: &[(&str, &str)]) -> Result<(u16, String)> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = reqwest::Client::new().post(format!("{}/backchannel-logout", gateway.url())).body(body);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await?;
    ensure!(
        answer.status() == 404 || answer.headers().get("cache-control").is_some_and(|value| value == "no-store"),
        "{:?}",
        answer.headers()
    );
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn works(client: &Legacy) -> Result<bool> {
    Ok(client.request("tools/list", json!({})).await?.status == 200)
}

#[tokio::test]
async fn a_logout_token_ends_everything_of_its_subject_at_once_and_nothing_of_anybody_else() -> Result<()> {
    let stage = Stage::new().await?;
    let (alice, bob) = (stage.legacy("alice").await?, stage.legacy("bob").await?);
    let (mut stream, mut bobs) = (alice.stream(None).await?, bob.stream(None).await?);
    ensure!(stream.status == 200 && bobs.status == 200);
    let filter = json!({ "toolsListChanged": true });
    let (mut listening, _) = stage.modern("alice")?.listen(filter.clone()).await?;
    let (mut bob_listens, _) = stage.modern("bob")?.listen(filter).await?;
    let asks = json!({ "name": "test_side_effects", "arguments": { "key": "k", "ask": true } });
    let mut call = alice.request("tools/call", asks).await?;
    call.expect("elicitation/create").await?;

    ensure!(stage.log_out(&stage.logout_of("alice", "1")?).await? == (200, String::new()));
    let then = Instant::now();
    while stream.next().await?.is_some() {}
    while listening.next().await.is_ok_and(|message| message.is_some()) {}
    while call.next().await.is_ok_and(|message| message.is_some()) {}
    ensure!(then.elapsed() < AT_ONCE, "it took {:?}", then.elapsed());
    ensure!(alice.request("tools/list", json!({})).await?.status == 404, "the session outlived the logout");

    ensure!(works(&bob).await?);
    ensure!(tokio::time::timeout(Duration::from_millis(200), bobs.next()).await.is_err(), "bob's stream ended");
    ensure!(tokio::time::timeout(Duration::from_millis(200), bob_listens.next()).await.is_err(), "bob listens no more");
    // Logging in again is what a logout is for.
    ensure!(works(&stage.legacy("alice").await?).await?);
    stage.modern("alice")?.result("tools/list", json!({})).await?;
    drop(stage.fixture);
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_no_good_logout_token_ends_nothing() -> Result<()> {
    let stage = Stage::new().await?;
    let stranger = TokenIssuer::start().await?;
    let alice = stage.legacy("alice").await?;
    let with = |name: &str, value: Value| {
        let mut claims = stage.issuer.logout_claims("alice", name);
        claims[name] = value;
        claims
    };
    let without = |name: &str| -> Result<Value> {
        let mut claims = stage.issuer.logout_claims("alice", name);
        claims.as_object_mut().context("no object")?.remove(name);
        Ok(claims)
    };
    let good = stage.issuer.logout_claims("alice", "good");
    let sign = |claims: &Value| stage.issuer.sign("logout+jwt", claims);
    let (head, signature) =
        sign(&good)?.rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).context("no dots")?;
    let none = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(good.to_string()));
    let mut sid_alone = without("sub")?;
    sid_alone["sid"] = "s".into();
    for (what, token) in [
        ("another client's", sign(&with("aud", json!("other")))?),
        ("for a resource", sign(&with("aud", json!(stage.url.as_str())))?),
        ("with a nonce", sign(&with("nonce", json!("n")))?),
        ("without events", sign(&without("events")?)?),
        ("of another event", sign(&with("events", json!({ "https://example.com/other": {} })))?),
        ("old", sign(&with("iat", json!(1_000_000_000)))?),
        ("expired", sign(&with("exp", json!(1_000_000_000)))?),
        ("without an id", sign(&without("jti")?)?),
        ("of a session of the issuer alone", sign(&sid_alone)?),
        ("of another type", stage.issuer.sign("at+jwt", &good)?),
        ("signed by a stranger", stranger.sign("logout+jwt", &good)?),
        ("of a stranger", stranger.sign("logout+jwt", &stranger.logout_claims("alice", "1"))?),
        ("of the algorithm none", none),
        ("with an altered signature", format!("{head}.{}", signature.chars().rev().collect::<String>())),
        ("an access token", stage.token("alice")?),
        ("garbage", "x.y.z".to_owned()),
    ] {
        let (status, body) = stage.log_out(&token).await?;
        ensure!(status == 400 && body.contains("\"error\""), "{what}: {status} {body}");
        ensure!(works(&alice).await?, "a token {what} ended a session");
    }
    let token = sign(&good)?;
    let twice = [("logout_token", token.as_str()), ("logout_token", &token)];
    ensure!(log_out(&stage.gateway, &twice).await?.0 == 400);
    ensure!(log_out(&stage.gateway, &[("token", &token)]).await?.0 == 400);
    ensure!(works(&alice).await?);
    // It was good all the time, once.
    ensure!(stage.log_out(&token).await?.0 == 200);
    ensure!(!works(&alice).await?);
    let again = stage.legacy("alice").await?;
    let (status, body) = stage.log_out(&token).await?;
    ensure!(status == 400 && body.contains("used before"), "{status} {body}");
    ensure!(works(&again).await?, "a replayed logout token ended a session");
    Ok(())
}

#[tokio::test]
async fn logout_tokens_are_taken_only_where_that_is_configured() -> Result<()> {
    let issuer = TokenIssuer::start().await?;
    let mut entry = issuer.configuration();
    entry.as_object_mut().context("no object")?.remove("backchannel_logout_audience");
    let auth = json!({ "authorization_server": { "enabled": false }, "issuers": [entry] });
    let gateway = Gateway::start(json!({ "auth": auth })).await?;
    let token = issuer.sign("logout+jwt", &issuer.logout_claims("alice", "1"))?;
    ensure!(log_out(&gateway, &[("logout_token", &token)]).await?.0 == 404);
    Ok(())
}

/// A browser, as far as logging in and out needs one.
struct Browser {
    http: reqwest::Client,
    base: String,
    cookie: String,
}

impl Browser {
    fn new(gateway: &Gateway) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, base: gateway.url().to_owned(), cookie: String::new() })
    }

    /// Sends a request with the cookie; gives where it leads to, or the page.
    async fn send(&mut self, request: reqwest::RequestBuilder) -> Result<String> {
        let answer = request.header("cookie", &self.cookie).send().await?;
        if let Some(set) = answer.headers().get("set-cookie") {
            set.to_str()?.split(';').next().unwrap_or_default().clone_into(&mut self.cookie);
        }
        if let Some(location) = answer.headers().get("location") {
            return Ok(location.to_str()?.to_owned());
        }
        ensure!(answer.status() == 200, "{}: {}", answer.status(), answer.text().await?);
        Ok(answer.text().await?)
    }

    async fn get(&mut self, url: &str) -> Result<String> {
        self.send(self.http.get(url)).await
    }

    /// Sends the page's form back with more fields.
    async fn submit(&mut self, path: &str, page: &str, fields: &[(&str, &str)]) -> Result<String> {
        let hidden = |name: &str| {
            let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).context("no such field")?;
            rest.split('"').next().map(str::to_owned).context("no value")
        };
        let (request, csrf) = (hidden("request")?, hidden("csrf")?);
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("request", &request).append_pair("csrf", &csrf).extend_pairs(fields);
        let body = form.finish();
        let post = self.http.post(format!("{}{path}", self.base)).body(body);
        self.send(post.header("content-type", "application/x-www-form-urlencoded")).await
    }

    /// Logs a development user in, at a new client, and gives an access token for the endpoint.
    async fn log_in(&mut self, user: &str, resource: &Url) -> Result<String> {
        let metadata = json!({ "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none" });
        let register = self.http.post(format!("{}/oauth/register", self.base)).json(&metadata);
        let registered: Value = register.send().await?.json().await?;
        let client = registered["client_id"].as_str().context("no client id")?;
        // The S256 challenge of RFC 7636, appendix B, and its verifier.
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", client),
                ("redirect_uri", "http://127.0.0.1/cb"),
                ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
                ("code_challenge_method", "S256"),
                ("prompt", "login"),
                ("resource", resource.as_str()),
            ])
            .finish();
        let page = self.get(&format!("{}/oauth/authorize?{query}", self.base)).await?;
        let consent = self.submit("/oauth/login", &page, &[("development_user", user)]).await?;
        let page = self.get(&consent).await?;
        let back: Url = self.submit("/oauth/consent", &page, &[("decision", "approve")]).await?.parse()?;
        let code = back.query_pairs().find(|(name, _)| name == "code").context("no code")?.1.into_owned();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "authorization_code"),
                ("client_id", client),
                ("code", &code),
                ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            ])
            .finish();
        let post = self.http.post(format!("{}/oauth/token", self.base)).body(form);
        let post = post.header("content-type", "application/x-www-form-urlencoded");
        let tokens: Value = post.send().await?.json().await?;
        Ok(tokens["access_token"].as_str().with_context(|| format!("{tokens}"))?.to_owned())
    }
}

#[tokio::test]
async fn logging_out_of_a_browser_ends_the_sessions_of_what_was_granted_in_it() -> Result<()> {
    let gateway = Gateway::start(json!({})).await?;
    let (url, capture) = (gateway.mcp()?, Capture::new());
    let (mut here, mut there, mut of_bob) = (Browser::new(&gateway)?, Browser::new(&gateway)?, Browser::new(&gateway)?);
    let mut sessions = Vec::new();
    // Two apps in one browser, then another browser of hers, then somebody else's.
    for (browser, user) in [(&mut here, "alice"), (&mut there, "alice"), (&mut of_bob, "bob")] {
        for _ in 0..2 {
            let token = browser.log_in(user, &url).await?;
            sessions.push(Legacy::open(&url, Some(&token), json!({}), &capture).await?);
        }
    }
    let mut stream = sessions[0].stream(None).await?;
    let page = here.get(&format!("{}/oauth/logout", gateway.url())).await?;
    let then = Instant::now();
    let done = here.submit("/oauth/logout", &page, &[]).await?;
    ensure!(done.contains("You are logged out"), "{done}");
    while stream.next().await?.is_some() {}
    ensure!(then.elapsed() < AT_ONCE, "it took {:?}", then.elapsed());
    until("both sessions of that browser are over", SOON, async || {
        // Their tokens are revoked with their grants.
        let [first, second] = [&sessions[0], &sessions[1]].map(|session| session.request("tools/list", json!({})));
        Ok((first.await?.status == 401 && second.await?.status == 401).then_some(()))
    })
    .await?;
    for session in &sessions[2..] {
        ensure!(works(session).await?, "a session of another browser was ended");
    }
    Ok(())
}

/// A logout token is good once: what begins with it is carried out, although its issuer hangs up while the store is slow.
#[tokio::test]
async fn a_logout_that_has_begun_is_carried_out_though_its_issuer_hangs_up() -> Result<()> {
    let issuer = TokenIssuer::start().await?;
    let nodes = Nodes::with(1, Speaks::Legacy, json!({ "auth": { "issuers": [issuer.configuration()] } })).await?;
    let at = nodes.at(0)?;
    let token = issuer.access_token("alice", nodes.url().as_str())?;
    let alice = Legacy::open(&at, Some(&token), json!({}), &nodes.capture).await?.at(&at);
    ensure!(works(&alice).await?);
    let logout = issuer.sign("logout+jwt", &issuer.logout_claims("alice", "hung up"))?;
    // The issuer's keys are known, so that nothing but the store is waited for.
    let before = issuer.sign("logout+jwt", &issuer.logout_claims("bob", "before"))?;
    ensure!(log_out(&nodes.nodes[0], &[("logout_token", &before)]).await?.0 == 200);
    nodes.store.stall()?;
    let form = [("logout_token", logout.as_str())];
    let hangs_up = tokio::time::timeout(Duration::from_millis(500), log_out(&nodes.nodes[0], &form)).await;
    ensure!(hangs_up.is_err(), "the store is not waited for");
    nodes.store.resume()?;
    until("the session is over", SOON, async || Ok((!works(&alice).await?).then_some(()))).await?;
    let again = log_out(&nodes.nodes[0], &[("logout_token", &logout)]).await?;
    ensure!(again.0 == 400, "the token was not used up: {again:?}");
    Ok(())
}
