//! Tables with aligned columns, and grouped numbers.

use super::output::clean;
pub(super) use crate::text::grouped as number;

/// On which side a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under a heading, in columns as wide as they need to be.
pub(super) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: impl IntoIterator<Item = (impl Into<String>, Align)>) -> Self {
        let columns = columns.into_iter().map(|(name, align)| (name.into(), align));
        Self { columns: columns.collect(), rows: Vec::new() }
    }

    /// Adds a row; cells missing at its end are empty.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // A cell has one line.
        let cells = cells.into_iter().map(|cell| clean(&cell).replace('\n', " "));
        self.rows.push(cells.collect());
    }

    /// The lines; each begins with `indent` and has no spaces at its end.
    pub(super) fn render(&self, indent: &str) -> String {
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| lines().map(|cells| width(cells.get(column))).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for cells in lines() {
            let mut line = indent.to_owned();
            for (column, wide) in widths.iter().enumerate() {
                let cell = cells.get(column).map_or("", String::as_str);
                let gap = " ".repeat(wide - width(cells.get(column)));
                let (before, after) = match self.columns[column].1 {
                    Align::Left => ("", gap.as_str()),
                    Align::Right => (gap.as_str(), ""),
                };
                line.push_str(if column == 0 { "" } else { "  " });
                line.extend([before, cell, after]);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn width(cell: Option<&String>) -> usize {
    cell.map_or(0, |cell| cell.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table =
            Table::new([("NAME", Align::Left), ("FRAMES", Align::Right), ("NOTE", Align::Left)]);
        table.row(["eth0".into(), "1,234,567".into(), "löwe".into()]);
        table.row(["a longer one".into(), "5".into()]);
        table.row(["x\x1b[2J\ny".into(), "0".into(), "end".into()]);
        assert_eq!(
            table.render("  "),
            concat!(
                "  NAME             FRAMES  NOTE\n",
                "  eth0          1,234,567  löwe\n",
                "  a longer one          5\n",
                "  x\\u{1b}[2J y          0  end\n",
            )
        );
    }
}
