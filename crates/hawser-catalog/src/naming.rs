//! Exposed names and the way back.

use thiserror::Error;

/// Between backend and name. Backend names never contain it.
const SEPARATOR: char = '_';
/// What model providers accept for a tool name, in characters.
pub const EXPOSED_NAME_CHARS_MAX: usize = 64;

/// How a backend's tools and prompts are named towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Naming {
    /// `<backend>_<name>`.
    #[default]
    Prefix,
    /// The backend's own name; at most one backend of an endpoint.
    None,
}

/// Names of an endpoint's backends and how each is exposed. Positions are those of the list it was made from.
#[derive(Clone, Debug)]
pub struct Router {
    prefixed: Vec<(String, usize)>,
    unprefixed: Option<usize>,
    names: Vec<(String, Naming)>,
}

/// Where an exposed name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// Position of the backend.
    pub backend: usize,
    /// What the backend itself calls it.
    pub own_name: &'a str,
}

/// The backends cannot be told apart.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NamingError {
    /// Two backends opt out of prefixes.
    #[error("backends `{0}` and `{1}` both have `naming: none`; at most one backend of an endpoint may")]
    TwoUnprefixed(String, String),
    /// Two backends share a name.
    #[error("the backend `{0}` is named twice")]
    Duplicate(String),
    /// A backend's name contains the separator.
    #[error("the backend name `{0}` contains `{SEPARATOR}`")]
    Separator(String),
}

impl Router {
    /// Backends in their order.
    pub fn new(backends: impl IntoIterator<Item = (String, Naming)>) -> Result<Self, NamingError> {
        let names: Vec<_> = backends.into_iter().collect();
        let mut router = Self { prefixed: Vec::new(), unprefixed: None, names };
        for (position, (name, naming)) in router.names.iter().enumerate() {
            if name.contains(SEPARATOR) {
                return Err(NamingError::Separator(name.clone()));
            }
            if router.names.iter().take(position).any(|(earlier, _)| earlier == name) {
                return Err(NamingError::Duplicate(name.clone()));
            }
            match (naming, router.unprefixed.and_then(|at| router.names.get(at))) {
                (Naming::Prefix, _) => router.prefixed.push((name.clone(), position)),
                (Naming::None, None) => router.unprefixed = Some(position),
                (Naming::None, Some((other, _))) => {
                    return Err(NamingError::TwoUnprefixed(other.clone(), name.clone()));
                }
            }
        }
        Ok(router)
    }

    /// The name a client sees.
    pub fn expose(&self, backend: usize, own_name: &str) -> Option<String> {
        let (name, naming) = self.names.get(backend)?;
        Some(match naming {
            Naming::Prefix => format!("{name}{SEPARATOR}{own_name}"),
            Naming::None => own_name.to_owned(),
        })
    }

    /// The backend that an exposed name belongs to, and the name there. Decided by the name alone.
    pub fn route<'a>(&self, exposed: &'a str) -> Option<Routed<'a>> {
        let prefixed = exposed.split_once(SEPARATOR).and_then(|(prefix, own_name)| {
            let (_, backend) = self.prefixed.iter().find(|(name, _)| name == prefix)?;
            Some(Routed { backend: *backend, own_name })
        });
        prefixed.or_else(|| self.unprefixed.map(|backend| Routed { backend, own_name: exposed }))
    }

    /// Whether a name is shadowed: exposed without a prefix, yet reads like another backend's.
    pub(crate) fn reaches(&self, backend: usize, exposed: &str) -> bool {
        self.route(exposed).is_some_and(|routed| routed.backend == backend)
    }

    /// The backend's name.
    pub fn name(&self, backend: usize) -> &str {
        self.names.get(backend).map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn router() -> Router {
        Router::new([
            ("time".to_owned(), Naming::Prefix),
            ("plain".to_owned(), Naming::None),
            ("a-b".to_owned(), Naming::Prefix),
        ])
        .unwrap()
    }

    #[test]
    fn names_lead_back_to_their_backend() {
        let router = router();
        assert_eq!(router.expose(0, "get_current_time").unwrap(), "time_get_current_time");
        assert_eq!(router.route("time_get_current_time"), Some(Routed { backend: 0, own_name: "get_current_time" }));
        assert_eq!(router.route("a-b_x"), Some(Routed { backend: 2, own_name: "x" }));
        assert_eq!(router.route("echo"), Some(Routed { backend: 1, own_name: "echo" }));
        assert_eq!(router.route("other_echo"), Some(Routed { backend: 1, own_name: "other_echo" }));
    }

    #[test]
    fn without_an_unprefixed_backend_an_unknown_prefix_leads_nowhere() {
        let router = Router::new([("time".to_owned(), Naming::Prefix)]).unwrap();
        assert_eq!(router.route("echo"), None);
        assert_eq!(router.route("times_echo"), None);
    }

    #[test]
    fn ambiguous_backends_are_refused() {
        let two = Router::new([("a".to_owned(), Naming::None), ("b".to_owned(), Naming::None)]);
        assert_eq!(two.unwrap_err(), NamingError::TwoUnprefixed("a".to_owned(), "b".to_owned()));
        let twice = Router::new([("a".to_owned(), Naming::Prefix), ("a".to_owned(), Naming::None)]);
        assert_eq!(twice.unwrap_err(), NamingError::Duplicate("a".to_owned()));
    }

    proptest! {
        #[test]
        fn every_prefixed_name_round_trips(name in ".*") {
            let router = router();
            for backend in [0, 2] {
                let exposed = router.expose(backend, &name).unwrap();
                prop_assert_eq!(router.route(&exposed), Some(Routed { backend, own_name: &name }));
            }
        }
    }
}
