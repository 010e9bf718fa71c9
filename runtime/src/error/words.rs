//! Amounts and lists in the messages of errors.

use super::TensorMismatch;

pub(super) fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub(super) fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Names in the form in which inputs are given.
pub(super) fn pairs(names: &[String]) -> String {
    format!("[{}]", names.iter().map(|name| format!("({name:?}, …)")).collect::<Vec<_>>().join(", "))
}

pub(super) fn bulleted(mismatches: &[TensorMismatch]) -> String {
    mismatches.iter().map(|mismatch| format!("\n  - {mismatch}")).collect()
}
