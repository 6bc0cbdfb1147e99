//! What children of these tests do that belongs to one era or tells them apart.

use std::time::Duration;

use serde_json::{Value, json};

use crate::child::say;

/// A child's memory.
pub(crate) struct Eras {
    role: String,
    /// It has news as soon as somebody listens.
    has_news: bool,
    /// The methods that it was asked, and `response` for an answer.
    asked: Vec<Value>,
    /// The id of the last subscription.
    listening: Value,
}

impl Eras {
    pub(crate) fn of(role: &str) -> Self {
        if role == "slow-dual" {
            std::thread::sleep(Duration::from_millis(400));
        }
        let has_news = role == "modern-with-news";
        let role = if has_news { "modern" } else { role };
        Self { role: role.to_owned(), has_news, asked: Vec::new(), listening: Value::Null }
    }

    /// Answers what is of one era only; `false` if that is for others to do.
    pub(crate) fn answer(&mut self, message: &Value) -> bool {
        let (id, method) = (&message["id"], message["method"].as_str().unwrap_or("response"));
        if !method.starts_with("notifications/") {
            self.asked.push(json!(method));
        }
        let modern = matches!(self.role.as_str(), "modern" | "dual" | "slow-dual");
        match (self.role.as_str(), method) {
            ("dies-of-the-unknown", "server/discover") => std::process::exit(4),
            ("silent-to-the-unknown", "server/discover") => {}
            ("modern", "initialize") => {
                let error = json!({"code": -32602, "message": "`_meta` is missing; versions: 2026-07-28"});
                say(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
            }
            (_, "server/discover") if modern => result(
                id,
                json!({
                    "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}},
                    "ttlMs": 60_000, "cacheScope": "public",
                }),
            ),
            (_, "asked") => say(&json!({"jsonrpc": "2.0", "id": id, "result": self.asked})),
            ("modern", "tools/call") if message["params"].get("inputResponses").is_none() => {
                let request = json!({"method": "elicitation/create", "params": {"message": "?"}});
                let input =
                    json!({"resultType": "input_required", "inputRequests": {"k": request}, "requestState": "s"});
                say(&json!({"jsonrpc": "2.0", "id": id, "result": input}));
            }
            ("modern", "tools/call" | "echo") => result(id, json!({"echoed": message["params"]})),
            ("modern", "asks-anyway") => {
                say(&json!({"jsonrpc": "2.0", "id": "q", "method": "roots/list"}));
                say(&json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}));
                result(id, json!({}));
            }
            ("modern", "progress-too-late") => {
                let params = json!({"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1});
                result(id, json!({}));
                say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
                say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
            }
            ("modern", "subscriptions/listen") => {
                self.listening = id.clone();
                let filter = message["params"]["notifications"].clone();
                tell("notifications/subscriptions/acknowledged", json!({"notifications": filter}), id);
                if self.has_news {
                    tell("notifications/tools/list_changed", json!({}), id);
                }
            }
            ("modern", "notes-and-news") => {
                tell("notifications/tools/list_changed", json!({}), &self.listening);
                tell("notifications/tools/list_changed", json!({}), &json!(999));
                say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": 1}}));
                result(id, json!({}));
            }
            ("modern", "end-with-result") => {
                let meta = json!({"io.modelcontextprotocol/subscriptionId": self.listening});
                result(&self.listening, json!({"_meta": meta}));
                result(id, json!({}));
            }
            ("modern", "end-with-cancelled") => {
                let params = json!({"requestId": self.listening});
                say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
                result(id, json!({}));
            }
            _ => return false,
        }
        true
    }
}

fn result(id: &Value, mut result: Value) {
    result["resultType"] = json!("complete");
    say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
}

fn tell(method: &str, mut params: Value, subscription: &Value) {
    params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": subscription});
    say(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
}
