//! Colour, where somebody can see it.

use std::io::IsTerminal;

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    colour: bool,
}

impl Paint {
    /// No colour.
    pub const fn plain() -> Self {
        Self { colour: false }
    }

    /// Colour if the stream is a terminal and `NO_COLOR` (no-color.org) is unset or empty.
    pub fn for_stream(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: stream.is_terminal() && !unwanted }
    }

    /// Whether there is colour.
    pub const fn is_on(self) -> bool {
        self.colour
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something is wrong.
    pub fn error(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Something may be wrong.
    pub fn warning(self, text: &str) -> String {
        self.with("1;33", text)
    }

    /// What to look at first.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What holds the rest together.
    pub fn frame(self, text: &str) -> String {
        self.with("34", text)
    }

    /// What can be copied.
    pub fn paste(self, text: &str) -> String {
        self.with("36", text)
    }
}
