//! Which URIs a URI template can stand for (RFC 6570), as far as routing needs it.

/// A URI template, reduced to its literal parts: every `{expression}` may stand for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    literals: Vec<String>,
}

impl UriTemplate {
    /// Reads a template; `None` if its braces do not match.
    pub fn parse(template: &str) -> Option<Self> {
        let mut literals = Vec::new();
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once('{') {
            let (expression, tail) = after.split_once('}')?;
            if literal.contains('}') || expression.contains('{') {
                return None;
            }
            literals.push(literal.to_owned());
            rest = tail;
        }
        if rest.contains('}') {
            return None;
        }
        literals.push(rest.to_owned());
        Some(Self { literals })
    }

    /// Whether the template can stand for this URI.
    pub fn matches(&self, uri: &str) -> bool {
        let Some((first, others)) = self.literals.split_first() else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return first == uri;
        };
        let Some(mut rest) = uri.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        for literal in middle {
            match rest.split_once(literal.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }

    /// How much of it is fixed, in bytes: the template that fixes more is the better match.
    pub fn literal_bytes(&self) -> usize {
        self.literals.iter().map(String::len).sum()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_stand_for_anything_and_literals_for_themselves() {
        let template = UriTemplate::parse("test://template/{id}/data").unwrap();
        assert!(template.matches("test://template/123/data"));
        assert!(!template.matches("test://template/123/date"));
        assert!(!template.matches("test://template/data"), "prefix and suffix must not overlap");
        assert!(UriTemplate::parse("file:///{+path}").unwrap().matches("file:///a/b/c"));
        assert!(UriTemplate::parse("a{b").is_none());
        assert!(UriTemplate::parse("a}b").is_none());
    }

    proptest! {
        #[test]
        fn an_expansion_always_matches(a in "[a-z:/]{0,8}", b in "[a-z:/]{0,8}", c in "[a-z:/]{0,8}", x in "[^{}]{0,8}", y in "[^{}]{0,8}") {
            let template = UriTemplate::parse(&format!("{a}{{x}}{b}{{y}}{c}")).unwrap();
            let expansion = format!("{a}{x}{b}{y}{c}");
            prop_assert!(template.matches(&expansion));
        }
    }
}
