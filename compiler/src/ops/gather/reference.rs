//! Reference evaluation of rows of a table and of their gradient.

use super::{Gather, GatherGrad};
use crate::interp::{Array, Evaluate, Real, Total};

/// The elements of a row, if the index is in the table.
fn row(index: i32, rows: usize, features: usize) -> Option<std::ops::Range<usize>> {
    let index = usize::try_from(index).ok().filter(|index| *index < rows)?;
    Some(index * features..(index + 1) * features)
}

impl Evaluate for Gather {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (table, indices) = (operands[0], operands[1].int());
        let features = table.sizes[1];
        let rows = indices.iter().map(|&index| match row(index, self.rows, features) {
            Some(row) => table.real()[row].to_vec(),
            None => vec![T::zero(); features],
        });
        vec![Array::new(results[0].clone(), rows.flatten().collect())]
    }
}

impl Evaluate for GatherGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (g, indices) = (operands[0].real(), operands[1].int());
        let features = results[0][1];
        let mut sums = vec![Total::default(); self.rows * features];
        for (&index, g) in indices.iter().zip(g.chunks(features)) {
            if let Some(row) = row(index, self.rows, features) {
                sums[row].iter_mut().zip(g).for_each(|(sum, &g)| sum.add(g));
            }
        }
        vec![Array::new(results[0].clone(), Total::round_all(sums))]
    }
}

#[cfg(test)]
mod tests {
    use super::{Gather, GatherGrad};
    use crate::interp::{Array, Evaluate};

    #[test]
    fn rows_outside_the_table_are_zero_and_get_no_gradient() {
        let table = Array::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0]);
        let indices = Array::ints([5], vec![1, -1, 0, 2, 1]);
        let rows = Gather { rows: 2 }.evaluate(&[&table, &indices], &[vec![5, 2]]).remove(0);
        assert_eq!(rows.real(), [3.0, 4.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
        let g = Array::new([5, 2], (0..10).map(|g| g as f32).collect());
        let sums = GatherGrad { rows: 2 }.evaluate(&[&g, &indices], &[vec![2, 2]]).remove(0);
        assert_eq!(sums.real(), [4.0, 5.0, 8.0, 10.0]);
    }
}
