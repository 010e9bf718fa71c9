//! Numbers that depend on the open sizes of a run, and ranges of them. Addresses are bounded by them.

use smallvec::SmallVec;

use crate::plan::OpenSizes;
use crate::shape::{Polynomial, Symbol};

/// A product of open sizes: the power of each symbol of the plan, 8 bits each.
type Monomial = u64;

/// The maximum number of symbols in a monomial.
const MOST_SYMBOLS: usize = 8;

/// A polynomial of the plan's symbols, each of which is at least 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::plan) struct Count {
    /// Monomials in order, with their coefficients, which are not 0.
    terms: SmallVec<[(Monomial, i128); 2]>,
}

impl Count {
    pub(in crate::plan) fn number(number: i128) -> Self {
        let mut count = Count::default();
        count.add(0, number);
        count
    }

    pub(in crate::plan) fn fixed(number: usize) -> Self {
        Count::number(number as i128)
    }

    /// A polynomial whose symbols are numbered by their index in `symbols`.
    pub(in crate::plan) fn of(polynomial: &Polynomial, symbols: &[Symbol]) -> Self {
        let mut count = Count::default();
        for (monomial, coefficient) in polynomial.terms() {
            let powers = monomial.iter().map(|symbol| {
                let place = symbols.iter().position(|known| known == symbol).unwrap_or(MOST_SYMBOLS - 1);
                1 << (8 * place)
            });
            count.add(powers.sum(), coefficient.into());
        }
        count
    }

    fn add(&mut self, monomial: Monomial, coefficient: i128) {
        match self.terms.binary_search_by_key(&monomial, |(known, _)| *known) {
            Ok(at) => {
                self.terms[at].1 += coefficient;
                if self.terms[at].1 == 0 {
                    self.terms.remove(at);
                }
            }
            Err(_) if coefficient == 0 => {}
            Err(at) => self.terms.insert(at, (monomial, coefficient)),
        }
    }

    pub(in crate::plan) fn plus(&self, other: &Count) -> Self {
        let mut sum = self.clone();
        other.terms.iter().for_each(|&(monomial, coefficient)| sum.add(monomial, coefficient));
        sum
    }

    pub(in crate::plan) fn plus_number(&self, number: i128) -> Self {
        let mut sum = self.clone();
        sum.add(0, number);
        sum
    }

    pub(in crate::plan) fn times(&self, factor: i128) -> Self {
        if factor == 0 {
            return Count::default();
        }
        let mut product = self.clone();
        product.terms.iter_mut().for_each(|(_, coefficient)| *coefficient *= factor);
        product
    }

    pub(in crate::plan) fn product(&self, other: &Count) -> Self {
        let mut product = Count::default();
        for &(left, a) in &self.terms {
            for &(right, b) in &other.terms {
                product.add(left + right, a * b);
            }
        }
        product
    }

    /// The number, if it depends on no open size.
    pub(in crate::plan) fn as_number(&self) -> Option<i128> {
        match self.terms[..] {
            [] => Some(0),
            [(0, number)] => Some(number),
            _ => None,
        }
    }

    /// The maximum number of open sizes multiplied in a term.
    pub(in crate::plan) fn degree(&self) -> u64 {
        let powers =
            |monomial: Monomial| (0..MOST_SYMBOLS).map(move |place| monomial >> (8 * place) & 0xff).sum();
        self.terms.iter().map(|&(monomial, _)| powers(monomial)).max().unwrap_or(0)
    }

    /// The quotient by another count if there is no remainder: by a number or a product of open sizes, or if the
    /// quotient is a number.
    pub(in crate::plan) fn quotient(&self, by: &Count) -> Option<Count> {
        let &(last, of_last) = by.terms.last()?;
        let &(monomial, coefficient) = self.terms.last()?;
        let holds = |place: usize| monomial >> (8 * place) & 0xff >= last >> (8 * place) & 0xff;
        if !(0..MOST_SYMBOLS).all(holds) || coefficient % of_last != 0 {
            return None;
        }
        let mut first = Count::default();
        first.add(monomial - last, coefficient / of_last);
        let rest = self.plus(&by.product(&first).times(-1));
        if rest.terms.is_empty() {
            return Some(first);
        }
        // Every step removes the last monomial.
        if rest.terms.last()?.0 >= monomial { None } else { Some(first.plus(&rest.quotient(by)?)) }
    }

    /// Whether it is below another count for all values of the open sizes.
    pub(in crate::plan) fn is_below(&self, other: &Count) -> bool {
        self.plus_number(1).is_at_most(other)
    }

    /// Whether it is at most another count for all values of the open sizes. `false` may also mean that the
    /// coefficients do not decide it.
    pub(in crate::plan) fn is_at_most(&self, other: &Count) -> bool {
        other.plus(&self.times(-1)).is_never_negative()
    }

    fn is_never_negative(&self) -> bool {
        if self.terms.iter().all(|&(_, coefficient)| coefficient >= 0) {
            return true;
        }
        // In terms of t = s − 1 for each symbol s, no coefficient may be negative.
        let mut shifted = Count::default();
        for &(monomial, coefficient) in &self.terms {
            expand(monomial, 0, 0, coefficient, &mut shifted);
        }
        shifted.terms.iter().all(|&(_, coefficient)| coefficient >= 0)
    }

    /// Prints it with the names of the plan's symbols.
    pub(in crate::plan) fn display(&self, sizes: &OpenSizes) -> String {
        let symbols = sizes.symbols();
        let mut text = String::new();
        for &(monomial, coefficient) in self.terms.iter().rev() {
            let sign = if coefficient < 0 { "-" } else { "+" };
            match (text.is_empty(), coefficient < 0) {
                (true, false) => {}
                (true, true) => text.push('-'),
                (false, _) => text.push_str(&format!(" {sign} ")),
            }
            let number = coefficient.unsigned_abs();
            let mut factors: Vec<String> = symbols
                .iter()
                .take(MOST_SYMBOLS)
                .enumerate()
                .flat_map(|(place, symbol)| {
                    let power = (monomial >> (8 * place) & 0xff) as usize;
                    std::iter::repeat_n(symbol.to_string(), power)
                })
                .collect();
            if factors.is_empty() || number != 1 {
                factors.insert(0, number.to_string());
            }
            text.push_str(&factors.join("*"));
        }
        if text.is_empty() { "0".to_owned() } else { text }
    }
}

/// Adds the expansion of a monomial in `s = 1 + t`, starting with the symbol at an index.
fn expand(monomial: Monomial, place: usize, done: Monomial, coefficient: i128, to: &mut Count) {
    let Some(at) = (place..MOST_SYMBOLS).find(|at| monomial >> (8 * at) & 0xff != 0) else {
        return to.add(done, coefficient);
    };
    let power = (monomial >> (8 * at) & 0xff) as i128;
    let mut binomial = 1;
    for taken in 0..=power {
        expand(monomial, at + 1, done + ((taken as u64) << (8 * at)), coefficient * binomial, to);
        binomial = binomial * (power - taken) / (taken + 1);
    }
}

/// A range of values, including both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::plan) struct Range {
    pub(in crate::plan) least: Count,
    pub(in crate::plan) greatest: Count,
}

impl Range {
    /// From 0 to a number minus 1.
    pub(in crate::plan) fn below(end: &Count) -> Self {
        Range { least: Count::default(), greatest: end.plus_number(-1) }
    }

    pub(in crate::plan) fn plus(&self, other: &Range) -> Self {
        Range { least: self.least.plus(&other.least), greatest: self.greatest.plus(&other.greatest) }
    }

    pub(in crate::plan) fn times(&self, factor: i64) -> Self {
        let (a, b) = (self.least.times(factor.into()), self.greatest.times(factor.into()));
        if factor < 0 { Range { least: b, greatest: a } } else { Range { least: a, greatest: b } }
    }

    /// The product with a number. It is unbounded if the sign of the number is unknown.
    pub(in crate::plan) fn times_count(&self, factor: &Count) -> Option<Self> {
        let zero = Count::default();
        let (least, greatest) = (self.least.product(factor), self.greatest.product(factor));
        if zero.is_at_most(factor) {
            Some(Range { least, greatest })
        } else if factor.is_at_most(&zero) {
            Some(Range { least: greatest, greatest: least })
        } else {
            None
        }
    }

    /// The product with a size, which is never negative.
    pub(in crate::plan) fn times_size(&self, size: &Count) -> Self {
        Range { least: self.least.product(size), greatest: self.greatest.product(size) }
    }

    /// Whether it contains no value, for all values of the open sizes.
    pub(in crate::plan) fn is_empty(&self) -> bool {
        self.greatest.is_below(&self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_compared_at_all_sizes_of_at_least_one() {
        let symbols: Vec<Symbol> = ["N", "T"].map(|name| name.parse().unwrap()).into();
        let count = |text: &str| Count::of(&text.parse().unwrap(), &symbols);
        for (small, large) in
            [("0", "0"), ("N", "N*T"), ("N*T*2 - T", "N*T*2 - 1"), ("T*2 - 1", "T*T"), ("N + T - 1", "N*T")]
        {
            assert!(count(small).is_at_most(&count(large)), "{small} {large}");
        }
        for (left, right) in [("N", "T"), ("N*T", "N*3"), ("3", "N*2"), ("T*T", "T*100")] {
            assert!(!count(left).is_at_most(&count(right)), "{left} {right}");
        }
        assert!(count("T").is_below(&count("T + 1")));
        let quotient = |a: &str, b: &str| count(a).quotient(&count(b));
        assert_eq!(quotient("N*T*6 - T*2", "T*2"), Some(count("N*3 - 1")));
        assert_eq!(quotient("T*4 + 2", "T*2 + 1"), Some(count("2")));
        assert_eq!(quotient("N*T*2 + N", "T*2 + 1"), Some(count("N")));
        for (a, b) in [("T", "N"), ("T + 1", "T"), ("T*3", "T*2"), ("3", "T"), ("T", "T + 1")] {
            assert_eq!(quotient(a, b), None, "{a} {b}");
        }
        assert_eq!(count("T + 2").product(&count("N - 1")), count("N*T + N*2 - T - 2"));
    }
}
