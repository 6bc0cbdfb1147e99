//! Where a request came from, for limits and the audit log.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use http::uri::Authority;
use http::{Extensions, header};

/// The address of the caller, put into a request's extensions by whoever knows it better than the connection does (a
/// gateway behind a trusted proxy). Without it the connection's peer counts, if the server was started with connect info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Fields by which proxies say that they pass on what somebody else asked.
const PROXY_FIELDS: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// What limits are counted by: an address, or the /64 of an IPv6 one, which one party owns as a whole. All requests of
/// unknown origin share one.
pub(crate) fn limit_key(extensions: &Extensions) -> IpAddr {
    match sender(extensions) {
        Some(IpAddr::V6(address)) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Whether a request was made on this computer for this computer: from a loopback address, under a loopback name (a web
/// site may have its own name resolve to loopback), and not passed on by a proxy, which publishes a loopback listener to
/// everyone. What is not known counts as foreign.
pub(crate) fn is_from_this_computer(request: &Request) -> bool {
    let headers = request.headers();
    if !sender(request.extensions()).is_some_and(|address| address.is_loopback())
        || PROXY_FIELDS.iter().any(|field| headers.contains_key(*field))
        || !request.uri().host().is_none_or(is_loopback_name)
    {
        return false;
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| Authority::try_from(host.as_bytes()).ok());
    hosts.next().is_none() && host.is_some_and(|host| !host.as_str().contains('@') && is_loopback_name(host.host()))
}

fn sender(extensions: &Extensions) -> Option<IpAddr> {
    let given = extensions.get::<ClientAddress>().map(|address| address.0);
    let peer = || extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    given.or_else(peer).map(|address| address.to_canonical())
}

fn is_loopback_name(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use axum::body::Body;

    use super::*;

    fn is_near(peer: &str, uri: &str, fields: &[(&str, &str)]) -> bool {
        let request = Request::post(uri).extension(ClientAddress(peer.parse().unwrap()));
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        is_from_this_computer(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn only_loopback_asking_for_loopback_is_this_computer() {
        for host in ["127.0.0.1:8420", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8420", "127.8.8.8"] {
            assert!(is_near("127.0.0.1", "/", &[("host", host)]), "{host}");
            assert!(is_near("::1", "/", &[("host", host)]), "{host}");
            assert!(is_near("::ffff:127.0.0.1", "/", &[("host", host)]), "{host}");
            assert!(!is_near("192.0.2.1", "/", &[("host", host)]), "{host}");
            for proxy in PROXY_FIELDS {
                assert!(!is_near("127.0.0.1", "/", &[("host", host), (proxy, "x")]), "{host} {proxy}");
            }
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "x@localhost",
            "0.0.0.0",
            "192.0.2.1",
            "[2001:db8::1]",
            "2130706433",
            "",
            "localhost,evil.example",
        ] {
            assert!(!is_near("127.0.0.1", "/", &[("host", host)]), "{host}");
        }
        assert!(!is_near("127.0.0.1", "/", &[]));
        assert!(!is_near("127.0.0.1", "/", &[("host", "localhost"), ("host", "localhost")]));
        assert!(!is_near("127.0.0.1", "http://evil.example/", &[("host", "localhost")]));
        assert!(is_near("127.0.0.1", "http://localhost:8420/", &[("host", "localhost:8420")]));
        let unknown = Request::post("/").header("host", "localhost").body(Body::empty()).unwrap();
        assert!(!is_from_this_computer(&unknown));
    }
}
