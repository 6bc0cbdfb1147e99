//! Headers that mirror the body: values, the member that `Mcp-Name` mirrors, annotated arguments.

use hawser_mcp::RawJson;
use hawser_mcp::header::{
    BadAnnotation, HeaderMismatch, HeaderValueError, ParamHeaders, decode_value, encode_value, name_member,
};
use proptest::prelude::*;

use crate::json::{raw, value};

#[test]
fn the_examples_of_the_specification_hold() {
    for (plain, encoded) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ] {
        assert_eq!(encode_value(plain), encoded);
        assert_eq!(decode_value(encoded).unwrap(), plain);
    }
}

#[test]
fn what_may_get_lost_on_the_way_is_encoded() {
    for value in ["", "a\tb", "\t", " ", "\u{7f}", "=?base64?="] {
        let encoded = encode_value(value);
        assert!(encoded.starts_with("=?base64?"), "{value:?}");
        assert_eq!(decode_value(&encoded).unwrap(), value);
    }
    assert_eq!(decode_value("a\tb").unwrap(), "a\tb", "others may send it");
    assert_eq!(decode_value("").unwrap(), "");
}

#[test]
fn a_value_that_cannot_be_read_is_refused() {
    for (value, error) in [
        ("=?base64?SGVsbG8?=", HeaderValueError::Base64),
        ("=?base64?SGVs*G8=?=", HeaderValueError::Base64),
        ("=?base64?SGVsbG9=?=", HeaderValueError::Base64),
        ("=?base64?=", HeaderValueError::Base64),
        ("=?base64?/w==?=", HeaderValueError::Utf8),
        ("caf\u{e9}", HeaderValueError::Character),
        ("a\r\nX-Injected: 1", HeaderValueError::Character),
        ("a\u{0}", HeaderValueError::Character),
    ] {
        assert_eq!(decode_value(value), Err(error), "{value:?}");
    }
    // The markers are exact: what differs is a plain value.
    for value in ["=?BASE64?SGVsbG8=?=", "=?base64?SGVsbG8=", "x=?base64?SGVsbG8=?="] {
        assert_eq!(decode_value(value).unwrap(), value);
    }
}

#[test]
fn the_name_header_mirrors_the_member_of_its_method() {
    for (method, member) in [
        ("tools/call", Some("name")),
        ("prompts/get", Some("name")),
        ("resources/read", Some("uri")),
        ("tasks/get", Some("taskId")),
        ("tasks/update", Some("taskId")),
        ("tasks/cancel", Some("taskId")),
        ("tools/list", None),
        ("Tools/Call", None),
        ("completion/complete", None),
    ] {
        assert_eq!(name_member(method), member, "{method}");
    }
}

const TOOL: &str = r#"{"name":"sql","inputSchema":{"type":"object","properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "limit":{"type":"integer","x-mcp-header":"Limit"},
    "dry":{"type":"boolean","x-mcp-header":"Dry"},
    "where":{"type":"object","properties":{"tenant":{"type":"string","x-mcp-header":"Tenant"}}},
    "x-mcp-header":{"type":"string","description":"a property of that name, not an annotation"},
    "query":{"type":"string","default":{"x-mcp-header":"data"}}
}}}"#;

fn tool() -> ParamHeaders {
    ParamHeaders::of_tool(&raw(TOOL)).unwrap()
}

fn expected(arguments: &str) -> Vec<(String, String)> {
    tool().expected(Some(&raw(arguments))).unwrap()
}

fn verify(arguments: &str, headers: &[(&str, &str)]) -> Result<(), HeaderMismatch> {
    let found = |name: &str| {
        let of_name = headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_bytes()).collect()
    };
    tool().verify(Some(&raw(arguments)), found)
}

#[test]
fn annotated_arguments_become_headers() {
    let headers = expected(r#"{"region":"Zürich","limit":42.0,"dry":false,"where":{"tenant":"a b"},"query":"x"}"#);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("Mcp-Param-Region", "=?base64?WsO8cmljaA==?="),
            ("Mcp-Param-Limit", "42"),
            ("Mcp-Param-Dry", "false"),
            ("Mcp-Param-Tenant", "a b"),
        ]
    );
    assert!(tool().recognises("mcp-param-REGION") && !tool().recognises("mcp-param-query"));
}

#[test]
fn what_is_absent_null_or_no_such_value_has_no_header() {
    for arguments in [
        "{}",
        r#"{"region":null,"limit":null,"where":null}"#,
        r#"{"where":{},"limit":1.5}"#,
        r#"{"limit":9007199254740992,"where":"tenant"}"#,
        r#"{"limit":-9007199254740992}"#,
        r#"{"limit":1e400,"region":["x"],"dry":{}}"#,
    ] {
        assert_eq!(expected(arguments), [], "{arguments}");
        assert_eq!(verify(arguments, &[]), Ok(()), "{arguments}");
    }
    assert_eq!(tool().expected(None), Ok(Vec::new()));
    assert_eq!(expected(r#"{"limit":-9007199254740991}"#).len(), 1);
}

#[test]
fn headers_must_say_what_the_arguments_say() {
    let arguments = r#"{"region":"eu","limit":42,"dry":true}"#;
    let good =
        [("mcp-param-region", "eu"), ("Mcp-Param-Limit", "42.0"), ("MCP-PARAM-DRY", "true"), ("Mcp-Param-X", "y")];
    assert_eq!(verify(arguments, &good), Ok(()));
    let encoded = [("Mcp-Param-Region", "=?base64?ZXU=?="), ("Mcp-Param-Limit", "42"), ("Mcp-Param-Dry", "true")];
    assert_eq!(verify(arguments, &encoded), Ok(()));
    for (at, value, mismatch) in [
        (0, "us", HeaderMismatch::Different("Mcp-Param-Region".into())),
        (0, "EU", HeaderMismatch::Different("Mcp-Param-Region".into())),
        (0, "=?base64?ZXU?=", HeaderMismatch::Malformed("Mcp-Param-Region".into(), HeaderValueError::Base64)),
        (1, "0x2a", HeaderMismatch::Different("Mcp-Param-Limit".into())),
        (1, "4.2e1", HeaderMismatch::Different("Mcp-Param-Limit".into())),
        (1, "+42", HeaderMismatch::Different("Mcp-Param-Limit".into())),
        (2, "True", HeaderMismatch::Different("Mcp-Param-Dry".into())),
    ] {
        let mut headers = encoded;
        headers[at].1 = value;
        assert_eq!(verify(arguments, &headers), Err(mismatch), "{value}");
    }
}

#[test]
fn a_header_that_is_missing_repeated_or_unasked_for_is_refused() {
    let one = r#"{"region":"eu"}"#;
    assert_eq!(verify(one, &[]), Err(HeaderMismatch::Missing("Mcp-Param-Region".into())));
    let twice = [("Mcp-Param-Region", "eu"), ("mcp-param-region", "us")];
    assert_eq!(verify(one, &twice), Err(HeaderMismatch::Repeated("Mcp-Param-Region".into())));
    let unasked = [("Mcp-Param-Region", "eu"), ("Mcp-Param-Limit", "1")];
    assert_eq!(verify(one, &unasked), Err(HeaderMismatch::Unexpected("Mcp-Param-Limit".into())));
}

#[test]
fn arguments_that_the_tool_could_read_otherwise_are_refused() {
    for arguments in [
        r#"{"region":"eu","Region":"us"}"#,
        r#"{"region":"eu","region":"us"}"#,
        r#"{"where":{"tenant":"a","TENANT":"b"}}"#,
        r#"{"where":{"tenant":"a","t\u0065nant":"b"}}"#,
        "[]",
    ] {
        assert!(
            matches!(verify(arguments, &[("Mcp-Param-Region", "eu")]), Err(HeaderMismatch::Argument(_))),
            "{arguments}"
        );
    }
}

fn schema(schema: &str) -> Result<ParamHeaders, BadAnnotation> {
    ParamHeaders::of_tool(&raw(&format!(r#"{{"name":"t","inputSchema":{schema}}}"#)))
}

fn property(property: &str) -> Result<ParamHeaders, BadAnnotation> {
    schema(&format!(r#"{{"type":"object","properties":{{"p":{property}}}}}"#))
}

#[test]
fn an_annotation_that_breaks_a_rule_is_refused() {
    for name in [r#""""#, r#""a b""#, r#""a:b""#, r#""ä""#, r#""a\r\nb""#, "1", "null"] {
        let refused = property(&format!(r#"{{"type":"string","x-mcp-header":{name}}}"#));
        assert_eq!(refused, Err(BadAnnotation::Name), "{name}");
    }
    for kind in [r#""type":"number","#, r#""type":"object","#, r#""type":"null","#, r#""type":["string","null"],"#, ""]
    {
        let refused = property(&format!(r#"{{{kind}"x-mcp-header":"A"}}"#));
        assert_eq!(refused, Err(BadAnnotation::Type("A".into())), "{kind}");
    }
    let twice = r#"{"properties":{"a":{"type":"string","x-mcp-header":"Region"},"b":{"type":"string","x-mcp-header":"rEGION"}}}"#;
    assert_eq!(schema(twice), Err(BadAnnotation::Duplicate("rEGION".into())));
    let many: Vec<String> =
        (0..33).map(|at| format!(r#""p{at}":{{"type":"string","x-mcp-header":"H{at}"}}"#)).collect();
    assert_eq!(schema(&format!(r#"{{"properties":{{{}}}}}"#, many.join(","))), Err(BadAnnotation::TooMany));
}

#[test]
fn an_annotation_off_the_chain_of_properties_is_refused_wherever_it_hides() {
    let marked = r#"{"type":"string","x-mcp-header":"A"}"#;
    for hidden in [
        marked.to_owned(),
        format!(r#"{{"items":{marked}}}"#),
        format!(r#"{{"properties":{{"l":{{"type":"array","items":{{"properties":{{"p":{marked}}}}}}}}}}}"#),
        format!(r#"{{"oneOf":[{{"properties":{{"p":{marked}}}}}]}}"#),
        format!(r#"{{"allOf":[{marked}]}}"#),
        format!(r#"{{"not":{marked}}}"#),
        format!(r#"{{"if":{{"properties":{{"p":{marked}}}}}}}"#),
        format!(r#"{{"$defs":{{"d":{marked}}}}}"#),
        format!(r#"{{"$defs":{{"default":{marked}}}}}"#),
        format!(r#"{{"dependentSchemas":{{"d":{{"properties":{{"p":{marked}}}}}}}}}"#),
        format!(r#"{{"additionalProperties":{marked}}}"#),
        format!(r#"{{"patternProperties":{{".*":{marked}}}}}"#),
        format!(r#"{{"x-vendor":[[{marked}]]}}"#),
        r#"{"not":{"type":"string","x-mcp-heade\u0072":"A"}}"#.to_owned(),
    ] {
        assert_eq!(schema(&hidden), Err(BadAnnotation::Misplaced), "{hidden}");
    }
}

#[test]
fn data_in_a_schema_is_no_annotation() {
    let data = r#"{"properties":{"p":{"type":"object","const":{"x-mcp-header":1},"enum":[{"x-mcp-header":""}],
        "default":{"x-mcp-header":"A"},"examples":[{"x-mcp-header":"A"}],"description":"x-mcp-header"}}}"#;
    assert!(schema(data).unwrap().is_empty());
    assert!(ParamHeaders::of_tool(&raw(r#"{"name":"x-mcp-header"}"#)).unwrap().is_empty());
}

#[test]
fn an_ambiguous_schema_is_refused_only_where_an_annotation_is_at_stake() {
    let twice = r#"{"type":"string","x-mcp-header":"A","x-mcp-header":"B"}"#;
    assert!(matches!(property(twice), Err(BadAnnotation::Schema(_))));
    let twin = r#"{"type":"string","X-Mcp-Header":"A","x-mcp-header":"B"}"#;
    assert!(matches!(property(twin), Err(BadAnnotation::Schema(_))));
    assert!(schema(r#"{"a":1,"a":2}"#).unwrap().is_empty());
}

#[test]
fn a_schema_of_any_depth_is_walked_without_harm() {
    let deep = format!("{}{}{}", r#"{"not":"#.repeat(5000), r#"{"x-mcp-header":"A"}"#, "}".repeat(5000));
    assert_eq!(schema(&deep), Err(BadAnnotation::Depth));
    let arrays = format!(r#"{{"a":{}{{"x-mcp-header":"A"}}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert_eq!(schema(&arrays), Err(BadAnnotation::Depth));
}

#[test]
fn a_large_schema_is_refused_only_where_an_annotation_is_at_stake() {
    let large = |keyword: &str| {
        format!(
            r#"{{"properties":{{"p":{{"type":"string",{keyword}:"A"}}}},"$comment":"{}"}}"#,
            "\\u00e4".repeat(60_000)
        )
    };
    assert_eq!(schema(&large(r#""x-mcp-header""#)), Err(BadAnnotation::TooLarge));
    assert_eq!(schema(&large(r#""x-mcp-heade\u0072""#)), Err(BadAnnotation::TooLarge));
    assert!(schema(&large(r#""title""#)).unwrap().is_empty());
}

/// A value that a header may carry, and some that it may not.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~\t]{0,20}", "=\\?base64\\?[ -~]{0,12}(\\?=)?"]
}

proptest! {
    #[test]
    fn an_encoded_value_is_safe_in_a_header_and_reads_back(value in any_value()) {
        let encoded = encode_value(&value);
        prop_assert!(!encoded.is_empty() && encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(encoded.trim(), &encoded);
        prop_assert_eq!(decode_value(&encoded).unwrap(), value);
    }

    #[test]
    fn two_values_never_share_an_encoding(one in any_value(), two in any_value()) {
        prop_assert_eq!(encode_value(&one) == encode_value(&two), one == two);
    }

    #[test]
    fn what_is_expected_verifies_and_nothing_else(region in any_value(), limit: i64, dry: bool, other in any_value()) {
        let text = |value: &str| RawJson::string(value).as_str().to_owned();
        let arguments = format!(r#"{{"region":{},"limit":{limit},"dry":{dry}}}"#, text(&region));
        let headers = expected(&arguments);
        let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        prop_assert_eq!(verify(&arguments, &headers), Ok(()));
        let encoded = encode_value(&other);
        headers[0].1 = &encoded;
        prop_assert_eq!(verify(&arguments, &headers).is_ok(), other == region);
    }

    #[test]
    fn no_schema_and_no_arguments_make_it_panic(schema_text in value(), arguments in value()) {
        let _ = schema(&schema_text);
        let _ = property(&format!(r#"{{"type":"string","x-mcp-header":{schema_text}}}"#));
        let _ = verify(&arguments, &[("Mcp-Param-Region", "x")]);
    }
}
