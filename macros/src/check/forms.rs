//! Checks splits, and bilinear forms of two values.

use proc_macro2::Ident;
use syn::Expr;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::Layer;
use windlass_compiler::shape::Dim;

use super::Checker;
use super::arguments::{Signature, Slot};
use super::scope::{Environment, Flow, Labels};
use crate::ast::{Call, plain, source};
use crate::diagnostics::Mistake;
use crate::layers::{self, LayerRule};

impl Checker<'_, '_> {
    /// `let (first, second) = it;`: parts of the channels, all equal unless their sizes are given.
    pub(super) fn split(
        &mut self,
        (names, value): (&[(Ident, Option<Expr>)], &Ident),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) {
        let flow = self.assigned_flow(value, "let y = it", environment, it);
        let sizes = self.sizes_of_parts((names, value), environment, flow);
        let parts = match (flow, sizes) {
            (Flow::Value(x), Some(sizes)) => {
                let label = labels.name(None, "split");
                self.builder.split(&label, x, 1, &sizes).ok()
            }
            _ => None,
        };
        for (index, (name, _)) in names.iter().enumerate() {
            self.expect_free_name(name);
            let part = parts.as_ref().and_then(|parts| parts.get(index));
            environment.define_flow(name, part.map_or(Flow::Unknown, |part| Flow::Value(*part)));
        }
    }

    /// The sizes of the parts of a value; `None` after reporting a mistake, or if the value is unknown.
    fn sizes_of_parts(
        &mut self,
        (names, value): (&[(Ident, Option<Expr>)], &Ident),
        environment: &Environment,
        flow: Flow,
    ) -> Option<Vec<usize>> {
        let dims = match flow {
            Flow::Value(x) => Some(self.builder.item_dims(x).to_vec()),
            Flow::Unknown | Flow::Nothing => None,
        };
        let (Some((first, _)), Some((last, _))) = (names.first(), names.last()) else {
            let mistake = Mistake::new("this `let` names no parts");
            self.errors.report(value, mistake.help("write `let (first, second) = it;`".to_owned()));
            return None;
        };
        let mut sizes = Vec::new();
        for (name, size) in names {
            let Some(expr) = size else { continue };
            let size = self.evaluate(expr, environment);
            sizes.push(self.size(expr, &format!("the size of `{name}`"), &size)?);
        }
        if !sizes.is_empty() && sizes.len() < names.len() {
            let mistake = Mistake::new("some parts have sizes, and some have none")
                .help(format!("give all of them sizes, `{first}: {}`, or none for equal parts", sizes[0]));
            self.report_here(last, mistake);
            return None;
        }
        let dims = dims?;
        let Some(channels) = dims.first().and_then(Dim::fixed) else {
            let mistake = Mistake::new(format!("the first axis of {dims:?} has no fixed size to split"));
            self.report_here(value, mistake);
            return None;
        };
        if sizes.is_empty() {
            if !channels.is_multiple_of(names.len()) {
                let (count, rest) = (names.len(), channels % names.len());
                let mistake = Mistake::new(format!(
                    "{channels} channels cannot be split into {count} equal parts: the value is {dims:?}"
                ))
                .help(format!("give sizes, such as `{last}: {}`", channels / count + rest));
                self.report_here(first, mistake);
                return None;
            }
            return Some(vec![channels / names.len(); names.len()]);
        }
        let total = sizes.iter().fold(0usize, |total, &size| total.saturating_add(size));
        if total == channels && !sizes.contains(&0) {
            return Some(sizes);
        }
        let mistake = Mistake::new(match sizes.contains(&0) {
            true => "a part has a size of 0".to_owned(),
            false => format!("the parts have {total} channels together, but the value is {dims:?}"),
        });
        let before: usize =
            sizes[..sizes.len() - 1].iter().fold(0, |sum: usize, &size| sum.saturating_add(size));
        let rest = channels.checked_sub(before).filter(|&rest| rest > 0);
        self.report_here(last, mistake.help(rest.map(|rest| format!("for example `{last}: {rest}`"))));
        None
    }

    /// `bilinear(other, 16)`: a bilinear form of the current value and a named one.
    pub(super) fn bilinear(
        &mut self,
        label: Option<&Ident>,
        call: &Call,
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let Some(linear) = layers::find("linear") else { return Flow::Unknown };
        let rule =
            LayerRule { name: "bilinear", also: &[], known: None, example: "bilinear(other, 16)", ..*linear };
        let name = labels.name(label, rule.name);
        let it = self.flowing(it, call, environment);
        let arguments = call.arguments.as_ref().and_then(|(paren, arguments)| {
            let (first, rest) = arguments.split_first()?;
            let other = match &first.value {
                Expr::Path(path) if first.name.is_none() => path.path.get_ident()?,
                _ => return None,
            };
            Some((other, Call { name: call.name.clone(), arguments: Some((*paren, rest.to_vec())) }))
        });
        let Some((other_name, rest)) = arguments else {
            let text =
                call.arguments().first().map(|argument| format!(", not `{}`", source(&argument.value)));
            let text = text.unwrap_or_default();
            let mistake = Mistake::new(format!("`bilinear` needs the name of the other vector{text}"))
                .help("for example `let other = it; linear(8); bilinear(other, 16)`".to_owned());
            self.errors.report(call, mistake);
            environment.forgiving = true;
            return Flow::Unknown;
        };
        let other_flow = self.named_flow(other_name, environment, it);
        let slots: Vec<Slot> = rule.arguments.iter().map(Slot::of_layer).collect();
        let signature = Signature { slots: &slots, example: rule.example, known: None };
        let Some(bound) = self.bind(&rest, &signature, environment) else {
            environment.forgiving = true;
            return Flow::Unknown;
        };
        let settings = self.settings(&rule, &bound, environment, None);
        let Some(Layer::Linear { out_features, bias, init }) = (rule.make)(&settings) else {
            return Flow::Unknown;
        };
        let (Flow::Value(x), Flow::Value(y)) = (it, other_flow) else {
            return self.placeholder(&[out_features]);
        };
        let before = self.builder.graph().nodes().len();
        match self.builder.bilinear(&name, [x, y], out_features, bias, init) {
            Ok(value) => {
                let parameters = self.parameters_since(before);
                self.record(value, name, rule.name, &call.to_string(), call.name.span(), parameters)
            }
            Err(GraphError::Shape { error, .. }) => {
                let [it, other] = [x, y].map(|value| format!("{:?}", self.builder.item_dims(value)));
                let mistake = Mistake::new(format!(
                    "`{call}` {error}: the current value is {it}, and `{}` is {other}",
                    plain(other_name)
                ));
                self.report_here(call, mistake.help(error.help()));
                self.placeholder(&[out_features])
            }
            Err(error) => {
                self.errors.report(call, Mistake::new(format!("`{call}`: {error}")));
                Flow::Unknown
            }
        }
    }
}
