//! Reference evaluation of operators that move elements.

use super::{Concat, Pad, Reshape, Slice, Transpose};
use crate::interp::{Array, Data, Evaluate, Real};
use crate::shape::{Polynomial, Sizes};

impl Evaluate for Reshape {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        vec![Array { sizes: results[0].clone(), data: operands[0].data.clone() }]
    }
}

impl Evaluate for Concat {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let outer = results[0][..self.axis].iter().product();
        let data = match operands[0].data {
            Data::Real(_) => Data::Real(concat(outer, operands.iter().map(|part| part.real()))),
            Data::Int(_) => Data::Int(concat(outer, operands.iter().map(|part| part.int()))),
        };
        vec![Array { sizes: results[0].clone(), data }]
    }
}

impl Evaluate for Slice {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let sizes = &operands[0].sizes;
        let inner: usize = sizes[self.axis + 1..].iter().product();
        let (start, length) = (number(&self.start), results[0][self.axis]);
        let (row, start, length) = (sizes[self.axis] * inner, start * inner, length * inner);
        let data = match &operands[0].data {
            Data::Real(values) => Data::Real(cut(values, row, start, length)),
            Data::Int(values) => Data::Int(cut(values, row, start, length)),
        };
        vec![Array { sizes: results[0].clone(), data }]
    }
}

impl Evaluate for Pad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let inner: usize = results[0][self.axis + 1..].iter().product();
        let row = operands[0].sizes[self.axis] * inner;
        let (before, behind) = (number(&self.before) * inner, number(&self.behind) * inner);
        let data = match &operands[0].data {
            Data::Real(values) => Data::Real(padded(values, row, before, behind, T::zero())),
            Data::Int(values) => Data::Int(padded(values, row, before, behind, 0)),
        };
        vec![Array { sizes: results[0].clone(), data }]
    }
}

impl Evaluate for Transpose {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let from = &operands[0].sizes;
        let distance = |axis: usize| from[axis + 1..].iter().product::<usize>();
        let sizes = results[0].clone();
        let elements: usize = sizes.iter().product();
        let place = |mut index: usize| {
            let mut place = 0;
            for (&axis, &size) in self.order.iter().zip(&sizes).rev() {
                place += index % size * distance(axis);
                index /= size;
            }
            place
        };
        let data = match &operands[0].data {
            Data::Real(values) => Data::Real((0..elements).map(|index| values[place(index)]).collect()),
            Data::Int(values) => Data::Int((0..elements).map(|index| values[place(index)]).collect()),
        };
        vec![Array { sizes, data }]
    }
}

/// A size that is a number in a run; see [`Op::at`](crate::ops::Op::at).
fn number(size: &Polynomial) -> usize {
    size.at(&Sizes::new())
}

/// Adds elements before and after each row of `row` elements.
fn padded<E: Copy>(values: &[E], row: usize, before: usize, behind: usize, zero: E) -> Vec<E> {
    let zeros = |count: usize| std::iter::repeat_n(zero, count);
    values.chunks(row).flat_map(|row| zeros(before).chain(row.iter().copied()).chain(zeros(behind))).collect()
}

/// For each of `outer` rows, concatenates that row of every part.
fn concat<'a, E: Copy + 'a>(outer: usize, parts: impl Iterator<Item = &'a [E]> + Clone) -> Vec<E> {
    (0..outer)
        .flat_map(|row| {
            parts.clone().flat_map(move |part| {
                let length = part.len() / outer;
                part[row * length..][..length].iter().copied()
            })
        })
        .collect()
}

/// Takes `length` elements starting with `start` from each row of `row` elements.
fn cut<E: Copy>(values: &[E], row: usize, start: usize, length: usize) -> Vec<E> {
    values.chunks(row).flat_map(|row| row[start..][..length].iter().copied()).collect()
}
