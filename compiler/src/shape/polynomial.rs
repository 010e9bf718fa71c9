//! Sizes as polynomials of open sizes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ParseTypeError, Sizes, Symbol};

/// A product of open sizes: its symbols in order, with powers as repetitions. Empty for 1.
type Monomial = Vec<Symbol>;

/// A polynomial of open sizes with integer coefficients: `N*T*40 + N*80`.
///
/// Coefficients saturate at the limits of `i64`.
///
/// ```
/// use windlass::{Polynomial, Sizes, Symbol};
/// let frames = Polynomial::from("T".parse::<Symbol>()?);
/// let padded = frames.plus(&Polynomial::from(2usize)).times(&Polynomial::from(Symbol::BATCH));
/// assert_eq!(padded.to_string(), "N*T + N*2");
/// assert_eq!(padded, "N*T + N*2".parse()?);
/// let sizes = Sizes::from(3).with("T".parse()?, 10);
/// assert_eq!(padded.at(&sizes), 36);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Polynomial {
    /// Monomials with their nonzero coefficients: those with the most symbols first, then in the order of symbols.
    terms: Vec<(Monomial, i64)>,
}

/// A serialized polynomial: a number, or text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Text(String),
}

impl From<Polynomial> for Written {
    fn from(polynomial: Polynomial) -> Self {
        polynomial.as_number().map_or_else(|| Written::Text(polynomial.to_string()), Written::Number)
    }
}

impl TryFrom<Written> for Polynomial {
    type Error = ParseTypeError;

    fn try_from(written: Written) -> Result<Self, ParseTypeError> {
        match written {
            Written::Number(number) => Ok(Polynomial::from(number)),
            Written::Text(text) => text.parse(),
        }
    }
}

/// The maximum number of terms of a text: parsing takes time quadratic in it.
const MOST_TERMS: usize = 64;

/// The maximum number of symbols of a monomial; [`Polynomial::from_str`] refuses larger products.
const MOST_SYMBOLS: usize = 8;

impl Polynomial {
    /// The monomials with their coefficients.
    pub fn terms(&self) -> impl Iterator<Item = (&[Symbol], i64)> {
        self.terms.iter().map(|(monomial, coefficient)| (&monomial[..], *coefficient))
    }

    /// Its value, if it has no symbol.
    pub fn as_number(&self) -> Option<i64> {
        match &self.terms[..] {
            [] => Some(0),
            [(monomial, number)] if monomial.is_empty() => Some(*number),
            _ => None,
        }
    }

    /// The symbol, if it is a single one.
    pub fn as_symbol(&self) -> Option<Symbol> {
        match &self.terms[..] {
            [(monomial, 1)] if monomial.len() == 1 => Some(monomial[0]),
            _ => None,
        }
    }

    /// The symbols, without duplicates, in order.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> =
            self.terms.iter().flat_map(|(monomial, _)| monomial.iter().copied()).collect();
        symbols.sort_unstable();
        symbols.dedup();
        symbols
    }

    /// The term without a symbol.
    #[must_use]
    pub fn constant(&self) -> Self {
        Self::sum(self.terms.iter().filter(|(monomial, _)| monomial.is_empty()).cloned())
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Polynomial) -> Self {
        Self::sum(self.terms.iter().chain(&other.terms).cloned())
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Polynomial) -> Self {
        self.plus(&other.scaled(-1))
    }

    /// The product.
    #[must_use]
    pub fn times(&self, other: &Polynomial) -> Self {
        let products = self.terms.iter().flat_map(|(left, a)| {
            other.terms.iter().map(move |(right, b)| {
                let mut monomial = [&left[..], &right[..]].concat();
                monomial.sort_unstable();
                (monomial, a.saturating_mul(*b))
            })
        });
        Self::sum(products)
    }

    /// The product with a number.
    #[must_use]
    pub fn scaled(&self, factor: i64) -> Self {
        Self::sum(self.terms.iter().map(|(monomial, own)| (monomial.clone(), own.saturating_mul(factor))))
    }

    /// The greatest common divisor of all coefficients, and the polynomial divided by it; 1 if there is no term.
    pub fn primitive(&self) -> (usize, Polynomial) {
        let content =
            self.terms.iter().fold(0, |divisor, (_, own)| common_divisor(divisor, own.unsigned_abs()));
        match i64::try_from(content) {
            Ok(divisor @ 1..) => {
                let terms =
                    self.terms.iter().map(|(monomial, own)| (monomial.clone(), own / divisor)).collect();
                (content as usize, Polynomial { terms })
            }
            _ => (1, self.clone()),
        }
    }

    /// The value for given sizes; a missing symbol counts as 1. Negative values become 0, and the result saturates.
    pub fn at(&self, sizes: &Sizes) -> usize {
        let value = self.terms.iter().fold(0i128, |sum, (monomial, coefficient)| {
            let product = monomial.iter().fold(i128::from(*coefficient), |product, symbol| {
                product.saturating_mul(sizes.of(*symbol) as i128)
            });
            sum.saturating_add(product)
        });
        usize::try_from(value.max(0)).unwrap_or(usize::MAX)
    }

    /// Whether it is at least 1 if every symbol is at least 1; `false` as for [`Polynomial::is_never_negative`].
    pub fn is_positive(&self) -> bool {
        self.minus(&Polynomial::from(1usize)).is_never_negative()
    }

    /// Whether it is at least 0 if every symbol is at least 1. `false` may also mean that the coefficients do not show
    /// it.
    pub fn is_never_negative(&self) -> bool {
        // As a polynomial of each symbol minus 1, it must have no negative coefficient.
        let mut shifted = Polynomial::default();
        for (monomial, coefficient) in &self.terms {
            let one = Polynomial::from(1i64);
            let product = monomial.iter().fold(Polynomial::from(*coefficient), |product, symbol| {
                product.times(&Polynomial::from(*symbol).plus(&one))
            });
            shifted = shifted.plus(&product);
        }
        shifted.terms.iter().all(|(_, coefficient)| *coefficient >= 0)
    }

    /// Maps every coefficient.
    #[must_use]
    pub fn map(&self, function: impl Fn(i64) -> i128) -> Self {
        let clamped = |value: i128| value.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        Self::sum(self.terms.iter().map(|(monomial, own)| (monomial.clone(), clamped(function(*own)))))
    }

    /// Sums terms in any order.
    fn sum(terms: impl Iterator<Item = (Monomial, i64)>) -> Self {
        let mut all: Vec<(Monomial, i64)> = terms.collect();
        all.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        let mut terms: Vec<(Monomial, i64)> = Vec::with_capacity(all.len());
        for (monomial, coefficient) in all {
            match terms.last_mut() {
                Some((last, sum)) if *last == monomial => *sum = sum.saturating_add(coefficient),
                _ => terms.push((monomial, coefficient)),
            }
        }
        terms.retain(|(_, coefficient)| *coefficient != 0);
        Polynomial { terms }
    }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl From<i64> for Polynomial {
    fn from(number: i64) -> Self {
        Polynomial::sum(std::iter::once((Vec::new(), number)))
    }
}

impl From<usize> for Polynomial {
    fn from(number: usize) -> Self {
        Polynomial::from(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Symbol> for Polynomial {
    fn from(symbol: Symbol) -> Self {
        Polynomial { terms: vec![(vec![symbol], 1)] }
    }
}

impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        for (index, (monomial, coefficient)) in self.terms.iter().enumerate() {
            f.write_str(match (index, *coefficient < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            })?;
            let mut factors: Vec<String> = monomial.iter().map(Symbol::to_string).collect();
            if *coefficient != 1 && *coefficient != -1 || monomial.is_empty() {
                factors.push(coefficient.unsigned_abs().to_string());
            }
            f.write_str(&factors.join("*"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Polynomial {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error =
            || ParseTypeError::Syntax { text: text.to_owned(), expected: "a size such as 40, T or T*2 + 1" };
        let mut sum = Polynomial::default();
        let (mut rest, mut sign) = (text.trim(), 1i64);
        if let Some(negated) = rest.strip_prefix('-') {
            (rest, sign) = (negated, -1);
        }
        if rest.split(['+', '-']).count() > MOST_TERMS {
            return Err(error());
        }
        loop {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let mut term = Polynomial::from(sign);
            let factors: Vec<&str> = rest[..end].split('*').map(str::trim).collect();
            if factors.len() > MOST_SYMBOLS + 1 {
                return Err(error());
            }
            for factor in factors {
                let factor = match factor.parse::<i64>() {
                    Ok(number) if !factor.starts_with('+') => Polynomial::from(number),
                    _ => Polynomial::from(factor.parse::<Symbol>().map_err(|_| error())?),
                };
                term = term.times(&factor);
            }
            sum = sum.plus(&term);
            if end == rest.len() {
                return Ok(sum);
            }
            sign = if rest.as_bytes()[end] == b'-' { -1 } else { 1 };
            rest = &rest[end + 1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polynomial(text: &str) -> Polynomial {
        text.parse().unwrap()
    }

    #[test]
    fn polynomials_print_in_one_order_and_parse() {
        for (text, printed) in [
            ("0", "0"),
            ("40", "40"),
            ("-3", "-3"),
            ("T", "T"),
            ("2*T", "T*2"),
            ("T*N", "N*T"),
            ("1 + T", "T + 1"),
            ("T - 2", "T - 2"),
            ("T + S - S", "T"),
            ("B*T + N*T", "N*T + B*T"),
            ("T*T*3 + N + 1 - T", "T*T*3 + N - T + 1"),
        ] {
            assert_eq!(polynomial(text).to_string(), printed, "{text}");
            assert_eq!(polynomial(printed), polynomial(text), "{text}");
        }
        let (long, many) = (["T"; 12].join("*"), ["T"; 65].join("+"));
        for text in ["", "+", "t", "T+", "T**2", "T^2", "+ 2", "--1", "T + + 1", "4T", &long, &many] {
            assert!(text.parse::<Polynomial>().is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_is_that_of_numbers() {
        let sizes = Sizes::from(3).with("T".parse().unwrap(), 7);
        let (a, b) = (polynomial("N*T*2 + T - 1"), polynomial("T + 4"));
        assert_eq!((a.at(&sizes), b.at(&sizes)), (48, 11));
        assert_eq!(a.plus(&b).at(&sizes), 59);
        assert_eq!(a.minus(&b).at(&sizes), 37);
        assert_eq!(a.times(&b).at(&sizes), 528);
        assert_eq!(a.minus(&a), Polynomial::default());
        assert_eq!(b.minus(&polynomial("T*3")).at(&sizes), 0);
        assert_eq!(polynomial("N*T*6 + T*4").primitive(), (2, polynomial("N*T*3 + T*2")));
        assert_eq!(Polynomial::default().primitive(), (1, Polynomial::default()));
        assert_eq!(Polynomial::from(usize::MAX).scaled(2).at(&sizes), i64::MAX as usize);
    }

    #[test]
    fn what_is_never_negative_is_told_from_values_of_at_least_one() {
        for text in ["0", "3", "T - 1", "N*T - N - T + 1", "N*T*2 - N*2", "T*T - T"] {
            assert!(polynomial(text).is_never_negative(), "{text}");
        }
        for text in ["-1", "T - 2", "N - T", "N*T - T*2 + 1"] {
            assert!(!polynomial(text).is_never_negative(), "{text}");
        }
    }
}
