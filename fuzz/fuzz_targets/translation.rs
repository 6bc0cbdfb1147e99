//! Translation between revisions: never a crash, nothing of the wrong era comes out, and what has no other form stays as it is.

#![no_main]

use bytes::Bytes;
use hawser_mcp::header::ParamHeaders;
use hawser_mcp::translate::{complete, entry, error, notification, result, server_request, url_elicitations};
use hawser_mcp::{
    Freshness, InputRequired, ListKind, Members, Notification, RawJson, ResultType, Revision, method, result_type,
};
use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 5] =
    [method::TOOLS_CALL, method::PROMPTS_GET, method::RESOURCES_READ, method::TOOLS_LIST, method::COMPLETION_COMPLETE];
const QUESTIONS: [&str; 4] =
    [method::ELICITATION_CREATE, method::SAMPLING_CREATE_MESSAGE, method::ROOTS_LIST, method::PING];

fuzz_target!(|data: &[u8]| {
    let Some(([which], text)) = data.split_first_chunk() else { return };
    let Ok(value) = RawJson::parse(&Bytes::copy_from_slice(text)) else { return };
    let pick = |shift: u8| Revision::ALL[usize::from(which >> shift) % Revision::ALL.len()];
    let (from, to) = (pick(0), pick(2));
    results(&value, from, to);
    errors(&value, from, to);
    for kind in ListKind::ALL {
        let demands_headers = kind == ListKind::Tools && (from.is_modern() || to.is_modern());
        if let Some(shown) = entry(kind, &value, from, to)
            && demands_headers
        {
            assert!(ParamHeaders::of_tool(&shown).is_ok(), "only tools that can be called are shown");
        }
    }
    for method in QUESTIONS {
        if let Some(Some(put)) = server_request(method, Some(&value), to) {
            RawJson::parse(put.bytes()).expect("JSON");
        }
    }
    if value.is_object() {
        let told = Notification::new("notifications/message", Some(value));
        assert!(notification(told, from, to).is_some());
    }
});

fn results(value: &RawJson, from: Revision, to: Revision) {
    for method in METHODS {
        let out = result(method, value.clone(), from, to);
        RawJson::parse(out.bytes()).expect("JSON");
        if from == to || !value.is_object() {
            assert_eq!(&out, value, "nothing to translate");
            continue;
        }
        if to.is_modern() && Members::read(&out, &["resultType"]).is_ok() {
            assert_eq!(result_type(&out), Ok(ResultType::Complete));
        }
        if from.is_modern()
            && let Ok(members) = Members::read(&out, &[])
        {
            assert!(members.get("resultType").is_none(), "nothing of the modern era");
        }
        let stamped = complete(out, Some(Freshness::NONE), &RawJson::empty_object());
        if Members::read(&stamped, &["resultType", "ttlMs", "cacheScope"]).is_ok() {
            assert_eq!(result_type(&stamped), Ok(ResultType::Complete));
            assert_eq!(hawser_mcp::freshness(&stamped), Some(Freshness::NONE));
        }
    }
}

fn errors(value: &RawJson, from: Revision, to: Revision) {
    let out = error(value.clone(), from, to);
    let code = |error: &RawJson| Members::read(error, &[]).ok()?.get("code")?.read::<i32>().ok();
    if let Some(code) = code(&out) {
        let of_the_specification = (-32099..=-32020).contains(&code);
        if to.is_modern() {
            assert!((!of_the_specification || code == -32021) && code != -32002, "{code}");
        } else if from.is_modern() {
            assert!(!of_the_specification, "{code}");
        }
    }
    if let Some(asked) = url_elicitations(value) {
        assert_eq!(InputRequired::read(&asked.to_result()), Ok(asked), "what is asked can be read");
    }
}
