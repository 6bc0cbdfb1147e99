//! URI templates: agreement with the plainest way to decide what a template can stand for.
//!
//! Input: a template, a line feed, a URI.

#![no_main]

use hawser_catalog::UriTemplate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, uri) = text.split_once('\n').unwrap_or((text, ""));
    let parts = parts(text);
    let template = UriTemplate::parse(text);
    assert_eq!(template.is_some(), parts.is_some(), "{text:?}");
    let (Some(template), Some(parts)) = (template, parts) else { return };
    assert_eq!(template.literal_bytes(), parts.iter().flatten().copied().map(char::len_utf8).sum::<usize>());
    let uri_chars: Vec<char> = uri.chars().collect();
    assert_eq!(template.matches(uri), stands_for(&parts, &uri_chars), "{text:?} and {uri:?}");
    let expanded: Vec<String> = parts.iter().map(|literal| literal.iter().collect()).collect();
    assert!(template.matches(&expanded.join(uri)), "{text:?} with {uri:?} in every place");
});

/// The literal parts around expressions; `None` if the braces do not match.
fn parts(template: &str) -> Option<Vec<Vec<char>>> {
    let mut parts = vec![Vec::new()];
    let mut inside = false;
    for character in template.chars() {
        match (character, inside) {
            ('{', false) => {
                inside = true;
                parts.push(Vec::new());
            }
            ('}', true) => inside = false,
            ('{', true) | ('}', false) => return None,
            (_, true) => {}
            (other, false) => parts.last_mut()?.push(other),
        }
    }
    (!inside).then_some(parts)
}

/// Tries every position: `reachable` are those at which the parts so far can end.
fn stands_for(parts: &[Vec<char>], uri: &[char]) -> bool {
    let mut reachable = vec![false; uri.len() + 1];
    for (index, literal) in parts.iter().enumerate() {
        if index == 0 {
            reachable[0] = true;
        } else if let Some(first) = reachable.iter().position(|at| *at) {
            reachable[first..].fill(true);
        }
        let ends = |end: usize| {
            end.checked_sub(literal.len()).is_some_and(|start| reachable[start] && uri[start..end] == literal[..])
        };
        reachable = (0..=uri.len()).map(ends).collect();
    }
    reachable.last().copied().unwrap_or_default()
}
