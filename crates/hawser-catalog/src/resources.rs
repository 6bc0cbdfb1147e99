//! Where a resource URI leads.

use std::collections::HashMap;

use hawser_mcp::{ListKind, Members, RawJson};

use crate::template::UriTemplate;

/// What the backends of an endpoint said of their resources. The first backend to list a URI has it.
#[derive(Clone, Debug, Default)]
pub struct ResourceIndex {
    exact: HashMap<String, usize>,
    templates: Vec<(String, UriTemplate, usize)>,
}

impl ResourceIndex {
    /// Builds the index from listed resources and templates: pairs of a backend's position and its entries, in order.
    pub fn build<'a>(
        resources: impl IntoIterator<Item = (usize, &'a [RawJson])>,
        templates: impl IntoIterator<Item = (usize, &'a [RawJson])>,
    ) -> Self {
        let mut index = Self::default();
        for (backend, entries) in resources {
            for uri in keys(ListKind::Resources, entries) {
                index.exact.entry(uri).or_insert(backend);
            }
        }
        for (backend, entries) in templates {
            for text in keys(ListKind::ResourceTemplates, entries) {
                if let Some(template) = UriTemplate::parse(&text) {
                    index.templates.push((text, template, backend));
                }
            }
        }
        index
    }

    /// The backend that listed this URI, or whose most specific template can stand for it, or that listed it as a template
    /// (as `completion/complete` names one).
    pub fn route(&self, uri: &str) -> Option<usize> {
        let exact = self.exact.get(uri).copied();
        let as_template = || self.templates.iter().find(|(text, ..)| text == uri).map(|(.., backend)| *backend);
        let by_template = || {
            let fits = self.templates.iter().filter(|(_, template, _)| template.matches(uri));
            // The first of the best: backends keep their order.
            fits.rev().max_by_key(|(_, template, _)| template.literal_bytes()).map(|(.., backend)| *backend)
        };
        exact.or_else(as_template).or_else(by_template)
    }
}

fn keys(kind: ListKind, entries: &[RawJson]) -> impl Iterator<Item = String> {
    entries.iter().filter_map(move |entry| Members::read(entry, &[kind.entry_key()]).ok()?.string(kind.entry_key()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_uri_leads_to_who_listed_it_first_or_fits_best() {
        let listed = [raw(r#"{"uri":"a://1","name":"one"}"#)];
        let also = [raw(r#"{"uri":"a://1"}"#), raw(r#"{"uri":"a://2"}"#)];
        let wide = [raw(r#"{"uriTemplate":"a://{x}"}"#)];
        let narrow = [raw(r#"{"uriTemplate":"a://deep/{x}"}"#), raw(r#"{"uriTemplate":"a://{z}"}"#)];
        let index = ResourceIndex::build([(0, &listed[..]), (1, &also[..])], [(0, &wide[..]), (1, &narrow[..])]);
        assert_eq!(index.route("a://1"), Some(0));
        assert_eq!(index.route("a://2"), Some(1));
        assert_eq!(index.route("a://deep/7"), Some(1));
        assert_eq!(index.route("a://other"), Some(0), "two templates fit equally well: the first backend");
        assert_eq!(index.route("a://deep/{x}"), Some(1));
        assert_eq!(index.route("b://1"), None);
    }
}
