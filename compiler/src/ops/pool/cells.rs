//! The outputs that read each input element along one axis, which the gradient of a pool gathers.
//!
//! The padded input is divided into cells of as many elements as the stride. Output `o` starts at cell `o`, so the
//! outputs that read an element of cell `b` are at fixed distances before `b`, each with a different kernel position.
//! They are the same for all cells except those near the ends.

use crate::ops::window_walk::Axis;

/// An output that reads an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contribution {
    /// How many outputs it is before the cell's own output.
    pub(super) back: usize,
    /// The kernel position at which it reads the element.
    pub(super) position: usize,
}

/// An element of a cell that lies within the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CellElement {
    /// Its input index, relative to the stride times the cell's index.
    pub(super) offset: i64,
    /// The outputs that read it, in ascending order.
    pub(super) contributions: Vec<Contribution>,
}

/// Neighbouring cells that are equal except for their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cells {
    /// The index of the first cell.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) elements: Vec<CellElement>,
}

impl Cells {
    /// The number of terms in all sums of a cell; an empty sum counts as one.
    pub(super) fn terms(&self) -> usize {
        self.elements.iter().map(|element| element.contributions.len().max(1)).sum()
    }

    /// All cells of an axis that have elements within the input, in order.
    pub(super) fn of(axis: &Axis) -> Vec<Cells> {
        let padding = -axis.shift as usize;
        let end = (axis.inputs + padding).div_ceil(axis.step);
        // The cells whose elements all lie within the input, and are read by the maximum number of outputs.
        let reach = (axis.kernel_size - 1) * axis.dilation / axis.step;
        let whole =
            reach.max(padding.div_ceil(axis.step))..axis.outputs.min((axis.inputs + padding) / axis.step);
        let mut runs: Vec<Cells> = Vec::new();
        let mut first = padding / axis.step;
        while first < end {
            let count = if whole.contains(&first) { whole.end - first } else { 1 };
            let elements = elements(axis, first);
            match runs.last_mut() {
                Some(last) if last.elements == elements => last.count += count,
                _ => runs.push(Cells { first, count, elements }),
            }
            first += count;
        }
        runs
    }
}

fn elements(axis: &Axis, cell: usize) -> Vec<CellElement> {
    let element = |remainder: usize| {
        let offset = remainder as i64 + axis.shift;
        let at = offset + (axis.step * cell) as i64;
        // From the last kernel position to the first, so that outputs are in ascending order.
        let contributions = (0..axis.kernel_size).rev().filter_map(|position| {
            let distance = (position * axis.dilation).checked_sub(remainder)?;
            let back = distance / axis.step;
            let exists = back <= cell && cell - back < axis.outputs;
            (distance.is_multiple_of(axis.step) && exists).then_some(Contribution { back, position })
        });
        (0..axis.inputs as i64)
            .contains(&at)
            .then(|| CellElement { offset, contributions: contributions.collect() })
    };
    (0..axis.step).filter_map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::window::Window;
    use crate::ops::window_walk::forward_axes;

    fn axis(size: usize, kernel_size: usize, stride: usize, padding: usize, dilation: usize) -> Axis {
        let window = Window {
            kernel_size: vec![kernel_size],
            stride: vec![stride],
            padding: vec![padding.into()],
            dilation: vec![dilation],
        };
        forward_axes(&window, &[size])[0]
    }

    /// Every element is in exactly one cell, with exactly the outputs and kernel positions of the forward pass, in
    /// order.
    #[test]
    fn every_element_has_its_results_in_order() {
        let mut tried = 0;
        for size in 1..=13 {
            for (kernel_size, stride, dilation) in [
                (1, 1, 1),
                (1, 3, 1),
                (2, 2, 1),
                (3, 1, 1),
                (3, 2, 1),
                (3, 2, 2),
                (4, 3, 2),
                (2, 5, 3),
                (7, 1, 1),
            ] {
                for padding in 0..kernel_size {
                    if (kernel_size - 1) * dilation + 1 > size + 2 * padding {
                        continue;
                    }
                    tried += 1;
                    let axis = axis(size, kernel_size, stride, padding, dilation);
                    let mut expected = vec![Vec::new(); size];
                    for output in 0..axis.outputs {
                        for position in 0..kernel_size {
                            let element = (output * stride + position * dilation).checked_sub(padding);
                            if let Some(sum) = element.and_then(|element| expected.get_mut(element)) {
                                sum.push((output, position));
                            }
                        }
                    }
                    let mut found = vec![None; size];
                    for cells in Cells::of(&axis) {
                        for cell in cells.first..cells.first + cells.count {
                            for element in &cells.elements {
                                let at = usize::try_from((cell * stride) as i64 + element.offset).unwrap();
                                let results = element
                                    .contributions
                                    .iter()
                                    .map(|found| (cell - found.back, found.position));
                                assert_eq!(found[at].replace(results.collect::<Vec<_>>()), None);
                            }
                        }
                    }
                    let expected: Vec<_> = expected.into_iter().map(Some).collect();
                    assert_eq!(found, expected, "{axis:?}");
                }
            }
        }
        assert!(tried > 200);
    }

    /// There are few kinds of cells, for any input size.
    #[test]
    fn cells_within_are_one_kind() {
        let kinds = |axis: Axis| {
            Cells::of(&axis).iter().map(|cells| (cells.count, cells.terms())).collect::<Vec<_>>()
        };
        assert_eq!(kinds(axis(14, 3, 2, 1, 1)), [(1, 1), (6, 3), (1, 1)]);
        assert_eq!(kinds(axis(15, 3, 2, 0, 1)), [(1, 2), (6, 3), (1, 1)]);
        assert_eq!(kinds(axis(28, 3, 1, 1, 1)), [(1, 2), (26, 3), (1, 2)]);
        assert_eq!(kinds(axis(1_000_000, 2, 2, 0, 1)), [(500_000, 2)]);
    }
}
