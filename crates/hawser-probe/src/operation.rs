//! The operations that are tried: everything a client of the legacy revisions can say on a session, one of each kind.

use serde::Serialize;

use crate::menu::Menu;
use crate::session::{INITIALIZED, initialize_body};

/// One thing a client can do with a session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the protocol's; `name` spells them")]
pub enum Operation {
    Initialize,
    Ping,
    ToolsList,
    ToolsCall,
    ResourcesList,
    ResourcesRead,
    ResourcesTemplatesList,
    ResourcesSubscribe,
    ResourcesUnsubscribe,
    PromptsList,
    PromptsGet,
    CompletionComplete,
    LoggingSetLevel,
    Initialized,
    RootsListChanged,
    Cancelled,
    UnaskedResponse,
    PendingResponse,
    Get,
    GetResume,
    Delete,
}

/// What goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sending {
    /// POST of a request; its response is awaited.
    Request(String),
    /// POST of a notification or response.
    Message(String),
    /// GET, resuming after an event id if there is one.
    Get(Option<String>),
    /// DELETE.
    Delete,
}

/// What an operation refers to beside the menu: things that exist only while they are going on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aim {
    /// The id of a request of the owner that is being worked on.
    pub(crate) in_flight: Option<u64>,
    /// The id, as written, of a request of the server that waits for the owner's answer.
    pub(crate) pending: Option<String>,
    /// An event id that the owner has seen.
    pub(crate) event: Option<String>,
}

impl Operation {
    /// All of them; DELETE, which cannot be undone, is last.
    pub const ALL: [Self; 21] = [
        Self::Initialize,
        Self::Ping,
        Self::ToolsList,
        Self::ToolsCall,
        Self::ResourcesList,
        Self::ResourcesRead,
        Self::ResourcesTemplatesList,
        Self::ResourcesSubscribe,
        Self::ResourcesUnsubscribe,
        Self::PromptsList,
        Self::PromptsGet,
        Self::CompletionComplete,
        Self::LoggingSetLevel,
        Self::Initialized,
        Self::RootsListChanged,
        Self::Cancelled,
        Self::UnaskedResponse,
        Self::PendingResponse,
        Self::Get,
        Self::GetResume,
        Self::Delete,
    ];

    /// The protocol's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Ping => "ping",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::ResourcesList => "resources/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesTemplatesList => "resources/templates/list",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::CompletionComplete => "completion/complete",
            Self::LoggingSetLevel => "logging/setLevel",
            Self::Initialized => "notifications/initialized",
            Self::RootsListChanged => "notifications/roots/list_changed",
            Self::Cancelled => "notifications/cancelled",
            Self::UnaskedResponse => "response (made-up id)",
            Self::PendingResponse => "response (pending id)",
            Self::Get => "GET stream",
            Self::GetResume => "GET with Last-Event-ID",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it opens a stream.
    pub(crate) fn is_get(self) -> bool {
        matches!(self, Self::Get | Self::GetResume)
    }

    /// What to send, with `id` for a request; `None` when there is nothing harmless to send.
    pub(crate) fn sending(self, id: u64, menu: &Menu, aim: &Aim) -> Option<Sending> {
        let request = |params: Option<String>| {
            let params = params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default();
            Sending::Request(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{}"{params}}}"#, self.name()))
        };
        let uri = || Some(format!(r#"{{"uri":{}}}"#, quoted(&menu.resource)));
        Some(match self {
            Self::Initialize => Sending::Request(initialize_body(id)),
            Self::Ping | Self::ToolsList | Self::ResourcesList | Self::ResourcesTemplatesList | Self::PromptsList => {
                request(None)
            }
            Self::ToolsCall => request(Some(menu.tool.as_ref()?.params())),
            Self::ResourcesRead | Self::ResourcesSubscribe | Self::ResourcesUnsubscribe => request(uri()),
            Self::PromptsGet => request(Some(menu.prompt.params())),
            Self::CompletionComplete => request(Some(menu.completion.clone())),
            Self::LoggingSetLevel => request(Some(r#"{"level":"warning"}"#.to_owned())),
            Self::Initialized => Sending::Message(INITIALIZED.to_owned()),
            Self::RootsListChanged => {
                Sending::Message(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned())
            }
            Self::Cancelled => Sending::Message(cancelled(aim.in_flight.unwrap_or(id))),
            Self::UnaskedResponse => Sending::Message(roots_response(&quoted(&format!("never-asked-{id}")))),
            Self::PendingResponse => Sending::Message(roots_response(aim.pending.as_deref()?)),
            Self::Get => Sending::Get(None),
            Self::GetResume => Sending::Get(Some(aim.event.clone().unwrap_or_else(|| "0".to_owned()))),
            Self::Delete => Sending::Delete,
        })
    }
}

fn cancelled(id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"probe"}}}}"#)
}

fn roots_response(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#)
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::rpc;

    #[test]
    fn every_operation_sends_well_formed_json_under_its_own_name() {
        let aim = Aim { in_flight: Some(7), pending: Some("\"p\"".into()), event: None };
        let menu = Menu { tool: Some(crate::ToolCall::new("echo", "{}").unwrap()), ..Menu::default() };
        for operation in Operation::ALL {
            match operation.sending(5, &menu, &aim).unwrap() {
                Sending::Request(body) => {
                    let message = rpc::messages(body.as_bytes()).remove(0);
                    assert_eq!((message.method.as_deref(), message.id()), (Some(operation.name()), Some("5")));
                }
                Sending::Message(body) => assert_eq!(rpc::messages(body.as_bytes()).len(), 1, "{body}"),
                Sending::Get(_) | Sending::Delete => {}
            }
        }
    }

    #[test]
    fn nothing_is_sent_where_nothing_harmless_is_known() {
        for operation in [Operation::ToolsCall, Operation::PendingResponse] {
            assert_eq!(operation.sending(1, &Menu::default(), &Aim::default()), None);
        }
    }
}
