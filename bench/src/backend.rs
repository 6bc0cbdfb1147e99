//! The cheapest honest MCP server: both eras, plain JSON, one thread. What it answers is made before it is asked; only the id
//! differs. It counts what it is asked, says so on `/control/counts`, and changes its tools on `/control/change`.

mod listeners;
mod message;
mod prepared;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::io::{IoSlice, Write as _};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use self::listeners::Listeners;
use self::message::Message;
use self::prepared::{Body, Prepared};
use crate::wire::{Head, Reader, Side};

/// The most connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// Longest pause that a call may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// An MCP server to measure others with. Its tool `echo` takes `size`: how long the text of its result is.
#[derive(Args)]
pub(crate) struct Options {
    /// Where to listen; a loopback address.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// How many tools it has.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    tools: u32,
    /// How many servers it is, each at a path of its own (`/mcp/0`, `/mcp/1`, …; `/mcp` is the first of them), with tools of other
    /// names.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    servers: u32,
}

/// All servers of the process.
struct Backend {
    prepared: Prepared,
    servers: u32,
    sessions: RefCell<HashSet<String>>,
    opened: Cell<u64>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    listeners: Listeners,
}

/// Runs until the process is ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.listen.ip().is_loopback(), "the backend has no authentication: it listens on loopback alone");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    LocalSet::new().block_on(&runtime, serve(options))
}

async fn serve(options: &Options) -> Result<()> {
    let socket = tokio::net::TcpSocket::new_v4().context("a socket")?;
    socket.bind(options.listen).with_context(|| format!("listening on {}", options.listen))?;
    let listener: TcpListener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    let backend = Rc::new(Backend {
        prepared: Prepared::new(options.tools),
        servers: options.servers,
        sessions: RefCell::default(),
        opened: Cell::new(0),
        counts: RefCell::default(),
        listeners: Listeners::default(),
    });
    let said = json!({ "event": "listening", "url": format!("http://{address}/mcp"), "control": format!("http://{address}/control"),
        "pid": std::process::id() });
    println!("{said}");
    loop {
        // Where there are no descriptors left for a moment, others are still served.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        let backend = Rc::clone(&backend);
        tokio::task::spawn_local(async move {
            // A client that leaves is no error of anybody's.
            drop(converse(&backend, stream).await);
        });
    }
}

async fn converse(backend: &Backend, stream: TcpStream) -> Result<()> {
    let mut reader = Reader::new(stream, Side::Server);
    while let Some(head) = reader.head().await? {
        let reply = match head.method.as_str() {
            "POST" if head.path.starts_with("/mcp") => {
                let body = reader.body(head.framing).await?;
                backend.answer(&head, body)
            }
            _ => {
                reader.body(head.framing).await?;
                backend.other(&head)
            }
        };
        match reply {
            Reply::Plain(status, text) => respond(reader.stream(), status, None, text.as_bytes()).await?,
            Reply::Session(id, text) => respond(reader.stream(), 200, Some(&id), text.as_bytes()).await?,
            Reply::Prepared { before, body, pause } => send(reader.stream(), &before, &body, pause).await?,
            Reply::Stream { first, session } => {
                return backend.listeners.hold(&mut reader, first, session).await;
            }
        }
        if head.closes {
            break;
        }
    }
    Ok(())
}

/// What a request gets.
enum Reply {
    Plain(u16, String),
    /// A new session of this id.
    Session(String, String),
    Prepared {
        before: Vec<u8>,
        body: Rc<Body>,
        pause: Option<Duration>,
    },
    /// A stream of events that begins with this message; of a listener (modern) with this id.
    Stream {
        first: Option<String>,
        session: Option<String>,
    },
}

impl Backend {
    fn answer(&self, head: &Head, body: &[u8]) -> Reply {
        let Ok(message) = Message::parse(body) else { return error(400, "null", -32700, "not a message") };
        let Some(server) = self.server(&head.path) else { return error(404, message.id(), -32600, "no such server") };
        self.count(message.method());
        let modern = head.revision.as_deref() == Some(crate::load::request::MODERN);
        let known = || head.session.as_deref().is_some_and(|id| self.sessions.borrow().contains(id));
        match message.method() {
            "initialize" if !modern => return self.initialize(&message),
            _ if !modern && head.session.is_none() => return error(400, message.id(), -32600, "no session"),
            _ if !modern && !known() => return error(404, message.id(), -32001, "no such session"),
            "subscriptions/listen" if modern => return subscribed(&message),
            _ => {}
        }
        let (body, pause) = match message.method() {
            "tools/call" => match self.prepared.call(server, &message, modern) {
                Ok(body) => (body, message.pause().map(|pause| pause.min(PAUSE_MAX))),
                Err(reason) => return error(200, message.id(), -32602, &reason),
            },
            "tools/list" => match self.prepared.list(server, message.cursor(), modern) {
                Some(body) => (body, None),
                None => return error(200, message.id(), -32602, "no such page"),
            },
            "server/discover" if modern => (self.prepared.discovery(), None),
            "ping" if !modern => (self.prepared.empty(), None),
            _ if message.is_notification() => return Reply::Plain(202, String::new()),
            _ => return error(if modern { 404 } else { 200 }, message.id(), -32601, "no such method"),
        };
        Reply::Prepared { before: prepared::before(message.id(), &body), body, pause }
    }

    fn initialize(&self, message: &Message<'_>) -> Reply {
        let number = self.opened.get();
        self.opened.set(number + 1);
        let session = format!("bench-{number:010}");
        self.sessions.borrow_mut().insert(session.clone());
        let result = prepared::hello(message.revision());
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, message.id());
        Reply::Session(session, text)
    }

    fn other(&self, head: &Head) -> Reply {
        let known = || head.session.as_deref().is_some_and(|id| self.sessions.borrow().contains(id));
        match (head.method.as_str(), head.path.as_str()) {
            ("GET", "/control/counts") => {
                let counts = json!({ "requests": *self.counts.borrow(), "streams": self.listeners.count(),
                    "sessions": self.sessions.borrow().len() });
                Reply::Plain(200, counts.to_string())
            }
            ("POST", "/control/change") => {
                self.prepared.change();
                Reply::Plain(200, json!({ "told": self.listeners.tell() }).to_string())
            }
            ("GET", path) if path.starts_with("/mcp") => {
                self.count("GET");
                if known() { Reply::Stream { first: None, session: None } } else { Reply::Plain(404, String::new()) }
            }
            ("DELETE", path) if path.starts_with("/mcp") => {
                self.count("DELETE");
                let ended = head.session.as_deref().is_some_and(|id| self.sessions.borrow_mut().remove(id));
                Reply::Plain(if ended { 204 } else { 404 }, String::new())
            }
            _ => Reply::Plain(405, String::new()),
        }
    }

    /// Which server a path is.
    fn server(&self, path: &str) -> Option<u32> {
        let number = match path.strip_prefix("/mcp")? {
            "" => 0,
            number => number.strip_prefix('/')?.parse().ok()?,
        };
        (number < self.servers).then_some(number)
    }

    fn count(&self, method: &str) {
        let known = message::METHODS.iter().find(|known| **known == method).copied().unwrap_or("other");
        *self.counts.borrow_mut().entry(known).or_default() += 1;
    }
}

/// What a listener is told first (2026-07-28).
fn subscribed(message: &Message<'_>) -> Reply {
    let id = message.id();
    let first = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"{}":{id}}},"notifications":{{"toolsListChanged":true}}}}}}"#,
        listeners::SUBSCRIPTION_ID
    );
    Reply::Stream { first: Some(first), session: Some(id.to_owned()) }
}

fn error(status: u16, id: &str, code: i32, reason: &str) -> Reply {
    let reason = json!(reason);
    Reply::Plain(status, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{reason}}}}}"#))
}

async fn respond(stream: &mut TcpStream, status: u16, session: Option<&str>, body: &[u8]) -> Result<()> {
    let mut bytes = format!("HTTP/1.1 {status} -\r\n").into_bytes();
    if let Some(session) = session {
        write!(bytes, "mcp-session-id: {session}\r\n")?;
    }
    if !body.is_empty() {
        write!(bytes, "content-type: application/json\r\n")?;
    }
    if status != 204 {
        write!(bytes, "content-length: {}\r\n", body.len())?;
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    Ok(stream.write_all(&bytes).await?)
}

/// Sends what was prepared, without putting it together; with a pause in the middle of it if one is asked for.
async fn send(stream: &mut TcpStream, before: &[u8], body: &Body, pause: Option<Duration>) -> Result<()> {
    let after = b"}";
    if let Some(pause) = pause {
        let (first, second) = body.bytes().split_at(body.bytes().len() / 2);
        stream.write_all(before).await?;
        stream.write_all(first).await?;
        tokio::time::sleep(pause).await;
        stream.write_all(second).await?;
        return Ok(stream.write_all(after).await?);
    }
    let mut parts = [IoSlice::new(before), IoSlice::new(body.bytes()), IoSlice::new(after)];
    let mut left = &mut parts[..];
    while !left.is_empty() {
        let written = stream.write_vectored(left).await?;
        ensure!(written > 0, "the connection takes no more");
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}
