//! A line of the configuration as it may be shown: without what could be a secret.
//!
//! Errors in the YAML itself are shown before anything is known about its structure, so this goes by the words of a line:
//! values of keys that sound like secrets, everything below `headers:` and `env:`, and the user part of a URL. References
//! (`env:NAME`, `file:PATH`) stay readable. It rather hides too much.

/// A key is taken for a secret's if its name holds one of these.
const SECRET_WORDS: [&str; 11] =
    ["pass", "pwd", "word", "secret", "token", "key", "auth", "cookie", "credential", "session", "bearer"];
/// Keys that sound like a secret's and are none.
const PUBLIC_KEYS: [&str; 10] = [
    "auth",
    "authorization_server",
    "access_token_lifetime",
    "token_types",
    "sessions",
    "key_ring",
    "jwks_uri",
    "tenant_claim",
    "subject_claim",
    "allowed_origins",
];
/// Mappings whose values are secrets whatever the keys are called.
const SECRET_MAPPINGS: [&str; 2] = ["headers", "env"];
/// The same, as long as the structure is not known: a slip may have broken the word `password` itself.
const SECRET_MAPPINGS_OF_BROKEN: [&str; 3] = ["headers", "env", "users"];
/// How far up the file is searched for the mapping that a line belongs to.
const PARENT_LINES_MAX: usize = 4096;
/// How far up the file is searched for the start of a flow mapping.
const FLOW_LINES_MAX: usize = 64;

/// What is known about the text that a line is shown of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    /// It has the shape of a configuration: keys are where they belong.
    Known,
    /// It could not be read.
    Broken,
}

impl Structure {
    fn secret_mappings(self) -> &'static [&'static str] {
        match self {
            Self::Known => &SECRET_MAPPINGS,
            Self::Broken => &SECRET_MAPPINGS_OF_BROKEN,
        }
    }
}

/// How much of a line is hidden because of the lines above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    Nothing,
    Values,
    Everything,
}

/// The lines of a text, as the parser counts them.
pub(super) fn lines(text: &str) -> Vec<&str> {
    text.strip_prefix('\u{feff}').unwrap_or(text).lines().collect()
}

/// The line with that index, as it may be shown.
pub(super) fn line(lines: &[&str], index: usize, structure: Structure) -> Option<String> {
    let line = *lines.get(index)?;
    let mut shown = match (hidden_by_lines_above(lines, index, structure), first_secret(line, structure)) {
        (Hidden::Everything, _) => mask(line, false),
        (Hidden::Values, _) => mask(line, true),
        (Hidden::Nothing, Some(from)) => {
            let (clear, hidden) = line.split_at_checked(from).unwrap_or(("", line));
            format!("{clear}{}", mask(hidden, true))
        }
        (Hidden::Nothing, None) => line.to_owned(),
    };
    hide_url_users(&mut shown);
    Some(shown)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

fn key_of(line: &str) -> Option<&str> {
    line.trim_start_matches([' ', '-']).split_once(':').map(|(key, _)| key.trim_matches(['"', '\'', ' ']))
}

fn hidden_by_lines_above(lines: &[&str], index: usize, structure: Structure) -> Hidden {
    let mut depth = lines.get(index).map_or(0, |line| indent(line));
    let has_own_key = lines.get(index).is_some_and(|line| line.contains(": ") || line.trim_end().ends_with(':'));
    // A value on the line after its key, or over several lines.
    let before = lines.iter().take(index).rev().find(|line| !line.trim().is_empty()).map_or("", |line| line.trim_end());
    let open_quote = ['"', '\''].iter().any(|quote| before.matches(*quote).count() % 2 == 1);
    let goes_on = open_quote || before.ends_with(['"', '\'']) || before.ends_with(':') && !has_own_key;
    if goes_on && first_secret(before, structure).is_some() {
        return Hidden::Everything;
    }
    // A flow mapping that goes on, whatever the indentation.
    let (mut opened, mut closed) = (0, 0);
    for line in lines.iter().take(index).rev().take(FLOW_LINES_MAX) {
        opened += line.matches(['{', '[']).count();
        closed += line.matches(['}', ']']).count();
        if opened > closed && first_secret(line, structure).is_some() {
            return if has_own_key { Hidden::Values } else { Hidden::Everything };
        }
    }
    for line in lines.iter().take(index).rev().take(PARENT_LINES_MAX) {
        if line.trim().is_empty() || indent(line) >= depth {
            continue;
        }
        // A secret may go on over several lines. A backend may be called `keycloak`, and its `url:` is no secret.
        let is_block = line.trim_end().ends_with(['|', '>', '-', '+']);
        if key_of(line).is_some_and(is_secret_key) && (is_block || !has_own_key) {
            return Hidden::Everything;
        }
        // A multi-line flow mapping may open anywhere in its line: `x: { headers: {`.
        if structure.secret_mappings().iter().any(|name| has_key(line, name)) {
            return if has_own_key { Hidden::Values } else { Hidden::Everything };
        }
        depth = indent(line);
    }
    Hidden::Nothing
}

/// The byte offset of the first key that holds secrets, in block or flow style.
fn first_secret(line: &str, structure: Structure) -> Option<usize> {
    let mut offset = 0;
    for part in line.split_inclusive([':', ',', '{', '}', '[', ']']) {
        let end = offset + part.len();
        if let Some(key) = part.strip_suffix(':') {
            let key = key.trim_matches([' ', '-', '"', '\'', '?']);
            let opens_mapping = line.get(end..).is_some_and(|rest| rest.trim_start().starts_with('{'));
            if structure.secret_mappings().contains(&key) && !is_reference(line, end)
                || is_secret_key(key) && !opens_mapping
            {
                return Some(offset);
            }
        }
        // With the colon forgotten, the value stands next to the key.
        let mut words = part.split([' ', '"', '\'', ':', ',', '{', '}', '[', ']']);
        if !is_reference_text(part) && words.any(sounds_like_password) {
            return Some(offset);
        }
        offset = end;
    }
    None
}

/// `env:ALICE_PASSWORD` names a secret and is none.
fn is_reference_text(part: &str) -> bool {
    let word = part.trim_matches([' ', '"', '\'', ',', '}', ']']);
    word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') || word.contains('/')
}

fn sounds_like_password(word: &str) -> bool {
    // A slip in writing `password` must not show the password.
    const SLIPS: usize = 3;
    const PASSWORD: &str = "password";
    let lower: String = word.chars().take(64).map(|c| c.to_ascii_lowercase()).collect();
    lower.contains(PASSWORD)
        || lower.len() + SLIPS >= PASSWORD.len() && strsim::damerau_levenshtein(&lower, PASSWORD) <= SLIPS
}

/// `env:NAME` is a reference, `env: {…}` is a key.
fn is_reference(line: &str, colon: usize) -> bool {
    line.get(colon..).is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()))
}

fn has_key(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let rest = line.get(at + name.len()..).unwrap_or_default().trim_start_matches(['"', '\'', ' ']);
        rest.strip_prefix(':').is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

fn is_secret_key(key: &str) -> bool {
    let lower: String = key.chars().take(64).map(|c| c.to_ascii_lowercase()).collect();
    !PUBLIC_KEYS.contains(&lower.as_str()) && SECRET_WORDS.iter().any(|word| lower.contains(word))
        || lower == "key_ring"
        || sounds_like_password(key)
}

/// Replaces every word by stars of the same width, except references and, if wanted, keys.
fn mask(text: &str, keep_keys: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at_key = keep_keys;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word_end = rest.find(|c: char| " ,{}[]\"'".contains(c)).unwrap_or(rest.len());
        if word_end == 0 {
            out.push(first);
            at_key |= keep_keys && matches!(first, '{' | ',');
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let (word, tail) = rest.split_at_checked(word_end).unwrap_or((rest, ""));
        let is_key = at_key && (word.ends_with(':') || tail.starts_with(':') || tail.starts_with("\":"));
        if is_key
            || matches!(word, "-" | "#")
            || word.starts_with("env:") && word.len() > 4
            || word.starts_with("file:")
        {
            out.push_str(word);
        } else {
            out.extend(word.chars().map(|_| '*'));
        }
        at_key = at_key && word == "-";
        rest = tail;
    }
    out
}

/// A value of the user's in a message: on one line, short, and without the user part of a URL.
pub(super) fn value(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut whole = text.to_owned();
    hide_url_users(&mut whole);
    let mut out: String = whole.chars().take(CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if whole.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// A key of the user's in a message. With the colon forgotten, the value is part of it: it is cut where no key goes on.
pub(super) fn key(text: &str) -> String {
    let end = text.find(|c: char| !(c.is_alphanumeric() || "-_./".contains(c))).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some((key, "")) => value(key),
        Some((key, _)) => format!("{}…", value(key)),
        None => "…".to_owned(),
    }
}

/// The words of a command as they may be shown: without the values of options that sound like secrets.
pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut value_follows = false;
    words
        .into_iter()
        .map(|word| {
            let is_option = word.starts_with('-');
            let hidden = value_follows && !is_option;
            value_follows = is_option && !word.contains('=') && is_secret_key(word);
            match word.split_once('=') {
                _ if hidden => "***".to_owned(),
                Some((option, _)) if is_secret_key(option) => format!("{option}=***"),
                _ => value(word),
            }
        })
        .collect()
}

/// Hides what stands before the last `@` of a URL, also if it is not written as it should be, and the values of parameters
/// that sound like secrets.
fn hide_url_users(line: &mut String) {
    let mut out = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c.is_whitespace() || "}]\"'".contains(c)).unwrap_or(after.len());
        let (address, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        out.push_str(before);
        out.push_str("://");
        let host = match address.rsplit_once('@') {
            Some((user, host)) => {
                out.extend(user.chars().map(|_| '*'));
                out.push('@');
                host
            }
            None => address,
        };
        for (place, part) in host.split_inclusive(['?', '&']).enumerate() {
            match part.split_once('=') {
                Some((name, value)) if place > 0 && is_secret_key(name) => {
                    out.push_str(name);
                    out.push('=');
                    out.extend(value.chars().map(|c| if c == '&' { c } else { '*' }));
                }
                _ => out.push_str(part),
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    *line = out;
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn shown(text: &str, index: usize) -> String {
        let lines: Vec<&str> = text.lines().collect();
        line(&lines, index, Structure::Known).unwrap()
    }

    #[test]
    fn values_of_secret_keys_are_hidden_and_references_stay() {
        assert_eq!(shown("key_ring: abc def", 0), "key_ring: *** ***");
        assert_eq!(shown("key_ring: env:RING", 0), "key_ring: env:RING");
        assert_eq!(
            shown("users: [{ name: alice, password: \"hunter2\" }]", 0),
            "users: [{ name: alice, password: \"*******\" }]"
        );
        assert_eq!(shown("    password: $argon2id$v=19$m=1$x", 0), "    password: ********************");
        assert_eq!(shown("url: http://u:p@h/mcp?x=a", 0), "url: http://***@h/mcp?x=a");
        assert_eq!(shown("store: redis://u:a/b,c@h/0", 0), "store: redis://*******@h/0");
        assert_eq!(shown("store: { url: redi://:pw@h }", 0), "store: { url: redi://***@h }");
        assert_eq!(
            shown("store: redis+sentinel://u:p@a,b/x?sentinel_user=g&sentinel_password=pw&x=1", 0),
            "store: redis+sentinel://***@a,b/x?sentinel_user=g&sentinel_password=**&x=1"
        );
        assert_eq!(shown("env: { A: env:B } # was hunter2", 0), "env: { A: env:B } # *** *******");
    }

    #[test]
    fn everything_below_headers_and_env_is_hidden() {
        let text = "a:\n  headers:\n    X-Team: blue sky\n    Y: env:Y\n  url: http://h/\n  env: { A: b, C: 'd e' }";
        assert_eq!(shown(text, 2), "    X-Team: **** ***");
        assert_eq!(shown(text, 3), "    Y: env:Y");
        assert_eq!(shown(text, 4), "  url: http://h/");
        assert_eq!(shown(text, 5), "  env: { A: *, C: '* *' }");
        assert_eq!(shown("backends:\n  keycloak:\n    url: http://h/", 2), "    url: http://h/");
        assert_eq!(shown("u:\n  password: |\n    hunter: 2", 2), "    ******* *");
        assert_eq!(shown("a: { headers: {\n  X: [s3cr3t:]\n}}", 1), "  X: [*******]");
    }

    #[test]
    fn a_broken_word_hides_its_value_as_long_as_the_structure_is_not_known() {
        let text = "users: [{ name: alice, pas{sword: hunter2 }]";
        assert_eq!(line(&[text], 0, Structure::Broken).unwrap(), "users: [{ name: *****, ***{sword: ******* }]");
    }

    #[test]
    fn words_of_a_command_lose_their_secrets() {
        let shown = words(["npx", "--token", "abc", "--api-key=def", "--zone=UTC", "-v", "http://u:p@h/"]);
        assert_eq!(shown, ["npx", "--token", "***", "--api-key=***", "--zone=UTC", "-v", "http://***@h/"]);
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics_and_no_line_changes_its_width(text in "([ -]{0,4}(headers|env|password|a|é|x): ?[\\{\\[\"'a-z:/@é]{0,20}\n){0,6}") {
            let lines: Vec<&str> = text.lines().collect();
            for index in 0..=lines.len() {
                if let Some(shown) = line(&lines, index, Structure::Broken) {
                    proptest::prop_assert_eq!(shown.chars().count(), lines[index].chars().count());
                }
            }
        }
    }
}
