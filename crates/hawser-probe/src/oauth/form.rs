//! HTML forms, read well enough to fill in a login: tags, attributes and entities; everything else is skipped.

/// More than this is no login page.
const FORMS_MAX: usize = 64;
const CONTROLS_MAX: usize = 512;

/// A form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) action: String,
    pub(super) post: bool,
    pub(super) controls: Vec<Control>,
}

/// What a control is, as far as sending a form goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sent as it stands.
    Hidden,
    /// To fill in.
    Text,
    /// To fill in with a secret.
    Password,
    /// Sent when checked.
    Check { checked: bool },
    /// Sent when pressed.
    Submit,
}

/// A control of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) value: String,
    /// What a button shows.
    pub(super) label: String,
}

impl Form {
    pub(super) fn control(&self, name: &str) -> Option<&Control> {
        self.controls.iter().find(|control| control.name == name)
    }

    pub(super) fn buttons(&self) -> impl Iterator<Item = &Control> {
        self.controls.iter().filter(|control| control.kind == Kind::Submit)
    }
}

/// All forms of a page.
pub(super) fn forms(html: &str) -> Vec<Form> {
    let mut out: Vec<Form> = Vec::new();
    let mut open: Option<Form> = None;
    let mut in_button = false;
    for piece in (Pieces { rest: html }) {
        match piece {
            Piece::Text(text) => {
                if let Some(button) = open.as_mut().filter(|_| in_button).and_then(|form| form.controls.last_mut()) {
                    button.label.push_str(&decode(text));
                }
            }
            Piece::Tag(tag) => match tag.name.as_str() {
                "form" if out.len() < FORMS_MAX => {
                    out.extend(open.take());
                    let post = tag.attribute("method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
                    let action = tag.attribute("action").unwrap_or_default();
                    open = Some(Form { action, post, controls: Vec::new() });
                }
                "/form" => out.extend(open.take()),
                "button" | "input" => {
                    in_button = false;
                    let form = open.as_mut().filter(|form| form.controls.len() < CONTROLS_MAX);
                    if let Some((form, control)) = form.zip(control(&tag)) {
                        in_button = tag.name == "button";
                        form.controls.push(control);
                    }
                }
                "/button" => in_button = false,
                _ => {}
            },
        }
    }
    out.extend(open);
    out
}

fn control(tag: &Tag<'_>) -> Option<Control> {
    if tag.attribute("disabled").is_some() {
        return None;
    }
    let kind = match (tag.name.as_str(), tag.attribute("type").unwrap_or_default().to_ascii_lowercase().as_str()) {
        ("button", "button" | "reset") | ("input", "button" | "reset" | "file") => return None,
        ("button", _) | ("input", "submit" | "image") => Kind::Submit,
        (_, "hidden") => Kind::Hidden,
        (_, "password") => Kind::Password,
        (_, "checkbox" | "radio") => Kind::Check { checked: tag.attribute("checked").is_some() },
        _ => Kind::Text,
    };
    let value = tag.attribute("value");
    let fallback = if matches!(kind, Kind::Check { .. }) { "on" } else { "" };
    let label = if tag.name == "input" { value.clone().unwrap_or_default() } else { String::new() };
    let name = tag.attribute("name").unwrap_or_default();
    Some(Control { kind, name, value: value.unwrap_or_else(|| fallback.to_owned()), label })
}

enum Piece<'a> {
    Text(&'a str),
    Tag(Tag<'a>),
}

struct Tag<'a> {
    name: String,
    attributes: &'a str,
}

/// Splits a page into tags and text; comments and the insides of scripts and styles are skipped.
struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let Some(inside) = self.rest.strip_prefix('<') else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(Piece::Text(text));
            };
            if let Some(comment) = inside.strip_prefix("!--") {
                self.rest = after(comment, "-->");
                continue;
            }
            if !inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!' || c == '?') {
                self.rest = inside;
                return Some(Piece::Text("<"));
            }
            let (body, rest) = split_tag(inside);
            self.rest = rest;
            let end = body.find(|c: char| c.is_ascii_whitespace()).unwrap_or(body.len());
            let (name, attributes) = body.split_at(end);
            let name = name.trim_end_matches('/').to_ascii_lowercase();
            if matches!(name.as_str(), "script" | "style" | "textarea" | "title") {
                self.rest = after_closing(self.rest, &name);
                continue;
            }
            return Some(Piece::Tag(Tag { name, attributes }));
        }
    }
}

fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    text.find(mark).and_then(|at| text.get(at + mark.len()..)).unwrap_or("")
}

fn after_closing<'a>(text: &'a str, name: &str) -> &'a str {
    // ASCII lower-casing keeps every byte position.
    let lower = text.to_ascii_lowercase();
    lower.find(&format!("</{name}")).and_then(|at| text.get(at..)).map_or("", |rest| after(rest, ">"))
}

/// Up to the `>` that ends the tag, which is not one inside quotes.
fn split_tag(inside: &str) -> (&str, &str) {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in inside.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            // A quote opens a value only after `=`; elsewhere it is a stray character.
            (None, '"' | '\'') if before == '=' => quote = Some(c),
            (None, '>') => return (inside.get(..at).unwrap_or(""), inside.get(at + 1..).unwrap_or("")),
            _ => {}
        }
        if !c.is_ascii_whitespace() {
            before = c;
        }
    }
    (inside, "")
}

impl Tag<'_> {
    /// The value of an attribute, decoded; the empty text for an attribute without a value.
    fn attribute(&self, wanted: &str) -> Option<String> {
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            if rest.is_empty() {
                return None;
            }
            let end = rest.find(|c: char| c == '=' || c == '/' || c.is_ascii_whitespace()).unwrap_or(rest.len());
            let (name, tail) = rest.split_at(end);
            let (value, tail) = match tail.trim_start().strip_prefix('=') {
                Some(tail) => split_value(tail.trim_start()),
                None => ("", tail),
            };
            if name.eq_ignore_ascii_case(wanted) {
                return Some(decode(value));
            }
            // A lone `=` would not move on by itself.
            rest = if end == 0 && tail.len() == rest.len() { "" } else { tail };
        }
    }
}

fn split_value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote).unwrap_or((inner, ""));
        }
    }
    let end = text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len());
    text.split_at(end)
}

/// Decodes the character references that servers write into attributes.
fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (plain, reference) = rest.split_at(at);
        out.push_str(plain);
        let known = reference.find(';').filter(|end| *end <= 10).and_then(|end| {
            let c = character(reference.get(1..end)?)?;
            Some((c, reference.get(end + 1..)?))
        });
        let (c, tail) = known.unwrap_or(('&', reference.get(1..).unwrap_or("")));
        out.push(c);
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_login_page_is_read_with_its_hidden_fields_and_buttons() {
        let page = r#"<!doctype html><title><form></title><!-- <form action="no"> --><script>"<form>"</script>
            <form METHOD=post action="/login?a=1&amp;b=2">
              <input type=hidden name="csrf" value="x&#39;&quot;y"><input name=username><br/>
              <input type='password' name='password' required>
              <button type="submit" name="go" value="1">Sign <b>in</b></button><button type=button name=no>Help</button>
            </form><form action="/dev" method="post"><button name="development_user" value="alice">alice</button></form>"#;
        let read = forms(page);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].action.as_str(), read[0].post), ("/login?a=1&b=2", true));
        let value = |name: &str| read[0].control(name).map(|control| (control.kind, control.value.as_str()));
        assert_eq!(value("csrf"), Some((Kind::Hidden, "x'\"y")));
        assert_eq!(value("username"), Some((Kind::Text, "")));
        assert_eq!(value("password"), Some((Kind::Password, "")));
        assert_eq!(value("no"), None);
        assert_eq!(read[0].buttons().map(|button| button.label.as_str()).collect::<Vec<_>>(), ["Sign in"]);
        assert_eq!(read[1].control("development_user").map(|control| control.value.as_str()), Some("alice"));
    }

    #[test]
    fn a_tag_ends_outside_quotes() {
        let read = forms(r#"<form action="/a>b"><input name="n" value='>"'></form>"#);
        assert_eq!(read[0].action, "/a>b");
        assert_eq!(read[0].controls[0].value, ">\"");
    }

    proptest! {
        #[test]
        fn any_page_is_survived(page in "(<|>|form|input|\"|'|=|&|#|;|/|!--|button| |[a-z]|ä){0,60}") {
            let _ = forms(&page);
        }

        #[test]
        fn an_escaped_value_comes_back(value in "[ -~äß]{0,30}") {
            let escaped = value.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
            let read = forms(&format!("<form><input type=\"hidden\" value=\"{escaped}\" name=\"v\"></form>"));
            prop_assert_eq!(&read[0].controls[0].value, &value);
        }
    }
}
