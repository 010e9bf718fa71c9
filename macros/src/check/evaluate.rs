//! Evaluates expressions over numbers and block parameters exactly, at compile time.

use std::cmp::Ordering;

use num_rational::Ratio;
use quote::ToTokens;
use syn::{BinOp, Expr, ExprField, ExprLit, Lit, UnOp};
use windlass_compiler::shape::{Dim, Polynomial, Symbol};

use super::Checker;
use super::scope::Environment;
use super::values::Value;
use crate::ast::{Sizes, plain, source};
use crate::diagnostics::Mistake;
use crate::layers::{self, Default, LayerRule};

impl Checker<'_, '_> {
    /// The value of an expression; [`Value::Unknown`] after reporting an error.
    pub(super) fn evaluate(&mut self, expr: &Expr, environment: &Environment) -> Value {
        match expr {
            Expr::Lit(literal) => self.literal(expr, &literal.lit, environment),
            Expr::Paren(paren) => self.evaluate(&paren.expr, environment),
            Expr::Group(group) => self.evaluate(&group.expr, environment),
            Expr::Tuple(tuple) => {
                Value::Tuple(tuple.elems.iter().map(|item| self.evaluate(item, environment)).collect())
            }
            Expr::Path(path) => self.parameter(path, environment),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
                match self.evaluate(&unary.expr, environment) {
                    Value::Exact(value) => self.exact(expr, -value, environment),
                    Value::Real(value) => Value::Real(-value),
                    Value::Unknown => Value::Unknown,
                    Value::Flag(_) | Value::Tuple(_) | Value::Layer(_) => self.no_arithmetic(expr),
                }
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                match self.evaluate(&unary.expr, environment) {
                    Value::Flag(flag) => Value::Flag(!flag),
                    Value::Unknown => Value::Unknown,
                    Value::Exact(_) | Value::Real(_) | Value::Tuple(_) | Value::Layer(_) => {
                        self.no_arithmetic(expr)
                    }
                }
            }
            Expr::Field(field) => self.size_of_it(field, environment),
            Expr::Binary(binary) => {
                let left = self.evaluate(&binary.left, environment);
                let right = self.evaluate(&binary.right, environment);
                self.binary(expr, &binary.op, &left, &right, environment)
            }
            _ => self.no_arithmetic(expr),
        }
    }

    fn literal(&mut self, expr: &Expr, literal: &Lit, environment: &Environment) -> Value {
        let suffix = match literal {
            Lit::Int(integer) => integer.suffix(),
            Lit::Float(float) => float.suffix(),
            _ => "",
        };
        if !suffix.is_empty() {
            let help = format!("leave `{suffix}` out");
            return self.unknown(literal, Mistake::new("numbers have no type suffix here").help(help));
        }
        match literal {
            Lit::Int(integer) => match integer.base10_parse::<i64>() {
                Ok(value) => Value::Exact(Ratio::from_integer(value.into())),
                Err(_) => self.overflow(expr, INTEGER, environment),
            },
            Lit::Float(float) => match float.base10_parse::<f64>() {
                Ok(value) if value.is_finite() => Value::Real(value),
                _ => self.overflow(expr, FLOAT, environment),
            },
            Lit::Bool(flag) => Value::Flag(flag.value),
            _ => self.no_arithmetic(literal),
        }
    }

    fn parameter(&mut self, path: &syn::ExprPath, environment: &Environment) -> Value {
        let name = path.path.get_ident().map(plain);
        if let Some(value) = name.as_ref().and_then(|name| environment.value(name)) {
            return value;
        }
        if let Some(name) = name.as_ref().filter(|name| self.is_plain_layer(name)) {
            return Value::Layer(name.clone());
        }
        let Some(name) = name.filter(|name| name.to_uppercase() != *name) else {
            let text = path.path.to_token_stream().to_string().replace(' ', "");
            let mistake = Mistake::new(format!("`{text}` is not known here: `network!` cannot read Rust constants"))
                .help(
                    "write the number, or make it a parameter of a `macro_rules!` macro that writes this `network!`"
                        .to_owned(),
                );
            return self.unknown(path, mistake);
        };
        let mistake = Mistake::new(format!("there is no block parameter named `{name}`"));
        let is_layer = layers::find(&name).is_some() || self.blocks.contains_key(&name);
        let mistake = if is_layer {
            Mistake::new(format!("`{name}` needs arguments, so it cannot be an argument itself"))
                .help("declare a block that calls it with its arguments, and pass that block".to_owned())
        } else if let Some(meant) = environment.similar_value(&name) {
            mistake.help(format!("did you mean `{meant}`?"))
        } else if environment.has_flow(&name) || name == "it" {
            mistake.help(format!("`{name}` is a value between layers, not a number"))
        } else {
            mistake.help(
                "write the number: `network!` accepts integers and the parameters of the block, but no constants \
                 or variables of the program"
                    .to_owned(),
            )
        };
        self.unknown(path, mistake)
    }

    /// Whether a name is that of a layer or block without required arguments, which may be an argument of a block.
    fn is_plain_layer(&self, name: &str) -> bool {
        let needs_none = |rule: &LayerRule| {
            rule.arguments.iter().all(|argument| !matches!(argument.default, Default::Required))
        };
        layers::find(name).is_some_and(needs_none)
            || self
                .blocks
                .get(name)
                .is_some_and(|block| block.parameters.iter().all(|parameter| parameter.default.is_some()))
    }

    /// `it.channels` and other sizes of the current value.
    fn size_of_it(&mut self, field: &ExprField, environment: &Environment) -> Value {
        let is_it = matches!(&*field.base, Expr::Path(path) if path.path.is_ident("it"));
        let member = match &field.member {
            syn::Member::Named(name) => plain(name),
            syn::Member::Unnamed(_) => String::new(),
        };
        if !is_it {
            let mistake = Mistake::new(format!("`{}` is not a number", source(&Expr::Field(field.clone()))))
                .help(
                    "sizes are those of the current value: `it.channels`, `it.height`, `it.width`".to_owned(),
                );
            return self.unknown(field, mistake);
        }
        let Some(dims) = environment.it.clone() else { return Value::Unknown };
        let names: &[&str] = match dims.len() {
            1 => &["features"],
            2 => &["channels", "width"],
            3 => &["channels", "height", "width"],
            4 => &["channels", "depth", "height", "width"],
            _ => &[],
        };
        let words: Vec<String> = names.iter().map(|name| format!("`it.{name}`")).collect();
        let found = names.iter().position(|name| *name == member).map(|position| &dims[position]);
        match found {
            Some(Dim::Fixed(size)) => Value::Exact(Ratio::from_integer(*size as i128)),
            Some(Dim::Open(_)) => {
                let mistake = Mistake::new(format!("`it.{member}` of {dims:?} is open, so it is no number"));
                self.unknown_here(field, mistake)
            }
            None => {
                let mistake = Mistake::new(format!("the current value is {dims:?} and has no `{member}`"));
                let mistake = match words.is_empty() {
                    true => mistake,
                    false => mistake.help(format!("it has {}", words.join(", "))),
                };
                self.unknown_here(field, mistake)
            }
        }
    }

    fn binary(
        &mut self,
        expr: &Expr,
        op: &BinOp,
        left: &Value,
        right: &Value,
        environment: &Environment,
    ) -> Value {
        if let (Value::Unknown, _) | (_, Value::Unknown) = (left, right) {
            return Value::Unknown;
        }
        if let Some(flag) = compared(op, left, right) {
            return Value::Flag(flag);
        }
        if let (Value::Exact(left), Value::Exact(right)) = (left, right) {
            if matches!(op, BinOp::Div(_) | BinOp::Rem(_)) && *right.numer() == 0 {
                let mistake = Mistake::new(format!("`{}` divides {left} by zero", source(expr)));
                return self.unknown_here(expr, mistake);
            }
            let result = match op {
                BinOp::Add(_) => left + right,
                BinOp::Sub(_) => left - right,
                BinOp::Mul(_) => left * right,
                BinOp::Div(_) => left / right,
                BinOp::Rem(_) if left.is_integer() && right.is_integer() => left % right,
                _ => return self.no_arithmetic(expr),
            };
            return self.exact(expr, result, environment);
        }
        let (Some(left), Some(right)) = (left.real(), right.real()) else { return self.no_arithmetic(expr) };
        let result = match op {
            BinOp::Add(_) => left + right,
            BinOp::Sub(_) => left - right,
            BinOp::Mul(_) => left * right,
            BinOp::Div(_) => left / right,
            _ => return self.no_arithmetic(expr),
        };
        if result.is_finite() { Value::Real(result) } else { self.overflow(expr, FLOAT, environment) }
    }

    /// An exact result, if its numerator and denominator fit into 64 bits.
    fn exact(&mut self, expr: &Expr, result: Ratio<i128>, environment: &Environment) -> Value {
        if i64::try_from(*result.numer()).is_ok() && i64::try_from(*result.denom()).is_ok() {
            Value::Exact(result)
        } else {
            self.overflow(expr, INTEGER, environment)
        }
    }

    fn overflow(&mut self, expr: &Expr, what: &str, environment: &Environment) -> Value {
        let parameters = parameters_of(expr, environment);
        self.unknown_here(expr, Mistake::new(format!("`{}` overflows {what}{parameters}", source(expr))))
    }

    fn no_arithmetic(&mut self, at: &dyn ToTokens) -> Value {
        let mistake = Mistake::new("this cannot be computed at compile time")
            .help("use numbers, the parameters of the block, and + - * / % on them".to_owned());
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
    ) -> Option<Vec<Dim>> {
        let environment = Environment::default();
        let mut written = &declared.sizes[..];
        if let [first, rest @ ..] = written
            && !rest.is_empty()
            && is_batch(first)
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
            let size = open_size(expr);
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
            let value = self.evaluate(expr, &environment);
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
}

/// The result of a comparison, or of `&&` or `||`; `None` for other operators and operands.
fn compared(op: &BinOp, left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Flag(left), Value::Flag(right)) => match op {
            BinOp::And(_) => Some(*left && *right),
            BinOp::Or(_) => Some(*left || *right),
            BinOp::Eq(_) => Some(left == right),
            BinOp::Ne(_) => Some(left != right),
            _ => None,
        },
        (Value::Exact(left), Value::Exact(right)) => ordered(op, left.cmp(right)),
        _ => left.real()?.partial_cmp(&right.real()?).and_then(|order| ordered(op, order)),
    }
}

fn ordered(op: &BinOp, order: Ordering) -> Option<bool> {
    match op {
        BinOp::Eq(_) => Some(order.is_eq()),
        BinOp::Ne(_) => Some(order.is_ne()),
        BinOp::Lt(_) => Some(order.is_lt()),
        BinOp::Le(_) => Some(order.is_le()),
        BinOp::Gt(_) => Some(order.is_gt()),
        BinOp::Ge(_) => Some(order.is_ge()),
        _ => None,
    }
}

const INTEGER: &str = "a 64-bit integer";
const FLOAT: &str = "a 64-bit floating-point number";

/// The block parameters of an expression with their values: ` (n = 10000000)`.
fn parameters_of(expr: &Expr, environment: &Environment) -> String {
    fn collect(expr: &Expr, environment: &Environment, words: &mut Vec<String>) {
        match expr {
            Expr::Path(path) => {
                let name = path.path.get_ident().map(plain);
                if let Some((value, name)) = name.and_then(|name| Some((environment.value(&name)?, name))) {
                    let word = format!("{name} = {value}");
                    if !words.contains(&word) {
                        words.push(word);
                    }
                }
            }
            Expr::Binary(binary) => {
                collect(&binary.left, environment, words);
                collect(&binary.right, environment, words);
            }
            Expr::Unary(unary) => collect(&unary.expr, environment, words),
            Expr::Paren(paren) => collect(&paren.expr, environment, words),
            Expr::Group(group) => collect(&group.expr, environment, words),
            _ => {}
        }
    }
    let mut words = Vec::new();
    collect(expr, environment, &mut words);
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
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

/// A size that contains names of open sizes, as a polynomial; `None` for any other.
pub(super) fn open_size(expr: &Expr) -> Option<Polynomial> {
    fn polynomial(expr: &Expr) -> Option<Polynomial> {
        match expr {
            Expr::Path(path) => {
                let name = plain(path.path.get_ident()?);
                let symbol = name.parse::<Symbol>().ok().filter(|_| names_open_size(&name));
                symbol.map(Polynomial::from)
            }
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
                number.base10_parse::<i64>().ok().map(Polynomial::from)
            }
            Expr::Paren(paren) => polynomial(&paren.expr),
            Expr::Group(group) => polynomial(&group.expr),
            Expr::Binary(binary) => {
                let (left, right) = (polynomial(&binary.left)?, polynomial(&binary.right)?);
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
    polynomial(expr).filter(|size| size.as_number().is_none())
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
