//! The MCP side of the fake.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Hole, Kind, Session, Shared, answer, json};

struct Caller {
    user: String,
    token: String,
}

pub(crate) async fn serve(shared: &Arc<Shared>, parts: &Parts, body: &str) -> Response {
    let header = |name: &str| text(&parts.headers, name);
    let token = header("authorization").and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned));
    let user = token.as_ref().and_then(|token| shared.tables().tokens.get(token).cloned());
    let unguarded = matches!(shared.kind, Kind::Open | Kind::Modern)
        || (shared.hole == Hole::SessionIsPassword && header("mcp-session-id").is_some());
    let user = user.or_else(|| unguarded.then(|| "nobody".to_owned()));
    let Some(user) = user else {
        let place = format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", shared.base);
        return answer(401, &[("www-authenticate", &place)], "");
    };
    let message: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let caller = Caller { user, token: token.unwrap_or_default() };
    if shared.kind == Kind::Modern {
        return modern(&message);
    }
    if message["method"] == "initialize" {
        return initialize(shared, &caller, header("mcp-session-id"), &message);
    }
    let id = match admit(shared, &caller, parts, &message) {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    match parts.method {
        Method::GET if shared.kind == Kind::Stateless => answer(405, &[], ""),
        Method::GET => stream_of(shared, &id),
        Method::DELETE => {
            if shared.hole != Hole::NeverDeletes {
                shared.tables().sessions.remove(&id);
            }
            answer(204, &[], "")
        }
        _ => dispatch(shared, &caller, &id, &message).await,
    }
}

fn modern(message: &Value) -> Response {
    let version = &message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
    if message["method"] == "server/discover" && version == "2026-07-28" {
        let result = json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}});
        return json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
    }
    json(404, &json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn initialize(shared: &Arc<Shared>, caller: &Caller, proposed: Option<String>, message: &Value) -> Response {
    let minted = format!("{:016x}{:016x}", shared.fresh(), shared.fresh());
    let proposed = proposed.filter(|id| shared.hole == Hole::AdoptsIds && !shared.tables().sessions.contains_key(id));
    let id = proposed.unwrap_or(minted);
    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
        "serverInfo": {"name": "fake", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    let mut headers = vec![("content-type", "application/json")];
    if shared.kind != Kind::Stateless {
        let (user, token) = (caller.user.clone(), caller.token.clone());
        let session = Session { user, token, running: HashMap::default(), stream: Arc::new(Notify::new()) };
        shared.tables().sessions.insert(id.clone(), session);
        headers.push(("mcp-session-id", &id));
    }
    answer(200, &headers, body)
}

/// The door. Gives the session id to act on.
#[allow(clippy::result_large_err, reason = "the refusal is the answer itself")]
fn admit(shared: &Arc<Shared>, caller: &Caller, parts: &Parts, message: &Value) -> Result<String, Response> {
    if shared.kind == Kind::Stateless {
        return Ok(String::new());
    }
    let Some(sent) = text(&parts.headers, "mcp-session-id") else { return Err(answer(400, &[], "no session id")) };
    if shared.hole == Hole::IgnoresSessions {
        return Ok(sent);
    }
    let mut tables = shared.tables();
    let half = |id: &str| id.get(..16).map(str::to_owned);
    let found = match shared.hole {
        Hole::ComparesHalf => tables.sessions.keys().find(|id| half(id) == half(&sent)).cloned(),
        _ => tables.sessions.contains_key(&sent).then(|| sent.clone()),
    };
    let unknown = if shared.hole == Hole::Unknown400 { 400 } else { 404 };
    let Some(id) = found else { return Err(answer(unknown, &[], format!("no session {sent}"))) };
    let Some(session) = tables.sessions.get(&id) else { return Err(answer(unknown, &[], "")) };
    let own = match shared.hole {
        Hole::BindsTokenBytes => session.token == caller.token,
        Hole::SessionIsPassword => session.user == caller.user || caller.user == "nobody",
        _ => session.user == caller.user,
    };
    let method = message["method"].as_str();
    let (call, response) = (method == Some("tools/call"), method.is_none() && parts.method == Method::POST);
    let unchecked = match shared.hole {
        Hole::NoBinding => true,
        Hole::ChecksCallOnly => !call,
        // The original report: listing goes well, the call ends the session.
        Hole::BindsTokenBytes => !matches!(method, Some("tools/call" | "resources/read" | "prompts/get")),
        Hole::ForgetsGet | Hole::StealsStream => parts.method == Method::GET,
        Hole::ForgetsDelete => parts.method == Method::DELETE,
        Hole::CancelsOthers => method == Some("notifications/cancelled"),
        Hole::TakesOthersAnswers => response,
        _ => false,
    };
    if own || unchecked {
        return Ok(id);
    }
    if matches!(shared.hole, Hole::BindsTokenBytes | Hole::KillsOnMismatch) {
        tables.sessions.remove(&id);
    }
    let content = json!([{"type": "text", "text": "Unauthorized: caller identity does not match session owner"}]);
    let in_band = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"content": content, "isError": true}});
    Err(match shared.hole {
        Hole::BindsTokenBytes | Hole::AnswersInBand => json(200, &in_band),
        Hole::Answers403 => answer(403, &[], "not yours"),
        _ => answer(unknown, &[], format!("no session {sent}")),
    })
}

fn stream_of(shared: &Arc<Shared>, id: &str) -> Response {
    let cut = shared.tables().sessions.get(id).map(|session| Arc::clone(&session.stream)).unwrap_or_default();
    if shared.hole == Hole::StealsStream {
        cut.notify_waiters();
    }
    let asked = "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"asked-1\",\"method\":\"roots/list\"}\n\n";
    let events = stream::iter([Ok::<_, std::convert::Infallible>(asked)]).chain(stream::pending());
    let over = async move { cut.notified().await };
    answer(200, &[("content-type", "text/event-stream")], Body::from_stream(events.take_until(Box::pin(over))))
}

async fn dispatch(shared: &Arc<Shared>, caller: &Caller, id: &str, message: &Value) -> Response {
    let Some(method) = message["method"].as_str() else { return answer(202, &[], "") };
    if method == "notifications/cancelled" {
        let request = message["params"]["requestId"].to_string();
        let running = shared.tables().sessions.get(id).and_then(|session| session.running.get(&request).cloned());
        running.inspect(|running| running.notify_one());
    }
    if message.get("id").is_none() {
        return answer(202, &[], "");
    }
    let result = match method {
        "ping" | "logging/setLevel" => json!({}),
        "tools/list" => json!({"tools": [
            {"name": "remove_everything", "inputSchema": {"type": "object"}},
            {"name": "get_time", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
            {"name": "slow", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}}]}),
        "tools/call" => return call(shared, caller, id, message).await,
        "resources/list" => json!({"resources": [{"uri": "note:///1", "name": "1"}]}),
        "resources/read" => json!({"contents": [{"uri": message["params"]["uri"], "text": "private"}]}),
        "resources/templates/list" => json!({"resourceTemplates": []}),
        "prompts/list" => json!({"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": true}]}]}),
        "prompts/get" => json!({"messages": []}),
        "completion/complete" => json!({"completion": {"values": []}}),
        _ => {
            let error = json!({"code": -32601, "message": "no such method"});
            return json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
        }
    };
    json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

async fn call(shared: &Arc<Shared>, caller: &Caller, id: &str, message: &Value) -> Response {
    let name = message["params"]["name"].as_str().unwrap_or_default().to_owned();
    shared.tables().calls.push((name.clone(), caller.user.clone()));
    if name == "slow" {
        let cancelled = Arc::new(Notify::new());
        let request = message["id"].to_string();
        if let Some(session) = shared.tables().sessions.get_mut(id) {
            session.running.insert(request, Arc::clone(&cancelled));
        }
        // The tool takes this long unless it is cancelled: that is what it does, not how the test waits.
        if tokio::time::timeout(Duration::from_secs(1), cancelled.notified()).await.is_ok() {
            return answer(200, &[("content-type", "text/event-stream")], ": cancelled\n\n");
        }
    }
    let result = json!({"content": [{"type": "text", "text": "12:00"}]});
    let event = format!("id: call-1\ndata: {}\n\n", json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
    answer(200, &[("content-type", "text/event-stream")], event)
}
