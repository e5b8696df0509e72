//! A table of text as Go's tabwriter lays it out for runc: cells of at least 12, three spaces apart.

use std::borrow::Cow;

const LEAST_WIDTH: usize = 12;
const PADDING: usize = 3;

/// Rows of `N` cells; the last column is not padded.
pub struct Table<'a, const N: usize> {
    rows: Vec<[Cow<'a, str>; N]>,
}

impl<'a, const N: usize> Table<'a, N> {
    /// A table with its first row, and room for `more`.
    pub fn new(header: [&'a str; N], more: usize) -> Self {
        let mut rows = Vec::with_capacity(1 + more);
        rows.push(header.map(Cow::Borrowed));
        Self { rows }
    }

    /// Adds a row. Control characters would let a bundle's name write to the caller's terminal.
    pub fn push(&mut self, row: [Cow<'a, str>; N]) {
        let harmless = |cell: Cow<'a, str>| match cell.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            true => cell,
            false => cell.replace(char::is_control, "?").into(),
        };
        self.rows.push(row.map(harmless));
    }

    /// Its text.
    pub fn text(&self) -> Vec<u8> {
        let mut widths = [LEAST_WIDTH; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(length(cell) + PADDING);
            }
        }
        let mut text = Vec::with_capacity(self.rows.len() * (widths.iter().sum::<usize>() + 1));
        for row in &self.rows {
            for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                text.extend_from_slice(cell.as_bytes());
                match at + 1 < N {
                    true => text.resize(text.len() + width - length(cell), b' '),
                    false => text.push(b'\n'),
                }
            }
        }
        text
    }
}

/// Characters of a cell.
fn length(cell: &str) -> usize {
    if cell.is_ascii() { cell.len() } else { cell.chars().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<const N: usize>(table: &Table<'_, N>) -> String {
        String::from_utf8(table.text()).unwrap()
    }

    #[test]
    fn columns() {
        let mut table = Table::new(["ID", "PID", "OWNER"], 2);
        assert_eq!(text(&table), "ID          PID         OWNER\n");
        table.push(["nine-char", "1", "root"].map(Cow::Borrowed));
        assert_eq!(text(&table), "ID          PID         OWNER\nnine-char   1           root\n");
        table.push(["ten-ch\u{1b}räé", "", ""].map(Cow::Borrowed));
        assert_eq!(
            text(&table),
            "ID           PID         OWNER\nnine-char    1           root\nten-ch?räé               \n"
        );
    }
}
