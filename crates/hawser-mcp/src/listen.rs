//! `subscriptions/listen` (2026-07-28, Subscriptions): what a client wants told, and the marks of its stream.

use serde_json::value::RawValue;
use thiserror::Error;

use crate::frame::Notification;
use crate::members::{Members, MembersError};
use crate::meta::{META, edit_meta, meta_key};
use crate::names::notification;
use crate::raw::RawJson;

/// Most resources, and most tasks, that one stream may name.
pub const FILTER_ENTRIES_MAX: usize = 1024;
/// Longest URI or task id in bytes.
const ENTRY_BYTES_MAX: usize = 8 * 1024;
const FILTER: &str = "notifications";
const TOOLS: &str = "toolsListChanged";
const PROMPTS: &str = "promptsListChanged";
const RESOURCES: &str = "resourcesListChanged";
const URIS: &str = "resourceSubscriptions";
const TASK_IDS: &str = "taskIds";

/// What a client asks to be told, or a server agrees to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenFilter {
    /// `notifications/tools/list_changed`.
    pub tools_list_changed: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts_list_changed: bool,
    /// `notifications/resources/list_changed`.
    pub resources_list_changed: bool,
    /// `notifications/resources/updated` of these URIs.
    pub resource_subscriptions: Vec<String>,
    /// `notifications/tasks` of these tasks (tasks extension).
    pub task_ids: Vec<String>,
}

/// Why a filter is refused. The text names the part and goes to the sender.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ListenError {
    /// A part is ambiguous.
    #[error("{part}: {error}")]
    Members {
        /// Which.
        part: &'static str,
        /// Why.
        error: MembersError,
    },
    /// There is no filter.
    #[error("`notifications` must be an object")]
    NoFilter,
    /// A member is of the wrong type.
    #[error("`notifications.{member}` must be {expected}")]
    Type {
        /// Which.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A list is too long.
    #[error("`notifications.{0}` holds more than {FILTER_ENTRIES_MAX} entries")]
    TooMany(&'static str),
    /// An entry is too long.
    #[error("an entry of `notifications.{0}` is longer than {ENTRY_BYTES_MAX} bytes")]
    TooLong(&'static str),
    /// Not the notification that was to be read.
    #[error("not an acknowledgement of a subscription")]
    NotAnAcknowledgement,
}

impl ListenFilter {
    /// The filter in a request's parameters.
    pub fn read(params: Option<&RawJson>) -> Result<Self, ListenError> {
        let params = params.ok_or(ListenError::NoFilter)?;
        let params =
            Members::read(params, &[FILTER]).map_err(|error| ListenError::Members { part: "the params", error })?;
        let filter = params.get(FILTER).filter(RawJson::is_object).ok_or(ListenError::NoFilter)?;
        let filter = Members::read(&filter, &[TOOLS, PROMPTS, RESOURCES, URIS, TASK_IDS])
            .map_err(|error| ListenError::Members { part: "`notifications`", error })?;
        Ok(Self {
            tools_list_changed: flag(&filter, TOOLS)?,
            prompts_list_changed: flag(&filter, PROMPTS)?,
            resources_list_changed: flag(&filter, RESOURCES)?,
            resource_subscriptions: texts(&filter, URIS)?,
            task_ids: texts(&filter, TASK_IDS)?,
        })
    }

    /// The parameters of a request with this filter.
    pub fn to_params(&self) -> RawJson {
        RawJson::object(&[(FILTER, &self.to_filter())])
    }

    /// The notification that opens the stream of a request with this id: exactly this is honoured.
    pub fn acknowledged(&self, subscription_id: &RawJson) -> Notification {
        let meta = RawJson::object(&[(meta_key::SUBSCRIPTION_ID, subscription_id)]);
        let params = RawJson::object(&[(META, &meta), (FILTER, &self.to_filter())]);
        Notification::new(notification::SUBSCRIPTIONS_ACKNOWLEDGED, Some(params))
    }

    /// What a server agreed to tell.
    pub fn read_acknowledged(notification: &Notification) -> Result<Self, ListenError> {
        if notification.method != notification::SUBSCRIPTIONS_ACKNOWLEDGED {
            return Err(ListenError::NotAnAcknowledgement);
        }
        Self::read(notification.params.as_ref())
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a notification is of those asked for. Nothing else may be sent on the stream.
    pub fn admits(&self, notification: &Notification) -> bool {
        match notification.method.as_str() {
            notification::TOOLS_LIST_CHANGED => self.tools_list_changed,
            notification::PROMPTS_LIST_CHANGED => self.prompts_list_changed,
            notification::RESOURCES_LIST_CHANGED => self.resources_list_changed,
            notification::RESOURCES_UPDATED => named(notification, "uri", &self.resource_subscriptions),
            notification::TASKS => named(notification, "taskId", &self.task_ids),
            _ => false,
        }
    }

    fn to_filter(&self) -> RawJson {
        let yes = RawJson::written("true");
        let uris = array(&self.resource_subscriptions);
        let task_ids = array(&self.task_ids);
        let members = [
            (TOOLS, &yes, self.tools_list_changed),
            (PROMPTS, &yes, self.prompts_list_changed),
            (RESOURCES, &yes, self.resources_list_changed),
            (URIS, &uris, !self.resource_subscriptions.is_empty()),
            (TASK_IDS, &task_ids, !self.task_ids.is_empty()),
        ];
        let present: Vec<(&str, &RawJson)> =
            members.iter().filter(|(_, _, there)| *there).map(|(name, value, _)| (*name, *value)).collect();
        RawJson::object(&present)
    }
}

fn flag(filter: &Members<'_>, member: &'static str) -> Result<bool, ListenError> {
    match filter.get(member).as_ref().map(RawJson::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ListenError::Type { member, expected: "a boolean" }),
    }
}

fn texts(filter: &Members<'_>, member: &'static str) -> Result<Vec<String>, ListenError> {
    let Some(list) = filter.get(member) else {
        return Ok(Vec::new());
    };
    let wrong = || ListenError::Type { member, expected: "an array of strings" };
    let values: Vec<&RawValue> = serde_json::from_str(list.as_str()).map_err(|_| wrong())?;
    if values.len() > FILTER_ENTRIES_MAX {
        return Err(ListenError::TooMany(member));
    }
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        if value.get().len() > ENTRY_BYTES_MAX {
            return Err(ListenError::TooLong(member));
        }
        let text: String = serde_json::from_str(value.get()).map_err(|_| wrong())?;
        texts.push(text);
    }
    Ok(texts)
}

fn array(texts: &[String]) -> RawJson {
    RawJson::from_serialize(&texts).unwrap_or_else(|_| RawJson::written("[]"))
}

fn named(notification: &Notification, member: &'static str, among: &[String]) -> bool {
    let name = notification.params.as_ref().and_then(|params| Members::read(params, &[member]).ok()?.string(member));
    name.is_some_and(|name| among.contains(&name))
}

/// The notification marked as of the stream that a request with this id opened.
#[must_use]
pub fn with_subscription_id(notification: &Notification, id: &RawJson) -> Notification {
    marked(notification, &[(meta_key::SUBSCRIPTION_ID, id)], &[])
}

/// The notification without that mark.
#[must_use]
pub fn without_subscription_id(notification: &Notification) -> Notification {
    marked(notification, &[], &[meta_key::SUBSCRIPTION_ID])
}

fn marked(notification: &Notification, with: &[(&str, &RawJson)], without: &[&str]) -> Notification {
    let empty = RawJson::empty_object();
    let params = notification.params.as_ref().unwrap_or(&empty);
    let edited = Members::read(params, &[META]).and_then(|params| {
        let meta = edit_meta(&params, &[], with, without)?;
        Ok(meta.map(
            |meta| {
                if meta.as_str() == "{}" { params.without(&[META]) } else { params.replace(&[(META, &meta)]) }
            },
        ))
    });
    match edited {
        Ok(Some(params)) => Notification::new(notification.method.clone(), Some(params)),
        _ => notification.clone(),
    }
}
