//! The transforms of Winograd's minimal filtering (Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308) as
//! expressions: `n = m + r − 1` products give `m` results of `r` kernel positions. The matrices follow from the points
//! at which polynomials are evaluated: 0, infinity, and pairs ±p. Pairs share their even and odd parts.

use crate::kernel::{ExprId, MapBuilder};

/// F(m, r) along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filtering {
    /// Results.
    pub(super) results: usize,
    /// Kernel positions.
    pub(super) kernel_size: usize,
}

/// Points for n = 4, 6 and 8. Those for 6 give smaller coefficients than the usual ±1, ±2, and therefore smaller
/// errors.
const POINTS: [&[f64]; 3] =
    [&[1.0], &[std::f64::consts::FRAC_1_SQRT_2, std::f64::consts::SQRT_2], &[1.0, 2.0, 0.5]];

impl Filtering {
    /// Products along the axis.
    pub(super) fn products(self) -> usize {
        self.results + self.kernel_size - 1
    }

    fn points(self) -> &'static [f64] {
        POINTS[(self.products() - 4) / 2]
    }

    /// The transform of the inputs, `Bᵀ·d`: coefficients by row.
    fn input_matrix(self) -> Vec<Vec<f64>> {
        let (points, n) = (self.points(), self.products());
        let mut rows = Vec::new();
        let all = even_polynomial(points, None);
        rows.push(placed(&all, 0, n));
        for (index, &point) in points.iter().enumerate() {
            let others = even_polynomial(points, Some(index));
            let (even, odd) = (placed(&others, 2, n), placed(&others, 1, n));
            for sign in [1.0, -1.0] {
                rows.push(even.iter().zip(&odd).map(|(even, odd)| even + sign * point * odd).collect());
            }
        }
        rows.push(placed(&all, 1, n));
        rows
    }

    /// The transform of the weights, `G·g`: coefficients by row.
    pub(super) fn weight_matrix(self) -> Vec<Vec<f64>> {
        let points = self.points();
        let mut rows = vec![vec![0.0; self.kernel_size]; self.products()];
        rows[0][0] = 1.0 / points.iter().map(|point| -point * point).product::<f64>();
        for (index, &point) in points.iter().enumerate() {
            let square = point * point;
            let others: f64 = points
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, other)| square - other * other)
                .product();
            for (side, signed) in [point, -point].into_iter().enumerate() {
                for (power, coefficient) in rows[1 + 2 * index + side].iter_mut().enumerate() {
                    *coefficient = signed.powi(power as i32) / (2.0 * square * others);
                }
            }
        }
        rows[self.products() - 1][self.kernel_size - 1] = 1.0;
        rows
    }

    /// The transform of the products, `Aᵀ·m`: coefficients by row.
    fn output_matrix(self) -> Vec<Vec<f64>> {
        let n = self.products();
        (0..self.results)
            .map(|power| {
                let mut row = vec![0.0; n];
                row[0] = if power == 0 { 1.0 } else { 0.0 };
                for (index, &point) in self.points().iter().enumerate() {
                    row[1 + 2 * index] = point.powi(power as i32);
                    row[2 + 2 * index] = (-point).powi(power as i32);
                }
                row[n - 1] = if power + 1 == self.results { 1.0 } else { 0.0 };
                row
            })
            .collect()
    }

    /// The transform of a square of inputs, in row-major order.
    pub(super) fn inputs(self, map: &mut MapBuilder, elements: &[ExprId]) -> Vec<ExprId> {
        square(map, elements, self.products(), &self.input_matrix())
    }

    /// The transform of a square of weights, in row-major order.
    pub(super) fn weights(self, map: &mut MapBuilder, elements: &[ExprId]) -> Vec<ExprId> {
        square(map, elements, self.kernel_size, &self.weight_matrix())
    }

    /// The transform of a square of output gradients, in row-major order: `A·g·Aᵀ`.
    pub(super) fn gradients(self, map: &mut MapBuilder, elements: &[ExprId]) -> Vec<ExprId> {
        square(map, elements, self.results, &transposed(&self.output_matrix()))
    }

    /// The transform of a square of sums of products to weight gradients, in row-major order: `Gᵀ·s·G`.
    pub(super) fn weight_gradients(self, map: &mut MapBuilder, elements: &[ExprId]) -> Vec<ExprId> {
        square(map, elements, self.products(), &transposed(&self.weight_matrix()))
    }

    /// The transform of a square of products, in row-major order.
    pub(super) fn outputs(self, map: &mut MapBuilder, elements: &[ExprId]) -> Vec<ExprId> {
        square(map, elements, self.products(), &self.output_matrix())
    }
}

fn transposed(matrix: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..matrix[0].len()).map(|column| matrix.iter().map(|row| row[column]).collect()).collect()
}

/// Coefficients of `Π(x² − p²)` over all points except one, for x⁰, x², x⁴, ….
fn even_polynomial(points: &[f64], without: Option<usize>) -> Vec<f64> {
    let mut polynomial = vec![1.0];
    for (index, point) in points.iter().enumerate() {
        if Some(index) != without {
            let mut next = vec![0.0; polynomial.len() + 1];
            for (power, coefficient) in polynomial.iter().enumerate() {
                next[power] -= coefficient * point * point;
                next[power + 1] += coefficient;
            }
            polynomial = next;
        }
    }
    polynomial
}

/// Places coefficients at every second index, starting with `first`.
fn placed(coefficients: &[f64], first: usize, places: usize) -> Vec<f64> {
    let mut row = vec![0.0; places];
    for (index, &coefficient) in coefficients.iter().enumerate() {
        row[first + 2 * index] = coefficient;
    }
    row
}

/// `M·E·Mᵀ` for a square `E` of `size` rows: columns first, then rows.
fn square(map: &mut MapBuilder, elements: &[ExprId], size: usize, matrix: &[Vec<f64>]) -> Vec<ExprId> {
    let columns: Vec<Vec<ExprId>> = (0..size)
        .map(|column| {
            let along: Vec<ExprId> = (0..size).map(|row| elements[row * size + column]).collect();
            apply(map, matrix, &along)
        })
        .collect();
    (0..matrix.len())
        .flat_map(|row| {
            let along: Vec<ExprId> = columns.iter().map(|column| column[row]).collect();
            apply(map, matrix, &along)
        })
        .collect()
}

/// `M·v`. Neighbouring rows that differ only in the signs of some terms share their two partial sums.
fn apply(map: &mut MapBuilder, matrix: &[Vec<f64>], vector: &[ExprId]) -> Vec<ExprId> {
    let mut results: Vec<ExprId> = Vec::new();
    let mut row = 0;
    while row < matrix.len() {
        let pair = matrix.get(row + 1).filter(|next| {
            matrix[row].iter().zip(*next).all(|(a, b)| a.abs() == b.abs())
                && matrix[row].iter().zip(*next).any(|(a, b)| a != b)
        });
        match pair {
            Some(next) => {
                let split = |same: bool| -> Vec<f64> {
                    let part = |(a, b): (&f64, &f64)| if (a == b) == same { *a } else { 0.0 };
                    matrix[row].iter().zip(next).map(part).collect()
                };
                let even = combine(map, &split(true), vector);
                let odd = combine(map, &split(false), vector);
                results.push(map.add(even, odd));
                results.push(map.subtract(even, odd));
                row += 2;
            }
            None => {
                results.push(combine(map, &matrix[row], vector));
                row += 1;
            }
        }
    }
    results
}

/// A sum of products with coefficients; a common factor of the terms is multiplied last.
fn combine(map: &mut MapBuilder, coefficients: &[f64], vector: &[ExprId]) -> ExprId {
    let terms: Vec<(f64, ExprId)> =
        coefficients.iter().zip(vector).filter(|(c, _)| **c != 0.0).map(|(&c, &e)| (c, e)).collect();
    let factor = match &terms[..] {
        [(first, _), rest @ ..] if rest.iter().all(|(c, _)| c == first) => *first,
        _ => 1.0,
    };
    let mut sum: Option<ExprId> = None;
    for (coefficient, element) in terms {
        let coefficient = coefficient / factor;
        let term = if coefficient.abs() == 1.0 {
            element
        } else {
            let constant = map.constant(coefficient.abs());
            map.multiply(element, constant)
        };
        sum = Some(match sum {
            None if coefficient < 0.0 => {
                let zero = map.constant(0.0);
                map.subtract(zero, term)
            }
            None => term,
            Some(sum) if coefficient < 0.0 => map.subtract(sum, term),
            Some(sum) => map.add(sum, term),
        });
    }
    let sum = sum.unwrap_or_else(|| map.constant(0.0));
    if factor == 1.0 {
        return sum;
    }
    let factor = map.constant(factor);
    map.multiply(sum, factor)
}

#[cfg(test)]
mod tests {
    use super::Filtering;

    fn times(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
        matrix.iter().map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum()).collect()
    }

    #[test]
    fn every_filtering_is_a_correlation() {
        for (results, kernel_size) in [(2, 3), (4, 3), (6, 3), (2, 5), (4, 5)] {
            let filtering = Filtering { results, kernel_size };
            let d: Vec<f64> = (0..filtering.products()).map(|i| (i * i % 7) as f64 - 2.5).collect();
            let g: Vec<f64> = (0..kernel_size).map(|i| (i * 3 % 5) as f64 - 1.25).collect();
            let products: Vec<f64> = times(&filtering.input_matrix(), &d)
                .iter()
                .zip(times(&filtering.weight_matrix(), &g))
                .map(|(a, b)| a * b)
                .collect();
            let y = times(&filtering.output_matrix(), &products);
            for (index, y) in y.iter().enumerate() {
                let expected: f64 = g.iter().enumerate().map(|(position, g)| g * d[index + position]).sum();
                assert!((y - expected).abs() < 1e-11, "F({results}, {kernel_size}): {y} for {expected}");
            }
        }
    }
}
