//! The tasks extension: a task as each of its three carriers tells it, and ids exchanged in place.

use hawser_mcp::Notification;
use hawser_mcp::task::{Task, TaskError, TaskStatus, task_id, with_task_id};
use proptest::prelude::*;

use crate::json::{raw, value};

const STATE: &str =
    r#""taskId":"t-1","createdAt":"2025-11-25T10:30:00Z","lastUpdatedAt":"2025-11-25T10:40:00Z","ttlMs":60000"#;

fn read(rest: &str) -> Result<Task, TaskError> {
    Task::read(&raw(&format!(r#"{{"resultType":"complete",{STATE},{rest}}}"#)))
}

#[test]
fn a_call_that_made_a_task_tells_its_state_alone() {
    for status in ["working", "input_required", "completed", "failed", "cancelled"] {
        let made = format!(
            r#"{{"resultType":"task",{STATE},"status":"{status}","pollIntervalMs":5000,"statusMessage":"on it"}}"#
        );
        let task = Task::read(&raw(&made)).unwrap();
        assert_eq!((task.task_id.as_str(), task.ttl_ms, task.poll_interval_ms), ("t-1", Some(60_000), Some(5000)));
        assert_eq!(task.status_message.as_deref(), Some("on it"));
        assert_eq!(task.status.is_final(), !matches!(task.status, TaskStatus::Working | TaskStatus::InputRequired));
        assert_eq!((task.input_requests.len(), task.result, task.error), (0, None, None));
    }
}

#[test]
fn a_task_that_is_looked_at_brings_what_belongs_to_its_status() {
    let done = read(r#""status":"completed","result":{"content":[ ],"isError":true}"#).unwrap();
    assert_eq!(done.result.unwrap().as_str(), r#"{"content":[ ],"isError":true}"#);
    let failed = read(r#""status":"failed","error":{"code":-32603,"message":"x"},"result":{}"#).unwrap();
    assert_eq!((failed.error.unwrap().as_str(), failed.result), (r#"{"code":-32603,"message":"x"}"#, None));
    let asks = read(r#""status":"input_required","inputRequests":{"k":{"method":"roots/list"}}"#).unwrap();
    assert_eq!(asks.input_requests[0].0, "k");
    let working = read(r#""status":"working","inputRequests":{"k":{"method":"roots/list"}}"#).unwrap();
    assert!(working.input_requests.is_empty(), "nothing is asked while it works");
    let unlimited = Task::read(&raw(r#"{"taskId":"t","status":"working","ttlMs":null}"#)).unwrap();
    assert_eq!(unlimited.ttl_ms, None);
}

#[test]
fn a_task_that_cannot_be_relied_on_is_refused() {
    for (rest, member) in [
        (r#""status":"done""#, "status"),
        (r#""status":"Completed""#, "status"),
        (r#""x":1"#, "status"),
        (r#""status":"completed""#, "result"),
        (r#""status":"completed","result":[]"#, "result"),
        (r#""status":"failed","error":"x""#, "error"),
        (r#""status":"input_required""#, "inputRequests"),
        (r#""status":"working","pollIntervalMs":-1"#, "pollIntervalMs"),
        (r#""status":"working","pollIntervalMs":"5""#, "pollIntervalMs"),
    ] {
        assert_eq!(read(rest), Err(TaskError::Member(member)), "{rest}");
    }
    assert!(matches!(read(r#""status":"working","status":"completed""#), Err(TaskError::Members(_))));
    assert!(matches!(read(r#""status":"working","TASKID":"t-2""#), Err(TaskError::Members(_))));
    let asks = read(r#""status":"input_required","inputRequests":{"k":{"method":"tools/call"}}"#);
    assert!(matches!(asks, Err(TaskError::Input(_))));
    for id in [r#""""#, "1", "null", &format!("{:?}", "t".repeat(9000))] {
        let task = raw(&format!(r#"{{"taskId":{id},"status":"working"}}"#));
        assert_eq!(Task::read(&task), Err(TaskError::Member("taskId")));
    }
}

#[test]
fn a_notification_tells_the_whole_task() {
    let params = raw(&format!(r#"{{{STATE},"status":"completed","result":{{}}}}"#));
    let told = Notification::new("notifications/tasks", Some(params.clone()));
    assert_eq!(Task::read_notification(&told).unwrap().status, TaskStatus::Completed);
    let other = Notification::new("notifications/tasks/status", Some(params));
    assert_eq!(Task::read_notification(&other), Err(TaskError::NotATask));
    assert_eq!(Task::read_notification(&Notification::new("notifications/tasks", None)), Err(TaskError::NotATask));
}

#[test]
fn an_id_is_exchanged_and_nothing_else() {
    let params = raw(r#"{"taskId":"outer","inputResponses":{"a":{ "taskId":"inner" }},"n":1e2}"#);
    assert_eq!(task_id(&params).unwrap(), "outer");
    let out = with_task_id(&params, "in\"ner").unwrap();
    assert_eq!(out.as_str(), r#"{"taskId":"in\"ner","inputResponses":{"a":{ "taskId":"inner" }},"n":1e2}"#);
    for text in ["{}", r#"{"taskId":1}"#, r#"{"taskId":"a","taskId":"b"}"#, r#"{"taskId":"a","taskid":"b"}"#, "[]"] {
        assert!(task_id(&raw(text)).is_err() && with_task_id(&raw(text), "x").is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in value(), name in "status|result|error|inputRequests|ttlMs|taskId|resultType") {
        let _ = Task::read(&raw(&text));
        let _ = read(&format!(r#""status":"completed","{name}":{text}"#));
        let _ = task_id(&raw(&text));
    }

    #[test]
    fn an_id_reads_back_whatever_it_is_made_of(id in "\\PC{1,40}", rest in value()) {
        let task = raw(&format!(r#"{{"taskId":"x","rest":{rest}}}"#));
        let out = with_task_id(&task, &id).unwrap();
        prop_assert_eq!(task_id(&out).unwrap(), id);
        let kept = format!(r#""rest":{rest}}}"#);
        prop_assert!(out.as_str().ends_with(&kept));
    }
}
