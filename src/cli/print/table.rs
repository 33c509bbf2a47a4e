//! Tables of figures: columns as wide as they need to be, numbers to the right.

/// Rows of as many cells as there are columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The heads; those of text are on the left.
    heads: Vec<(&'static str, bool)>,
    /// The cells.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first columns are text and whose others are numbers.
    pub(super) fn new(text: &[&'static str], numbers: &[&'static str]) -> Self {
        let text = text.iter().map(|head| (*head, true));
        let heads = text.chain(numbers.iter().map(|head| (*head, false))).collect();
        Self { heads, rows: Vec::new() }
    }

    /// One more row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, each of them indented by two.
    pub(super) fn text(&self) -> String {
        let width = |column: usize, head: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).chain([head.chars().count()]).max()
        };
        let widths: Vec<usize> = self
            .heads
            .iter()
            .enumerate()
            .map(|(column, (head, _))| width(column, head).unwrap_or(0))
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for ((cell, (_, is_text)), width) in cells.zip(&self.heads).zip(&widths) {
                let cell =
                    if *is_text { format!("  {cell:width$}") } else { format!("  {cell:>width$}") };
                text.push_str(&cell);
            }
            format!("{}\n", text.trim_end())
        };
        let mut text = line(&mut self.heads.iter().map(|(head, _)| *head));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_on_the_left_and_numbers_are_on_the_right() {
        let mut table = Table::new(&["load"], &["n", "mean"]);
        table.row(["a long name".to_owned(), "1".to_owned(), "2.5".to_owned()]);
        table.row(["b".to_owned(), "1000".to_owned(), "-".to_owned()]);
        let expected =
            "  load            n  mean\n  a long name     1   2.5\n  b            1000     -\n";
        assert_eq!(table.text(), expected);
    }
}
