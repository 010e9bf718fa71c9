//! Expressions over integers and block parameters, computed as the user's program compiles.

use std::fmt;

use quote::ToTokens;
use syn::{BinOp, Expr, Lit, UnOp};

use super::Checker;
use super::scope::Environment;
use crate::ast::{Sizes, plain};
use crate::diagnostics::Mistake;

/// What an expression or a block parameter stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Number(f64),
    Flag(bool),
    Tuple(Vec<Value>),
    /// Not known, because of a mistake already reported, or in a block that nothing calls.
    Unknown,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Flag(value) => write!(f, "{value}"),
            Value::Tuple(values) => {
                let words: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "({})", words.join(", "))
            }
            Value::Unknown => f.write_str("_"),
        }
    }
}

/// Whether `1 / 2` is 0, as among sizes, or 0.5, as among rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Integer,
    Real,
}

impl Checker<'_, '_> {
    /// The value of an expression; [`Value::Unknown`] after reporting what is wrong with it.
    pub(super) fn evaluate(
        &mut self,
        expr: &Expr,
        environment: &Environment,
        arithmetic: Arithmetic,
    ) -> Value {
        match expr {
            Expr::Lit(literal) => self.literal(&literal.lit, arithmetic),
            Expr::Paren(paren) => self.evaluate(&paren.expr, environment, arithmetic),
            Expr::Group(group) => self.evaluate(&group.expr, environment, arithmetic),
            Expr::Tuple(tuple) => Value::Tuple(
                tuple.elems.iter().map(|item| self.evaluate(item, environment, arithmetic)).collect(),
            ),
            Expr::Path(path) if path.path.get_ident().is_some() => {
                self.parameter(path, environment, arithmetic)
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
                match self.evaluate(&unary.expr, environment, arithmetic) {
                    Value::Integer(value) => {
                        value.checked_neg().map_or_else(|| self.overflow(expr), Value::Integer)
                    }
                    Value::Number(value) => Value::Number(-value),
                    Value::Unknown => Value::Unknown,
                    Value::Flag(_) | Value::Tuple(_) => self.no_arithmetic(expr),
                }
            }
            Expr::Binary(binary) => {
                let left = self.evaluate(&binary.left, environment, arithmetic);
                let right = self.evaluate(&binary.right, environment, arithmetic);
                self.binary(expr, &binary.op, left, right)
            }
            _ => self.no_arithmetic(expr),
        }
    }

    fn literal(&mut self, literal: &Lit, arithmetic: Arithmetic) -> Value {
        let suffix = match literal {
            Lit::Int(integer) => integer.suffix(),
            Lit::Float(float) => float.suffix(),
            _ => "",
        };
        if !suffix.is_empty() {
            let help = format!("leave `{suffix}` out");
            return self.unknown(literal, Mistake::new("numbers have no type suffix here").help(help));
        }
        match (literal, arithmetic) {
            (Lit::Int(integer), Arithmetic::Integer) => match integer.base10_parse() {
                Ok(value) => Value::Integer(value),
                Err(_) => self.overflow(literal),
            },
            (Lit::Int(integer), Arithmetic::Real) => self.real(literal, integer.base10_parse()),
            (Lit::Float(float), _) => self.real(literal, float.base10_parse()),
            (Lit::Bool(flag), _) => Value::Flag(flag.value),
            _ => self.no_arithmetic(literal),
        }
    }

    fn real(&mut self, literal: &Lit, value: syn::Result<f64>) -> Value {
        match value {
            Ok(value) if value.is_finite() => Value::Number(value),
            _ => self.overflow(literal),
        }
    }

    fn parameter(
        &mut self,
        path: &syn::ExprPath,
        environment: &Environment,
        arithmetic: Arithmetic,
    ) -> Value {
        let Some(name) = path.path.get_ident().map(plain) else { return Value::Unknown };
        if let Some(value) = environment.value(&name) {
            return match value {
                Value::Integer(value) if arithmetic == Arithmetic::Real => Value::Number(value as f64),
                value => value,
            };
        }
        let mistake = Mistake::new(format!("there is no block parameter named `{name}`"));
        let mistake = if let Some(meant) = environment.similar_value(&name) {
            mistake.help(format!("did you mean `{meant}`?"))
        } else if environment.flow(&name).is_some() || name == "it" {
            mistake.help(format!("`{name}` is a value that flows between layers, not a number"))
        } else {
            mistake.help(
                "the macro knows integers, the parameters of the block, and + - * / on them; \
                 constants of the program are not known to it"
                    .to_owned(),
            )
        };
        self.unknown(path, mistake)
    }

    fn binary(&mut self, expr: &Expr, op: &BinOp, left: Value, right: Value) -> Value {
        let (left, right) = match (left, right) {
            (Value::Unknown, _) | (_, Value::Unknown) => return Value::Unknown,
            (Value::Integer(left), Value::Integer(right)) => return self.integers(expr, op, left, right),
            (Value::Integer(left), Value::Number(right)) => (left as f64, right),
            (Value::Number(left), Value::Integer(right)) => (left, right as f64),
            (Value::Number(left), Value::Number(right)) => (left, right),
            _ => return self.no_arithmetic(expr),
        };
        let result = match op {
            BinOp::Add(_) => left + right,
            BinOp::Sub(_) => left - right,
            BinOp::Mul(_) => left * right,
            BinOp::Div(_) => left / right,
            _ => return self.no_arithmetic(expr),
        };
        if result.is_finite() { Value::Number(result) } else { self.overflow(expr) }
    }

    fn integers(&mut self, expr: &Expr, op: &BinOp, left: i64, right: i64) -> Value {
        let result = match op {
            BinOp::Add(_) => left.checked_add(right),
            BinOp::Sub(_) => left.checked_sub(right),
            BinOp::Mul(_) => left.checked_mul(right),
            BinOp::Div(_) if right == 0 => {
                let mistake = Mistake::new(format!("`{}` divides {left} by zero", crate::ast::source(expr)));
                return self.unknown_here(expr, mistake);
            }
            BinOp::Div(_) => left.checked_div(right),
            _ => return self.no_arithmetic(expr),
        };
        result.map_or_else(|| self.overflow(expr), Value::Integer)
    }

    fn overflow(&mut self, at: &dyn ToTokens) -> Value {
        self.unknown_here(at, Mistake::new("this number is too large"))
    }

    fn no_arithmetic(&mut self, at: &dyn ToTokens) -> Value {
        let mistake = Mistake::new("this cannot be computed as the program compiles")
            .help("use integers, the parameters of the block, and + - * / on them".to_owned());
        self.unknown(at, mistake)
    }

    fn unknown(&mut self, at: &dyn ToTokens, mistake: Mistake) -> Value {
        self.errors.report(at, mistake);
        Value::Unknown
    }

    fn unknown_here(&mut self, at: &dyn ToTokens, mistake: Mistake) -> Value {
        self.report_here(at, mistake);
        Value::Unknown
    }

    /// A size, at least zero; `None` after reporting what is wrong with it.
    pub(super) fn size(&mut self, at: &Expr, what: &str, value: &Value) -> Option<usize> {
        let mistake = match value {
            Value::Unknown => return None,
            Value::Integer(value) => match usize::try_from(*value) {
                Ok(size) => return Some(size),
                Err(_) => Mistake::new(format!("{what} is {value}, but cannot be negative")),
            },
            Value::Number(_) | Value::Flag(_) | Value::Tuple(_) => {
                Mistake::new(format!("{what} is {value}, which is no whole number"))
                    .help("write one integer, such as 16".to_owned())
            }
        };
        self.report_here(at, mistake);
        None
    }

    /// The sizes of one item of an input or output, as declared.
    pub(super) fn declared_sizes(&mut self, declared: &Sizes, whose: &str) -> Option<Vec<usize>> {
        let environment = Environment::default();
        if declared.sizes.is_empty() {
            let mistake = Mistake::new(format!("{whose} has no sizes"))
                .help("a single number for each item is `[1]`".to_owned());
            self.errors.report(declared, mistake);
            return None;
        }
        let mut sizes = Vec::new();
        let mut complete = true;
        for expr in &declared.sizes {
            let value = self.evaluate(expr, &environment, Arithmetic::Integer);
            match self.size(expr, &format!("a size of {whose}"), &value) {
                Some(0) => {
                    let mistake = Mistake::new(format!("{whose} has a size of 0"))
                        .help("sizes are at least 1; the batch is not among them".to_owned());
                    self.errors.report(expr, mistake);
                    complete = false;
                }
                Some(size) => sizes.push(size),
                None => complete = false,
            }
        }
        complete.then_some(sizes)
    }
}
