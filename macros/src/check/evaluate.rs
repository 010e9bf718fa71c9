//! Evaluates expressions over numbers and block parameters exactly, at compile time.

use std::cmp::Ordering;

use num_rational::Ratio;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{BinOp, Expr, ExprField, Lit, UnOp};
use windlass_compiler::shape::Dim;

use super::Checker;
use super::scope::Environment;
use super::values::{Passed, Value};
use crate::ast::{Call, plain, source};
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
            Expr::Call(call) => self.passed(expr, call, environment),
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

    /// The value of a parameter or constant, which counts as used.
    pub(super) fn value_of(&self, name: &str, environment: &Environment) -> Option<Value> {
        environment.value(name).or_else(|| self.scopes.constant(self.scope, name).cloned())
    }

    fn parameter(&mut self, path: &syn::ExprPath, environment: &Environment) -> Value {
        let name = path.path.get_ident();
        if let Some(value) = name.and_then(|name| self.value_of(&plain(name), environment)) {
            return value;
        }
        if let Some(name) = name.filter(|name| self.is_plain_layer(&plain(name))) {
            let call = Call { name: name.clone(), arguments: None };
            return Value::Layer(Passed::new(call, environment, self.scope));
        }
        let Some(name) = name.map(plain).filter(|name| name.to_uppercase() != *name) else {
            return self.unknown(path, rust_constant(path));
        };
        let mistake = Mistake::new(format!("there is no block parameter named `{name}`"));
        let mistake = if self.is_layer(&name) {
            let example = match layers::find(&name) {
                Some(rule) => rule.example.to_owned(),
                None => format!("{name}(…)"),
            };
            Mistake::new(format!("`{name}` needs arguments")).help(format!("give them here: `{example}`"))
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

    /// Whether a name is that of a layer or block.
    fn is_layer(&self, name: &str) -> bool {
        layers::find(name).is_some() || self.scopes.block(self.scope, name).is_some()
    }

    /// Whether a name is that of a layer or block without required arguments, which may be an argument of a block.
    fn is_plain_layer(&self, name: &str) -> bool {
        let needs_none = |rule: &LayerRule| {
            rule.arguments.iter().all(|argument| !matches!(argument.default, Default::Required))
        };
        layers::find(name).is_some_and(needs_none)
            || self.scopes.block(self.scope, name).is_some_and(|(_, block)| {
                block.parameters.iter().all(|parameter| parameter.default.is_some())
            })
    }

    /// A layer or block with arguments, which are evaluated where it is used: `leaky_relu(slope = 0.1)`.
    fn passed(&mut self, expr: &Expr, call: &syn::ExprCall, environment: &Environment) -> Value {
        match Call::of(call).filter(|call| self.is_layer(&plain(&call.name))) {
            Some(call) => {
                use_names(expr.to_token_stream(), environment);
                Value::Layer(Passed::new(call, environment, self.scope))
            }
            None => {
                let meant = Call::of(call).and_then(|call| layers::meant(&plain(&call.name)));
                let Some(meant) = meant else { return self.no_arithmetic(expr) };
                let name = source(&call.func);
                let mistake = Mistake::new(format!("there is no layer or block named `{name}`"));
                self.unknown(&call.func, mistake.help(format!("did you mean `{meant}`?")))
            }
        }
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
}

/// Marks the parameters that some tokens name as used.
fn use_names(tokens: TokenStream, environment: &Environment) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => use_names(group.stream(), environment),
            TokenTree::Ident(name) => drop(environment.value(&plain(&name))),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The mistake of using a constant of the program.
fn rust_constant(path: &syn::ExprPath) -> Mistake {
    let text = path.path.to_token_stream().to_string().replace(' ', "");
    let mistake = Mistake::new(format!(
        "`{text}` is not known here: `network!` cannot read Rust constants, which have no values yet when it runs"
    ));
    match path.path.segments.last().map(|last| plain(&last.ident)) {
        Some(name) if name != "MAX" && name != "MIN" => mistake.help(format!(
            "declare it in this `network!`, `const {name} = …;`, or in a library, and import it from there; \
             `pub const` also makes it a constant of the program"
        )),
        _ => mistake.help("write the number".to_owned()),
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
