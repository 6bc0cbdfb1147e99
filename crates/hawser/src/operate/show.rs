//! Tables and times for people.

use std::fmt::Write as _;

/// Longest text in one cell.
const CELL_CHARS_MAX: usize = 60;

/// A text that somebody else chose, as a terminal may show it: on one line, and without what moves a cursor or turns the
/// direction of writing.
pub(super) fn printable(text: &str) -> String {
    let harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// How long ago something was, in its largest unit.
pub(super) fn age(then: u64, now: u64) -> String {
    span(now.saturating_sub(then))
}

/// How long it is until something.
pub(super) fn left(then: u64, now: u64) -> String {
    span(then.saturating_sub(now))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Rows under headings, each column as wide as it must be.
pub(super) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(headings: [&str; COLUMNS]) -> Self {
        Self { rows: vec![headings.map(str::to_owned)] }
    }

    pub(super) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| {
            if cell.chars().count() <= CELL_CHARS_MAX {
                return cell;
            }
            let mut cut: String = cell.chars().take(CELL_CHARS_MAX - 1).collect();
            cut.push('…');
            cut
        }));
    }

    pub(super) fn finish(self) -> String {
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:<width$}  ");
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_client_chose_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
    }

    #[test]
    fn times_are_told_in_their_largest_unit() {
        assert_eq!(
            [age(0, 119), age(0, 120), age(0, 7_200), left(172_800, 0), left(1, 2)],
            ["119s", "2m", "2h", "2d", "0s"]
        );
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(["A", "B"]);
        table.row(["long".to_owned(), "x".repeat(70)]);
        assert_eq!(table.finish(), format!("A     B\nlong  {}…\n", "x".repeat(59)));
    }
}
