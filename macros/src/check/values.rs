//! The values of expressions and block parameters.

use std::fmt;

use num_rational::Ratio;

/// The value of an expression or block parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// An integer, or the result of `+ - * / %` on integers: `1 / 2` is one half. The argument that uses the value
    /// decides whether a fraction is allowed. Numerator and denominator fit into 64 bits, so that the 128 bits of an
    /// intermediate result never overflow.
    Exact(Ratio<i128>),
    /// A number written with a decimal point, or computed from one.
    Real(f64),
    Flag(bool),
    Tuple(Vec<Value>),
    /// A layer or block without required arguments, such as an activation, by name.
    Layer(String),
    /// Unknown, because of a mistake that was already reported, or in a block that nothing calls.
    Unknown,
}

impl Value {
    /// The value as a real number, if it is a number.
    pub(super) fn real(&self) -> Option<f64> {
        match self {
            Value::Exact(value) => Some(*value.numer() as f64 / *value.denom() as f64),
            Value::Real(value) => Some(*value),
            Value::Flag(_) | Value::Tuple(_) | Value::Layer(_) | Value::Unknown => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Exact(value) => write!(f, "{value}"),
            Value::Real(value) => write!(f, "{value:?}"),
            Value::Flag(value) => write!(f, "{value}"),
            Value::Layer(name) => f.write_str(name),
            Value::Tuple(values) => {
                let words: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "({})", words.join(", "))
            }
            Value::Unknown => f.write_str("_"),
        }
    }
}
