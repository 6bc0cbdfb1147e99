//! One attempt: an operation, under a credential, on a session id.

use super::Examiner;
use crate::judge::{Heard, Outcome};
use crate::mcp::{Mcp, Presented, Reply};
use crate::menu::Menu;
use crate::operation::{Aim, Operation, Sending};
use crate::wire::{Answer, WireError};

/// What an attempt brought.
pub(crate) struct Tried {
    pub(crate) heard: Heard,
    /// The response to a request, raw.
    pub(crate) reply: Option<Reply>,
}

impl Examiner<'_> {
    /// Tries `operation`; `None` where there is nothing harmless to send.
    pub(super) async fn attempt(&self, operation: Operation, id: u64, presented: Presented<'_>) -> Option<Tried> {
        attempt(&self.mcp, &self.menu, &self.aim, operation, id, presented).await
    }
}

pub(super) async fn attempt(
    mcp: &Mcp,
    menu: &Menu,
    aim: &Aim,
    operation: Operation,
    id: u64,
    presented: Presented<'_>,
) -> Option<Tried> {
    let sent = presented.session.map(str::to_owned);
    let window = mcp.wire().limits().window;
    // `initialize` negotiates the version; it carries no version header.
    let presented =
        if operation == Operation::Initialize { Presented { revision: None, ..presented } } else { presented };
    Some(match operation.sending(id, menu, aim)? {
        Sending::Request(body) => request(mcp, presented, body, id, sent).await,
        Sending::Message(body) => plain(mcp.submit(presented, body).await, sent),
        Sending::Delete => plain(mcp.delete(presented).await, sent),
        Sending::Get(event) => match mcp.listen(presented, event.as_deref()).await {
            Ok(stream) => {
                let open = stream.is_open();
                let mut tried = plain(Ok(stream.answer(window).await), sent);
                if open {
                    tried.heard.outcome = Outcome::Stream;
                }
                tried
            }
            Err(error) => plain(Err(error), sent),
        },
    })
}

/// POSTs a request and reads its response.
pub(super) async fn request(mcp: &Mcp, presented: Presented<'_>, body: String, id: u64, sent: Option<String>) -> Tried {
    let id = id.to_string();
    let reply = match mcp.post(presented, body, Some(&id)).await {
        Ok(reply) => reply,
        Err(error) => return plain(Err(error), sent),
    };
    let session = reply.session_id().map(str::to_owned);
    let mut tried = plain(Ok(reply.answer.clone()), sent);
    tried.heard.session = session;
    if reply.answer.status.is_success() {
        tried.heard.outcome = outcome(&reply, &id);
    }
    tried.reply = Some(reply);
    tried
}

fn outcome(reply: &Reply, id: &str) -> Outcome {
    // Some servers answer an error without the id of the request.
    let errors = || reply.messages.iter().find(|message| message.error.is_some());
    match reply.response(id).or_else(errors) {
        Some(message) => match &message.error {
            Some(error) => Outcome::RpcError(error.code),
            None if message.is_tool_error() => Outcome::ToolError,
            None => Outcome::Result,
        },
        // An event stream without the response, until the time was over.
        None if reply.answer.media_type().as_deref() == Some("text/event-stream") => Outcome::Stream,
        None => Outcome::Accepted,
    }
}

fn plain(answer: Result<Answer, WireError>, sent: Option<String>) -> Tried {
    let heard = match answer {
        Ok(answer) => Heard {
            outcome: if answer.status.is_success() { Outcome::Accepted } else { Outcome::Http(answer.status.as_u16()) },
            status: Some(answer.status.as_u16()),
            headers: answer.headers,
            body: answer.body,
            sent,
            session: None,
        },
        Err(_) => Heard {
            outcome: Outcome::Silent,
            status: None,
            headers: http::HeaderMap::new(),
            body: Vec::new(),
            sent,
            session: None,
        },
    };
    Tried { heard, reply: None }
}
