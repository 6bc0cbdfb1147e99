//! Scopes (RFC 6749 section 3.3): what exists, what is asked for, what is granted.

use thiserror::Error;

/// Asks for an ID token (OpenID Connect Core section 3.1.2.1).
pub(crate) const OPENID: &str = "openid";

/// Asks for a refresh token (OpenID Connect Core section 11). Who gets one is decided by the client's grant types, so it is
/// neither offered nor granted; but clients add it to whatever else they ask for, so it is no reason to refuse either.
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";

/// No scope that exists was asked for, or the text is no list of scopes.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScopeError {
    #[error("the scope is not a list of scope tokens")]
    Malformed,
    #[error("none of the scopes exists here")]
    Unknown,
    #[error("the scope is wider than what was granted")]
    Wider,
}

/// Whether the text is a scope token: visible ASCII without quote and backslash.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// What an authorization request gets: the default scopes if it names none (or `offline_access` alone), else those it names
/// that exist. Scopes that do not exist are left out and the answer says what was granted (RFC 6749 section 3.3).
pub(crate) fn requested(text: Option<&str>, known: &[String]) -> Result<Vec<String>, ScopeError> {
    let Some(text) = text else {
        return Ok(known.to_vec());
    };
    let asked = parse(text)?;
    if asked.is_empty() {
        return Ok(known.to_vec());
    }
    let granted: Vec<String> = asked.into_iter().filter(|scope| *scope == OPENID || known.contains(scope)).collect();
    if granted.is_empty() { Err(ScopeError::Unknown) } else { Ok(granted) }
}

/// What a refreshed access token gets: all that was granted, or the part of it that is named (RFC 6749 section 6). Clients
/// repeat what they asked for at first, `offline_access` included.
pub(crate) fn narrowed(text: Option<&str>, granted: &[String]) -> Result<Vec<String>, ScopeError> {
    let Some(text) = text else {
        return Ok(granted.to_vec());
    };
    let asked = parse(text)?;
    if asked.is_empty() {
        return Ok(granted.to_vec());
    }
    if asked.iter().all(|scope| granted.contains(scope)) { Ok(asked) } else { Err(ScopeError::Wider) }
}

/// Distinct scope tokens in a fixed order, so that equal sets are equal texts; without `offline_access`, so there may be
/// none.
fn parse(text: &str) -> Result<Vec<String>, ScopeError> {
    let mut scopes: Vec<String> = Vec::new();
    for token in text.split(' ').filter(|token| !token.is_empty()) {
        if !is_token(token) || scopes.len() == 32 {
            return Err(ScopeError::Malformed);
        }
        if !scopes.iter().any(|known| known == token) {
            scopes.push(token.to_owned());
        }
    }
    if scopes.is_empty() {
        return Err(ScopeError::Malformed);
    }
    scopes.retain(|scope| scope != OFFLINE_ACCESS);
    scopes.sort_unstable();
    Ok(scopes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        vec!["mcp".to_owned(), "admin".to_owned()]
    }

    #[test]
    fn az9_no_scope_means_the_default_scopes() {
        assert_eq!(requested(None, &known()).unwrap(), known());
    }

    #[test]
    fn scopes_that_do_not_exist_are_left_out_but_not_all_of_them() {
        assert_eq!(requested(Some("mcp offline_access openid"), &known()).unwrap(), ["mcp", "openid"]);
        assert_eq!(requested(Some("profile"), &known()), Err(ScopeError::Unknown));
        assert_eq!(requested(Some("m\"cp"), &known()), Err(ScopeError::Malformed));
    }

    #[test]
    fn offline_access_neither_widens_nor_refuses_anything() {
        assert_eq!(requested(Some("offline_access"), &known()).unwrap(), known());
        assert_eq!(requested(Some("profile offline_access"), &known()), Err(ScopeError::Unknown));
        assert_eq!(requested(Some(" "), &known()), Err(ScopeError::Malformed));
        let granted = ["mcp".to_owned()];
        assert_eq!(narrowed(Some("mcp offline_access"), &granted).unwrap(), ["mcp"]);
        assert_eq!(narrowed(Some("offline_access"), &granted).unwrap(), ["mcp"]);
        assert_eq!(narrowed(Some("admin offline_access"), &granted), Err(ScopeError::Wider));
    }

    #[test]
    fn tk11_a_refresh_narrows_and_never_widens() {
        let granted = known();
        assert_eq!(narrowed(Some("mcp"), &granted).unwrap(), ["mcp"]);
        assert_eq!(narrowed(Some("mcp openid"), &granted), Err(ScopeError::Wider));
        assert_eq!(narrowed(None, &granted).unwrap(), granted);
    }
}
