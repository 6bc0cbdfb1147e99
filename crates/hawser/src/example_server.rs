//! Two small MCP servers on stdin and stdout, so that the demonstration needs nothing but this binary.

use std::io::{BufRead as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hawser_mcp::{
    ErrorObject, Limits, LineDecoder, Message, RawJson, Request, Response, Revision, code, parse_message,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::ExampleServer;
use crate::failure::Failure;

/// Most notes that are kept.
const NOTES_MAX: usize = 100;

/// Serves until stdin ends.
pub fn run(server: ExampleServer) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::run(format!("cannot speak on standard input and output: {error}"));
    let mut state = State { server, notes: Vec::new() };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().split(b'\n') {
        let line = Bytes::from(line.map_err(cannot)?);
        let Ok(Message::Request(request)) = parse_message(&line, &Limits::default()) else {
            continue;
        };
        let answer = LineDecoder::encode(&state.answer(request).to_bytes());
        out.write_all(&answer).and_then(|()| out.flush()).map_err(cannot)?;
    }
    Ok(())
}

struct State {
    server: ExampleServer,
    notes: Vec<String>,
}

#[derive(Deserialize)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl State {
    fn answer(&mut self, request: Request) -> Response {
        let answer = self.result(&request).and_then(|result| {
            RawJson::from_serialize(&result).map_err(|error| ErrorObject::new(code::INTERNAL_ERROR, error.to_string()))
        });
        match answer {
            Ok(result) => Response::result(request.id, result),
            Err(error) => Response::error(Some(request.id), &error),
        }
    }

    fn result(&mut self, request: &Request) -> Result<Value, ErrorObject> {
        match request.method.as_str() {
            "initialize" => Ok(self.initialize(request)),
            "ping" | "logging/setLevel" => Ok(json!({})),
            "tools/list" => Ok(json!({ "tools": self.tools() })),
            "tools/call" => self.call(request),
            "resources/list" if self.keeps_notes() => {
                Ok(json!({ "resources": [{ "uri": "notes://all", "name": "All notes", "mimeType": "text/plain" }] }))
            }
            "resources/templates/list" if self.keeps_notes() => Ok(json!({ "resourceTemplates": [] })),
            "resources/read" if self.keeps_notes() => {
                let text = self.notes.join("\n");
                Ok(json!({ "contents": [{ "uri": "notes://all", "mimeType": "text/plain", "text": text }] }))
            }
            "prompts/list" if self.keeps_notes() => {
                Ok(json!({ "prompts": [{ "name": "summary", "description": "Asks for a summary of the notes" }] }))
            }
            "prompts/get" if self.keeps_notes() => {
                let text = format!("Summarise these notes:\n{}", self.notes.join("\n"));
                Ok(json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] }))
            }
            other => Err(ErrorObject::new(code::METHOD_NOT_FOUND, format!("no method {other:?}"))),
        }
    }

    fn keeps_notes(&self) -> bool {
        self.server == ExampleServer::Notes
    }

    fn initialize(&self, request: &Request) -> Value {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Offered {
            protocol_version: String,
        }
        let offered = request.params.as_ref().and_then(|params| params.read::<Offered>().ok());
        let revision = offered.map_or(Revision::LATEST, |offered| Revision::negotiate(&offered.protocol_version));
        let (name, capabilities) = match self.server {
            ExampleServer::Clock => ("clock", json!({ "tools": {} })),
            ExampleServer::Notes => ("notes", json!({ "tools": {}, "resources": {}, "prompts": {} })),
        };
        json!({
            "protocolVersion": revision.as_str(),
            "capabilities": capabilities,
            "serverInfo": { "name": name, "version": env!("CARGO_PKG_VERSION") },
        })
    }

    fn tools(&self) -> Value {
        let nothing = json!({ "type": "object", "properties": {} });
        match self.server {
            ExampleServer::Clock => json!([{
                "name": "now",
                "description": "Tells the time, in seconds since 1970.",
                "inputSchema": nothing,
                "annotations": { "readOnlyHint": true },
            }]),
            ExampleServer::Notes => json!([
                {
                    "name": "add",
                    "description": "Keeps a note until the server stops.",
                    "inputSchema": {
                        "type": "object",
                        "properties": { "text": { "type": "string" } },
                        "required": ["text"],
                    },
                    "annotations": { "readOnlyHint": false, "destructiveHint": false },
                },
                {
                    "name": "list",
                    "description": "Lists the notes.",
                    "inputSchema": nothing,
                    "annotations": { "readOnlyHint": true },
                },
            ]),
        }
    }

    fn call(&mut self, request: &Request) -> Result<Value, ErrorObject> {
        let call = request.params.as_ref().and_then(|params| params.read::<Call>().ok());
        let call = call.ok_or_else(|| ErrorObject::new(code::INVALID_PARAMS, "params needs a `name`"))?;
        match (self.server, call.name.as_str()) {
            (ExampleServer::Clock, "now") => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                Ok(said(&format!("{now} seconds since 1970"), false))
            }
            (ExampleServer::Notes, "list") => Ok(said(&self.notes.join("\n"), false)),
            (ExampleServer::Notes, "add") => Ok(self.add(&call.arguments)),
            (_, other) => Err(ErrorObject::new(code::INVALID_PARAMS, format!("unknown tool {other:?}"))),
        }
    }

    fn add(&mut self, arguments: &Value) -> Value {
        match arguments.get("text").and_then(Value::as_str) {
            Some(_) if self.notes.len() >= NOTES_MAX => said("the notebook is full", true),
            Some(text) => {
                self.notes.push(text.to_owned());
                said(&format!("{} notes kept", self.notes.len()), false)
            }
            None => said("`text` must be a string", true),
        }
    }
}

fn said(text: &str, is_error: bool) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": is_error })
}
