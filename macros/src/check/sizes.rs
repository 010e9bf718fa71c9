//! Sizes: integers among values, and the declared sizes of inputs and outputs, which may be open.

use syn::{BinOp, Expr, ExprLit, Lit};
use windlass_compiler::shape::{Dim, Polynomial, Symbol};

use super::Checker;
use super::scope::Environment;
use super::values::Value;
use crate::ast::{Sizes, plain, source};
use crate::diagnostics::Mistake;

impl Checker<'_, '_> {
    /// A size, at least zero; `None` after reporting an error.
    pub(super) fn size(&mut self, at: &Expr, what: &str, value: &Value) -> Option<usize> {
        let mistake = match value {
            Value::Unknown => return None,
            Value::Exact(value) if value.is_integer() => match usize::try_from(*value.numer()) {
                Ok(size) => return Some(size),
                Err(_) => Mistake::new(format!("{what} is {value}, but cannot be negative")),
            },
            Value::Exact(_) => {
                Mistake::new(format!("{what} is {value}, which is not an integer")).help(rounding_help(at))
            }
            Value::Real(number) if number.fract() == 0.0 => {
                Mistake::new(format!("{what} is {value}, which is not an integer"))
                    .help(format!("write `{number:.0}`"))
            }
            Value::Real(_) | Value::Flag(_) | Value::Tuple(_) | Value::Layer(_) => {
                Mistake::new(format!("{what} is {value}, which is not an integer"))
                    .help("write an integer, such as 16".to_owned())
            }
        };
        self.report_here(at, mistake);
        None
    }

    /// The declared sizes of one sample of an input or output. Those of an output may contain the open sizes of the
    /// inputs.
    pub(super) fn declared_sizes(
        &mut self,
        declared: &Sizes,
        whose: &str,
        of_inputs: Option<&[Symbol]>,
        environment: &Environment,
    ) -> Option<Vec<Dim>> {
        let mut written = &declared.sizes[..];
        if let [first, rest @ ..] = written
            && !rest.is_empty()
            && is_batch(first)
            && self.evaluated_name(first, environment).is_none()
        {
            let words: Vec<String> = rest.iter().map(source).collect();
            let mistake =
                Mistake::new(format!("the shape of {whose} includes the batch, `{}`", source(first)))
                    .help(format!("leave the batch out: `[{}]`", words.join(", ")));
            self.errors.report(first, mistake);
            written = rest;
        } else if written.is_empty() {
            let mistake = Mistake::new(format!("{whose} has no sizes"))
                .help("a single number per sample is `[1]`".to_owned());
            self.errors.report(declared, mistake);
        }
        let mut sizes = Vec::new();
        for expr in written {
            let size = self.open_size(expr, environment);
            let is_new = |symbol: &Symbol| of_inputs.is_some_and(|known| !known.contains(symbol));
            let unknown = size.iter().flat_map(Polynomial::symbols).find(is_new);
            if let Some(unknown) = unknown.filter(|unknown| *unknown != Symbol::BATCH) {
                let mistake = Mistake::new(format!("{whose} has the size `{unknown}`, which no input has"));
                let known: Vec<String> =
                    of_inputs.unwrap_or_default().iter().map(|known| format!("`{known}`")).collect();
                self.errors.report(
                    expr,
                    mistake.help(match known.is_empty() {
                        true => "write a number, or use an open size in an input: `[T, 40]`".to_owned(),
                        false => format!("the open sizes of the inputs are {}", known.join(", ")),
                    }),
                );
                continue;
            }
            match size {
                Some(size) if size.symbols().contains(&Symbol::BATCH) => {
                    let mistake = Mistake::new(format!("{whose} has the size `N`, which is the batch"))
                        .help("leave it out, or name another open size: `[T, 40]`".to_owned());
                    self.errors.report(expr, mistake);
                    continue;
                }
                Some(size) if of_inputs.is_none() && size != Polynomial::from(size.symbols()[0]) => {
                    let mistake = Mistake::new(format!("{whose} has the size `{size}`"))
                        .help("an open size of an input is a name by itself, such as `T`".to_owned());
                    self.errors.report(expr, mistake);
                    continue;
                }
                Some(size) => {
                    sizes.push(Dim::from(size));
                    continue;
                }
                None => {}
            }
            let value = self.evaluate(expr, environment);
            match self.size(expr, &format!("a size of {whose}"), &value) {
                Some(0) => {
                    let mistake = Mistake::new(format!("{whose} has a size of 0"))
                        .help("sizes are at least 1; they do not include the batch".to_owned());
                    self.errors.report(expr, mistake);
                }
                size => sizes.extend(size.map(Dim::from)),
            }
        }
        (sizes.len() == written.len() && !written.is_empty()).then_some(sizes)
    }

    /// The value of a name, if the expression is one that has a value.
    fn evaluated_name(&self, expr: &Expr, environment: &Environment) -> Option<Value> {
        match expr {
            Expr::Path(path) => self.value_of(&plain(path.path.get_ident()?), environment),
            Expr::Group(group) => self.evaluated_name(&group.expr, environment),
            _ => None,
        }
    }

    /// A size that contains names of open sizes, as a polynomial; `None` for any other.
    pub(super) fn open_size(&self, expr: &Expr, environment: &Environment) -> Option<Polynomial> {
        self.polynomial(expr, environment).filter(|size| size.as_number().is_none())
    }

    fn polynomial(&self, expr: &Expr, environment: &Environment) -> Option<Polynomial> {
        match expr {
            Expr::Path(_) if let Some(value) = self.evaluated_name(expr, environment) => match value {
                Value::Exact(number) if number.is_integer() => {
                    i64::try_from(*number.numer()).ok().map(Polynomial::from)
                }
                _ => None,
            },
            Expr::Path(path) => {
                let name = plain(path.path.get_ident()?);
                let symbol = name.parse::<Symbol>().ok().filter(|_| names_open_size(&name));
                symbol.map(Polynomial::from)
            }
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
                number.base10_parse::<i64>().ok().map(Polynomial::from)
            }
            Expr::Paren(paren) => self.polynomial(&paren.expr, environment),
            Expr::Group(group) => self.polynomial(&group.expr, environment),
            Expr::Binary(binary) => {
                let left = self.polynomial(&binary.left, environment)?;
                let right = self.polynomial(&binary.right, environment)?;
                match binary.op {
                    BinOp::Add(_) => Some(left.plus(&right)),
                    BinOp::Sub(_) => Some(left.minus(&right)),
                    BinOp::Mul(_) => Some(left.times(&right)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// How to round a fraction: `n / 2` may mean `(n - n % 2) / 2`.
fn rounding_help(at: &Expr) -> String {
    match at {
        Expr::Paren(paren) => rounding_help(&paren.expr),
        Expr::Group(group) => rounding_help(&group.expr),
        Expr::Binary(binary) if matches!(binary.op, BinOp::Div(_)) => {
            let bracketed = |expr: &Expr| match expr {
                Expr::Binary(_) | Expr::Unary(_) => format!("({})", source(expr)),
                _ => source(expr),
            };
            let (left, right) = (bracketed(&binary.left), bracketed(&binary.right));
            format!("division is exact: to round down write `({left} - {left} % {right}) / {right}`")
        }
        _ => "division is exact: `%` gives the remainder to subtract before it".to_owned(),
    }
}

/// Whether a name may be an open size: a letter, perhaps with digits, or camel case. Other upper-case names are usually
/// Rust constants.
fn names_open_size(name: &str) -> bool {
    name.chars().skip(1).all(|character| character.is_ascii_digit())
        || name.contains(|character: char| character.is_ascii_lowercase())
}

/// Whether the first of several sizes is how other libraries write the batch: `N`, `batch`, `None`, `-1`, `_`.
fn is_batch(first: &Expr) -> bool {
    match first {
        Expr::Infer(_) => true,
        Expr::Unary(_) => source(first) == "-1",
        Expr::Path(path) => path.path.get_ident().is_some_and(|name| {
            let name = plain(name).to_lowercase();
            matches!(name.as_str(), "n" | "b" | "bs" | "none") || name.contains("batch")
        }),
        _ => false,
    }
}
