//! Handles: what a client carries for the gateway, sealed.
//!
//! Wire form: base64url (no padding) of `version | key id | nonce | AES-256-GCM(kind | endpoint | owner | issued | expires |
//! payload)`. Version and key id are authenticated as associated data. Everything a client could want to change is inside,
//! and opening needs neither store nor network.
//!
//! Nonces are 96 random bits under one key. NIST SP 800-38D section 8.3 bounds that at 2^32 handles per key; rotate the ring
//! well before.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::entropy::{Entropy, EntropyError};
use crate::key_ring::{KeyId, KeyRing};
use crate::owned::{Owned, Proven, Refusal, Refused};
use crate::principal::{LocalOwner, OwnerDigest, Principal};
use crate::time::Timestamp;

/// Longest handle that is looked at, in characters, unless its kind says otherwise.
pub const HANDLE_CHARS_MAX: usize = 4096;
const VERSION: u8 = 1;
const CLEAR_BYTES: usize = 1 + 4;
const ENDPOINT_BYTES: usize = 16;
const FIXED_BYTES: usize = 1 + ENDPOINT_BYTES + OwnerDigest::BYTES + 8 + 8;

/// What a handle is for. A handle of one kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandleKind {
    /// `Mcp-Session-Id` (MCP 2025-03-26 to 2025-11-25, Streamable HTTP, Session Management).
    Session,
    /// An SSE event id, presented as `Last-Event-ID`.
    Event,
    /// A pagination cursor.
    Cursor,
    /// `requestState` (MCP 2026-07-28, Multi Round-Trip Requests).
    RequestState,
    /// A task id (MCP extension `io.modelcontextprotocol/tasks`).
    Task,
}

impl HandleKind {
    const fn tag(self) -> u8 {
        match self {
            Self::Session => 1,
            Self::Event => 2,
            Self::Cursor => 3,
            Self::RequestState => 4,
            Self::Task => 5,
        }
    }
}

/// What a handle carries besides its binding.
pub trait Payload: Sized {
    /// The kind of handle it makes.
    const KIND: HandleKind;
    /// Longest handle of this kind, in characters. What travels in a header or a URL stays short; what travels in a body may
    /// carry more.
    const CHARS_MAX: usize = HANDLE_CHARS_MAX;

    /// Appends the payload's bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the payload back; `None` if the bytes are not one.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// Names one endpoint of the gateway in its handles, by a digest of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId([u8; ENDPOINT_BYTES]);

impl EndpointId {
    /// The endpoint at this path.
    pub fn of_path(path: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, path.as_bytes());
        let mut id = [0; ENDPOINT_BYTES];
        id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(id)
    }
}

/// What a new handle is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The endpoint it is good at.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub principal: &'a Principal,
    /// Now.
    pub issued: Timestamp,
    /// The end of its absolute lifetime.
    pub expires: Timestamp,
}

/// A handle could not be made.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// No randomness for the nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The payload is too long to be carried by a client.
    #[error("the handle would be longer than its kind may be")]
    TooLong,
    /// The cryptographic library refused.
    #[error("the handle could not be encrypted")]
    Encrypt,
}

impl KeyRing {
    /// Makes a handle for a principal, and the proof that this principal owns it.
    pub fn mint<P: Payload>(
        &self,
        binding: &Binding<'_>,
        payload: P,
        entropy: &dyn Entropy,
    ) -> Result<(String, Owned<P>), SealError> {
        let keys = self.keys();
        let key = keys.active();
        let owner = key.owner_of(binding.principal);
        let mut clear = Vec::with_capacity(CLEAR_BYTES);
        clear.push(VERSION);
        clear.extend_from_slice(&key.id.0.to_be_bytes());
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;

        let mut text = Vec::with_capacity(FIXED_BYTES + 64);
        text.push(P::KIND.tag());
        text.extend_from_slice(&binding.endpoint.0);
        text.extend_from_slice(owner.as_bytes());
        text.extend_from_slice(&binding.issued.seconds().to_be_bytes());
        text.extend_from_slice(&binding.expires.seconds().to_be_bytes());
        payload.encode(&mut text);
        key.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&clear), &mut text)
            .map_err(|_| SealError::Encrypt)?;

        let mut handle = clear;
        handle.extend_from_slice(&nonce);
        handle.extend_from_slice(&text);
        let handle = URL_SAFE_NO_PAD.encode(handle);
        if handle.len() > P::CHARS_MAX {
            return Err(SealError::TooLong);
        }
        Ok((handle, Owned::minted(payload, (key.id, owner), binding.expires)))
    }

    /// What the present request's principal keeps here without a handle: whatever `find` gives for the owner's name, and
    /// nothing else, is theirs. For the stateless era, in which a client brings nothing but its credential.
    pub fn own<T>(&self, principal: &Principal, expires: Timestamp, find: impl FnOnce(LocalOwner) -> T) -> Owned<T> {
        Owned::minted(find(self.local_owner(principal)), self.owner_digest(principal), expires)
    }

    /// Opens a presented handle for the principal of the present request. Decides from the bytes alone: nothing has been
    /// read, restored or connected when a stranger is refused.
    pub fn open<P: Payload>(
        &self,
        presented: &str,
        endpoint: EndpointId,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<Proven<P>, Refused> {
        let refused = |reason, owner| Refused { reason, owner, presented_by: self.owner_digest(principal).1 };
        if presented.len() > P::CHARS_MAX {
            return Err(refused(Refusal::Malformed, None));
        }
        let bytes = URL_SAFE_NO_PAD.decode(presented).map_err(|_| refused(Refusal::Malformed, None))?;
        let (clear, sealed) =
            bytes.split_first_chunk::<CLEAR_BYTES>().ok_or_else(|| refused(Refusal::Malformed, None))?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(|| refused(Refusal::Malformed, None))?;
        let [version, id @ ..] = *clear;
        if version != VERSION {
            return Err(refused(Refusal::Malformed, None));
        }
        let id = KeyId(u32::from_be_bytes(id));
        let unknown = || refused(Refusal::UnknownKey, None);
        let keys = self.keys_with(id).ok_or_else(unknown)?;
        let key = keys.find(id).ok_or_else(unknown)?;
        let mut text = text.to_vec();
        let plain = key
            .seal
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(clear), &mut text)
            .map_err(|_| refused(Refusal::Forged, None))?;
        let sealed = Sealed::read(plain).ok_or_else(|| refused(Refusal::Forged, None))?;

        let presented_by = key.owner_of(principal);
        let refused = |reason| Refused { reason, owner: Some(sealed.owner), presented_by };
        if sealed.kind != P::KIND.tag() {
            return Err(refused(Refusal::WrongKind));
        }
        if sealed.endpoint != endpoint {
            return Err(refused(Refusal::WrongEndpoint));
        }
        if sealed.owner != presented_by {
            return Err(refused(Refusal::NotOwner));
        }
        if now >= sealed.expires {
            return Err(refused(Refusal::Expired));
        }
        let payload = P::decode(sealed.payload).ok_or_else(|| refused(Refusal::Forged))?;
        Ok(Proven { payload, key: id, owner: sealed.owner, issued: sealed.issued, expires: sealed.expires })
    }
}

struct Sealed<'a> {
    kind: u8,
    endpoint: EndpointId,
    owner: OwnerDigest,
    issued: Timestamp,
    expires: Timestamp,
    payload: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn read(plain: &'a [u8]) -> Option<Self> {
        let (kind, rest) = plain.split_first()?;
        let (endpoint, rest) = rest.split_first_chunk::<ENDPOINT_BYTES>()?;
        let (owner, rest) = rest.split_first_chunk::<{ OwnerDigest::BYTES }>()?;
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let (expires, payload) = rest.split_first_chunk::<8>()?;
        Some(Self {
            kind: *kind,
            endpoint: EndpointId(*endpoint),
            owner: OwnerDigest::from_bytes(*owner),
            issued: Timestamp::from_seconds(u64::from_be_bytes(*issued)),
            expires: Timestamp::from_seconds(u64::from_be_bytes(*expires)),
            payload,
        })
    }
}
