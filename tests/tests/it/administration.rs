//! What an operator sees and ends, by the command line and over HTTP; and who may not.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Hawser, Person, Speaks, Stage, time_backend, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
/// What is ended is over everywhere within this time.
const AT_ONCE: Duration = Duration::from_secs(1);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Runs `hawser sessions …` for this gateway.
async fn sessions(gateway: &Gateway, arguments: &[&str]) -> Result<Output> {
    let data = gateway.dir().join("data");
    let data = data.to_str().context("no text")?;
    Hawser::new()?.run(&[&["sessions"], arguments, &["--data-dir", data]].concat(), "").await
}

/// The same, which must work; gives the JSON it prints.
async fn told(gateway: &Gateway, arguments: &[&str]) -> Result<Value> {
    let output = sessions(gateway, &[arguments, &["--json"]].concat()).await?;
    ensure!(output.status.code() == Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn names(gateway: &Gateway, selection: &[&str]) -> Result<Vec<String>> {
    let list = told(gateway, &[&["list"], selection].concat()).await?;
    let sessions = list["sessions"].as_array().context("no list")?;
    Ok(sessions.iter().filter_map(|session| session["session"].as_str()).map(str::to_owned).collect())
}

async fn works(person: &mut Person) -> Result<bool> {
    Ok(person.ask("tools/list", json!({})).await?.answer.status == 200)
}

async fn over(person: &mut Person) -> Result<()> {
    let then = Instant::now();
    until("the session is over", SOON, async || Ok((!works(person).await?).then_some(()))).await?;
    ensure!(then.elapsed() < AT_ONCE, "it took {:?}", then.elapsed());
    Ok(())
}

async fn three_people() -> Result<(Gateway, Person, Person, Person)> {
    let endpoints = json!({ "default": {}, "clock": { "path": "/clock" } });
    let gateway =
        Gateway::with_users(json!({ "backends": { "time": time_backend()? }, "endpoints": endpoints })).await?;
    let (url, clock) = (gateway.mcp()?, gateway.endpoint("clock")?);
    let mut people = [
        Person::log_in(&url, "alice").await?,
        Person::log_in(&url, "bob").await?,
        Person::log_in(&clock, "eve").await?,
    ];
    for person in &mut people {
        person.open().await?;
    }
    let [alice, bob, eve] = people;
    Ok((gateway, alice, bob, eve))
}

#[tokio::test]
async fn sessions_are_listed_and_shown_by_what_they_belong_to_and_without_what_opens_them() -> Result<()> {
    let (gateway, alice, _bob, _eve) = three_people().await?;
    ensure!(names(&gateway, &[]).await?.len() == 3);
    let of_alice = names(&gateway, &["--principal", "user:alice"]).await?;
    let of_eve = names(&gateway, &["--endpoint", "clock"]).await?;
    ensure!(of_alice.len() == 1 && of_eve.len() == 1 && of_alice != of_eve, "{of_alice:?} {of_eve:?}");
    ensure!(names(&gateway, &["--principal", "user:nobody"]).await?.is_empty());
    ensure!(names(&gateway, &["--principal", "user:alice", "--issuer", "https://other.example"]).await?.is_empty());
    ensure!(names(&gateway, &["--principal", "client-x", "--kind", "client"]).await?.is_empty());

    let shown = told(&gateway, &["show", &of_alice[0]]).await?;
    ensure!(shown["endpoint"] == "/mcp" && shown["live"] == true && shown["client"].is_string(), "{shown}");
    let grant = shown["grant"].as_str().context("no grant")?;
    ensure!(names(&gateway, &["--grant", grant]).await? == of_alice);
    ensure!(!shown.to_string().contains(alice.session_id()?), "the session id is shown");
    // Page by page, all of them, each once.
    let mut all = Vec::new();
    let mut after = None::<String>;
    for _ in 0..10 {
        let from: Vec<&str> = after.iter().flat_map(|after| ["--after", after.as_str()]).collect();
        let page = told(&gateway, &[&["list", "--limit", "1"], from.as_slice()].concat()).await?;
        let sessions = page["sessions"].as_array().context("no list")?;
        all.extend(sessions.iter().filter_map(|session| session["session"].as_str()).map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    all.sort();
    all.dedup();
    ensure!(all.len() == 3, "{all:?}");
    let table = String::from_utf8(sessions(&gateway, &["list"]).await?.stdout)?;
    ensure!(table.starts_with("SESSION") && table.contains(&of_alice[0]), "{table}");
    Ok(())
}

#[tokio::test]
async fn what_is_revoked_is_over_at_once_and_the_rest_goes_on() -> Result<()> {
    let (gateway, mut alice, mut bob, mut eve) = three_people().await?;
    let of_alice = names(&gateway, &["--principal", "user:alice"]).await?;
    let revoked = told(&gateway, &["revoke", "--session", &of_alice[0], "--yes", "--reason", "a test"]).await?;
    ensure!(revoked == json!({ "sessions": 1 }), "{revoked}");
    over(&mut alice).await?;
    ensure!(works(&mut bob).await? && works(&mut eve).await?);
    ensure!(gateway.log().contains("a test"), "the reason is not in the audit log");
    ensure!(names(&gateway, &["--principal", "user:alice"]).await?.is_empty());

    // She may open another one, until her grant is ended.
    alice.open().await?;
    let of_alice = names(&gateway, &["--principal", "user:alice"]).await?;
    let shown = told(&gateway, &["show", &of_alice[0]]).await?;
    let grant = shown["grant"].as_str().context("no grant")?.to_owned();
    told(&gateway, &["revoke", "--grant", &grant, "--yes"]).await?;
    over(&mut alice).await?;
    ensure!(alice.refresh().await.is_err(), "the grant stands");
    ensure!(works(&mut bob).await? && works(&mut eve).await?);

    told(&gateway, &["revoke", "--endpoint", "clock", "--yes"]).await?;
    over(&mut eve).await?;
    ensure!(works(&mut bob).await?);
    Ok(())
}

/// Streams and calls of both eras.
#[tokio::test]
async fn everything_of_a_revoked_principal_ends_at_once() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let (alice, bob) = (stage.log_in("alice").await?, stage.log_in("bob").await?);
    let client = stage.legacy(&alice, json!({ "elicitation": {} })).await?;
    let others = stage.legacy(&bob, json!({})).await?;
    let mut stream = client.stream(None).await?;
    let (mut listening, _) = stage.modern(&alice)?.listen(json!({ "toolsListChanged": true })).await?;
    let (mut bobs, _) = stage.modern(&bob)?.listen(json!({ "toolsListChanged": true })).await?;
    let asks = json!({ "name": "test_side_effects", "arguments": { "key": "k", "ask": true } });
    let mut call = client.request("tools/call", asks).await?;
    call.expect("elicitation/create").await?;
    told(&stage.gateway, &["revoke", "--principal", "user:alice", "--yes"]).await?;
    let then = Instant::now();
    while stream.next().await?.is_some() {}
    while listening.next().await.is_ok_and(|message| message.is_some()) {}
    while call.next().await.is_ok_and(|message| message.is_some()) {}
    ensure!(then.elapsed() < AT_ONCE, "it took {:?}", then.elapsed());
    ensure!(client.request("tools/list", json!({})).await?.status == 404);
    others.result("tools/list", json!({})).await?;
    ensure!(tokio::time::timeout(Duration::from_millis(200), bobs.next()).await.is_err(), "bob listens no more");
    Ok(())
}

#[tokio::test]
async fn nothing_is_ended_without_a_selection_or_a_yes() -> Result<()> {
    let (gateway, mut alice, mut bob, mut eve) = three_people().await?;
    ensure!(sessions(&gateway, &["revoke", "--yes"]).await?.status.code() == Some(64));
    let both = ["revoke", "--endpoint", "clock", "--principal", "user:alice", "--yes"];
    ensure!(sessions(&gateway, &both).await?.status.code() == Some(64));
    // There is nobody to ask: standard input is no terminal.
    let unasked = sessions(&gateway, &["revoke", "--principal", "user:alice"]).await?;
    ensure!(unasked.status.code() == Some(1), "{unasked:?}");
    ensure!(String::from_utf8_lossy(&unasked.stderr).contains("--yes"), "{unasked:?}");
    // A name without its kind would find nobody, and look like success.
    let vague = sessions(&gateway, &["revoke", "--principal", "alice", "--yes"]).await?;
    ensure!(String::from_utf8_lossy(&vague.stderr).contains("user:NAME"), "{vague:?}");
    let unknown = sessions(&gateway, &["revoke", "--endpoint", "clokc", "--yes"]).await?;
    ensure!(String::from_utf8_lossy(&unknown.stderr).contains("clock, default"), "{unknown:?}");
    ensure!(works(&mut alice).await? && works(&mut bob).await? && works(&mut eve).await?);
    Ok(())
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_follows_the_process() -> Result<()> {
    let mut gateway = Gateway::with_users(json!({})).await?;
    let socket = gateway.dir().join("data/admin.sock");
    let found = std::fs::symlink_metadata(&socket)?;
    ensure!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600, "{found:?}");
    // A crash leaves the file; the next start replaces it.
    gateway.kill().await?;
    ensure!(socket.exists());
    let away = sessions(&gateway, &["list"]).await?;
    let errors = String::from_utf8_lossy(&away.stderr).into_owned();
    ensure!(away.status.code() == Some(1) && errors.contains("hawser serve"), "{errors}");
    gateway.start_again().await?;
    ensure!(names(&gateway, &[]).await?.is_empty());
    gateway.stop().await?;
    ensure!(!socket.exists(), "the socket outlived the gateway");
    ensure!(std::fs::read_dir(gateway.dir().join("data"))?.count() == 2, "something is left in the data folder");
    Ok(())
}

/// Over TCP: a port that was free a moment ago, since the configuration names it.
async fn over_tcp() -> Result<(Gateway, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("127.0.0.1:{port}");
    let gateway = Gateway::with_users(json!({ "admin": { "listen": listen, "token": TOKEN } })).await?;
    Ok((gateway, format!("http://{listen}")))
}

async fn get(url: String, token: Option<&str>) -> Result<(u16, Value)> {
    let mut request = reqwest::Client::new().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
}

#[tokio::test]
async fn over_tcp_only_the_token_opens_and_clients_find_nothing_of_it() -> Result<()> {
    let (gateway, admin) = over_tcp().await?;
    for token in [None, Some(""), Some("0123456789abcdef0123456789abcdee"), Some("0123456789abcdef")] {
        for path in ["/v1/node", "/v1/sessions", "/v1/elsewhere"] {
            ensure!(get(format!("{admin}{path}"), token).await?.0 == 401, "{path} with {token:?}");
        }
    }
    ensure!(get(format!("{admin}/readyz"), None).await?.0 == 200);
    let (status, node) = get(format!("{admin}/v1/node"), Some(TOKEN)).await?;
    ensure!(status == 200 && node["status"] == "ready" && node["store_reachable"] == true, "{node}");
    ensure!(node["node"].as_str().is_some_and(|name| name.len() == 16), "{node}");
    ensure!(node["store"] == "file" && node["sessions_live"] == 0 && node["calls"] == 0, "{node}");
    // The public listener knows nothing of it.
    ensure!(get(format!("{}/v1/node", gateway.url()), Some(TOKEN)).await?.0 == 404);
    let cli = ["sessions", "list", "--json", "--admin", &admin, "--admin-token"];
    let hawser = Hawser::new()?;
    let (right, wrong) = (hawser.write("right", TOKEN)?, hawser.write("wrong", &TOKEN.replace('0', "9"))?);
    let run = async |file: &std::path::Path| {
        let token = format!("file:{}", file.display());
        hawser.run(&[&cli[..], &[token.as_str()]].concat(), "").await
    };
    ensure!(run(&right).await?.status.code() == Some(0));
    let refused = run(&wrong).await?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("refuses the token"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn wrong_parameters_are_refused_by_name() -> Result<()> {
    let (_gateway, admin) = over_tcp().await?;
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("lmit=1", "lmit"),
        ("grant=a&grant=b", "grant"),
        ("session=xyz", "session"),
        ("issuer=https%3A%2F%2Fa", "issuer"),
        ("principal=alice", "principal"),
        ("principal=user%3Aalice&kind=robot", "kind"),
        ("endpoint=nowhere", "endpoint"),
        ("after=%20", "after"),
    ] {
        let (status, refused) = get(format!("{admin}/v1/sessions?{query}"), Some(TOKEN)).await?;
        ensure!(status == 400 && refused["parameter"] == parameter, "{query}: {status} {refused}");
    }
    let two = get(format!("{admin}/v1/sessions?grant=a&endpoint=default"), Some(TOKEN)).await?;
    ensure!(two.0 == 400, "{two:?}");
    ensure!(get(format!("{admin}/v1/sessions/{}", "0".repeat(32)), Some(TOKEN)).await?.0 == 404);
    let revoke = |body: &'static str, media_type: &'static str| {
        let request = reqwest::Client::new().post(format!("{admin}/v1/sessions/revoke")).bearer_auth(TOKEN);
        request.header("content-type", media_type).body(body).send()
    };
    for body in ["{}", r#"{"select":{}}"#, r#"{"select":{"grant":"a"},"sure":1}"#, r#"{"select":{"grants":"a"}}"#, "x"]
    {
        ensure!(revoke(body, "application/json").await?.status() == 400, "{body}");
    }
    ensure!(revoke(r#"{"select":{"grant":"a"}}"#, "text/plain").await?.status() == 415);
    ensure!(get(format!("{admin}/v1/sessions/revoke"), Some(TOKEN)).await?.0 == 405);
    Ok(())
}

#[tokio::test]
async fn administration_beyond_loopback_or_with_a_short_token_is_refused() -> Result<()> {
    for (admin, what) in [
        (json!({ "listen": "0.0.0.0:8421", "token": TOKEN }), "admin.listen"),
        (json!({ "listen": "127.0.0.1:8421", "token": "short" }), "admin.token"),
        (json!({ "listen": "127.0.0.1:8421" }), "admin"),
        (json!({ "token": TOKEN }), "admin"),
    ] {
        let hawser = Hawser::new()?;
        hawser.write("hawser.yaml", &json!({ "admin": admin }).to_string())?;
        let checked = hawser.run(&["config", "check"], "").await?;
        let errors = String::from_utf8_lossy(&checked.stderr).into_owned();
        ensure!(checked.status.code() == Some(78) && errors.contains(what), "{admin}: {errors}");
        ensure!(!errors.contains(TOKEN) && !errors.contains("`short`"), "the token is shown: {errors}");
    }
    Ok(())
}
