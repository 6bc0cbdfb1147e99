//! What a modern server sends besides answers: questions, tasks, acknowledgements. Read within bounds, written anew the same.

#![no_main]

use bytes::Bytes;
use hawser_mcp::task::{Task, TaskStatus, task_id, with_task_id};
use hawser_mcp::{
    FILTER_ENTRIES_MAX, INPUT_REQUESTS_MAX, InputRequired, ListenFilter, Members, Notification, RawJson, ResultType,
    freshness, notification, result_type, with_input_responses, with_subscription_id, without_subscription_id,
};
use libfuzzer_sys::fuzz_target;

/// What a refusal may quote of a message.
const REFUSAL_CHARS_MAX: usize = 512;

fuzz_target!(|data: &[u8]| {
    let Ok(value) = RawJson::parse(&Bytes::copy_from_slice(data)) else { return };
    questions(&value);
    task(&value);
    listen(&value);
    let _ = freshness(&value);
});

fn questions(result: &RawJson) {
    let asked = match InputRequired::read(result) {
        Ok(asked) => asked,
        Err(error) => {
            assert!(error.to_string().chars().count() <= REFUSAL_CHARS_MAX, "{error}");
            return;
        }
    };
    assert!(asked.input_requests.len() <= INPUT_REQUESTS_MAX);
    let written = asked.to_result();
    assert_eq!(result_type(&written), Ok(ResultType::InputRequired));
    assert_eq!(InputRequired::read(&written).as_ref(), Ok(&asked), "written and read again");
    let answers: Vec<(String, RawJson)> =
        asked.input_requests.iter().map(|(key, _)| (key.clone(), RawJson::empty_object())).collect();
    let retry = with_input_responses(&RawJson::empty_object(), &answers, asked.request_state.as_deref());
    let retry = retry.expect("an empty object takes everything");
    let members = Members::read(&retry, &[]).expect("an object");
    assert_eq!(members.string("requestState"), asked.request_state, "the state comes back as it went");
    let answered = members.get("inputResponses");
    let keys = answered.as_ref().map(|answers| Members::read(answers, &[]).expect("distinct keys").iter().count());
    assert_eq!(keys.unwrap_or(0), answers.len());
}

fn task(result: &RawJson) {
    let Ok(task) = Task::read(result) else { return };
    assert_eq!(task_id(result).as_ref(), Ok(&task.task_id));
    assert!(task.result.is_none() || task.status == TaskStatus::Completed);
    assert!(task.error.is_none() || task.status == TaskStatus::Failed);
    assert!(task.input_requests.is_empty() || task.status == TaskStatus::InputRequired);
    let renamed = with_task_id(result, "another \"\u{0}").expect("a task");
    let expected = Task { task_id: "another \"\u{0}".to_owned(), ..task };
    assert_eq!(Task::read(&renamed), Ok(expected), "nothing but the id changes");
}

fn listen(params: &RawJson) {
    if !params.is_object() {
        return;
    }
    let told = Notification::new(notification::RESOURCES_UPDATED, Some(params.clone()));
    let marked = with_subscription_id(&told, &RawJson::number(7));
    let unmarked = without_subscription_id(&marked);
    assert_eq!(without_subscription_id(&unmarked), unmarked, "once is enough");
    let filter = match ListenFilter::read(Some(params)) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.to_string().chars().count() <= REFUSAL_CHARS_MAX, "{error}");
            return;
        }
    };
    assert!(filter.resource_subscriptions.len() <= FILTER_ENTRIES_MAX && filter.task_ids.len() <= FILTER_ENTRIES_MAX);
    assert_eq!(ListenFilter::read(Some(&filter.to_params())).as_ref(), Ok(&filter), "written and read again");
    let opening = filter.acknowledged(&RawJson::string("id"));
    assert_eq!(ListenFilter::read_acknowledged(&opening).as_ref(), Ok(&filter));
    assert!(!filter.admits(&opening), "an acknowledgement is not passed on as an event");
}
