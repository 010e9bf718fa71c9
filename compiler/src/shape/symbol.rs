//! The names of open sizes, which are known only at run time.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::ParseTypeError;

/// The name of an open size: a size known only at run time.
///
/// A name is an upper-case ASCII letter, followed by up to 14 ASCII letters, digits and underscores. [`Symbol::BATCH`]
/// is the number of samples in the batch; it sorts before all others.
///
/// ```
/// use windlass::Symbol;
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

    /// The maximum length of a name.
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
