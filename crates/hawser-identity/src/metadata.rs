//! The protected resource metadata document (RFC 9728 section 2).

use bytes::Bytes;
use serde::Serialize;

use crate::resource::Resource;

#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    authorization_servers: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scopes_supported: &'a [String],
    bearer_methods_supported: [&'static str; 1],
    resource_name: &'a str,
}

/// Renders the document. Capabilities that are absent from it are absent here: tokens bound to a key are not accepted.
pub(crate) fn render(resource: &Resource, authorization_servers: &[String]) -> Bytes {
    let metadata = Metadata {
        resource: &resource.identifier,
        authorization_servers,
        scopes_supported: &resource.scopes,
        bearer_methods_supported: ["header"],
        resource_name: &resource.name,
    };
    // Strings and lists of strings always have a JSON form.
    serde_json::to_vec(&metadata).unwrap_or_default().into()
}
