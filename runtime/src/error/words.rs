//! Amounts and lists in the messages of errors.

use std::fmt;

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

/// A sample, and perhaps a step or an index in it.
pub(super) struct Place<'p>(pub(super) &'p [usize]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("the only place"),
            [sample] => write!(f, "sample {sample}"),
            [sample, step] => write!(f, "sample {sample}, step {step}"),
            [sample, index @ ..] => write!(f, "sample {sample}, index {index:?}"),
        }
    }
}

/// The sample of an element, and its index in the sample, from its position among the elements of a batch of samples of
/// these sizes.
pub(crate) fn place_of(position: usize, item: &[usize]) -> Vec<usize> {
    let mut rest = position;
    let mut place: Vec<usize> = item
        .iter()
        .rev()
        .map(|&size| {
            let index = rest % size.max(1);
            rest /= size.max(1);
            index
        })
        .collect();
    place.push(rest);
    place.reverse();
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_in_the_words_of_their_axes() {
        let told = |position, item: &[usize]| Place(&place_of(position, item)).to_string();
        assert_eq!(told(4, &[]), "sample 4");
        assert_eq!(told(34, &[9]), "sample 3, step 7");
        assert_eq!(told(11, &[2, 3]), "sample 1, index [1, 2]");
    }
}
