//! Resolves calls: to a layer, a block, `add`, `from`, or an unknown word.

use proc_macro2::Ident;
use syn::Expr;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::{GraphError, ShapeError};
use windlass_compiler::graph::{Combination, Layer};

use super::arguments::{Signature, Slot, misfit};
use super::attention;
use super::names::ScopeId;
use super::scope::{Environment, Flow, Labels};
use super::values::{Passed, Value};
use super::{Checker, Frame};
use crate::ast::{Block, Call, Pattern, plain};
use crate::diagnostics::Mistake;
use crate::layers::{self, LayerRule};

/// What a call calls.
#[derive(Clone, Copy)]
pub(super) enum Callee<'a> {
    Layer(&'static LayerRule),
    /// A block, and the scope of its body.
    Block(ScopeId, &'a Block),
}

impl<'a> Checker<'_, 'a> {
    pub(super) fn call(
        &mut self,
        label: Option<&Ident>,
        call: &Call,
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let name = plain(&call.name);
        // A parameter of the block may be a layer or another block.
        match self.value_of(&name, environment) {
            Some(Value::Layer(passed)) => self.passed_layer(label, (call, &passed), environment, labels, it),
            Some(Value::Unknown) => Flow::Unknown,
            Some(value) => {
                let mistake = Mistake::new(format!("`{name}` is {value}, not a layer"))
                    .help("pass the name of a layer or block, such as `relu`".to_owned());
                self.report_here(call, mistake);
                Flow::Unknown
            }
            None => self.call_of(label, (call, &name), environment, labels, it),
        }
    }

    /// Calls a layer that is an argument of the block, with its own arguments or those of the call.
    fn passed_layer(
        &mut self,
        label: Option<&Ident>,
        (call, passed): (&Call, &Passed),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let name = plain(&passed.call.name);
        let outside = std::mem::replace(&mut self.scope, passed.scope);
        let flow = if passed.call.arguments.is_none() {
            self.call_of(label, (call, &name), environment, labels, it)
        } else if call.arguments.is_none() {
            let mut own = passed.environment.clone();
            self.call_of(label, (&passed.call, &name), &mut own, labels, it)
        } else {
            let mistake = Mistake::new(format!(
                "`{}` is `{}`, which already has its arguments",
                plain(&call.name),
                passed.call
            ));
            self.report_here(call, mistake.help(format!("write `{}` alone", plain(&call.name))));
            Flow::Unknown
        };
        self.scope = outside;
        flow
    }

    /// A call of the layer or block with a name; its arguments are those of `call`.
    fn call_of(
        &mut self,
        label: Option<&Ident>,
        (call, name): (&Call, &str),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        if let Some(called) = self.callee(name) {
            let full_name = labels.name(label, name);
            if label.is_some() {
                self.record_applied(&full_name, call, called, environment, it);
            }
            return self.apply(call, called, environment, full_name, it);
        }
        match name {
            "add" => self.combine((label, call, Combination::Add), environment, labels, it),
            "subtract" => self.combine((label, call, Combination::Subtract), environment, labels, it),
            "multiply" => self.combine((label, call, Combination::Multiply), environment, labels, it),
            "from" => self.from(label, call, environment, it),
            "bilinear" => self.bilinear(label, call, environment, labels, it),
            _ if attention::is_kind(name) => self.attention(label, call, environment, labels, it),
            "share" => self.share(label, call, environment, labels, it),
            _ => {
                if let Some(flow) = self.entropy((label, call, name), environment, labels, it) {
                    return flow;
                }
                environment.forgiving = true;
                self.unknown_call(call, name, environment);
                match layers::absent(name) {
                    Some(absent) if absent.keeps_shape => it,
                    _ => Flow::Unknown,
                }
            }
        }
    }

    /// The layer or block with a name.
    fn callee(&self, name: &str) -> Option<Callee<'a>> {
        if let Some(rule) = layers::find(name) {
            return Some(Callee::Layer(rule));
        }
        self.scopes.block(self.scope, name).map(|(scope, block)| Callee::Block(scope, block))
    }

    /// Adds a layer or block under its full name.
    pub(super) fn apply(
        &mut self,
        call: &Call,
        called: Callee<'a>,
        environment: &mut Environment,
        name: String,
        it: Flow,
    ) -> Flow {
        match called {
            Callee::Layer(rule) => self.layer((call, rule), environment, name, it),
            Callee::Block(scope, block) => self.block((call, scope, block), environment, name, it),
        }
    }

    fn layer(
        &mut self,
        (call, rule): (&Call, &LayerRule),
        environment: &mut Environment,
        name: String,
        it: Flow,
    ) -> Flow {
        let it = self.flowing(it, call, environment);
        let operands = layers::operands(rule.name);
        let slots = rule.arguments.iter().map(Slot::of_layer);
        let slots: Vec<Slot> = slots.chain(operands.iter().map(Slot::of_value)).collect();
        let known = rule.known.map(|known| (known, self.first_size(it)));
        let signature = Signature { slots: &slots, example: rule.example, known };
        let Some(bound) = self.bind(call, &signature, environment) else {
            environment.forgiving = true;
            return Flow::Unknown;
        };
        let input = match it {
            Flow::Value(value) => Some(self.builder.item(value)),
            Flow::Unknown | Flow::Nothing => None,
        };
        let (bound, given) = bound.split_at(rule.arguments.len());
        let settings = self.settings(rule, bound, environment, input);
        let operands = self.named_operands(operands, given, environment, it);
        let Some(layer) = (rule.make)(&settings) else { return Flow::Unknown };
        let operands = operands.filter(|operands| {
            given
                .first()
                .copied()
                .flatten()
                .is_none_or(|at| self.expect_initial(at, call, &layer, &operands.initial))
        });
        let Flow::Value(x) = it else {
            return match layer {
                Layer::Linear { out_features, .. } => self.placeholder(&[out_features]),
                _ => Flow::Unknown,
            };
        };
        let Some(operands) = operands else {
            return self.builder.layer(&name, &layer, x).map_or(Flow::Unknown, Flow::Value);
        };
        let before = self.builder.graph().nodes().len();
        match self.build(&name, &layer, x, &operands) {
            Ok(value) => {
                let parameters = self.parameters_since(before);
                self.expect_fits_loss(before, call);
                let states = self.states.get(&name).cloned().unwrap_or_default();
                let flow =
                    self.record(value, name, rule.name, &call.to_string(), call.name.span(), parameters);
                // A layer may be there for its states alone.
                if let Some(made) = self.results.last_mut() {
                    made.values.extend(states);
                }
                flow
            }
            Err(GraphError::Shape { error, .. }) => {
                self.layer_error(call, rule, bound, &error);
                self.repaired(&layer, &error, &name, x)
            }
            // Two equal labels, which were already reported.
            Err(GraphError::DuplicateName { .. }) if self.errors.count() > 0 => Flow::Unknown,
            Err(error) => {
                self.errors.report(call, Mistake::new(format!("`{call}`: {error}")));
                Flow::Unknown
            }
        }
    }

    /// The channels of an image, or the length of a vector.
    fn first_size(&self, it: Flow) -> Option<usize> {
        let Flow::Value(value) = it else { return None };
        self.builder.item(value).first().copied()
    }

    /// Reports a shape error, at the argument that caused it or else at the layer.
    fn layer_error(&mut self, call: &Call, rule: &LayerRule, bound: &[Option<&Expr>], error: &ShapeError) {
        let mistake = Mistake::new(format!("`{call}` {error}")).help(error.help());
        let given =
            rule.arguments.iter().zip(bound).find(|(argument, _)| error.argument() == Some(argument.name));
        match given {
            Some((_, Some(expr))) => self.report_here(expr, mistake),
            _ => self.report_here(call, mistake),
        }
    }

    /// The most likely result of a layer that does not fit.
    fn repaired(&mut self, layer: &Layer, error: &ShapeError, name: &str, x: ValueId) -> Flow {
        match (layer, error) {
            (Layer::Linear { out_features, .. }, ShapeError::Rank { .. }) => {
                self.placeholder(&[*out_features])
            }
            (Layer::Conv { .. }, ShapeError::GroupsDoNotDivide { .. }) => {
                let mut layer = layer.clone();
                if let Layer::Conv { groups, .. } = &mut layer {
                    *groups = 1;
                }
                self.builder.layer(name, &layer, x).map_or(Flow::Unknown, Flow::Value)
            }
            (
                Layer::Dropout { .. } | Layer::BatchNorm { .. } | Layer::Activation(_),
                ShapeError::NumberOutOfRange { .. },
            ) => Flow::Value(x),
            _ => Flow::Unknown,
        }
    }

    /// The trainable scalars in the nodes after a position.
    pub(super) fn parameters_since(&self, position: usize) -> usize {
        let nodes = &self.builder.graph().nodes()[position..];
        nodes
            .iter()
            .filter_map(|node| match &node.op {
                windlass_compiler::ops::Op::Parameter(parameter) => Some(parameter.shape.item_elements()),
                _ => None,
            })
            .sum()
    }

    fn block(
        &mut self,
        (call, scope, block): (&Call, ScopeId, &'a Block),
        environment: &mut Environment,
        full_name: String,
        it: Flow,
    ) -> Flow {
        let name = plain(&block.name);
        let it = self.flowing(it, call, environment);
        let words: Vec<String> =
            block.parameters.iter().map(|parameter| parameter.pattern.to_string()).collect();
        let example = format!("{}({})", plain(&call.name), words.join(", "));
        let slots: Vec<Slot> = block.parameters.iter().map(Slot::of_block).collect();
        let signature = Signature { slots: &slots, example: &example, known: None };
        let unknown = vec![Value::Unknown; slots.len()];
        let arguments = match self.bind(call, &signature, environment) {
            Some(bound) => self.block_arguments((call, scope, block), &bound, environment),
            None => {
                environment.forgiving = true;
                unknown.clone()
            }
        };
        if let Some(chain) = self.recursion(scope, &name) {
            let mistake = Mistake::new(format!("the block `{name}` contains itself: {chain}"))
                .help("a network has a fixed number of layers: use `repeat` instead".to_owned());
            self.errors.report(call, mistake);
            return Flow::Unknown;
        }
        let arguments = if self.fit(block, &arguments, call) { arguments } else { unknown };
        self.in_library((call, scope, block), |checker| {
            checker.enter((scope, block), &arguments, it, &full_name)
        })
    }

    /// Checks a part of a block. If the program calls a block of a library, whose text is written elsewhere, perhaps in
    /// another crate, mistakes are reported at the call.
    fn in_library<T>(
        &mut self,
        (call, scope, block): (&Call, ScopeId, &Block),
        check: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if scope == self.own || self.scope != self.own {
            return check(self);
        }
        self.errors.enter(call, format!("in the block `{}` of a library", block.name));
        let result = check(self);
        self.errors.leave();
        result
    }

    /// The arguments of a block. Defaults may use the parameters before them, and the current value.
    fn block_arguments(
        &mut self,
        (call, scope, block): (&Call, ScopeId, &'a Block),
        bound: &[Option<&Expr>],
        environment: &Environment,
    ) -> Vec<Value> {
        let mut known = Environment::default();
        known.it.clone_from(&environment.it);
        let mut arguments = Vec::new();
        for (given, parameter) in bound.iter().zip(&block.parameters) {
            let value = match (given, &parameter.default) {
                (Some(expr), _) => self.evaluate(expr, environment),
                (None, Some(default)) => self.in_library((call, scope, block), |checker| {
                    let outside = std::mem::replace(&mut checker.scope, scope);
                    let value = checker.evaluate(default, &known);
                    checker.scope = outside;
                    value
                }),
                (None, None) => Value::Unknown,
            };
            self.define_pattern(&parameter.pattern, &value, &mut known);
            arguments.push(value);
        }
        arguments
    }

    /// The call chain from a block back to itself, if it is already being entered.
    fn recursion(&self, scope: ScopeId, name: &str) -> Option<String> {
        let inside: Vec<(ScopeId, &str)> = self
            .frames
            .iter()
            .filter_map(|frame| match frame {
                Frame::Block { scope, name, .. } => Some((*scope, name.as_str())),
                Frame::Iteration { .. } => None,
            })
            .collect();
        let start = inside.iter().position(|other| *other == (scope, name))?;
        let words: Vec<String> =
            inside[start..].iter().chain([&(scope, name)]).map(|(_, name)| format!("`{name}`")).collect();
        Some(words.join(" → "))
    }

    /// Whether each argument has the form of its parameter; mismatches are reported.
    fn fit(&mut self, block: &Block, arguments: &[Value], call: &Call) -> bool {
        let mut all = true;
        for (position, (parameter, value)) in block.parameters.iter().zip(arguments).enumerate() {
            if let Some(misfit) = misfit(&parameter.pattern, value) {
                match call.arguments().get(position) {
                    Some(argument) => self.report_here(&argument.value, misfit),
                    None => self.report_here(call, misfit),
                }
                all = false;
            }
        }
        all
    }

    /// Binds a block's parameters to arguments; two equal names are reported.
    pub(super) fn define_parameters(
        &mut self,
        block: &Block,
        arguments: &[Value],
        environment: &mut Environment,
    ) {
        for (parameter, value) in block.parameters.iter().zip(arguments) {
            self.define_pattern(&parameter.pattern, value, environment);
        }
    }

    /// Names a parameter; two equal names are reported.
    pub(super) fn define_parameter(&mut self, name: &Ident, value: &Value, environment: &mut Environment) {
        self.expect_free_name(name);
        if environment.has_value(&plain(name)) {
            self.errors.report(name, Mistake::new(format!("the parameter `{name}` is declared twice")));
        } else {
            environment.define_value(name, value.clone());
        }
    }

    fn define_pattern(&mut self, pattern: &Pattern, value: &Value, environment: &mut Environment) {
        match (pattern, value) {
            (Pattern::Name(name), value) => self.define_parameter(name, value, environment),
            (Pattern::Tuple(patterns), Value::Tuple(values)) if patterns.len() == values.len() => {
                for (pattern, value) in patterns.iter().zip(values) {
                    self.define_pattern(pattern, value, environment);
                }
            }
            (Pattern::Tuple(patterns), _) => {
                for pattern in patterns {
                    self.define_pattern(pattern, &Value::Unknown, environment);
                }
            }
        }
    }
}
