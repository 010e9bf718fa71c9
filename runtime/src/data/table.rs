//! Tables in CSV files: columns by name, as inputs and targets.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::TensorDataset;
use crate::error::Error;

/// A table of text, with a name for each column. Its columns become inputs and targets by name.
///
/// ```
/// use windlass::data::Table;
///
/// let path = tempfile::tempdir()?.keep().join("irises.csv");
/// std::fs::write(&path, "length,width,species\n5.1,3.5,setosa\n7.0,3.2,versicolor\n5.0,3.4,setosa\n")?;
/// let table = Table::read_csv(&path)?;
/// assert_eq!(table.columns(), ["length", "width", "species"]);
///
/// let (data, species) = table.classes(&["length", "width"], "species")?;
/// assert_eq!((data.len(), &species[..]), (3, &["setosa".to_owned(), "versicolor".to_owned()][..]));
/// let prices = table.values(&["length"], &["width"])?; // numbers as targets
/// assert_eq!(prices.len(), 3);
/// # std::fs::remove_dir_all(path.parent().unwrap())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// Where it begins in the file, counted from 1.
    line: u64,
    cells: Vec<String>,
}

impl Table {
    /// Reads a file of comma-separated values, whose first line has the names of the columns.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::DataFile`], which names the line, for rows of different lengths or text that is not UTF-8, and
    /// for a file without rows.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read_separated(path, b',')
    }

    /// Like [`Table::read_csv`], for values that another character separates, such as `b';'` or `b'\t'`.
    ///
    /// # Errors
    /// Those of [`Table::read_csv`].
    pub fn read_separated(path: impl AsRef<Path>, separator: u8) -> Result<Self, Error> {
        let path = path.as_ref();
        let refused = |reason: csv::Error| {
            let problem = reason.to_string();
            match reason.into_kind() {
                csv::ErrorKind::Io(reason) => Error::io("read", path)(reason),
                _ => Error::DataFile { path: path.to_owned(), problem },
            }
        };
        let mut builder = csv::ReaderBuilder::new();
        let mut reader =
            builder.delimiter(separator).trim(csv::Trim::All).from_path(path).map_err(refused)?;
        let columns = reader.headers().map_err(refused)?.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(refused)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(Row { line, cells: record.iter().map(str::to_owned).collect() });
        }
        let table = Table { path: path.to_owned(), columns, rows };
        if table.rows.is_empty() {
            return Err(table.refused("it has no rows".to_owned()));
        }
        Ok(table)
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of rows, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a table is never empty")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Columns of numbers, `[rows, columns]`.
    ///
    /// # Errors
    /// [`Error::DataFile`] for a column that does not exist, and a cell that is no number, with its line.
    pub fn numbers(&self, columns: &[&str]) -> Result<Array2<f32>, Error> {
        let places = columns.iter().map(|name| self.place(name)).collect::<Result<Vec<_>, _>>()?;
        let mut numbers = Array2::zeros((self.rows.len(), columns.len()));
        for (row, mut numbers) in self.rows.iter().zip(numbers.rows_mut()) {
            for ((number, &place), column) in numbers.iter_mut().zip(&places).zip(columns) {
                let cell = &row.cells[place];
                *number = cell.parse().map_err(|_| {
                    self.refused(format!("line {}: `{cell}` in the column `{column}` is no number", row.line))
                })?;
            }
        }
        Ok(numbers)
    }

    /// The texts of a column as labels, and the names of the classes: its distinct texts in order.
    ///
    /// # Errors
    /// [`Error::DataFile`] for a column that does not exist, or an empty cell.
    pub fn labels(&self, column: &str) -> Result<(Vec<i32>, Vec<String>), Error> {
        let place = self.place(column)?;
        if let Some(row) = self.rows.iter().find(|row| row.cells[place].is_empty()) {
            return Err(self.refused(format!("line {}: the column `{column}` is empty", row.line)));
        }
        let mut classes: Vec<String> = self.rows.iter().map(|row| row.cells[place].clone()).collect();
        classes.sort_unstable();
        classes.dedup();
        let label = |row: &Row| classes.binary_search(&row.cells[place]).unwrap_or_default() as i32;
        Ok((self.rows.iter().map(label).collect(), classes))
    }

    /// A data set for classification: columns of numbers as the input, a column of text as labels. Returns it with the names
    /// of the classes.
    ///
    /// # Errors
    /// Those of [`Table::numbers`] and [`Table::labels`].
    pub fn classes(&self, inputs: &[&str], label: &str) -> Result<(TensorDataset, Vec<String>), Error> {
        let (labels, classes) = self.labels(label)?;
        Ok((TensorDataset::new(self.numbers(inputs)?, labels)?, classes))
    }

    /// A data set for regression: columns of numbers as the input and the target.
    ///
    /// # Errors
    /// Those of [`Table::numbers`].
    pub fn values(&self, inputs: &[&str], targets: &[&str]) -> Result<TensorDataset, Error> {
        TensorDataset::new(self.numbers(inputs)?, self.numbers(targets)?)
    }

    fn place(&self, column: &str) -> Result<usize, Error> {
        self.columns.iter().position(|known| known == column).ok_or_else(|| {
            let known: Vec<String> = self.columns.iter().map(|name| format!("`{name}`")).collect();
            self.refused(format!("it has no column `{column}`; its columns are {}", known.join(", ")))
        })
    }

    fn refused(&self, problem: String) -> Error {
        Error::DataFile { path: self.path.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn table(text: &str) -> Result<Table, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        Table::read_csv(&path)
    }

    #[test]
    fn columns_are_found_by_name() {
        let table = table("a, b ,kind\n1,2.5,\"x, y\"\n-3,1e2,w\n").unwrap();
        assert_eq!(table.numbers(&["b", "a"]).unwrap(), array![[2.5, 1.0], [100.0, -3.0]]);
        let classes = ["w".to_owned(), "x, y".to_owned()].to_vec();
        assert_eq!(table.labels("kind").unwrap(), (vec![1, 0], classes));
        assert_eq!(table.values(&["a"], &["b"]).unwrap().len(), 2);
    }

    #[test]
    fn problems_name_file_line_and_column() {
        let reason = |error: Error| error.to_string();
        let good = table("a,b\n1,x\n2,\n").unwrap();
        assert!(
            reason(good.numbers(&["a", "b"]).unwrap_err())
                .ends_with("t.csv: line 2: `x` in the column `b` is no number")
        );
        assert!(reason(good.labels("b").unwrap_err()).ends_with("line 3: the column `b` is empty"));
        assert!(
            reason(good.numbers(&["c"]).unwrap_err())
                .ends_with("it has no column `c`; its columns are `a`, `b`")
        );
        assert!(reason(table("a,b\n").unwrap_err()).ends_with("it has no rows"));
        assert!(reason(table("a,b\n1,2,3\n").unwrap_err()).contains("line: 2"));
        assert!(matches!(Table::read_csv("/nowhere/t.csv"), Err(Error::Io { .. })));
    }
}
