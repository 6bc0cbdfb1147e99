//! Sessions, as administrators see and end them.

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use hawser_gateway::{Selection, SessionInfo};
use hawser_owner::{Issuer, Principal, Subject, Tenant, Timestamp};
use hawser_store::ScanCursor;
use tracing::warn;

use super::Administered;
use super::query::Query;
use super::routes::body_of;
use super::wire::{Refused, Revocation, RevokedSessions, Selecting, SessionList, ShownSession, json};

/// Most sessions on one page, and how many there are if nothing is said.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;
/// Longest reason that goes into the audit log.
const REASON_CHARS_MAX: usize = 200;
/// Longest description of a client that is shown.
const CLIENT_CHARS_MAX: usize = 200;
/// Longest cursor, id or name that is looked at.
const TEXT_BYTES_MAX: usize = 4096;
const PARAMETERS: [&str; 9] =
    ["session", "principal", "issuer", "tenant", "kind", "grant", "endpoint", "after", "limit"];
/// Why sessions ended that an administrator ended.
const REASON: &str = "ended_by_administrator";

/// `GET /v1/sessions`
pub(super) async fn list(State(administered): State<Administered>, uri: Uri) -> Result<Response, Refused> {
    let mut query = Query::read(uri.query().unwrap_or_default(), &PARAMETERS)?;
    let limit = query.number("limit", PAGE, PAGE_MAX)?;
    let after = query.take("after");
    if after.as_deref().is_some_and(|after| ScanCursor::parse(after).is_err()) {
        return Err(Refused::of("after", "it is not where a list ended"));
    }
    let selecting = Selecting {
        session: query.take("session"),
        principal: query.take("principal"),
        issuer: query.take("issuer"),
        tenant: query.take("tenant"),
        kind: query.take("kind"),
        grant: query.take("grant"),
        endpoint: query.take("endpoint"),
    };
    let selection = administered.selection(selecting)?;
    let page = administered.gateway.list_sessions(selection.as_ref(), after.as_deref(), limit).await?;
    let sessions = page.sessions.into_iter().map(shown).collect();
    Ok(json(StatusCode::OK, &SessionList { sessions, next: page.next }))
}

/// `GET /v1/sessions/{name}`
pub(super) async fn show(
    State(administered): State<Administered>,
    Path(session): Path<String>,
) -> Result<Response, Refused> {
    let name = session_name(session)?;
    let found = administered.gateway.show_session(&name).await?;
    let found = found
        .filter(|session| !session.terminated)
        .ok_or_else(|| Refused::new("there is no such session").with_status(StatusCode::NOT_FOUND))?;
    Ok(json(StatusCode::OK, &shown(found)))
}

/// `POST /v1/sessions/revoke`
pub(super) async fn revoke(State(administered): State<Administered>, request: Request) -> Result<Response, Refused> {
    let body = body_of(request).await?;
    let Revocation { select, reason } =
        serde_json::from_slice(&body).map_err(|error| Refused::new(format!("the body cannot be read: {error}")))?;
    let reason = reason.unwrap_or_default();
    if reason.chars().count() > REASON_CHARS_MAX || reason.contains(char::is_control) {
        let message = format!("it has at most {REASON_CHARS_MAX} characters, and no control characters");
        return Err(Refused::of("reason", message));
    }
    let selection = administered.selection(select)?;
    let selection =
        selection.ok_or_else(|| Refused::of("select", "say which: session, principal, grant or endpoint"))?;
    if let (Selection::Grant(grant), Some((server, _))) = (&selection, &administered.authorization_server) {
        // The grant itself first: what is refreshed or opened under it from now on is refused.
        server.revoke_grant(grant, REASON).await?;
    }
    let revoked = administered.gateway.revoke_sessions(&selection, REASON).await?;
    warn!(
        target: "hawser::audit", event = "ended_by_administrator", by = kind(&selection), sessions = revoked.sessions, reason,
    );
    Ok(json(StatusCode::OK, &RevokedSessions { sessions: revoked.sessions }))
}

impl Administered {
    /// What is selected; `None` if nothing is.
    fn selection(&self, select: Selecting) -> Result<Option<Selection>, Refused> {
        let named = [&select.session, &select.principal, &select.grant, &select.endpoint];
        if named.into_iter().flatten().count() > 1 {
            return Err(Refused::new("say one of session, principal, grant and endpoint"));
        }
        for (name, value) in [("issuer", &select.issuer), ("tenant", &select.tenant), ("kind", &select.kind)] {
            if value.is_some() && select.principal.is_none() {
                return Err(Refused::of(name, "it is of no use without `principal`"));
            }
        }
        if let Some(session) = select.session {
            return session_name(session).map(Selection::Session).map(Some);
        }
        if let Some(grant) = select.grant {
            return bounded("grant", grant).map(Selection::Grant).map(Some);
        }
        if let Some(endpoint) = &select.endpoint {
            return self.endpoint(endpoint).map(Selection::Endpoint).map(Some);
        }
        if select.principal.is_some() {
            return self.principal(select).map(Selection::Owner).map(Some);
        }
        Ok(None)
    }

    fn principal(&self, select: Selecting) -> Result<Principal, Refused> {
        let wrong =
            |name: &'static str| move |error: hawser_owner::PrincipalError| Refused::of(name, error.to_string());
        let subject = select.principal.unwrap_or_default();
        let own = self.authorization_server.as_ref().map(|(_, issuer)| issuer.as_str());
        let issuer = select.issuer.as_deref().or(own).ok_or_else(|| Refused::of("issuer", "it is missing"))?;
        let is_client = match select.kind.as_deref() {
            None | Some("user") => false,
            Some("client") => true,
            Some(_) => return Err(Refused::of("kind", "it must be user or client")),
        };
        if Some(issuer) == own && !is_client && !["user:", "dev:"].iter().any(|prefix| subject.starts_with(prefix)) {
            // Otherwise nobody would be found, and a typing error would look like success.
            return Err(Refused::of("principal", "subjects of this gateway's own users are `user:NAME` or `dev:NAME`"));
        }
        let issuer = Issuer::new(issuer).map_err(wrong("issuer"))?;
        let subject = Subject::new(subject).map_err(wrong("principal"))?;
        let tenant = select.tenant.map(Tenant::new).transpose().map_err(wrong("tenant"))?;
        let principal = if is_client { Principal::client } else { Principal::user };
        Ok(principal(issuer, tenant, subject))
    }

    /// The path of an endpoint by its name or path. One that is configured no more has sessions in the store still.
    fn endpoint(&self, wanted: &str) -> Result<String, Refused> {
        if wanted.starts_with('/') {
            return bounded("endpoint", wanted.to_owned());
        }
        let found = self.endpoints.iter().find(|(name, _)| name == wanted);
        found.map(|(_, path)| path.clone()).ok_or_else(|| {
            let names: Vec<_> = self.endpoints.iter().map(|(name, _)| name.as_str()).collect();
            Refused::of("endpoint", format!("there is none of that name; there are {}", names.join(", ")))
        })
    }
}

fn shown(session: SessionInfo) -> ShownSession {
    ShownSession {
        client: session.client_info.as_deref().and_then(client),
        session: session.name,
        owner: session.owner,
        endpoint: session.endpoint,
        opened: session.opened.map(Timestamp::seconds),
        last_used: session.last_used.seconds(),
        expires: session.expires.map(Timestamp::seconds),
        grant: session.grant,
        live: session.live,
    }
}

/// Name and version of what a client says of itself (`clientInfo`).
fn client(info: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct ClientInfo {
        name: String,
        version: Option<String>,
    }
    let ClientInfo { name, version } = serde_json::from_str(info).ok()?;
    let text = version.map_or_else(|| name.clone(), |version| format!("{name} {version}"));
    Some(text.chars().take(CLIENT_CHARS_MAX).collect())
}

fn session_name(text: String) -> Result<String, Refused> {
    let fits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(text) } else { Err(Refused::of("session", "a session's name has 32 of 0-9 and a-f")) }
}

fn bounded(name: &str, text: String) -> Result<String, Refused> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains(char::is_control) {
        return Err(Refused::of(name, format!("it has 1 to {TEXT_BYTES_MAX} bytes, and no control characters")));
    }
    Ok(text)
}

const fn kind(selection: &Selection) -> &'static str {
    match selection {
        Selection::Session(_) => "session",
        Selection::Owner(_) => "principal",
        Selection::Grant(_) => "grant",
        Selection::Endpoint(_) => "endpoint",
    }
}
