//! Multi round-trip requests: results by their type, questions read with bounds, the retry.

use hawser_mcp::{
    CacheScope, Freshness, INPUT_REQUESTS_MAX, InputRequest, InputRequired, InputRequiredError, MembersError,
    ResultType, freshness, result_type, with_input_responses,
};
use proptest::prelude::*;

use crate::json::{raw, value};

const ASKS: &str = r#"{"resultType":"input_required","inputRequests":{
    "b":{"method":"elicitation/create","params":{"mode":"url", "url":"https://x"}},
    "a":{"method":"roots/list"}
},"requestState":"st\u0061te"}"#;

fn questions(requests: &str) -> Result<InputRequired, InputRequiredError> {
    InputRequired::read(&raw(&format!(r#"{{"resultType":"input_required","inputRequests":{requests}}}"#)))
}

#[test]
fn a_result_is_what_it_says_it_is() {
    for (text, kind) in [
        ("{}", ResultType::Complete),
        (r#"{"content":[]}"#, ResultType::Complete),
        (r#"{"resultType":"complete"}"#, ResultType::Complete),
        (r#"{"resultType":"input_required"}"#, ResultType::InputRequired),
        (r#"{"resultType":"task"}"#, ResultType::Task),
        (r#"{"resultType":"Complete"}"#, ResultType::Other("Complete".into())),
    ] {
        assert_eq!(result_type(&raw(text)), Ok(kind), "{text}");
    }
    assert_eq!(result_type(&raw(r#"{"resultType":null}"#)), Err(MembersError::MemberNotAString("resultType")));
    let twice = raw(r#"{"resultType":"complete","resultType":"input_required"}"#);
    assert!(matches!(result_type(&twice), Err(MembersError::Duplicate(_))));
    assert!(matches!(result_type(&raw(r#"{"RESULTTYPE":"task"}"#)), Err(MembersError::CaseTwin { .. })));
}

#[test]
fn questions_are_read_in_order_with_their_parameters_raw() {
    let asked = InputRequired::read(&raw(ASKS)).unwrap();
    let keys: Vec<&str> = asked.input_requests.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["b", "a"]);
    assert_eq!(asked.input_requests[0].1.method, "elicitation/create");
    assert_eq!(asked.input_requests[0].1.params.as_ref().unwrap().as_str(), r#"{"mode":"url", "url":"https://x"}"#);
    assert_eq!(asked.input_requests[1].1, InputRequest { method: "roots/list".into(), params: None });
    assert_eq!(asked.request_state.as_deref(), Some("state"));
    assert_eq!(InputRequired::read(&asked.to_result()), Ok(asked));
}

#[test]
fn state_alone_is_enough_and_nothing_at_all_is_not() {
    let state = InputRequired::read(&raw(r#"{"resultType":"input_required","requestState":""}"#)).unwrap();
    assert_eq!(state, InputRequired { input_requests: Vec::new(), request_state: Some(String::new()) });
    assert_eq!(InputRequired::read(&raw(r#"{"resultType":"input_required"}"#)), Err(InputRequiredError::Empty));
    assert_eq!(questions("{}"), Err(InputRequiredError::Empty), "a retry would bring nothing new");
}

#[test]
fn what_may_not_be_asked_is_refused() {
    for question in [r#"{"method":"tools/call"}"#, r#"{"method":"ping"}"#, r#"{"method":1}"#, "{}"] {
        assert_eq!(questions(&format!(r#"{{"a":{question}}}"#)), Err(InputRequiredError::Method), "{question}");
    }
    assert_eq!(questions(r#"{"a":{"method":"roots/list","params":[]}}"#), Err(InputRequiredError::Params));
    for requests in ["[]", "null", r#"{"a":1}"#, r#"{"a":{"method":"roots/list"},"\u0061":{"method":"roots/list"}}"#] {
        assert!(matches!(questions(requests), Err(InputRequiredError::Members { .. })), "{requests}");
    }
    for state in ["1", "null", &format!("{:?}", "x".repeat(300 * 1024))] {
        let result = raw(&format!(r#"{{"resultType":"input_required","requestState":{state}}}"#));
        assert_eq!(InputRequired::read(&result), Err(InputRequiredError::State));
    }
}

#[test]
fn a_server_can_ask_only_so_much() {
    let many = |count: usize| {
        let requests: Vec<String> = (0..count).map(|at| format!(r#""k{at}":{{"method":"roots/list"}}"#)).collect();
        questions(&format!("{{{}}}", requests.join(",")))
    };
    assert_eq!(many(INPUT_REQUESTS_MAX).unwrap().input_requests.len(), INPUT_REQUESTS_MAX);
    assert_eq!(many(INPUT_REQUESTS_MAX + 1), Err(InputRequiredError::TooMany));
    let long = format!(r#"{{"{}":{{"method":"roots/list"}}}}"#, "k".repeat(257));
    assert_eq!(questions(&long), Err(InputRequiredError::Key));
}

#[test]
fn a_retry_is_the_same_request_with_the_answers_and_the_state() {
    let params = raw(r#"{"name":"t","arguments":{ "n":1.0 },"requestState":"old","inputResponses":{}}"#);
    let answers = [("a".to_owned(), raw(r#"{"action":"accept"}"#))];
    let retry = with_input_responses(&params, &answers, Some("s\"1")).unwrap();
    assert_eq!(
        retry.as_str(),
        r#"{"name":"t","arguments":{ "n":1.0 },"requestState":"s\"1","inputResponses":{"a":{"action":"accept"}}}"#
    );
    let bare = with_input_responses(&params, &[], None).unwrap();
    assert_eq!(bare.as_str(), r#"{"name":"t","arguments":{ "n":1.0 }}"#, "no state was given, so none is sent");
    assert!(with_input_responses(&raw(r#"{"RequestState":"x"}"#), &[], None).is_err());
}

#[test]
fn freshness_is_read_only_where_it_is_well_formed() {
    let read = |text: &str| freshness(&raw(text));
    let public = Freshness { ttl_ms: 60_000, scope: CacheScope::Public };
    assert_eq!(read(r#"{"ttlMs":60000,"cacheScope":"public"}"#), Some(public));
    for text in [
        "{}",
        r#"{"ttlMs":60000}"#,
        r#"{"cacheScope":"public"}"#,
        r#"{"ttlMs":-1,"cacheScope":"public"}"#,
        r#"{"ttlMs":1.5,"cacheScope":"public"}"#,
        r#"{"ttlMs":"1","cacheScope":"public"}"#,
        r#"{"ttlMs":1,"cacheScope":"Public"}"#,
        r#"{"ttlMs":1,"ttlMs":9,"cacheScope":"public"}"#,
        "[]",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
    let private = Freshness { ttl_ms: 99_000, scope: CacheScope::Private };
    assert_eq!(public.and(private), Freshness { ttl_ms: 60_000, scope: CacheScope::Private });
    assert_eq!(public.and(Freshness::NONE), Freshness::NONE);
}

proptest! {
    #[test]
    fn questions_survive_being_written(
        requests in proptest::collection::btree_map("\\PC{0,12}", any::<bool>(), 0..6), state in proptest::option::of(any::<String>())
    ) {
        let question = |params| InputRequest { method: "roots/list".into(), params };
        let input_requests = requests.into_iter().map(|(key, with)| (key, question(with.then(|| raw("{ }"))))).collect();
        let asked = InputRequired { input_requests, request_state: state };
        let read = InputRequired::read(&asked.to_result());
        if asked == InputRequired::default() {
            prop_assert_eq!(read, Err(InputRequiredError::Empty));
        } else {
            prop_assert_eq!(read, Ok(asked));
        }
    }

    #[test]
    fn no_result_makes_a_reader_panic(text in value(), key in "[a-z]{0,3}") {
        let _ = questions(&text);
        let _ = questions(&format!(r#"{{"{key}":{{"method":"roots/list","params":{text}}}}}"#));
        let _ = freshness(&raw(&text));
        let _ = result_type(&raw(&text));
        let _ = with_input_responses(&raw(&text), &[(key, raw(&text))], Some("s"));
    }
}
