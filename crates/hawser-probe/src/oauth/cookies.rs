//! Cookies of one login (RFC 6265): host-only, by path, for as long as the login lasts.

use http::HeaderMap;
use http::header::SET_COOKIE;
use url::Url;

/// More than this is no login page.
const COOKIES_MAX: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Jar {
    cookies: Vec<Cookie>,
}

struct Cookie {
    origin: String,
    path: String,
    name: String,
    value: String,
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} at {}{}", self.name, self.origin, self.path)
    }
}

impl Jar {
    /// Takes the `Set-Cookie` lines of an answer from `url`.
    pub(super) fn take(&mut self, url: &Url, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = line.split(';');
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            let mut path = default_path(url);
            let mut gone = false;
            for attribute in parts {
                let (key, setting) = attribute.split_once('=').unwrap_or((attribute, ""));
                let setting = setting.trim();
                match key.trim().to_ascii_lowercase().as_str() {
                    "path" if setting.starts_with('/') => setting.clone_into(&mut path),
                    "max-age" => gone = setting.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                    // Servers that delete by date use the epoch.
                    "expires" => gone |= setting.contains("1970"),
                    _ => {}
                }
            }
            let origin = url.origin().ascii_serialization();
            self.cookies.retain(|cookie| !(cookie.origin == origin && cookie.path == path && cookie.name == name));
            if !gone && self.cookies.len() < COOKIES_MAX {
                self.cookies.push(Cookie { origin, path, name, value });
            }
        }
    }

    /// The `Cookie` line for a request to `url`.
    pub(super) fn line(&self, url: &Url) -> Option<String> {
        let origin = url.origin().ascii_serialization();
        let fits = |cookie: &&Cookie| cookie.origin == origin && path_matches(url.path(), &cookie.path);
        let pairs: Vec<_> =
            self.cookies.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// RFC 6265 section 5.1.4.
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(end) => url.path().get(..end).unwrap_or("/").to_owned(),
    }
}

fn path_matches(path: &str, of_cookie: &str) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of_cookie.ends_with('/'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn set(jar: &mut Jar, url: &str, line: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(SET_COOKIE, HeaderValue::from_str(line).unwrap());
        jar.take(&Url::parse(url).unwrap(), &headers);
    }

    fn line(jar: &Jar, url: &str) -> Option<String> {
        jar.line(&Url::parse(url).unwrap())
    }

    #[test]
    fn cookies_stay_with_their_origin_and_path() {
        let mut jar = Jar::default();
        set(&mut jar, "http://a.test/oauth/login", "s=1; HttpOnly");
        set(&mut jar, "http://a.test/oauth/login", "t=2; Path=/");
        assert_eq!(line(&jar, "http://a.test/oauth/consent").as_deref(), Some("s=1; t=2"));
        assert_eq!(line(&jar, "http://a.test/oauthx").as_deref(), Some("t=2"));
        assert_eq!(line(&jar, "http://b.test/oauth/consent"), None);
        assert_eq!(line(&jar, "http://a.test:81/oauth/consent"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_survived_and_leaks_to_no_other_origin(text in "[ -~]{0,60}") {
            let mut jar = Jar::default();
            set(&mut jar, "http://a.test/x/y", &text);
            prop_assert_eq!(line(&jar, "http://b.test/x/y"), None);
        }
    }

    #[test]
    fn cookies_are_replaced_and_deleted() {
        let mut jar = Jar::default();
        set(&mut jar, "http://a.test/", "s=1");
        set(&mut jar, "http://a.test/", "s=2");
        assert_eq!(line(&jar, "http://a.test/").as_deref(), Some("s=2"));
        set(&mut jar, "http://a.test/", "s=; Max-Age=0");
        assert_eq!(line(&jar, "http://a.test/"), None);
    }
}
