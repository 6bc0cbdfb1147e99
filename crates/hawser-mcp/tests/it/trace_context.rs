//! W3C Trace Context: parsed strictly, carried on as a child.

use hawser_mcp::{RequestMeta, child_traceparent, with_traceparent};
use proptest::prelude::*;

use crate::json::raw;

const SPAN: [u8; 8] = [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn the_trace_goes_on_under_a_new_span() {
    let parent = format!("00-{TRACE}-1111111111111111-01");
    assert_eq!(child_traceparent(&parent, SPAN).unwrap(), format!("00-{TRACE}-00f067aa0ba902b7-01"));
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known() {
    for rest in ["", "-what-comes-later"] {
        let parent = format!("cc-{TRACE}-1111111111111111-ff{rest}");
        assert_eq!(child_traceparent(&parent, SPAN).unwrap(), format!("00-{TRACE}-00f067aa0ba902b7-03"), "{rest}");
    }
    assert_eq!(child_traceparent(&format!("cc-{TRACE}-1111111111111111-01.x"), SPAN), None);
}

#[test]
fn what_is_malformed_is_not_carried_on() {
    for parent in [
        String::new(),
        format!("ff-{TRACE}-1111111111111111-01"),
        format!("00-{TRACE}-1111111111111111-01-"),
        format!("00-{TRACE}-1111111111111111-0"),
        format!("00-{TRACE}-1111111111111111-0g"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00-{}-1111111111111111-01", "0".repeat(32)),
        format!("00-{}-1111111111111111-01", TRACE.to_uppercase()),
        format!(" 00-{TRACE}-1111111111111111-01"),
        format!("00_{TRACE}-1111111111111111-01"),
        format!("00-{TRACE}1-111111111111111-01"),
        format!("00-{TRACE}-11111111\u{e9}\u{e9}\u{e9}\u{e9}-01"),
        "-".repeat(55),
    ] {
        assert_eq!(child_traceparent(&parent, SPAN), None, "{parent}");
    }
    assert_eq!(child_traceparent(&format!("00-{TRACE}-1111111111111111-01"), [0; 8]), None, "no span of zeros");
}

#[test]
fn the_child_takes_the_parents_place() {
    let params = raw(r#"{"name":"x","_meta":{"tracestate":"a=1","traceparent":"old"}}"#);
    let out = with_traceparent(&params, "new").unwrap();
    assert_eq!(out.as_str(), r#"{"name":"x","_meta":{"tracestate":"a=1","traceparent":"new"}}"#);
    assert_eq!(with_traceparent(&raw("{}"), "t").unwrap().as_str(), r#"{"_meta":{"traceparent":"t"}}"#);
    assert_eq!(with_traceparent(&raw(r#"{"_meta":[]}"#), "t"), None);
}

proptest! {
    #[test]
    fn whatever_comes_in_what_goes_out_is_well_formed(text in "\\PC{0,80}|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-\\PC{0,5})?", span: [u8; 8]) {
        if let Some(child) = child_traceparent(&text, span) {
            prop_assert_eq!(child.len(), 55);
            prop_assert!(child_traceparent(&child, [1; 8]).is_some());
            prop_assert_eq!(child.get(3..35), text.get(3..35));
            let params = with_traceparent(&raw("{}"), &child).unwrap();
            prop_assert_eq!(RequestMeta::read(Some(&params)).unwrap().traceparent, Some(child));
        }
    }
}
