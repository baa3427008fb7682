//! A table as plain text for a terminal, and as Markdown. It knows nothing of what is in it.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, TableStyle, Width, presets,
};

/// Two spaces between columns, one of them the junction, and a rule under the headings.
const PLAIN: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction(' '))
    .header_separator(LineStyle::none().fill('─').junction(' '))
    .content_lines(ContentLineStyle::none().junction(' '));

/// On which side a column's texts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of texts under headings.
#[derive(Clone, Debug)]
pub struct Table {
    sides: Vec<Side>,
    table: comfy_table::Table,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[(&str, Side)]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(PLAIN).set_header(columns.iter().map(|(heading, _)| *heading));
        for (column, (_, side)) in table.column_iter_mut().zip(columns) {
            column.set_cell_alignment(match side {
                Side::Left => CellAlignment::Left,
                Side::Right => CellAlignment::Right,
            });
        }
        Self { sides: columns.iter().map(|(_, side)| *side).collect(), table }
    }

    /// Adds a row; it has as many texts as there are columns.
    pub fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.sides.len(), "a text for each column");
        self.table.add_row(row);
    }

    /// For a terminal: columns as wide as their widest text, but words broken into lines of at most `words_width_max`
    /// characters.
    pub fn text(&self, words_width_max: u16) -> String {
        let mut table = self.table.clone();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
        for (place, (column, side)) in table.column_iter_mut().zip(&self.sides).enumerate() {
            let before = u16::from(place > 0);
            column.set_padding((before, 0));
            if *side == Side::Left {
                column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(
                    words_width_max.saturating_add(before),
                )));
            }
        }
        table.trim_fmt() + "\n"
    }

    /// For a page.
    pub fn markdown(&self) -> String {
        let escaped =
            |row: &comfy_table::Row| -> Vec<String> { row.cell_iter().map(|cell| escaped(&cell.content())).collect() };
        let mut table = comfy_table::Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.table.header().map(escaped).unwrap_or_default());
        table.add_rows(self.table.row_iter().map(escaped));
        let rule: Vec<&str> = self.sides.iter().map(|side| if *side == Side::Left { "---" } else { "---:" }).collect();
        let mut lines: Vec<String> = table.lines().collect();
        // What the library writes there tells no side.
        lines[1] = format!("| {} |", rule.join(" | "));
        lines.join("\n") + "\n"
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ")
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
        let expected = ["figure      µs", "───────── ────", "p99 of     1.5", "the last", "a|b         12", ""];
        assert_eq!(table().text(9), expected.join("\n"));
    }

    #[test]
    fn markdown_keeps_its_columns() {
        let expected =
            "| figure          | µs  |\n| --- | ---: |\n| p99 of the last | 1.5 |\n| a\\|b            | 12  |\n";
        assert_eq!(table().markdown(), expected);
    }
}
