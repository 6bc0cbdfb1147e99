//! Which backends may know a resource.

use std::sync::Arc;
use std::time::Duration;

use hawser_catalog::ResourceIndex;
use hawser_mcp::ListKind;
use tokio::time::Instant;

use super::{PATIENCE, Share, has_capability, shares_at_most, shares_known};
use crate::session::Session;

/// The way to resources that nobody lists is looked up anew at most this often.
pub(super) const INDEX_AGAIN: Duration = Duration::from_secs(5);

/// The backends that may know a resource, the likeliest first.
pub(crate) async fn route_resource(session: &Arc<Session>, uri: &str) -> Vec<usize> {
    if session.endpoint().backends().len() == 1 {
        return vec![0];
    }
    let known = (shares_known(session, ListKind::Resources), shares_known(session, ListKind::ResourceTemplates));
    if let Some(backend) = index(session, &known.0, &known.1).route(uri) {
        return vec![backend];
    }
    if session.work().lists.may_look_up(INDEX_AGAIN, Instant::now()) {
        let (resources, templates) = tokio::join!(
            shares_at_most(session, ListKind::Resources, INDEX_AGAIN),
            shares_at_most(session, ListKind::ResourceTemplates, INDEX_AGAIN)
        );
        if let Some(backend) = index(session, &resources.unwrap_or_default(), &templates.unwrap_or_default()).route(uri)
        {
            return vec![backend];
        }
    }
    offering_resources(session).await
}

fn index(session: &Session, resources: &[Share], templates: &[Share]) -> Arc<ResourceIndex> {
    let ids = |shares: &[Share]| shares.iter().map(|share| (share.backend, share.part.id())).collect();
    let bytes = resources.iter().chain(templates).map(|share| share.part.content.bytes).sum();
    let entries = |shares: &[Share]| -> Vec<_> {
        shares.iter().map(|share| (share.backend, Arc::clone(&share.part.content))).collect()
    };
    let place = (session.endpoint().id(), session.local_owner());
    session.endpoint().lists().index(place, (ids(resources), ids(templates)), bytes, || {
        let (resources, templates) = (entries(resources), entries(templates));
        ResourceIndex::build(
            resources.iter().map(|(backend, content)| (*backend, content.entries.as_slice())),
            templates.iter().map(|(backend, content)| (*backend, content.entries.as_slice())),
        )
    })
}

async fn offering_resources(session: &Arc<Session>) -> Vec<usize> {
    let asked = (0..session.endpoint().backends().len()).map(|backend| async move {
        let upstream = session.upstream(backend)?;
        let opened = tokio::time::timeout(PATIENCE, upstream.open(session)).await.ok()?.ok()?;
        has_capability(&opened.server().capabilities, "resources").then_some(backend)
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}
