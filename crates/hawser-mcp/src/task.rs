//! The tasks extension (`io.modelcontextprotocol/tasks`): a task as `tools/call`, `tasks/get` and `notifications/tasks` tell it.

use thiserror::Error;

use crate::frame::Notification;
use crate::input_required::{InputRequest, InputRequiredError, read_requests};
use crate::members::{Members, MembersError};
use crate::names::notification;
use crate::raw::RawJson;

/// The extension's name among the capabilities' `extensions`.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const TASK_ID: &str = "taskId";
/// Longest task id in bytes.
const ID_BYTES_MAX: usize = 8 * 1024;

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// At work.
    Working,
    /// Waiting for answers.
    InputRequired,
    /// Done: its result is there.
    Completed,
    /// Done: its error is there.
    Failed,
    /// Called off.
    Cancelled,
}

/// A task, as far as a gateway acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Chosen by the server.
    pub task_id: String,
    /// How far it is.
    pub status: TaskStatus,
    /// For people.
    pub status_message: Option<String>,
    /// How long the server keeps it from its creation on; `None` without limit.
    pub ttl_ms: Option<u64>,
    /// How long to wait between two looks.
    pub poll_interval_ms: Option<u64>,
    /// The open questions, while it waits for answers.
    pub input_requests: Vec<(String, InputRequest)>,
    /// What the call gave, once completed: an object.
    pub result: Option<RawJson>,
    /// How the call failed: a JSON-RPC error object.
    pub error: Option<RawJson>,
}

/// Why a task cannot be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TaskError {
    /// Ambiguous.
    #[error("the task: {0}")]
    Members(#[from] MembersError),
    /// A member is missing or of the wrong type.
    #[error("the task's member `{0}` is missing or of the wrong type")]
    Member(&'static str),
    /// Its questions cannot be read.
    #[error("the task: {0}")]
    Input(#[from] InputRequiredError),
    /// Not the notification that was to be read.
    #[error("not a notification about a task")]
    NotATask,
}

impl TaskStatus {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "working" => Self::Working,
            "input_required" => Self::InputRequired,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether nothing more will come of it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl Task {
    /// Reads the result of a call that made a task, or of `tasks/get`. The former (`resultType` is `task`) tells the task's
    /// state alone: questions, result and error come with `tasks/get` (Task Creation).
    pub fn read(result: &RawJson) -> Result<Self, TaskError> {
        let members = Members::read(result, &["resultType", TASK_ID, "status", "inputRequests", "result", "error"])?;
        let detailed = members.string("resultType").as_deref() != Some("task");
        let task_id = id(&members)?;
        let status = members.string("status").as_deref().and_then(TaskStatus::from_name);
        let status = status.ok_or(TaskError::Member("status"))?;
        let input_requests = match members.get("inputRequests") {
            _ if !detailed || status != TaskStatus::InputRequired => Vec::new(),
            Some(requests) => read_requests(&requests)?,
            None => return Err(TaskError::Member("inputRequests")),
        };
        Ok(Self {
            task_id,
            status,
            status_message: members.string("statusMessage"),
            ttl_ms: number(&members, "ttlMs")?,
            poll_interval_ms: number(&members, "pollIntervalMs")?,
            input_requests,
            result: outcome(&members, "result", detailed && status == TaskStatus::Completed)?,
            error: outcome(&members, "error", detailed && status == TaskStatus::Failed)?,
        })
    }

    /// Reads a `notifications/tasks`.
    pub fn read_notification(notification: &Notification) -> Result<Self, TaskError> {
        match &notification.params {
            Some(params) if notification.method == notification::TASKS => Self::read(params),
            _ => Err(TaskError::NotATask),
        }
    }
}

fn id(members: &Members<'_>) -> Result<String, TaskError> {
    let id = members.string(TASK_ID).filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
    id.ok_or(TaskError::Member(TASK_ID))
}

fn number(members: &Members<'_>, name: &'static str) -> Result<Option<u64>, TaskError> {
    match members.get(name) {
        None => Ok(None),
        Some(value) if value.as_str() == "null" => Ok(None),
        Some(value) => value.read().map(Some).map_err(|_| TaskError::Member(name)),
    }
}

fn outcome(members: &Members<'_>, name: &'static str, demanded: bool) -> Result<Option<RawJson>, TaskError> {
    if !demanded {
        return Ok(None);
    }
    members.get(name).filter(RawJson::is_object).map(Some).ok_or(TaskError::Member(name))
}

/// The task that a request's parameters, a result or a notification's parameters name.
pub fn task_id(object: &RawJson) -> Result<String, TaskError> {
    id(&Members::read(object, &[TASK_ID])?)
}

/// The same object, naming another task. All else is the same bytes.
pub fn with_task_id(object: &RawJson, task_id: &str) -> Result<RawJson, TaskError> {
    let members = Members::read(object, &[TASK_ID])?;
    id(&members)?;
    Ok(members.replace(&[(TASK_ID, &RawJson::string(task_id))]))
}
