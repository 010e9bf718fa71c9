//! Sums of the interpreter: accumulated in double precision, rounded once.

use super::Real;

/// A sum in double precision, rounded to the type of its terms at the end. It starts at `+0`.
///
/// The product of two `f32` is exact in `f64`, and the error of a sum of `n` terms is below `n · 2⁻⁵³` times the sum of
/// their magnitudes: in `f32` only the final rounding is visible. Sums that are exact in `f32`, such as those of small
/// integers, are the same in every order and precision.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Total(f64);

impl Total {
    /// The sum of some terms, rounded.
    pub(crate) fn of<T: Real>(terms: impl IntoIterator<Item = T>) -> T {
        let mut total = Total::default();
        terms.into_iter().for_each(|term| total.add(term));
        total.round()
    }

    /// The sum of the products of some pairs, rounded.
    pub(crate) fn of_products<T: Real>(pairs: impl IntoIterator<Item = (T, T)>) -> T {
        let mut total = Total::default();
        pairs.into_iter().for_each(|(a, b)| total.add_product(a, b));
        total.round()
    }

    /// Rounds each of some sums.
    pub(crate) fn round_all<T: Real>(totals: Vec<Total>) -> Vec<T> {
        totals.into_iter().map(Total::round).collect()
    }

    /// Adds a term.
    pub(crate) fn add<T: Real>(&mut self, term: T) {
        self.0 += term.to_f64();
    }

    /// Adds a product without rounding it to the type of its factors.
    pub(crate) fn add_product<T: Real>(&mut self, a: T, b: T) {
        self.0 += a.to_f64() * b.to_f64();
    }

    /// The sum so far in the type of the terms.
    pub(crate) fn round<T: Real>(self) -> T {
        T::from_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_rounded_once() {
        // 0.1 is 13421773 · 2⁻²⁷ in f32; a million of them are exact in f64.
        let exact = (1_000_000.0 * f64::from(0.1f32)) as f32;
        assert_eq!(Total::of(vec![0.1f32; 1_000_000]), exact);
        // The products differ only beyond the precision of f32.
        let (a, b) = (1.0f32 + f32::EPSILON, 1.0f32 - f32::EPSILON);
        assert_eq!(Total::of_products([(a, b), (-1.0, 1.0)]), -f32::EPSILON * f32::EPSILON);
        assert_eq!(Total::of([-0.0f32]).to_bits(), 0.0f32.to_bits());
    }
}
