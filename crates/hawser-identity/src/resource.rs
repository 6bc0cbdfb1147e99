//! A protected resource (RFC 9728): one MCP endpoint, as authorization servers and clients name it.

use thiserror::Error;
use url::{Host, Position, Url};

use crate::scopes::{ScopeError, Scopes};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// One endpoint as a protected resource.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The resource identifier (RFC 9728 section 1.2): the absolute URL of the endpoint, and exactly what a token's `aud`
    /// must contain.
    pub identifier: String,
    /// A name for people (`resource_name`).
    pub name: String,
    /// The scopes a client asks for to use the endpoint at all. Named in the challenge and in the metadata; demanded by
    /// whoever authorizes, with [`Authenticated::require_scopes`](crate::Authenticated::require_scopes).
    pub scopes: Vec<String>,
    /// Are requests without credentials served, as an anonymous principal?
    pub anonymous: bool,
    metadata_url: String,
    metadata_path: String,
}

/// A text is not a resource identifier this gateway can have.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ResourceError {
    /// Not an absolute URL.
    #[error("the resource identifier is not an absolute URL: {0}")]
    Url(url::ParseError),
    /// Not https or http.
    #[error("the resource identifier needs the scheme https or http")]
    Scheme,
    /// Has a user, a password, a query or a fragment.
    #[error("the resource identifier must have no {0}")]
    Part(&'static str),
    /// Another text for the same URL; clients and authorization servers compare the text.
    #[error("the resource identifier must be in its canonical form, {0}")]
    NotCanonical(String),
    /// A scope is not one.
    #[error("the scopes of the resource: {0}")]
    Scope(#[from] ScopeError),
    /// `offline_access` is the authorization server's affair (MCP, Authorization, Scope Selection Strategy).
    #[error("offline_access is not a scope of a resource")]
    OfflineAccess,
}

impl Resource {
    /// Checks the identifier and the scopes.
    pub fn new(
        identifier: impl Into<String>,
        name: impl Into<String>,
        scopes: Vec<String>,
        anonymous: bool,
    ) -> Result<Self, ResourceError> {
        let identifier = identifier.into();
        let url = Url::parse(&identifier).map_err(ResourceError::Url)?;
        check_parts(&url)?;
        // A host alone may be written with or without its slash; everything else has one form.
        let canonical = url.as_str();
        if identifier != canonical && format!("{identifier}/") != canonical {
            return Err(ResourceError::NotCanonical(canonical.to_owned()));
        }
        if Scopes::from_tokens(scopes.iter().map(String::as_str))?.contains("offline_access") {
            return Err(ResourceError::OfflineAccess);
        }
        // RFC 9728 section 3.1: the well-known string goes between host and path; a path of "/" alone is dropped.
        let path = if url.path() == "/" { "" } else { url.path() };
        let metadata_path = format!("{WELL_KNOWN}{path}");
        let metadata_url = format!("{}{metadata_path}", &url[..Position::BeforePath]);
        Ok(Self { identifier, name: name.into(), scopes, anonymous, metadata_url, metadata_path })
    }

    /// Where the protected resource metadata is, as clients are told (RFC 9728 section 3.1).
    pub fn metadata_url(&self) -> &str {
        &self.metadata_url
    }

    /// The path of [`Self::metadata_url`].
    pub fn metadata_path(&self) -> &str {
        &self.metadata_path
    }
}

fn check_parts(url: &Url) -> Result<(), ResourceError> {
    if !matches!(url.scheme(), "https" | "http") {
        return Err(ResourceError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ResourceError::Part("user or password"));
    }
    if url.query().is_some() {
        return Err(ResourceError::Part("query"));
    }
    if url.fragment().is_some() {
        return Err(ResourceError::Part("fragment"));
    }
    Ok(())
}

/// Does this URL stay on this machine? Only there is http without TLS accepted.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
