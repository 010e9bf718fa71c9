//! Reference evaluation of products of matrices.

use super::Matmul;
use crate::interp::{Array, Evaluate, Real, Total};

impl Evaluate for Matmul {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (left, right) = (operands[0].real(), operands[1].real());
        let (batch, rows, columns) = (results[0][0], results[0][1], results[0][2]);
        let steps = operands[0].sizes[if self.transpose_left { 1 } else { 2 }];
        let mut y = Vec::with_capacity(batch * rows * columns);
        for item in 0..batch {
            for row in 0..rows {
                for column in 0..columns {
                    let products = (0..steps).map(|step| {
                        let l = if self.transpose_left { step * rows + row } else { row * steps + step };
                        let r = if self.transpose_right {
                            column * steps + step
                        } else {
                            step * columns + column
                        };
                        (left[item * rows * steps + l], right[item * steps * columns + r])
                    });
                    y.push(Total::of_products(products));
                }
            }
        }
        vec![Array::new(results[0].clone(), y)]
    }
}
