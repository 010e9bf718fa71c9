//! Sizes that are known when a program runs: their names, polynomials of them, and the values that a run gives them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::ParseTypeError;

/// The name of an open size: a size that is known when a program runs.
///
/// A name is an upper-case ASCII letter, followed by up to 14 ASCII letters, digits and underscores. [`Symbol::BATCH`] is
/// the number of samples in the batch, which comes before all others in their order.
///
/// ```
/// use windlass_compiler::shape::Symbol;
/// let frames: Symbol = "T".parse()?;
/// assert_eq!(frames.to_string(), "T");
/// assert!(Symbol::BATCH < frames);
/// assert!("time".parse::<Symbol>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol([u8; Symbol::MOST_BYTES]);

impl Symbol {
    /// The number of samples in the batch: `N`.
    pub const BATCH: Symbol = Symbol([b'N', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// The longest name.
    pub const MOST_BYTES: usize = 15;

    /// The name.
    pub fn name(&self) -> &str {
        let length = self.0.iter().position(|&byte| byte == 0).unwrap_or(Symbol::MOST_BYTES);
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

impl FromStr for Symbol {
    type Err = ParseTypeError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.len() <= Symbol::MOST_BYTES
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(ParseTypeError::Syntax {
                text: name.to_owned(),
                expected: "the name of an open size: an upper-case letter and up to 14 letters, digits and underscores",
            });
        }
        let mut bytes = [0; Symbol::MOST_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Symbol(bytes))
    }
}

impl Ord for Symbol {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |symbol: &Symbol| (*symbol != Symbol::BATCH, symbol.0);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Symbol {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A product of open sizes: its symbols in order, a power as a repetition. No symbol: 1.
type Monomial = Vec<Symbol>;

/// A polynomial of open sizes with integer coefficients: `N*T*40 + N*80`.
///
/// Coefficients that do not fit an `i64` are the largest or smallest that do.
///
/// ```
/// use windlass_compiler::shape::{Polynomial, Sizes, Symbol};
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
    /// Monomials with their coefficients, none of which is 0: those with the most symbols first, then in the order of symbols.
    terms: Vec<(Monomial, i64)>,
}

/// A polynomial as it is written: a number, or text.
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

/// The most symbols of a monomial: products beyond are refused by [`Polynomial::from_str`].
const MOST_SYMBOLS: usize = 8;

impl Polynomial {
    /// The monomials with their coefficients.
    pub fn terms(&self) -> impl Iterator<Item = (&[Symbol], i64)> {
        self.terms.iter().map(|(monomial, coefficient)| (&monomial[..], *coefficient))
    }

    /// The number it is, where it has no symbol.
    pub fn as_number(&self) -> Option<i64> {
        match &self.terms[..] {
            [] => Some(0),
            [(monomial, number)] if monomial.is_empty() => Some(*number),
            _ => None,
        }
    }

    /// The symbol it is, where it is one alone.
    pub fn as_symbol(&self) -> Option<Symbol> {
        match &self.terms[..] {
            [(monomial, 1)] if monomial.len() == 1 => Some(monomial[0]),
            _ => None,
        }
    }

    /// The symbols, each once, in order.
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

    /// The greatest number that divides every coefficient, and the polynomial divided by it; 1 where there is no term.
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

    /// The value at sizes; a symbol without a value counts as 1. What is negative is 0, and what does not fit a number is
    /// the largest number.
    pub fn at(&self, sizes: &Sizes) -> usize {
        let value = self.terms.iter().fold(0i128, |sum, (monomial, coefficient)| {
            let product = monomial.iter().fold(i128::from(*coefficient), |product, symbol| {
                product.saturating_mul(sizes.of(*symbol) as i128)
            });
            sum.saturating_add(product)
        });
        usize::try_from(value.max(0)).unwrap_or(usize::MAX)
    }

    /// Whether it is at least 1 wherever every symbol is at least 1; `false` as for [`Polynomial::is_never_negative`].
    pub fn is_positive(&self) -> bool {
        self.minus(&Polynomial::from(1usize)).is_never_negative()
    }

    /// Whether it is at least 0 wherever every symbol is at least 1. The answer `false` may also mean that this cannot be
    /// told from its coefficients.
    pub fn is_never_negative(&self) -> bool {
        // In terms of how far each symbol is above 1, no coefficient may be negative.
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

    /// A function of every coefficient.
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

/// The values of open sizes in one run.
///
/// ```
/// use windlass_compiler::shape::{Sizes, Symbol};
/// let sizes = Sizes::from(64).with("T".parse()?, 35);
/// assert_eq!(sizes.of(Symbol::BATCH), 64);
/// assert_eq!(sizes.get("S".parse()?), None);
/// assert_eq!(sizes.to_string(), "N = 64, T = 35");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    batch: Option<usize>,
    others: SmallVec<[(Symbol, usize); 2]>,
}

impl Sizes {
    /// No value yet.
    pub fn new() -> Self {
        Sizes::default()
    }

    /// The value of a symbol, if it has one.
    pub fn get(&self, symbol: Symbol) -> Option<usize> {
        match symbol {
            Symbol::BATCH => self.batch,
            _ => self.others.iter().find(|(own, _)| *own == symbol).map(|(_, value)| *value),
        }
    }

    /// The value of a symbol; 1 if it has none.
    pub fn of(&self, symbol: Symbol) -> usize {
        self.get(symbol).unwrap_or(1)
    }

    /// The number of samples in the batch; 1 if it has no value.
    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(1)
    }

    /// Gives a symbol a value.
    pub fn set(&mut self, symbol: Symbol, value: usize) {
        if symbol == Symbol::BATCH {
            self.batch = Some(value);
            return;
        }
        match self.others.binary_search_by_key(&symbol, |(own, _)| *own) {
            Ok(at) => self.others[at].1 = value,
            Err(at) => self.others.insert(at, (symbol, value)),
        }
    }

    /// These sizes with another value.
    #[must_use]
    pub fn with(mut self, symbol: Symbol, value: usize) -> Self {
        self.set(symbol, value);
        self
    }

    /// The symbols with their values, in the order of symbols.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, usize)> {
        self.batch.map(|batch| (Symbol::BATCH, batch)).into_iter().chain(self.others.iter().copied())
    }
}

impl From<usize> for Sizes {
    /// A batch of so many samples.
    fn from(batch: usize) -> Self {
        Sizes { batch: Some(batch), others: SmallVec::new() }
    }
}

impl From<&Sizes> for Sizes {
    fn from(sizes: &Sizes) -> Self {
        sizes.clone()
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (symbol, value)) in self.iter().enumerate() {
            write!(f, "{}{symbol} = {value}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
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
        let long = ["T"; 12].join("*");
        for text in ["", "+", "t", "T+", "T**2", "T^2", "+ 2", "--1", "T + + 1", "4T", &long] {
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
