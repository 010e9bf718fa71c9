//! Tables of figures.

use comfy_table::{CellAlignment, Table, TableComponent, presets};

/// Prints rows under a header: the first `names` columns are text and left-aligned, the others are numbers and
/// right-aligned.
pub(crate) fn print_table(names: usize, header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
}
