//! One virtual MCP server: its backends, how they are named, and what they said of themselves.

use std::sync::Arc;

use hawser_backend::Backend;
use hawser_catalog::{NamingError, Router};
use hawser_identity::Resource;
use hawser_mcp::RawJson;
use hawser_owner::EndpointId;

use crate::config::EndpointConfig;
use crate::lists::ListCache;
use crate::profile::Profiles;

/// An endpoint at work.
#[derive(Debug)]
pub(crate) struct Endpoint {
    id: EndpointId,
    name: String,
    path: String,
    resource: Resource,
    local_scopes: Vec<String>,
    backends: Vec<Backend>,
    router: Router,
    profiles: Profiles,
    lists: Arc<ListCache>,
    server_info: RawJson,
}

impl Endpoint {
    pub(crate) fn new(config: EndpointConfig, lists: Arc<ListCache>) -> Result<Self, NamingError> {
        let names = config.backends.iter().map(|(backend, naming)| (backend.name().to_string(), *naming));
        let router = Router::new(names)?;
        let backends: Vec<_> = config.backends.into_iter().map(|(backend, _)| backend).collect();
        let server_info = serde_json::json!({
            "name": "hawser",
            "title": format!("Hawser ({})", config.name),
            "version": env!("CARGO_PKG_VERSION"),
        });
        Ok(Self {
            server_info: RawJson::from_serialize(&server_info).unwrap_or_else(|_| RawJson::empty_object()),
            id: EndpointId::of_path(&config.path),
            profiles: Profiles::new(backends.len()),
            name: config.name,
            path: config.path,
            resource: config.resource,
            local_scopes: config.local_scopes,
            backends,
            router,
            lists,
        })
    }

    pub(crate) const fn id(&self) -> EndpointId {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) const fn resource(&self) -> &Resource {
        &self.resource
    }

    pub(crate) fn local_scopes(&self) -> &[String] {
        &self.local_scopes
    }

    pub(crate) fn backends(&self) -> std::slice::Iter<'_, Backend> {
        self.backends.iter()
    }

    /// The backend at a position.
    pub(crate) fn backend(&self, position: usize) -> Option<&Backend> {
        self.backends.get(position)
    }

    pub(crate) const fn router(&self) -> &Router {
        &self.router
    }

    /// How the gateway introduces itself here (`Implementation`).
    pub(crate) const fn server_info(&self) -> &RawJson {
        &self.server_info
    }

    pub(crate) const fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// What is known of the backends' lists; one cache serves all endpoints.
    pub(crate) const fn lists(&self) -> &Arc<ListCache> {
        &self.lists
    }
}
