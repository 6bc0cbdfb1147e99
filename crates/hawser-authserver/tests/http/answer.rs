//! An answer, and what it has to be.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

use crate::world::ISSUER;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> String {
        self.header("location").to_owned()
    }

    /// The parameters of a redirect; each must occur once.
    pub(crate) fn location_parameters(&self) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::new();
        for (name, value) in Url::parse(&self.location()).unwrap().query_pairs() {
            assert!(parameters.insert(name.into_owned(), value.into_owned()).is_none(), "{}", self.location());
        }
        parameters
    }

    /// The value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> String {
        let text = self.text();
        let marker = format!("name=\"{name}\" value=\"");
        let rest = text.split(&marker).nth(1).unwrap_or_else(|| panic!("no field {name} in {text}"));
        rest.split('"').next().unwrap().to_owned()
    }

    /// Asserts an OAuth error on a machine endpoint.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, error: &str) {
        assert_eq!((self.status.as_u16(), self.json()["error"].as_str()), (status, Some(error)), "{}", self.text());
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("content-type"), "application/json");
    }

    /// Asserts an error redirect to the client.
    #[track_caller]
    pub(crate) fn is_error_redirect(&self, error: &str) {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text());
        let parameters = self.location_parameters();
        assert_eq!(parameters["error"], error, "{parameters:?}");
        assert_eq!(parameters["iss"], ISSUER);
        assert!(!parameters.contains_key("code"));
    }

    /// Asserts a page without a redirect.
    #[track_caller]
    pub(crate) fn is_error_page(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert!(!self.headers.contains_key("location"));
        assert!(self.header("content-type").starts_with("text/html"));
    }
}

/// The claims of a JWT, unverified.
pub(crate) fn claims(jwt: &Value) -> Value {
    part(jwt.as_str().unwrap(), 1)
}

/// The header of a JWT.
pub(crate) fn jose_header(jwt: &Value) -> Value {
    part(jwt.as_str().unwrap(), 0)
}

fn part(jwt: &str, index: usize) -> Value {
    let part = jwt.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
