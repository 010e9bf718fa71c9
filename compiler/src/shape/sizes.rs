//! The values of open sizes in a run.

use std::fmt;

use smallvec::SmallVec;

use super::Symbol;

/// The values of open sizes in one run.
///
/// ```
/// use windlass::{Sizes, Symbol};
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
    /// A batch of the given number of samples.
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
