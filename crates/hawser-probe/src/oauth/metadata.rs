//! Discovery: the resource's metadata (RFC 9728), then the authorization server's (RFC 8414, OpenID Connect Discovery).

use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::{Discovered, OAuthError, challenge, short};
use crate::wire::{Answer, Wire, web_address};

const RESOURCE: &str = "protected resource metadata (RFC 9728)";
const SERVER: &str = "authorization server metadata (RFC 8414)";

/// RFC 9728 metadata, as far as a client needs it.
#[derive(Debug, Clone, Deserialize)]
pub struct ProtectedResource {
    /// The resource identifier.
    pub resource: String,
    /// Its authorization servers.
    #[serde(default)]
    pub authorization_servers: Vec<String>,
    /// Scopes.
    #[serde(default)]
    pub scopes_supported: Vec<String>,
}

/// RFC 8414 metadata, as far as a client needs it.
#[derive(Debug, Clone, Deserialize)]
pub struct AuthorizationServer {
    /// The issuer.
    pub issuer: String,
    /// Authorization endpoint.
    pub authorization_endpoint: String,
    /// Token endpoint.
    pub token_endpoint: String,
    /// Registration endpoint (RFC 7591).
    #[serde(default)]
    pub registration_endpoint: Option<String>,
    /// Revocation endpoint (RFC 7009).
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
    /// PKCE methods.
    #[serde(default)]
    pub code_challenge_methods_supported: Vec<String>,
    /// Scopes.
    #[serde(default)]
    pub scopes_supported: Vec<String>,
    /// RFC 9207.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// Finds the authorization server of the MCP server at `target`, from the headers of its 401.
pub(super) async fn discover(wire: &Wire, target: &Url, refusal: &HeaderMap) -> Result<Discovered, OAuthError> {
    let challenge = challenge::bearer(refusal);
    let pointed = challenge.as_ref().and_then(|challenge| challenge.parameter("resource_metadata"));
    let resource = protected_resource(wire, target, pointed).await?;
    let issuer = match resource.authorization_servers.first() {
        Some(issuer) => issuer.clone(),
        None => return Err(OAuthError::refused(RESOURCE, "`authorization_servers` names none")),
    };
    let server = authorization_server(wire, &issuer).await?;
    let challenged = challenge.as_ref().and_then(|challenge| challenge.parameter("scope")).map(str::to_owned);
    let supported = (!resource.scopes_supported.is_empty()).then(|| resource.scopes_supported.join(" "));
    Ok(Discovered { resource: resource.resource, scope: challenged.or(supported), server })
}

async fn protected_resource(wire: &Wire, target: &Url, pointed: Option<&str>) -> Result<ProtectedResource, OAuthError> {
    let mut places = Vec::new();
    if let Some(pointed) = pointed {
        places.push(web_address(pointed).map_err(OAuthError::wire(RESOURCE))?);
    } else {
        places.push(well_known(target, "oauth-protected-resource", target.path()));
        places.push(well_known(target, "oauth-protected-resource", ""));
    }
    let (place, answer) = first_found(wire, &places, RESOURCE).await?;
    let metadata: ProtectedResource = read(&answer, RESOURCE, &place)?;
    // RFC 9728 section 3.3: metadata of another resource must not be used. A resource that covers the whole host or a
    // parent path is the form that MCP allows beside the exact one.
    let named = web_address(&metadata.resource).map_err(OAuthError::wire(RESOURCE))?;
    let parent = named.path().trim_end_matches('/');
    let below = target.path() == parent || target.path().strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'));
    if named.origin() != target.origin() || !below {
        return Err(OAuthError::refused(
            RESOURCE,
            format!("`resource` is `{}`, which is not the address examined", short(&metadata.resource)),
        ));
    }
    Ok(metadata)
}

async fn authorization_server(wire: &Wire, issuer: &str) -> Result<AuthorizationServer, OAuthError> {
    let url = web_address(issuer).map_err(OAuthError::wire(SERVER))?;
    let path = url.path().trim_end_matches('/').to_owned();
    let mut places =
        vec![well_known(&url, "oauth-authorization-server", &path), well_known(&url, "openid-configuration", &path)];
    if !path.is_empty() {
        let mut appended = url.clone();
        appended.set_path(&format!("{path}/.well-known/openid-configuration"));
        places.push(appended);
    }
    let (place, answer) = first_found(wire, &places, SERVER).await?;
    let server: AuthorizationServer = read(&answer, SERVER, &place)?;
    if server.issuer != issuer {
        let problem =
            format!("`issuer` is `{}`, `{}` was expected (section 3.3)", short(&server.issuer), short(issuer));
        return Err(OAuthError::refused(SERVER, problem));
    }
    if !server.code_challenge_methods_supported.iter().any(|method| method == "S256") {
        return Err(OAuthError::refused(SERVER, "PKCE S256 is not advertised, so MCP clients must refuse to go on"));
    }
    Ok(server)
}

fn well_known(base: &Url, kind: &str, path: &str) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(&format!("/.well-known/{kind}{}", path.trim_end_matches('/')));
    url
}

async fn first_found(wire: &Wire, places: &[Url], step: &'static str) -> Result<(Url, Answer), OAuthError> {
    let mut last = None;
    for place in places {
        let request = wire.request(Method::GET, place).header(http::header::ACCEPT, "application/json");
        let answer = wire.fetch(request).await.map_err(OAuthError::wire(step))?;
        if answer.status == StatusCode::OK {
            return Ok((place.clone(), answer));
        }
        last = Some(answer);
    }
    Err(last.map_or_else(|| OAuthError::refused(step, "not found"), |answer| OAuthError::status(step, &answer)))
}

fn read<T: for<'de> Deserialize<'de>>(answer: &Answer, step: &'static str, place: &Url) -> Result<T, OAuthError> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| OAuthError::refused(step, format!("the document at {place} cannot be read: {error}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn well_known_paths_are_inserted() {
        let target = Url::parse("https://h.test:1/team/mcp?x=1").unwrap();
        let place = well_known(&target, "oauth-protected-resource", target.path());
        assert_eq!(place.as_str(), "https://h.test:1/.well-known/oauth-protected-resource/team/mcp");
        let root = Url::parse("https://h.test").unwrap();
        assert_eq!(well_known(&root, "x", root.path()).as_str(), "https://h.test/.well-known/x");
    }
}
