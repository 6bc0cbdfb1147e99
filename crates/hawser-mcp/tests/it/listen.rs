//! `subscriptions/listen`: the filter, its acknowledgement, what may be sent on the stream, and its mark.

use hawser_mcp::{
    FILTER_ENTRIES_MAX, ListenError, ListenFilter, Notification, notification, with_subscription_id,
    without_subscription_id,
};
use proptest::prelude::*;

use crate::json::{raw, value};

fn read(filter: &str) -> Result<ListenFilter, ListenError> {
    ListenFilter::read(Some(&raw(&format!(r#"{{"notifications":{filter}}}"#))))
}

fn told(method: &str, params: &str) -> Notification {
    Notification::new(method, Some(raw(params)))
}

#[test]
fn a_filter_is_read_and_written() {
    let filter = read(
        r#"{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["file:///a","x:\u0062"],
        "taskIds":["t"],"com.example/more":1}"#,
    )
    .unwrap();
    let expected = ListenFilter {
        tools_list_changed: true,
        resource_subscriptions: vec!["file:///a".into(), "x:b".into()],
        task_ids: vec!["t".into()],
        ..ListenFilter::default()
    };
    assert_eq!(filter, expected);
    assert_eq!(
        filter.to_params().as_str(),
        r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["file:///a","x:b"],"taskIds":["t"]}}"#
    );
    assert_eq!(ListenFilter::read(Some(&filter.to_params())), Ok(filter));
    assert!(read("{}").unwrap().is_empty());
}

#[test]
fn a_malformed_filter_is_refused_and_the_part_is_named() {
    assert_eq!(ListenFilter::read(None), Err(ListenError::NoFilter));
    for params in ["{}", r#"{"notifications":null}"#, r#"{"notifications":["toolsListChanged"]}"#] {
        assert_eq!(ListenFilter::read(Some(&raw(params))), Err(ListenError::NoFilter), "{params}");
    }
    for (filter, member) in [
        (r#"{"toolsListChanged":1}"#, "toolsListChanged"),
        (r#"{"promptsListChanged":"true"}"#, "promptsListChanged"),
        (r#"{"resourcesListChanged":null}"#, "resourcesListChanged"),
        (r#"{"resourceSubscriptions":"file:///a"}"#, "resourceSubscriptions"),
        (r#"{"resourceSubscriptions":[1]}"#, "resourceSubscriptions"),
        (r#"{"taskIds":{}}"#, "taskIds"),
    ] {
        let error = read(filter).unwrap_err();
        assert!(error.to_string().contains(&format!("notifications.{member}")), "{filter}: {error}");
    }
    for filter in [r#"{"taskIds":[],"taskIds":["x"]}"#, r#"{"TaskIds":["x"]}"#] {
        assert!(matches!(read(filter), Err(ListenError::Members { .. })), "{filter}");
    }
}

#[test]
fn a_filter_holds_only_so_much() {
    for member in ["resourceSubscriptions", "taskIds"] {
        let many = |count: usize| read(&format!(r#"{{"{member}":[{}]}}"#, vec![r#""u""#; count].join(",")));
        assert!(many(FILTER_ENTRIES_MAX).is_ok());
        assert_eq!(many(FILTER_ENTRIES_MAX + 1), Err(ListenError::TooMany(member)));
        let long = read(&format!(r#"{{"{member}":["{}"]}}"#, "u".repeat(9000)));
        assert_eq!(long, Err(ListenError::TooLong(member)));
    }
}

#[test]
fn the_stream_opens_with_what_is_honoured() {
    let filter = ListenFilter { prompts_list_changed: true, ..ListenFilter::default() };
    let opening = filter.acknowledged(&raw(r#""1""#));
    assert_eq!(opening.method, "notifications/subscriptions/acknowledged");
    assert_eq!(
        opening.params.as_ref().unwrap().as_str(),
        r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"1"},"notifications":{"promptsListChanged":true}}"#
    );
    assert_eq!(ListenFilter::read_acknowledged(&opening), Ok(filter));
    let other = Notification::new(notification::TOOLS_LIST_CHANGED, opening.params);
    assert_eq!(ListenFilter::read_acknowledged(&other), Err(ListenError::NotAnAcknowledgement));
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    let filter = read(r#"{"toolsListChanged":true,"resourceSubscriptions":["file:///a"],"taskIds":["t1"]}"#).unwrap();
    for (method, params, admitted) in [
        (notification::TOOLS_LIST_CHANGED, "{}", true),
        (notification::PROMPTS_LIST_CHANGED, "{}", false),
        (notification::RESOURCES_LIST_CHANGED, "{}", false),
        (notification::RESOURCES_UPDATED, r#"{"uri":"file:///a"}"#, true),
        (notification::RESOURCES_UPDATED, r#"{"uri":"file:///b"}"#, false),
        (notification::RESOURCES_UPDATED, r#"{"uri":"file:///b","uri":"file:///a"}"#, false),
        (notification::RESOURCES_UPDATED, r#"{"uri":"file:///a","URI":"file:///b"}"#, false),
        (notification::RESOURCES_UPDATED, "{}", false),
        (notification::TASKS, r#"{"taskId":"t1"}"#, true),
        (notification::TASKS, r#"{"taskId":"t2"}"#, false),
        (notification::PROGRESS, r#"{"progressToken":1}"#, false),
        (notification::MESSAGE, "{}", false),
        (notification::CANCELLED, "{}", false),
        ("notifications/of/tomorrow", "{}", false),
    ] {
        assert_eq!(filter.admits(&told(method, params)), admitted, "{method} {params}");
    }
    assert!(!filter.admits(&Notification::new(notification::RESOURCES_UPDATED, None)));
}

#[test]
fn the_mark_comes_and_goes_and_the_rest_stays() {
    let plain = told("notifications/resources/updated", r#"{"uri":"x", "n":1.0}"#);
    let marked = with_subscription_id(&plain, &raw("7"));
    let marked_params = marked.params.as_ref().unwrap();
    assert!(marked_params.as_str().contains(r#""_meta":{"io.modelcontextprotocol/subscriptionId":7}"#));
    assert_eq!(without_subscription_id(&marked), told("notifications/resources/updated", r#"{"uri":"x","n":1.0}"#));
    let again = with_subscription_id(&marked, &raw(r#""8""#));
    assert!(again.params.as_ref().unwrap().as_str().contains(r#"subscriptionId":"8"}"#), "never two marks");
    let bare = Notification::new("notifications/tools/list_changed", None);
    let marked = with_subscription_id(&bare, &raw("7"));
    assert_eq!(without_subscription_id(&marked).params.unwrap().as_str(), "{}");
    assert_eq!(without_subscription_id(&bare), bare);
    let other = told("notifications/x", r#"{"_meta":{"com.example/k":1,"io.modelcontextprotocol/subscriptionId":7}}"#);
    assert_eq!(without_subscription_id(&other).params.unwrap().as_str(), r#"{"_meta":{"com.example/k":1}}"#);
}

proptest! {
    #[test]
    fn a_filter_survives_being_written(
        flags: (bool, bool, bool),
        resource_subscriptions in proptest::collection::vec("\\PC{0,20}", 0..5),
        task_ids in proptest::collection::vec("\\PC{0,20}", 0..5),
    ) {
        let (tools_list_changed, prompts_list_changed, resources_list_changed) = flags;
        let filter = ListenFilter {
            tools_list_changed, prompts_list_changed, resources_list_changed, resource_subscriptions, task_ids
        };
        prop_assert_eq!(ListenFilter::read(Some(&filter.to_params())), Ok(filter.clone()));
        prop_assert_eq!(ListenFilter::read_acknowledged(&filter.acknowledged(&raw("1"))), Ok(filter));
    }

    #[test]
    fn nothing_makes_it_panic(text in value(), id in value()) {
        let _ = read(&text);
        let _ = ListenFilter::read(Some(&raw(&text)));
        let notification = told("notifications/resources/updated", &text);
        let marked = with_subscription_id(&notification, &raw(&id));
        let _ = without_subscription_id(&marked);
        prop_assert!(!ListenFilter::default().admits(&marked));
    }
}
