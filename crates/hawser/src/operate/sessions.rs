//! `hawser sessions list|show|revoke`.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use url::form_urlencoded::Serializer;

use super::client::Client;
use super::json_line;
use super::show::{Table, age, left, printable};
use crate::admin::wire::{Revocation, RevokedSessions, Selecting, SessionList, ShownSession};
use crate::cli::{KindArg, ListSessionsArgs, RevokeSessionsArgs, SelectionArgs, ShowSessionArgs};
use crate::failure::Failure;

pub(super) async fn list(client: &mut Client, args: &ListSessionsArgs) -> Result<String, Failure> {
    let mut found = SessionList { sessions: Vec::new(), next: args.after.clone() };
    // A page may be shorter than was asked for although there are more.
    loop {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(pairs(&selecting(&args.selection)));
        if let Some(after) = &found.next {
            query.append_pair("after", after);
        }
        query.append_pair("limit", &usize::from(args.limit).saturating_sub(found.sessions.len()).to_string());
        let page: SessionList = client.get(&format!("/v1/sessions?{}", query.finish())).await?;
        found.sessions.extend(page.sessions);
        found.next = page.next;
        if found.next.is_none() || found.sessions.len() >= usize::from(args.limit) {
            break;
        }
    }
    if args.admin.json { json_line(&found) } else { Ok(table(&found, now())) }
}

pub(super) async fn show(client: &mut Client, args: &ShowSessionArgs) -> Result<String, Failure> {
    let name: String = url::form_urlencoded::byte_serialize(args.session.as_bytes()).collect();
    let found: ShownSession = client.get(&format!("/v1/sessions/{name}")).await?;
    if args.admin.json { json_line(&found) } else { Ok(in_full(&found, now())) }
}

pub(super) async fn revoke(client: &mut Client, args: &RevokeSessionsArgs) -> Result<String, Failure> {
    let revocation = Revocation { select: selecting(&args.selection), reason: args.reason.clone() };
    let revoked: RevokedSessions = client.post("/v1/sessions/revoke", &revocation).await?;
    if args.admin.json {
        return json_line(&revoked);
    }
    Ok(match revoked.sessions {
        0 => "There was no such session.\n".to_owned(),
        1 => "1 session is ended.\n".to_owned(),
        many => format!("{many} sessions are ended.\n"),
    })
}

/// What the person at the terminal is asked before sessions are ended.
pub(super) fn question(selection: &SelectionArgs) -> String {
    let chosen = selecting(selection);
    let said: Vec<_> = pairs(&chosen).into_iter().map(|(name, value)| format!("{name} {}", printable(value))).collect();
    format!("End all sessions of {} for good?", said.join(", "))
}

fn selecting(args: &SelectionArgs) -> Selecting {
    Selecting {
        session: args.session.clone(),
        principal: args.principal.clone(),
        issuer: args.issuer.clone(),
        tenant: args.tenant.clone(),
        kind: args.kind.map(|kind| match kind {
            KindArg::User => "user".to_owned(),
            KindArg::Client => "client".to_owned(),
        }),
        grant: args.grant.clone(),
        endpoint: args.endpoint.clone(),
    }
}

fn pairs(selecting: &Selecting) -> Vec<(&'static str, &str)> {
    let all = [
        ("session", &selecting.session),
        ("principal", &selecting.principal),
        ("issuer", &selecting.issuer),
        ("tenant", &selecting.tenant),
        ("kind", &selecting.kind),
        ("grant", &selecting.grant),
        ("endpoint", &selecting.endpoint),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn table(list: &SessionList, now: u64) -> String {
    if list.sessions.is_empty() && list.next.is_none() {
        return "There are no such sessions.\n".to_owned();
    }
    let mut table = Table::new(["SESSION", "OWNER", "ENDPOINT", "USED", "ENDS", "HERE", "CLIENT", "GRANT"]);
    for session in &list.sessions {
        table.row([
            printable(&session.session),
            printable(&session.owner).chars().take(12).collect(),
            printable(&session.endpoint),
            age(session.last_used, now),
            session.expires.map_or_else(String::new, |expires| left(expires, now)),
            if session.live { "yes" } else { "" }.to_owned(),
            session.client.as_deref().map(printable).unwrap_or_default(),
            session.grant.as_deref().map(printable).unwrap_or_default(),
        ]);
    }
    let mut out = table.finish();
    if let Some(next) = &list.next {
        let _ = writeln!(out, "There may be more: --after {}", printable(next));
    }
    out
}

fn in_full(session: &ShownSession, now: u64) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<10} {}", printable(value));
    };
    line("session", &session.session);
    line("owner", &session.owner);
    line("endpoint", &session.endpoint);
    if let Some(opened) = session.opened {
        line("opened", &format!("{} ago", age(opened, now)));
    }
    line("last used", &format!("{} ago", age(session.last_used, now)));
    if let Some(expires) = session.expires {
        line("ends", &format!("in {}", left(expires, now)));
    }
    line("client", session.client.as_deref().unwrap_or("says nothing of itself"));
    if let Some(grant) = &session.grant {
        line("grant", grant);
    }
    line("live", if session.live { "on this node" } else { "not on this node" });
    out
}
