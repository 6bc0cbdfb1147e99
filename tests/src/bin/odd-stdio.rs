//! An MCP server over standard input and output that behaves badly in the way its argument names.
//!
//! It offers one tool, `act`; calling it is what goes wrong, or for `mute` and `dies-at-start` already the start.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

/// Enough to be over any limit that a gateway may have, and still bounded.
const FLOOD_LINES: u64 = 5_000_000;
const HUGE_BYTES: usize = 64 << 20;
const MANY: usize = 2500;
const PAGE: usize = 700;

fn main() -> ExitCode {
    let mood = std::env::args().nth(1).unwrap_or_default();
    eprintln!("odd-stdio: {mood}, process {}", std::process::id());
    if mood == "dies-at-start" {
        eprintln!("odd-stdio: a reason to die");
        return ExitCode::from(3);
    }
    match serve(&mood) {
        Ok(code) => code,
        // The other side has closed the pipe.
        Err(_) => ExitCode::SUCCESS,
    }
}

fn serve(mood: &str) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        let (Some(id), Some(method)) = (message.get("id"), message.get("method").and_then(Value::as_str)) else {
            continue;
        };
        if mood == "mute" {
            continue;
        }
        if method == "tools/call" {
            match mood {
                "never" => continue,
                "dies" => return Ok(ExitCode::from(4)),
                "garbage" => writeln!(out, "this is not JSON\n{{\"jsonrpc\":\"2.0\"\n\u{0}\u{1}")?,
                "flood" => flood(&mut out)?,
                "huge" => {
                    let text = "x".repeat(HUGE_BYTES);
                    writeln!(out, "{}", reply(id, &json!({ "content": [{ "type": "text", "text": text }] })))?;
                    out.flush()?;
                    continue;
                }
                "endless-line" => {
                    for _ in 0..HUGE_BYTES / 1024 {
                        out.write_all(&[b'x'; 1024])?;
                    }
                    out.flush()?;
                    continue;
                }
                "wrong-id" => {
                    writeln!(out, "{}", reply(&json!("nobody asked"), &json!({ "content": [] })))?;
                    out.flush()?;
                    continue;
                }
                _ => {}
            }
        }
        if mood == "many" && method == "tools/list" {
            writeln!(out, "{}", reply(id, &page(&message)))?;
        } else {
            writeln!(out, "{}", answer(id, method, &message))?;
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A page of a long list of tools. The first page has the empty string for a cursor, which is one like any other.
fn page(message: &Value) -> Value {
    let start = match message.pointer("/params/cursor").and_then(Value::as_str) {
        None => 0,
        Some("") => PAGE,
        Some(cursor) => cursor.parse().unwrap_or(MANY),
    };
    let end = (start + PAGE).min(MANY);
    let tools: Vec<_> =
        (start..end).map(|n| json!({ "name": format!("tool-{n}"), "inputSchema": { "type": "object" } })).collect();
    let mut page = json!({ "tools": tools });
    if end < MANY {
        page["nextCursor"] = if end == PAGE { json!("") } else { json!(end.to_string()) };
    }
    page
}

fn flood(out: &mut impl Write) -> io::Result<()> {
    let params = json!({ "level": "info", "data": "x".repeat(200) });
    let line = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params }).to_string();
    for _ in 0..FLOOD_LINES {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn reply(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn answer(id: &Value, method: &str, message: &Value) -> Value {
    match method {
        "initialize" => {
            let revision = message.pointer("/params/protocolVersion").cloned().unwrap_or_else(|| "2025-11-25".into());
            let info = json!({ "name": "odd-stdio", "version": "1" });
            reply(id, &json!({ "protocolVersion": revision, "capabilities": { "tools": {} }, "serverInfo": info }))
        }
        "tools/list" => reply(id, &json!({ "tools": [{ "name": "act", "inputSchema": { "type": "object" } }] })),
        "tools/call" if message.pointer("/params/name").and_then(Value::as_str) != Some("act") => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32602, "message": "Unknown tool" } })
        }
        "tools/call" => reply(id, &json!({ "content": [{ "type": "text", "text": "acted" }] })),
        "ping" => reply(id, &json!({})),
        _ => json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "Method not found" } }),
    }
}
