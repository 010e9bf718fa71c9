//! Prints a summary as an aligned table.

use std::fmt;

use comfy_table::{CellAlignment, Table, TableComponent, presets};

use super::{Row, Summary};
use crate::shape::Symbol;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
        table.set_header([
            "layer",
            "operators",
            "output",
            "parameters",
            "multiply-adds",
            "receptive field",
            "memory",
        ]);
        for column in table.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for row in &self.rows {
            table.add_row(cells(row));
        }
        let totals = &self.totals;
        writeln!(f, "{}", self.network)?;
        for line in table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
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
    /// The unit of the figures: a sample, with every open size 1.
    fn item(&self) -> String {
        let mut sizes: Vec<Symbol> = self.rows.iter().flat_map(|row| row.output.symbols()).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let open: Vec<String> = sizes.iter().skip(1).map(|size| format!("{size} = 1")).collect();
        if open.is_empty() { "per item".to_owned() } else { format!("per item where {}", open.join(", ")) }
    }
}

fn cells(row: &Row) -> [String; 7] {
    let number = |count: u64| if count == 0 { "-".to_owned() } else { thousands(count) };
    let field = row.receptive_field.as_ref().map(|sizes| {
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        sizes.join("×")
    });
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
