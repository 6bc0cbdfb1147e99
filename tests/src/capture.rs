//! Every message that passed in a test, on both sides of the gateway, to be held against the revision's JSON Schema.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::schema::Schemas;

/// Where a message was seen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// Between a client and the gateway.
    Client,
    /// Between the gateway and a backend.
    Backend,
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sender {
    /// The MCP client of the connection.
    Client,
    /// The MCP server of the connection.
    Server,
}

/// One message, with what is needed to judge it.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Where it was seen.
    pub side: Side,
    /// Who sent it.
    pub sender: Sender,
    /// The revision that the connection speaks.
    pub revision: String,
    /// The method of the request that it answers, if it is a response.
    pub answers: Option<String>,
    /// The message.
    pub message: Value,
}

#[derive(Default)]
struct Inner {
    messages: Vec<Captured>,
    /// The method of each request, by side, sender, connection and id.
    asked: HashMap<(Side, Sender, String, String), String>,
}

/// All that was captured; clones share it.
#[derive(Clone, Default)]
pub struct Capture(Arc<Mutex<Inner>>);

impl Capture {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message, or every message of a batch. `connection` is what ids are unique in: a session, or one exchange.
    pub fn take(&self, side: Side, sender: Sender, connection: &str, revision: &str, message: &Value) {
        if let Some(batch) = message.as_array() {
            return batch.iter().for_each(|message| self.take(side, sender, connection, revision, message));
        }
        let mut inner = self.lock();
        let id = message.get("id").map(Value::to_string);
        let method = message.get("method").and_then(Value::as_str);
        let answers = match (id, method) {
            (Some(id), Some(method)) => {
                inner.asked.insert((side, sender, connection.to_owned(), id), method.to_owned());
                None
            }
            (Some(id), None) => {
                let asker = if sender == Sender::Client { Sender::Server } else { Sender::Client };
                inner.asked.get(&(side, asker, connection.to_owned(), id)).cloned()
            }
            (None, _) => None,
        };
        let revision = revision.to_owned();
        inner.messages.push(Captured { side, sender, revision, answers, message: message.clone() });
    }

    /// What was captured so far.
    pub fn messages(&self) -> Vec<Captured> {
        self.lock().messages.clone()
    }

    /// The requests and notifications of a method that were seen on a side.
    pub fn of_method(&self, side: Side, method: &str) -> Vec<Value> {
        let inner = self.lock();
        let of_method = |captured: &&Captured| captured.side == side && captured.message["method"] == method;
        inner.messages.iter().filter(of_method).map(|captured| captured.message.clone()).collect()
    }

    /// How many requests and notifications of a method were seen on a side.
    pub fn count(&self, side: Side, method: &str) -> usize {
        self.of_method(side, method).len()
    }

    /// What is wrong with the messages, by the schema of their revision.
    pub async fn wrong(&self) -> Result<Vec<String>> {
        let mut schemas = Schemas::start().await?;
        let mut wrong = Vec::new();
        for captured in self.messages().into_iter().filter(|captured| !is_old_refusal(captured)) {
            let errors = schemas.errors(&captured).await?;
            if !errors.is_empty() {
                let Captured { side, sender, revision, answers, message } = captured;
                let about = answers.map(|method| format!(" in answer to {method}")).unwrap_or_default();
                let errors = errors.join("\n    ");
                wrong.push(format!("{side:?} side, {sender:?}, {revision}{about}: {message}\n    {errors}"));
            }
        }
        Ok(wrong)
    }

    /// Holds every message against the schema of its revision: an error if one is wrong, or if there is none.
    pub async fn validate(&self) -> Result<()> {
        let wrong = self.wrong().await?;
        ensure!(wrong.is_empty(), "{} messages are wrong:\n{}", wrong.len(), wrong.join("\n"));
        ensure!(!self.lock().messages.is_empty(), "nothing was captured");
        Ok(())
    }
}

/// How servers of the session era refuse what is not of their revisions (a probe): with an id of `null`, which later schemas do
/// not have. It is not of the revision that was asked for, and not the gateway's.
fn is_old_refusal(captured: &Captured) -> bool {
    let message = &captured.message;
    let by_a_server = (captured.side, captured.sender) == (Side::Backend, Sender::Server);
    by_a_server && message.get("id").is_some_and(Value::is_null) && message.get("error").is_some()
}
