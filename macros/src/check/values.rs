//! The values of expressions and block parameters.

use std::fmt;
use std::rc::Rc;

use num_rational::Ratio;

use super::names::ScopeId;
use super::scope::Environment;
use crate::ast::Call;

/// The value of an expression or block parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// An integer, or the result of `+ - * / %` on integers: `1 / 2` is one half. The argument that uses the value
    /// decides whether a fraction is allowed. Numerator and denominator fit into 64 bits, so that the 128 bits of an
    /// intermediate result never overflow.
    Exact(Ratio<i128>),
    /// A number written with a decimal point, or computed from one.
    Real(f64),
    Flag(bool),
    Tuple(Vec<Value>),
    /// A layer or block, such as an activation.
    Layer(Rc<Passed>),
    /// Unknown, because of a mistake that was already reported, or in a block that nothing calls.
    Unknown,
}

/// A layer or block that is an argument of a block.
pub(crate) struct Passed {
    /// Its call. Without arguments, they may be given where it is used.
    pub(super) call: Call,
    /// The parameters where it was written, with which its arguments are evaluated.
    pub(super) environment: Environment,
    /// The scope of its name.
    pub(super) scope: ScopeId,
}

impl Passed {
    pub(super) fn new(call: Call, environment: &Environment, scope: ScopeId) -> Rc<Self> {
        Rc::new(Passed { call, environment: environment.values_alone(), scope })
    }
}

/// Two calls with the same words count as equal.
impl PartialEq for Passed {
    fn eq(&self, other: &Self) -> bool {
        self.scope == other.scope && self.call.to_string() == other.call.to_string()
    }
}

impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.call)
    }
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
            Value::Layer(passed) => write!(f, "{}", passed.call),
            Value::Tuple(values) => {
                let words: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "({})", words.join(", "))
            }
            Value::Unknown => f.write_str("_"),
        }
    }
}
