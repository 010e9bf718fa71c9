//! `share(c1)`: applies a layer or block again, with the parameters of its first use.

use std::collections::HashMap;

use proc_macro2::Ident;
use syn::Expr;
use windlass_compiler::shape::Dim;

use super::Checker;
use super::call::Callee;
use super::names::ScopeId;
use super::scope::{Environment, Flow, Labels};
use crate::ast::{Call, plain, source};
use crate::diagnostics::{Mistake, did_you_mean};

/// The first use of a layer or block with a label.
#[derive(Clone)]
pub(super) struct Applied<'a> {
    call: Call,
    called: Callee<'a>,
    /// The parameters where it was called.
    environment: Environment,
    scope: ScopeId,
    input: Option<Vec<Dim>>,
}

impl<'a> Checker<'_, 'a> {
    /// Remembers a call with a label under its full name.
    pub(super) fn record_applied(
        &mut self,
        name: &str,
        call: &Call,
        called: Callee<'a>,
        environment: &Environment,
        it: Flow,
    ) {
        let applied = Applied {
            call: call.clone(),
            called,
            environment: environment.values_alone(),
            scope: self.scope,
            input: self.dims_of(it),
        };
        self.applied.insert(name.to_owned(), applied);
    }

    fn dims_of(&self, it: Flow) -> Option<Vec<Dim>> {
        match it {
            Flow::Value(value) => Some(self.builder.item_dims(value).to_vec()),
            Flow::Unknown | Flow::Nothing => None,
        }
    }

    pub(super) fn share(
        &mut self,
        label: Option<&Ident>,
        call: &Call,
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let it = self.flowing(it, call, environment);
        let Some((owner, applied)) = self.owner(call, labels) else {
            environment.forgiving = true;
            return Flow::Unknown;
        };
        let name = labels.name(label, "share");
        self.builder.share(&name, &owner);
        let words = source(&call.arguments()[0].value);
        let uses = match (&applied.input, self.dims_of(it)) {
            (Some(first), Some(second)) => format!("first to {first:?}, now to {second:?}"),
            _ => "a second time".to_owned(),
        };
        self.errors.enter(call, format!("`share({words})` applies `{}` {uses}", applied.call));
        let parameters = self.builder.graph().use_counts();
        let outside = std::mem::replace(&mut self.scope, applied.scope);
        // Values that the call names are those of these names here.
        let mut own = applied.environment.with_flows_of(environment);
        let before = self.errors.count();
        let flow = self.apply(&applied.call, applied.called, &mut own, name, it);
        self.scope = outside;
        self.errors.leave();
        // Uses of values after them are those of the layers just added.
        let now = self.builder.graph().use_counts();
        let shares = self.builder.graph().parameters().any(|(value, _)| {
            parameters.get(value.index()).is_some_and(|before| *before < now[value.index()])
        });
        if !shares && matches!(flow, Flow::Value(_)) && self.errors.count() == before {
            let mistake = Mistake::new(format!("`{words}` has no parameters to share"))
                .help(format!("write `{}` again", applied.call));
            self.report_here(call, mistake);
        }
        flow
    }

    /// The full name and first use of the layer that a call of `share` names.
    fn owner(&mut self, call: &Call, labels: &Labels) -> Option<(String, Applied<'a>)> {
        const EXAMPLE: &str = "for example `c1: conv2d(8, kernel_size = 3, padding = 1); relu; share(c1)`";
        let label = match call.arguments() {
            [argument] if argument.name.is_none() => match &argument.value {
                Expr::Path(path) => path.path.get_ident(),
                _ => None,
            },
            _ => None,
        };
        let Some(label) = label else {
            let mistake = Mistake::new("`share` takes the label of one layer or block before it");
            self.errors.report(call, mistake.help(EXAMPLE.to_owned()));
            return None;
        };
        let text = plain(label);
        let names = labels.visible(&text);
        if let Some(found) =
            names.iter().find_map(|name| Some((name.clone(), self.applied.get(name)?.clone())))
        {
            return Some(found);
        }
        let prefix = names.first().and_then(|name| name.strip_suffix(&text)).unwrap_or_default();
        let known: Vec<&str> = self
            .applied
            .keys()
            .filter_map(|name| name.strip_prefix(prefix))
            .filter(|name| !name.contains('.'))
            .collect();
        let is_outside = |name: &String| name.rsplit('.').next() == Some(&*text);
        let mistake = if self.applied_outside.iter().flat_map(HashMap::keys).any(is_outside) {
            Mistake::new(format!("`{text}` is outside of this `scan`, whose steps share layers of its body"))
                .help(format!(
                    "apply `{text}` to the whole sequence before the `scan`, or label it in the body"
                ))
        } else if labels.has(&text) {
            Mistake::new(format!("`{text}` is not the label of a layer or block before this")).help(
                "write its first use before; to share a `repeat` or `concat`, make it a block".to_owned(),
            )
        } else {
            let mistake = Mistake::new(format!("there is no layer labelled `{text}`"));
            match did_you_mean(&text, known.iter().copied()) {
                Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
                None => mistake.help(format!("label the first use: `{text}: conv2d(…)`")),
            }
        };
        self.errors.report(label, mistake);
        None
    }
}
