//! The token that administration over TCP demands.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tracing::warn;

use super::wire::Refused;
use crate::serve::Health;

/// Fewest bytes of a token: it is all that stands between the network and everybody's sessions.
pub(crate) const TOKEN_BYTES_MIN: usize = 32;

/// The routes behind the token. Probes need none.
pub(super) fn guarded(routes: Router, token: &SecretString) -> Router {
    routes.layer(from_fn_with_state(Arc::new(token.clone()), check))
}

async fn check(State(token): State<Arc<SecretString>>, request: Request, next: Next) -> Response {
    if Health::answers(request.uri().path()) || presents(&request, token.expose_secret()) {
        return next.run(request).await;
    }
    warn!(target: "hawser::audit", event = "administration_refused");
    let refused = Refused::new("the token is missing or wrong").with_status(StatusCode::UNAUTHORIZED);
    ([(WWW_AUTHENTICATE, "Bearer")], refused).into_response()
}

/// Whether the one `Authorization` field carries the token (RFC 6750 section 2.1), compared in constant time.
fn presents(request: &Request, token: &str) -> bool {
    let mut fields = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let Some((scheme, presented)) = field.to_str().ok().and_then(|field| field.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer") && bool::from(presented.as_bytes().ct_eq(token.as_bytes()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(fields: &[&str]) -> Request {
        let mut request = Request::new(Body::empty());
        for field in fields {
            request.headers_mut().append(AUTHORIZATION, field.parse().unwrap());
        }
        request
    }

    #[test]
    fn only_the_very_token_is_taken() {
        let token = "0123456789abcdef0123456789abcdef";
        assert!(presents(&request(&["Bearer 0123456789abcdef0123456789abcdef"]), token));
        assert!(presents(&request(&["bearer 0123456789abcdef0123456789abcdef"]), token));
        for wrong in [
            &[][..],
            &["Bearer 0123456789abcdef0123456789abcdee"],
            &["Bearer 0123456789abcdef"],
            &["Bearer  0123456789abcdef0123456789abcdef"],
            &["Basic 0123456789abcdef0123456789abcdef"],
            &["0123456789abcdef0123456789abcdef"],
            &["Bearer 0123456789abcdef0123456789abcdef", "Bearer x"],
        ] {
            assert!(!presents(&request(wrong), token), "{wrong:?}");
        }
    }
}
