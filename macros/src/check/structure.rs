//! Checks `repeat` and `concat`.

use proc_macro2::Ident;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;

use super::scope::{Environment, Flow, Labels};
use super::{Checker, Frame};
use crate::ast::{Body, Path};
use crate::diagnostics::Mistake;

impl<'a> Checker<'_, 'a> {
    pub(super) fn repeat(
        &mut self,
        (keyword, body): (&'a Ident, &'a Body),
        times: Option<usize>,
        name: &str,
        environment: &mut Environment,
        it: Flow,
    ) -> Flow {
        let Some(times @ 1..) = times else {
            // Zero or an unknown number of times: the body is still checked, but its layers are discarded.
            let saved = (self.builder.clone(), self.layers.len(), self.results.len());
            let mut labels = Labels::new(name.to_owned(), [body], self.errors);
            self.body(body, environment, &mut labels, Flow::Unknown);
            self.builder = saved.0;
            self.layers.truncate(saved.1);
            self.results.truncate(saved.2);
            return if times.is_some() { it } else { Flow::Unknown };
        };
        let mut flow = it;
        for iteration in 0..times {
            let before = (self.errors.count(), self.steps);
            let note = format!("in iteration {} of `repeat {times}`", iteration + 1);
            self.frames.push(Frame::Iteration { keyword, note });
            let mut labels = Labels::new(format!("{name}.{iteration}"), [body], self.errors);
            flow = self.body(body, environment, &mut labels, flow);
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
        let mut own = label.map(|_| Labels::new(name.clone(), bodies, self.errors));
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
}
