//! Checks `repeat` and `concat`.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::Expr;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::{GraphError, ShapeError};
use windlass_compiler::shape::Dim;

use super::scope::{Environment, Flow, Labels};
use super::values::Value;
use super::{Checker, Frame};
use crate::ast::{Body, Path, Scan, Statement};
use crate::diagnostics::Mistake;

/// A `repeat` without its count.
pub(super) struct Repeat<'a> {
    pub(super) keyword: &'a Ident,
    /// The name of the number of the iteration.
    pub(super) index: Option<&'a Ident>,
    pub(super) body: &'a Body,
}

impl<'a> Checker<'_, 'a> {
    /// The body that a condition selects.
    pub(super) fn conditional(
        &mut self,
        condition: &Expr,
        (then, otherwise): (&'a Body, Option<&'a Body>),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let holds = match self.evaluate(condition, environment) {
            Value::Flag(flag) => Some(flag),
            Value::Unknown => None,
            value @ (Value::Exact(_) | Value::Real(_) | Value::Tuple(_) | Value::Layer(_)) => {
                let mistake =
                    Mistake::new(format!("the condition is {value}, which is neither true nor false"))
                        .help("compare it, as in `stride > 1`".to_owned());
                self.report_here(condition, mistake);
                None
            }
        };
        // The bodies that are not used are still checked, but their layers are discarded.
        let mut result = it;
        for (body, is_used) in [(Some(then), holds == Some(true)), (otherwise, holds == Some(false))] {
            let Some(body) = body else { continue };
            if is_used {
                result = self.body(body, environment, labels, it);
                continue;
            }
            let mut unused = labels.nested(String::new(), [], self.errors);
            self.discarded(body, environment, &mut unused);
        }
        if holds.is_none() { Flow::Unknown } else { result }
    }

    /// Checks a body whose layers are discarded.
    pub(super) fn discarded(&mut self, body: &'a Body, environment: &mut Environment, labels: &mut Labels) {
        let (builder, states) = (self.builder.clone(), self.states.clone());
        let (layers, results, unused) = (self.layers.len(), self.results.len(), self.unused.len());
        let assignments = environment.assignments();
        self.body(body, environment, labels, Flow::Unknown);
        environment.restore(assignments);
        (self.builder, self.states) = (builder, states);
        self.layers.truncate(layers);
        self.results.truncate(results);
        self.unused.truncate(unused);
    }

    pub(super) fn repeat(
        &mut self,
        repeat: &Repeat<'a>,
        times: Option<usize>,
        (name, outer): (&str, &Labels),
        environment: &mut Environment,
        it: Flow,
    ) -> Flow {
        let &Repeat { keyword, index, body } = repeat;
        if let Some(index) = index {
            self.expect_free_name(index);
        }
        let Some(times @ 1..) = times else {
            // Zero or an unknown number of times: the body is still checked, but its layers are discarded.
            let mut labels = outer.nested(name.to_owned(), [body], self.errors);
            if let Some(index) = index {
                environment.define_value(index, Value::Unknown);
            }
            self.discarded(body, environment, &mut labels);
            if index.is_some() {
                environment.leave_value();
            }
            return if times.is_some() { it } else { Flow::Unknown };
        };
        let mut flow = it;
        for iteration in 0..times {
            let before = (self.errors.count(), self.steps);
            let note = format!("in iteration {} of `repeat {times}`", iteration + 1);
            self.frames.push(Frame::Iteration { keyword, note });
            let mut labels = outer.nested(format!("{name}.{iteration}"), [body], self.errors);
            if let Some(index) = index {
                environment.define_value(index, Value::Exact((iteration as i128).into()));
            }
            flow = self.body(body, environment, &mut labels, flow);
            if let Some(unused) = index.and_then(|_| environment.leave_value()) {
                let mistake = Mistake::new(format!("the index `{unused}` is never used"))
                    .help("write `repeat` with the count alone".to_owned());
                self.errors.report(&unused, mistake);
            }
            if self.steps == before.1 {
                // A body without layers takes time too.
                self.step(keyword);
            }
            self.frames.pop();
            // The next iteration would report the same mistakes again.
            if self.errors.count() > before.0 || self.exhausted() {
                return Flow::Unknown;
            }
        }
        flow
    }

    pub(super) fn concat(
        &mut self,
        (label, keyword, paths): (Option<&'a Ident>, &'a Ident, &'a [Path]),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        if paths.len() < 2 {
            let mistake = Mistake::new("`concat` needs at least two paths").help(
                "write each in braces: `concat { { relu } { conv2d(16, kernel_size = 1) } }`".to_owned(),
            );
            self.errors.report(keyword, mistake);
        }
        let name = labels.name(label, "concat");
        let bodies = paths.iter().filter_map(|path| match path {
            Path::Body(body) => Some(body),
            Path::Value(_) => None,
        });
        let mut own = label.map(|_| labels.nested(name.clone(), bodies, self.errors));
        let labels = own.as_mut().unwrap_or(labels);
        let flows: Vec<Flow> = paths
            .iter()
            .map(|path| match path {
                Path::Body(body) if body.statements.is_empty() => self.flowing(it, keyword, environment),
                Path::Body(body) => self.body(body, environment, labels, it),
                Path::Value(value) => self.named_flow(value, environment, it),
            })
            .collect();
        let values: Vec<ValueId> = flows
            .iter()
            .filter_map(|flow| match flow {
                Flow::Value(value) => Some(*value),
                Flow::Unknown | Flow::Nothing => None,
            })
            .collect();
        if values.len() != flows.len() || values.is_empty() {
            return Flow::Unknown;
        }
        match self.builder.concat(&name, &values) {
            Ok(value) => self.record(value, name, "concat", "concat { … }", keyword.span(), 0),
            Err(GraphError::Shape { error, .. }) => {
                self.concat_error(keyword, paths, &values, &error);
                Flow::Unknown
            }
            Err(error) => {
                self.errors.report(keyword, Mistake::new(error.to_string()));
                Flow::Unknown
            }
        }
    }

    /// Reports paths that cannot be concatenated, at the first that does not fit the first path.
    fn concat_error(&mut self, keyword: &Ident, paths: &[Path], values: &[ValueId], error: &ShapeError) {
        let items: Vec<Vec<Dim>> =
            values.iter().map(|value| self.builder.item_dims(*value).to_vec()).collect();
        let beyond_channels = |item: &[Dim]| (item.len(), item.get(1..).map(<[Dim]>::to_vec));
        let misfit = items.iter().position(|item| beyond_channels(item) != beyond_channels(&items[0]));
        let Some(misfit) = misfit else {
            let mistake = Mistake::new(format!("`concat` {error}")).help(error.help());
            return self.report_here(keyword, mistake);
        };
        let mistake = Mistake::new(format!(
            "`concat` concatenates channels, but path 1 gives {:?} and path {} gives {:?}",
            items[0],
            misfit + 1,
            items[misfit]
        ));
        let help = if items[0].len() == items[misfit].len() {
            error.help()
        } else {
            Some("let every path end in an image, or every path in `flatten`".to_owned())
        };
        self.report_here(last_token(&paths[misfit], keyword), mistake.help(help));
    }
}

/// The end of a path, which determines its shape.
fn last_token<'p>(path: &'p Path, keyword: &'p Ident) -> &'p dyn ToTokens {
    match path {
        Path::Value(name) => name,
        Path::Body(body) => match body.statements.last() {
            Some(Statement::Call { call, .. }) => call,
            Some(
                Statement::Repeat { keyword, .. }
                | Statement::Concat { keyword, .. }
                | Statement::If { keyword, .. }
                | Statement::Scan(Scan { keyword, .. }),
            ) => keyword,
            Some(
                Statement::Let { name, .. }
                | Statement::Output { name, .. }
                | Statement::Split { value: name, .. }
                | Statement::States { label: name, .. }
                | Statement::It(name),
            ) => name,
            Some(Statement::Slip(_) | Statement::Malformed(_)) | None => keyword,
        },
    }
}
