//! Prints a summary as aligned tables: the layers with their sizes, and the details of each.

use std::fmt;

use comfy_table::{CellAlignment, Table, TableComponent, presets};

use super::{ReceptiveField, Row, Summary};
use crate::ops::window::{Sides, Window};
use crate::shape::Symbol;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers =
            ["layer", "operators", "output", "parameters", "multiply-adds", "receptive field", "memory"];
        writeln!(f, "{}", self.network)?;
        write!(f, "{}", lines(headers, 3, self.rows.iter().map(cells)))?;
        let totals = &self.totals;
        writeln!(f, " parameters     {} ({})", thousands(totals.parameters), bytes(totals.parameter_bytes))?;
        if totals.state > 0 {
            writeln!(f, " state          {}", thousands(totals.state))?;
        }
        let item = self.item();
        writeln!(f, " multiply-adds  {} {item}", thousands(totals.multiply_adds))?;
        write!(f, " activations    {} {item}", bytes(totals.activation_bytes))
    }
}

impl Summary {
    /// A second table, of what each layer costs and sees: its window, [time](Row::time_complexity) and
    /// [space complexity](Row::space_complexity), the [receptive field](ReceptiveField) of its results, with jump and
    /// start, and the padding with which its window would keep the size of its input
    /// ([`Window::same_padding`]). Sides or axes that differ are listed.
    ///
    /// In a network with branches, the receptive field of merged paths is the maximum over the paths.
    pub fn details(&self) -> String {
        let headers =
            ["layer", "window", "time", "space", "receptive field", "jump", "start", "same padding"];
        let totals = &self.totals;
        format!(
            "{}\n{} time   {} multiply-adds {item}\n space  {} numbers, {} of them parameters, {item}",
            self.network,
            lines(headers, 2, self.rows.iter().map(detail_cells)),
            thousands(totals.time_complexity()),
            thousands(totals.space_complexity()),
            thousands(totals.parameters),
            item = self.item(),
        )
    }

    /// The unit of the figures: a sample, with every open size 1.
    fn item(&self) -> String {
        let mut sizes: Vec<Symbol> = self.rows.iter().flat_map(|row| row.output.symbols()).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let open: Vec<String> = sizes.iter().skip(1).map(|size| format!("{size} = 1")).collect();
        if open.is_empty() { "per item".to_owned() } else { format!("per item where {}", open.join(", ")) }
    }
}

/// The lines of a table whose columns are aligned to the right from `first_number` on.
fn lines<const COLUMNS: usize>(
    headers: [&str; COLUMNS],
    first_number: usize,
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    table.set_header(headers);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A count, or `-` for none.
fn number(count: u64) -> String {
    if count == 0 { "-".to_owned() } else { thousands(count) }
}

/// A figure of each axis: once if all are equal.
fn along_axes<T>(axes: &[T], figure: impl Fn(&T) -> String) -> String {
    let figures: Vec<String> = axes.iter().map(figure).collect();
    match &figures[..] {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => first.clone(),
        _ => format!("({})", figures.join(", ")),
    }
}

fn sizes_of(field: &[ReceptiveField]) -> String {
    let sizes: Vec<String> = field.iter().map(|axis| axis.size.to_string()).collect();
    sizes.join("×")
}

/// `3×3, stride 2`: what differs from the default is named.
fn window_words(window: &Window) -> String {
    let sizes: Vec<String> = window.kernel_size.iter().map(usize::to_string).collect();
    let mut words = sizes.join("×");
    for (name, values) in [("stride", &window.stride), ("dilation", &window.dilation)] {
        if values.iter().any(|value| *value != 1) {
            words += &format!(", {name} {}", along_axes(values, usize::to_string));
        }
    }
    words
}

fn detail_cells(row: &Row) -> [String; 8] {
    let none = || "-".to_owned();
    let field = row.receptive_field.as_deref();
    [
        row.label.clone(),
        row.window.as_ref().map_or_else(none, window_words),
        number(row.time_complexity()),
        number(row.space_complexity()),
        field.map_or_else(none, sizes_of),
        field.map_or_else(none, |field| along_axes(field, |axis| axis.jump.to_string())),
        field.map_or_else(none, |field| along_axes(field, |axis| axis.start.to_string())),
        row.window.as_ref().map_or_else(none, |window| along_axes(&window.same_padding(), Sides::to_string)),
    ]
}

fn cells(row: &Row) -> [String; 7] {
    let field = row.receptive_field.as_deref().map(sizes_of);
    [
        row.label.clone(),
        row.operators.join(" + "),
        row.output.to_string(),
        number(row.parameters),
        number(row.multiply_adds),
        field.unwrap_or_else(|| "-".to_owned()),
        if row.output_bytes == 0 { "-".to_owned() } else { bytes(row.output_bytes) },
    ]
}

/// `61706` as `61,706`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in the largest unit that leaves at least 1.
fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB"] {
        if size < 1024.0 {
            let digits = if unit == "B" { 0 } else { 1 };
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_bytes_have_units() {
        assert_eq!(
            [0, 999, 1000, 61706, 1234567].map(thousands),
            ["0", "999", "1,000", "61,706", "1,234,567"]
        );
        assert_eq!(
            [0, 1023, 1536, 5 << 20, 3 << 30].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]
        );
    }
}
