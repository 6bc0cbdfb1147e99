//! Text, looked at as it arrives: whether it is UTF-8 (RFC 3629), wherever it is cut.

/// Where a reader stands: the bytes of a character that is not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Utf8Walk {
    begun: Vec<u8>,
}

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8Walk {
    /// Looks at more bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        let mut rest = bytes;
        while !self.begun.is_empty()
            && let Some((byte, tail)) = rest.split_first()
        {
            self.begun.push(*byte);
            rest = tail;
            if !is_begun(&self.begun)? {
                self.begun.clear();
            }
        }
        if let Err(error) = std::str::from_utf8(rest) {
            let last = rest.get(error.valid_up_to()..).unwrap_or_default();
            // At most three bytes: what could be completed.
            if !is_begun(last)? {
                return Err(NotUtf8);
            }
            self.begun.extend_from_slice(last);
        }
        Ok(())
    }

    /// Whether no character is left incomplete.
    pub(crate) const fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }
}

/// Whether the bytes are the beginning of one character.
fn is_begun(bytes: &[u8]) -> Result<bool, NotUtf8> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(false),
        Err(error) if error.error_len().is_none() => Ok(true),
        Err(_) => Err(NotUtf8),
    }
}
