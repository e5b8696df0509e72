//! A table of text as Go's tabwriter lays it out for runc: cells of at least 12, three spaces apart.

use std::fmt;

const LEAST_WIDTH: usize = 12;
const PADDING: usize = 3;

/// Rows of `N` cells; the last column is not padded.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with its first row.
    pub fn new(header: [String; N]) -> Self {
        Self { rows: vec![header] }
    }

    /// Adds a row. Control characters would let a bundle's name write to the caller's terminal.
    pub fn push(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| cell.replace(char::is_control, "?")));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [LEAST_WIDTH; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count() + PADDING);
            }
        }
        for row in &self.rows {
            for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                if at + 1 < N { write!(f, "{cell:width$}")? } else { writeln!(f, "{cell}")? }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let mut table = Table::new(["ID", "PID", "OWNER"].map(str::to_owned));
        assert_eq!(table.to_string(), "ID          PID         OWNER\n");
        table.push(["nine-char", "1", "root"].map(str::to_owned));
        assert_eq!(table.to_string(), "ID          PID         OWNER\nnine-char   1           root\n");
        table.push(["ten-ch\u{1b}räé", "", ""].map(str::to_owned));
        assert_eq!(
            table.to_string(),
            "ID           PID         OWNER\nnine-char    1           root\nten-ch?räé               \n"
        );
    }
}
