//! Reference evaluation of reshape, concat and slice.

use super::{Concat, Reshape, Slice};
use crate::interp::{Array, Data, Evaluate, Real};

impl Evaluate for Reshape {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        vec![Array { sizes: results[0].clone(), data: operands[0].data.clone() }]
    }
}

impl Evaluate for Concat {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let outer = results[0][..self.axis].iter().product();
        let data = match operands[0].data {
            Data::Real(_) => Data::Real(join(outer, operands.iter().map(|part| part.real()))),
            Data::Int(_) => Data::Int(join(outer, operands.iter().map(|part| part.int()))),
        };
        vec![Array { sizes: results[0].clone(), data }]
    }
}

impl Evaluate for Slice {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let sizes = &operands[0].sizes;
        let inner: usize = sizes[self.axis + 1..].iter().product();
        let (row, start, length) = (sizes[self.axis] * inner, self.start * inner, self.length * inner);
        let data = match &operands[0].data {
            Data::Real(values) => Data::Real(cut(values, row, start, length)),
            Data::Int(values) => Data::Int(cut(values, row, start, length)),
        };
        vec![Array { sizes: results[0].clone(), data }]
    }
}

/// For each of `outer` rows, the row of every part, one after the other.
fn join<'a, E: Copy + 'a>(outer: usize, parts: impl Iterator<Item = &'a [E]> + Clone) -> Vec<E> {
    (0..outer)
        .flat_map(|row| {
            parts.clone().flat_map(move |part| {
                let length = part.len() / outer;
                part[row * length..][..length].iter().copied()
            })
        })
        .collect()
}

/// From each row of `row` elements, the `length` elements from `start` on.
fn cut<E: Copy>(values: &[E], row: usize, start: usize, length: usize) -> Vec<E> {
    values.chunks(row).flat_map(|row| row[start..][..length].iter().copied()).collect()
}
