//! Values by name: `from`, and `add`, `subtract` and `multiply`, which combine them with the current value.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{Expr, Lit};
use windlass_compiler::error::{GraphError, ShapeError};
use windlass_compiler::graph::Combination;

use super::Checker;
use super::scope::{Environment, Flow, Labels};
use crate::ast::{Argument, Call, plain, source};
use crate::diagnostics::Mistake;
use crate::layers;

impl Checker<'_, '_> {
    /// The value of `it` or a name.
    pub(super) fn named_flow(&mut self, name: &Ident, environment: &Environment, it: Flow) -> Flow {
        self.assigned_flow(name, "let y = it", environment, it)
    }

    /// The value of `it` or a name. `assignment` is how to name the result of a layer instead.
    pub(super) fn assigned_flow(
        &mut self,
        name: &Ident,
        assignment: &str,
        environment: &Environment,
        it: Flow,
    ) -> Flow {
        let text = plain(name);
        if text == "it" {
            return self.flowing(it, name, environment);
        }
        if let Some(flow) = environment.flow(&text) {
            return flow;
        }
        let mistake = Mistake::new(format!("there is no value named `{text}`"));
        let mistake = if let Some(meant) = environment.similar_flow(&text) {
            mistake.help(format!("did you mean `{meant}`?"))
        } else if environment.value(&text).is_some() {
            mistake.help(format!("`{text}` is a number, a parameter"))
        } else if layers::find(&text).is_some() || self.scopes.block(self.scope, &text).is_some() {
            mistake.help(format!("to name the result of `{text}`, write it before: `{text}; {assignment}`"))
        } else {
            mistake.help(format!("name the current value first: `let {text} = it;`"))
        };
        self.errors.report(name, mistake);
        Flow::Unknown
    }

    /// The current value, if there is one.
    pub(super) fn flowing(&mut self, it: Flow, at: &dyn ToTokens, environment: &Environment) -> Flow {
        if it != Flow::Nothing {
            return it;
        }
        let inputs: Vec<String> =
            environment.flow_names().iter().map(|name| format!("`from({name})`")).collect();
        let what = if self.in_loss { "a value" } else { "an input" };
        let mistake = Mistake::new(format!("choose {what} first: {}", inputs.join(" or ")));
        self.errors.report(at, mistake);
        Flow::Unknown
    }

    /// `add(skip)`, `subtract(mean)`, `multiply(gate)`: combines the current value with named values.
    pub(super) fn combine(
        &mut self,
        (label, call, combination): (Option<&Ident>, &Call, Combination),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let word = combination.word();
        let name = labels.name(label, word);
        let it = self.flowing(it, call, environment);
        let example = format!("let skip = it; conv2d(…); {word}(skip)");
        let others = self.named_arguments(call, environment, it, (&example, true));
        let mut result = it;
        for (index, (other_name, other)) in others.into_iter().enumerate() {
            let (Flow::Value(left), Flow::Value(right)) = (result, other) else {
                // One of the two has a known shape.
                result = if matches!(result, Flow::Value(_)) { result } else { other };
                continue;
            };
            let name = if index == 0 { name.clone() } else { format!("{name}.{index}") };
            result = match self.builder.combine(&name, combination, left, right) {
                Ok(value) => self.record(value, name, word, &call.to_string(), call.name.span(), 0),
                Err(GraphError::Shape { error: error @ ShapeError::NeedsNumbers { .. }, .. }) => {
                    self.report_here(call, Mistake::new(format!("`{call}` {error}")).help(error.help()));
                    result
                }
                Err(GraphError::Shape { error, .. }) => {
                    let mistake = Mistake::new(format!(
                        "`{call}` needs {}, but the current value is {:?} and `{other_name}` is {:?}",
                        match combination {
                            Combination::Multiply =>
                                "equal shapes, or a factor for each channel or each sample",
                            Combination::Add | Combination::Subtract => "two equal shapes",
                        },
                        self.builder.item_dims(left),
                        self.builder.item_dims(right)
                    ));
                    self.report_here(call, mistake.help(error.help()));
                    result
                }
                Err(error) => {
                    self.errors.report(call, Mistake::new(error.to_string()));
                    result
                }
            };
        }
        result
    }

    /// `from(skip)`: continues from a named value.
    pub(super) fn from(
        &mut self,
        label: Option<&Ident>,
        call: &Call,
        environment: &mut Environment,
        it: Flow,
    ) -> Flow {
        if let Some(label) = label {
            let mistake = Mistake::new("`from` has no parameters that a label could name")
                .help(format!("to name the value write `let {label} = it;` after it"));
            self.errors.report(label, mistake);
        }
        let values =
            self.named_arguments(call, environment, it, ("let start = it; conv2d(…); from(start)", false));
        if values.len() > 1 {
            let mistake = Mistake::new("`from` continues from one value")
                .help("to use several write `add(…)` or `concat { … }`".to_owned());
            self.errors.report(call, mistake);
        }
        values.first().map_or(Flow::Unknown, |(_, flow)| *flow)
    }

    /// The number that an argument is, unless it is a name of a value or of something else.
    fn number_of(&mut self, argument: &Argument, environment: &Environment) -> Option<f32> {
        let is_name = match &argument.value {
            Expr::Path(path) => path.path.get_ident().is_none_or(|name| {
                let name = plain(name);
                environment.has_flow(&name) || self.value_of(&name, environment).is_none()
            }),
            Expr::Lit(literal) => !matches!(literal.lit, Lit::Int(_) | Lit::Float(_)),
            Expr::Binary(_) | Expr::Unary(_) | Expr::Paren(_) | Expr::Group(_) | Expr::Field(_) => false,
            _ => true,
        };
        if is_name || argument.name.is_some() {
            return None;
        }
        let number = self.evaluate(&argument.value, environment).real()? as f32;
        if !number.is_finite() {
            let mistake = Mistake::new(format!("`{}` is beyond the numbers of f32", source(&argument.value)));
            self.report_here(&argument.value, mistake);
        }
        Some(number)
    }

    /// The values that arguments name; numbers stand for themselves, if they may.
    pub(super) fn named_arguments(
        &mut self,
        call: &Call,
        environment: &mut Environment,
        it: Flow,
        (example, numbers): (&str, bool),
    ) -> Vec<(String, Flow)> {
        if call.arguments().is_empty() {
            let mistake = Mistake::new(format!("`{}` needs the name of a value", plain(&call.name)))
                .help(format!("for example `{example}`"));
            self.errors.report(call, mistake);
            environment.forgiving = true;
        }
        let mut flows = Vec::new();
        for argument in call.arguments() {
            let name = match &argument.value {
                Expr::Path(path) if argument.name.is_none() => path.path.get_ident(),
                _ => None,
            };
            if numbers && let Some(number) = self.number_of(argument, environment) {
                let number = Some(number).filter(|number| number.is_finite());
                let value = number.and_then(|number| self.builder.number(number).ok());
                let flow = value.map_or(Flow::Unknown, Flow::Value);
                flows.push((source(&argument.value), flow));
            } else if let Some(name) = name {
                flows.push((plain(name), self.named_flow(name, environment, it)));
            } else {
                let text = source(&argument.value);
                let also = if numbers { " or numbers" } else { "" };
                let mistake = Mistake::new(format!(
                    "`{}` takes names of values{also}, not `{text}`",
                    plain(&call.name)
                ))
                .help(format!("for example `{example}`"));
                self.errors.report(&argument.value, mistake);
                environment.forgiving = true;
                flows.push((text, Flow::Unknown));
            }
        }
        flows
    }
}
