//! A browser in front of the server.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{Request, StatusCode, header};

use crate::answer::Answer;
use crate::world::{Client, ISSUER, World};

/// A browser: cookies, and forms that it fills in.
pub(crate) struct Browser<'w> {
    world: &'w World,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl<'w> Browser<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world, cookies: BTreeMap::new() }
    }

    pub(crate) fn cookie_header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    pub(crate) async fn get(&mut self, location: &str) -> Answer {
        let request = Request::get(path_of(location)).header(header::COOKIE, self.cookie_header());
        let answer = self.world.send(request.body(Body::empty()).unwrap()).await;
        self.keep_cookies(&answer);
        answer
    }

    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let cookie = self.cookie_header();
        let answer = self.world.post_with(path, form, &[("cookie", &cookie)]).await;
        self.keep_cookies(&answer);
        answer
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for value in answer.headers.get_all(header::SET_COOKIE) {
            let pair = value.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Sends the page's form back with more fields.
    pub(crate) async fn submit(&mut self, path: &str, page: &Answer, fields: &[(&str, &str)]) -> Answer {
        let (request, csrf) = (page.field("request"), page.field("csrf"));
        self.post(path, &[&[("request", request.as_str()), ("csrf", &csrf)], fields].concat()).await
    }

    /// Opens the authorization request and logs in; gives back the consent page.
    pub(crate) async fn log_in(&mut self, client: &Client, user: &str, extra: &[(&str, &str)]) -> Answer {
        let page = self.get(&client.request(extra)).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        let answer = self.submit("/oauth/login", &page, &[("development_user", user)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        self.get(&answer.location()).await
    }

    /// Logs in and approves; gives back the redirect to the client.
    pub(crate) async fn grant(&mut self, client: &Client, user: &str, extra: &[(&str, &str)]) -> Answer {
        let consent = self.log_in(client, user, extra).await;
        let answer = self.submit("/oauth/consent", &consent, &[("decision", "approve")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        answer
    }
}

fn path_of(location: &str) -> &str {
    location.strip_prefix(ISSUER).unwrap_or(location)
}
