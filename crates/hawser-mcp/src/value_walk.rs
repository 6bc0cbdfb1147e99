//! One JSON value (RFC 8259), looked at as it arrives: whether it is well-formed, how deep it nests and where it ends. No byte of
//! it is kept.

use memchr::memchr2;

/// Where a reader stands within one value. Takes and refuses what `serde_json` does for raw values.
#[derive(Debug)]
pub(crate) struct ValueWalk {
    /// Of each array or object that is open, whether it is an object.
    open: Vec<bool>,
    depth_max: usize,
    at: At,
    /// Whether the text that is read is the name of a member.
    in_name: bool,
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Not JSON.
    Syntax,
    /// Nested too deeply.
    Depth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a value.
    Value,
    /// After `[`.
    FirstElement,
    /// After `{`.
    FirstName,
    /// After a comma in an object.
    Name,
    /// After a name.
    Colon,
    /// After a value within an array or object.
    After,
    /// In a string.
    Text,
    /// After a backslash.
    Escape,
    /// So many digits of `\u` are to come.
    Hex(u8),
    /// After the sign of a number.
    Minus,
    /// After a leading zero, which no digit may follow.
    Zero,
    /// In the integer part.
    Integer,
    /// After the decimal point.
    Point,
    /// In the fraction.
    Fraction,
    /// After `e`.
    Exponent,
    /// After the exponent's sign.
    ExponentSign,
    /// In the exponent.
    ExponentDigits,
    /// In `true`, `false` or `null`: what must follow.
    Word(&'static [u8]),
    /// The value is over.
    End,
}

impl ValueWalk {
    /// Before a value that nests at most so deep.
    pub(crate) const fn new(depth_max: usize) -> Self {
        Self { open: Vec::new(), depth_max, at: At::Value, in_name: false }
    }

    /// Looks at more of the value. Tells how many of the bytes belong to it if it ends in them; a number ends only where something
    /// else begins.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Option<usize>, Unfit> {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            if self.at == At::Text {
                rest = self.text(rest)?;
            } else if self.step(*byte)? {
                rest = tail;
            }
            if self.at == At::End {
                return Ok(Some(bytes.len() - rest.len()));
            }
        }
        Ok(None)
    }

    /// Leaps to the end of a string or to its next escape; gives what follows.
    fn text<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Unfit> {
        let end = memchr2(b'"', b'\\', bytes);
        let (plain, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        // "The characters that MUST be escaped: quotation mark, reverse solidus, and the control characters" (section 7). The
        // smallest is found many bytes at a time.
        if plain.iter().min().is_some_and(|least| *least < b' ') {
            return Err(Unfit::Syntax);
        }
        let Some((mark, rest)) = rest.split_first() else { return Ok(rest) };
        if *mark == b'\\' {
            self.at = At::Escape;
        } else if self.in_name {
            self.at = At::Colon;
        } else {
            self.value_ends();
        }
        Ok(rest)
    }

    /// Takes one byte outside of plain text; `false` if the byte ended a number and is still to be taken.
    fn step(&mut self, byte: u8) -> Result<bool, Unfit> {
        match self.at {
            At::Value | At::FirstElement | At::FirstName | At::Name | At::Colon | At::After => {
                if !is_space(byte) {
                    self.token(byte)?;
                }
                Ok(true)
            }
            At::Escape => {
                self.at = match byte {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => At::Text,
                    b'u' => At::Hex(4),
                    _ => return Err(Unfit::Syntax),
                };
                Ok(true)
            }
            At::Hex(left) if byte.is_ascii_hexdigit() => {
                self.at = if left > 1 { At::Hex(left - 1) } else { At::Text };
                Ok(true)
            }
            At::Word(rest) => match rest.split_first() {
                Some((expected, rest)) if *expected == byte => {
                    if rest.is_empty() {
                        self.value_ends();
                    } else {
                        self.at = At::Word(rest);
                    }
                    Ok(true)
                }
                _ => Err(Unfit::Syntax),
            },
            At::Text | At::End | At::Hex(_) => Err(Unfit::Syntax),
            _ => self.number(byte),
        }
    }

    /// A byte of a number, or the first one after it.
    fn number(&mut self, byte: u8) -> Result<bool, Unfit> {
        self.at = match (self.at, byte) {
            (At::Minus, b'0') => At::Zero,
            (At::Minus, b'1'..=b'9') | (At::Integer, b'0'..=b'9') => At::Integer,
            (At::Zero | At::Integer, b'.') => At::Point,
            (At::Point | At::Fraction, b'0'..=b'9') => At::Fraction,
            (At::Zero | At::Integer | At::Fraction, b'e' | b'E') => At::Exponent,
            (At::Exponent, b'+' | b'-') => At::ExponentSign,
            (At::Exponent | At::ExponentSign | At::ExponentDigits, b'0'..=b'9') => At::ExponentDigits,
            (At::Zero, b'0'..=b'9') => return Err(Unfit::Syntax),
            (At::Zero | At::Integer | At::Fraction | At::ExponentDigits, _) => {
                self.value_ends();
                return Ok(false);
            }
            _ => return Err(Unfit::Syntax),
        };
        Ok(true)
    }

    /// The first byte of a token.
    fn token(&mut self, byte: u8) -> Result<(), Unfit> {
        match (self.at, byte) {
            (At::FirstName, b'}') | (At::FirstElement, b']') => self.close(),
            (At::FirstName | At::Name, b'"') => self.text_begins(true),
            (At::Colon, b':') => self.at = At::Value,
            (At::After, b',') => {
                self.at = if self.open.last() == Some(&true) { At::Name } else { At::Value };
            }
            (At::After, b'}') if self.open.last() == Some(&true) => self.close(),
            (At::After, b']') if self.open.last() == Some(&false) => self.close(),
            (At::Value | At::FirstElement, first) => return self.value_begins(first),
            _ => return Err(Unfit::Syntax),
        }
        Ok(())
    }

    fn value_begins(&mut self, first: u8) -> Result<(), Unfit> {
        match first {
            b'{' => return self.enter(true, At::FirstName),
            b'[' => return self.enter(false, At::FirstElement),
            b'"' => self.text_begins(false),
            b'-' => self.at = At::Minus,
            b'0' => self.at = At::Zero,
            b'1'..=b'9' => self.at = At::Integer,
            b't' => self.at = At::Word(b"rue"),
            b'f' => self.at = At::Word(b"alse"),
            b'n' => self.at = At::Word(b"ull"),
            _ => return Err(Unfit::Syntax),
        }
        Ok(())
    }

    fn text_begins(&mut self, in_name: bool) {
        self.in_name = in_name;
        self.at = At::Text;
    }

    fn enter(&mut self, object: bool, at: At) -> Result<(), Unfit> {
        if self.open.len() >= self.depth_max {
            return Err(Unfit::Depth);
        }
        self.open.push(object);
        self.at = at;
        Ok(())
    }

    fn close(&mut self) {
        self.open.pop();
        self.value_ends();
    }

    fn value_ends(&mut self) {
        self.in_name = false;
        self.at = if self.open.is_empty() { At::End } else { At::After };
    }
}

/// Insignificant white space (RFC 8259 section 2).
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
