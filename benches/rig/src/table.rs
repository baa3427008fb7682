//! A table as plain text for a terminal, and as Markdown. It knows nothing of what is in it.

/// On which side a column's texts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of texts under headings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[(&str, Side)]) -> Self {
        let columns = columns.iter().map(|(heading, side)| ((*heading).to_owned(), *side)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; it has as many texts as there are columns.
    pub fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a text for each column");
        self.rows.push(row);
    }

    /// For a terminal: columns as wide as their widest text, but words broken into lines of at most `words_width_max`
    /// characters.
    pub fn text(&self, words_width_max: usize) -> String {
        let headings: Vec<String> = self.columns.iter().map(|(heading, _)| heading.clone()).collect();
        let lines: Vec<Vec<Vec<String>>> = std::iter::once(&headings)
            .chain(&self.rows)
            .map(|row| {
                let broken = |(text, (_, side)): (&String, &(String, Side))| match side {
                    Side::Left => broken(text, words_width_max),
                    Side::Right => vec![text.clone()],
                };
                row.iter().zip(&self.columns).map(broken).collect()
            })
            .collect();
        let width = |column: usize| {
            lines.iter().filter_map(|row| row.get(column)).flatten().map(|text| length(text)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for (place, row) in lines.iter().enumerate() {
            self.print(&mut text, row, &widths);
            if place == 0 {
                let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                text.push_str(&rule.join("  "));
                text.push('\n');
            }
        }
        text
    }

    fn print(&self, text: &mut String, row: &[Vec<String>], widths: &[usize]) {
        let height = row.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let cells = row.iter().zip(widths).zip(&self.columns).map(|((cell, width), (_, side))| {
                let word = cell.get(line).map_or("", String::as_str);
                let space = " ".repeat(width.saturating_sub(length(word)));
                if *side == Side::Left { format!("{word}{space}") } else { format!("{space}{word}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
    }

    /// For a page.
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let headings = self.columns.iter().map(|(heading, _)| escaped(heading)).collect();
        let sides = self.columns.iter().map(|(_, side)| if *side == Side::Left { "---" } else { "---:" }.to_owned());
        let mut text = line(headings) + &line(sides.collect());
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| escaped(cell)).collect()));
        }
        text
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ")
}

/// Breaks a text between words; a word that is too long stays whole.
pub fn broken(text: &str, width_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if length(line) + 1 + length(word) <= width_max {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("figure", Side::Left), ("µs", Side::Right)]);
        table.push(vec!["p99 of the last".to_owned(), "1.5".to_owned()]);
        table.push(vec!["a|b".to_owned(), "12".to_owned()]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        let expected = ["figure     µs", "────────  ───", "p99 of    1.5", "the last", "a|b        12", ""];
        assert_eq!(table().text(9), expected.join("\n"));
    }

    #[test]
    fn markdown_keeps_its_columns() {
        let expected = "| figure | µs |\n| --- | ---: |\n| p99 of the last | 1.5 |\n| a\\|b | 12 |\n";
        assert_eq!(table().markdown(), expected);
    }
}
