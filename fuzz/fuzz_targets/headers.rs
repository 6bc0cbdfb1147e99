//! Headers that mirror the body: every value is safe on the wire and reads back, what a tool's annotations demand is what they
//! accept, and nothing else is.

#![no_main]

use bytes::Bytes;
use hawser_mcp::RawJson;
use hawser_mcp::header::{HeaderMismatch, PARAM_PREFIX, ParamHeaders, decode_value, encode_value};
use libfuzzer_sys::fuzz_target;

/// What a refusal may quote of a tool or a request.
const REFUSAL_CHARS_MAX: usize = 512;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        value(text);
    }
    // Three parts: a tool, the arguments of a call, and what one of the headers says.
    let parts: Vec<&[u8]> = data.splitn(3, |byte| *byte == b'\n').collect();
    if let [tool, arguments, said] = parts.as_slice() {
        let parse = |bytes: &[u8]| RawJson::parse(&Bytes::copy_from_slice(bytes)).ok();
        if let (Some(tool), Some(arguments)) = (parse(tool), parse(arguments)) {
            params(&tool, &arguments, said);
        }
    }
});

fn value(text: &str) {
    let encoded = encode_value(text);
    assert!(!encoded.is_empty() && encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "safe in a header");
    assert_eq!(encoded.trim_ascii(), encoded, "no white space that a parser would strip");
    assert_eq!(decode_value(&encoded).as_deref(), Ok(text), "reads back");
    if let Ok(decoded) = decode_value(text) {
        assert_eq!(decode_value(&encode_value(&decoded)), Ok(decoded), "one meaning");
    }
}

fn params(tool: &RawJson, arguments: &RawJson, said: &[u8]) {
    let headers = match ParamHeaders::of_tool(tool) {
        Ok(headers) => headers,
        Err(error) => {
            assert!(error.to_string().chars().count() <= REFUSAL_CHARS_MAX, "{error}");
            return;
        }
    };
    let Ok(expected) = headers.expected(Some(arguments)) else {
        assert!(matches!(headers.verify(Some(arguments), |_| vec![said]), Err(HeaderMismatch::Argument(_))));
        return;
    };
    let of =
        |name: &str| expected.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_bytes()).collect();
    assert_eq!(headers.verify(Some(arguments), of), Ok(()), "what is expected is accepted");
    for (name, value) in &expected {
        assert!(name.starts_with(PARAM_PREFIX) && headers.recognises(&name.to_ascii_lowercase()));
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "no header is injected");
        let without = |asked: &str| if asked == name { Vec::new() } else { of(asked) };
        assert!(headers.verify(Some(arguments), without).is_err(), "a header that is missing is noticed");
        let other = |asked: &str| if asked == name { vec![said] } else { of(asked) };
        if headers.verify(Some(arguments), other).is_ok() {
            let said = std::str::from_utf8(said).ok().and_then(|said| decode_value(said).ok());
            let (said, meant) = (said.expect("accepted"), decode_value(value).expect("our own"));
            let numbers = said.parse::<f64>().is_ok() && said.parse::<f64>() == meant.parse::<f64>();
            assert!(said == meant || numbers, "another value is refused");
        }
    }
}
