//! Trace context in `_meta` (MCP 2026-07-28, `_meta`, Trace Context; W3C Trace Context): passed on with a span of the gateway's
//! own, so that what a backend does is below what the gateway does.

use hawser_mcp::{Members, RawJson, child_traceparent, meta_key, with_traceparent};
use hawser_owner::Entropy;

/// Params with the child of the trace they carry; as they are if they carry none, or none that is well formed.
pub(crate) fn onwards(params: &RawJson, entropy: &dyn Entropy) -> RawJson {
    // Nothing is read where there is nothing: a name can be written otherwise only with escapes.
    let may_have_meta = params.as_str().contains("_meta") || params.bytes().contains(&b'\\');
    if !may_have_meta {
        return params.clone();
    }
    let child = || {
        let meta = Members::read(params, &[]).ok()?.get("_meta")?;
        let parent = Members::read(&meta, &[]).ok()?.string(meta_key::TRACEPARENT)?;
        let mut span = [0; 8];
        entropy.fill(&mut span).ok()?;
        with_traceparent(params, &child_traceparent(&parent, span)?)
    };
    child().unwrap_or_else(|| params.clone())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_owner::SystemEntropy;

    use super::*;

    fn onwards_from(params: &str) -> String {
        let params = RawJson::parse(&bytes::Bytes::copy_from_slice(params.as_bytes())).unwrap();
        onwards(&params, &SystemEntropy::new()).as_str().to_owned()
    }

    #[test]
    fn a_trace_goes_on_under_a_span_of_our_own() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let sent = onwards_from(&format!(r#"{{"name":"t","_meta":{{"traceparent":"{parent}","tracestate":"a=b"}}}}"#));
        assert!(
            sent.contains("00-0af7651916cd43dd8448eb211c80319c-") && sent.contains(r#""tracestate":"a=b""#),
            "{sent}"
        );
        assert!(!sent.contains("b7ad6b7169203331"), "the parent is the gateway, not its client: {sent}");
        let escaped = onwards_from(&format!(r#"{{"\u005fmeta":{{"traceparent":"{parent}"}}}}"#));
        assert!(escaped.contains(&parent[..36]) && !escaped.contains("b7ad6b7169203331"), "{escaped}");
    }

    #[test]
    fn what_is_no_trace_stays_as_it_is() {
        for params in [
            "{}",
            r#"{"arguments":{"traceparent":"x"}}"#,
            r#"{"_meta":{}}"#,
            r#"{"_meta":{"traceparent":"nonsense"}}"#,
            r#"{"_meta":{"traceparent":7}}"#,
        ] {
            assert_eq!(onwards_from(params), params);
        }
    }
}
