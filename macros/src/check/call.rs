//! Resolves calls: to a layer, a block, `add`, `from`, or an unknown word.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::Expr;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::{GraphError, ShapeError};
use windlass_compiler::graph::{Combination, Layer};
use windlass_compiler::shape::Dim;

use super::arguments::{Signature, Slot, is_flag};
use super::scope::{Environment, Flow, Labels};
use super::values::Value;
use super::{Checker, Frame};
use crate::ast::{Block, Call, Parameter, Path, Pattern, Statement, plain, source};
use crate::diagnostics::{Mistake, did_you_mean};
use crate::layers::{self, LAYERS, LayerRule, STRUCTURE};

impl<'a> Checker<'_, 'a> {
    pub(super) fn call(
        &mut self,
        label: Option<&Ident>,
        call: &'a Call,
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let mut name = plain(&call.name);
        // A parameter of the block may be a layer or another block.
        match environment.value(&name) {
            Some(Value::Layer(meant)) => name = meant,
            Some(Value::Unknown) => return Flow::Unknown,
            Some(value) => {
                let mistake = Mistake::new(format!("`{name}` is {value}, not a layer"))
                    .help("pass the name of a layer or block, such as `relu`".to_owned());
                self.report_here(call, mistake);
                return Flow::Unknown;
            }
            None => {}
        }
        if let Some(rule) = layers::find(&name) {
            return self.layer(label, (call, rule), environment, labels, it);
        }
        if let Some(&block) = self.blocks.get(&name) {
            return self.block(label, (call, block), environment, labels, it);
        }
        match name.as_str() {
            "add" => self.combine((label, call, Combination::Add), environment, labels, it),
            "subtract" => self.combine((label, call, Combination::Subtract), environment, labels, it),
            "multiply" => self.combine((label, call, Combination::Multiply), environment, labels, it),
            "from" => self.from(label, call, environment, it),
            _ => {
                environment.forgiving = true;
                self.unknown_call(call, &name, environment);
                match layers::absent(&name) {
                    Some(absent) if absent.keeps_shape => it,
                    _ => Flow::Unknown,
                }
            }
        }
    }

    fn layer(
        &mut self,
        label: Option<&Ident>,
        (call, rule): (&Call, &LayerRule),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let name = labels.name(label, rule.name);
        let it = self.flowing(it, call, environment);
        let slots: Vec<Slot> = rule.arguments.iter().map(Slot::of_layer).collect();
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
        let settings = self.settings(rule, &bound, environment, input);
        let Some(layer) = (rule.make)(&settings) else { return Flow::Unknown };
        let Flow::Value(x) = it else {
            return match layer {
                Layer::Linear { out_features, .. } => self.placeholder(&[out_features]),
                _ => Flow::Unknown,
            };
        };
        let before = self.builder.graph().nodes().len();
        match self.builder.layer(&name, &layer, x) {
            Ok(value) => {
                let parameters = self.parameters_since(before);
                self.record(value, name, rule.name, &call.to_string(), call.name.span(), parameters)
            }
            Err(GraphError::Shape { error, .. }) => {
                self.layer_error(call, rule, &bound, &error);
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
        match it {
            Flow::Value(value) => self.builder.item(value).first().copied(),
            Flow::Unknown | Flow::Nothing => None,
        }
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
    fn parameters_since(&self, position: usize) -> usize {
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
        label: Option<&Ident>,
        (call, block): (&Call, &'a Block),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        let name = plain(&block.name);
        let full_name = labels.name(label, &name);
        let it = self.flowing(it, call, environment);
        let words: Vec<String> =
            block.parameters.iter().map(|parameter| parameter.pattern.to_string()).collect();
        let example = format!("{name}({})", words.join(", "));
        let slots: Vec<Slot> = block.parameters.iter().map(slot_of_block).collect();
        let signature = Signature { slots: &slots, example: &example, known: None };
        let arguments = match self.bind(call, &signature, environment) {
            Some(bound) => bound
                .into_iter()
                .zip(&block.parameters)
                .map(|(given, parameter)| match (given, &parameter.default) {
                    (Some(expr), _) => self.evaluate(expr, environment),
                    (None, Some(default)) => self.evaluate(default, &Environment::default()),
                    (None, None) => Value::Unknown,
                })
                .collect(),
            None => {
                environment.forgiving = true;
                vec![Value::Unknown; slots.len()]
            }
        };
        if let Some(chain) = self.recursion(&name) {
            let mistake = Mistake::new(format!("the block `{name}` contains itself: {chain}"))
                .help("a network has a fixed number of layers: use `repeat` instead".to_owned());
            self.errors.report(call, mistake);
            return Flow::Unknown;
        }
        if !self.fit(block, &arguments, call) {
            let unknown = vec![Value::Unknown; slots.len()];
            return self.enter(block, &unknown, it, &full_name);
        }
        self.enter(block, &arguments, it, &full_name)
    }

    /// The call chain from a block back to itself, if it is already being entered.
    fn recursion(&self, name: &str) -> Option<String> {
        let inside: Vec<&str> = self
            .frames
            .iter()
            .filter_map(|frame| match frame {
                Frame::Block { name, .. } => Some(name.as_str()),
                Frame::Iteration { .. } => None,
            })
            .collect();
        let start = inside.iter().position(|other| *other == name)?;
        let words: Vec<String> =
            inside[start..].iter().chain([&name]).map(|name| format!("`{name}`")).collect();
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

    fn define_pattern(&mut self, pattern: &Pattern, value: &Value, environment: &mut Environment) {
        match (pattern, value) {
            (Pattern::Name(name), value) => {
                self.expect_free_name(name);
                if environment.has_value(&plain(name)) {
                    let mistake = Mistake::new(format!("the parameter `{name}` is declared twice"));
                    self.errors.report(name, mistake);
                } else {
                    environment.define_value(name, value.clone());
                }
            }
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

    /// `add(skip)`, `subtract(mean)`, `multiply(gate)`: combines the current value with named values.
    fn combine(
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
        let others = self.named_arguments(call, environment, it, &example);
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
    fn from(&mut self, label: Option<&Ident>, call: &Call, environment: &mut Environment, it: Flow) -> Flow {
        if let Some(label) = label {
            let mistake = Mistake::new("`from` has no parameters that a label could name")
                .help(format!("to name the value write `let {label} = it;` after it"));
            self.errors.report(label, mistake);
        }
        let values = self.named_arguments(call, environment, it, "let start = it; conv2d(…); from(start)");
        if values.len() > 1 {
            let mistake = Mistake::new("`from` continues from one value")
                .help("to use several write `add(…)` or `concat { … }`".to_owned());
            self.errors.report(call, mistake);
        }
        values.first().map_or(Flow::Unknown, |(_, flow)| *flow)
    }

    fn named_arguments(
        &mut self,
        call: &Call,
        environment: &mut Environment,
        it: Flow,
        example: &str,
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
            if let Some(name) = name {
                flows.push((plain(name), self.named_flow(name, environment, it)));
            } else {
                let text = source(&argument.value);
                let mistake =
                    Mistake::new(format!("`{}` takes names of values, not `{text}`", plain(&call.name)))
                        .help(format!("for example `{example}`"));
                self.errors.report(&argument.value, mistake);
                environment.forgiving = true;
                flows.push((text, Flow::Unknown));
            }
        }
        flows
    }

    fn unknown_call(&mut self, call: &Call, name: &str, environment: &Environment) {
        match name {
            "concat" => {
                let mistake = Mistake::new("`concat` takes paths in braces")
                    .help("for example `concat { { conv2d(16, kernel_size = 1) } { max_pool2d(3, stride = 1, padding = 1) } }`".to_owned());
                return self.errors.report(&call.name, mistake);
            }
            "repeat" => {
                let mistake = Mistake::new("`repeat` needs a count and a body")
                    .help("for example `repeat 3 { linear(64); relu }`".to_owned());
                return self.errors.report(&call.name, mistake);
            }
            _ => {}
        }
        let unknown = Mistake::new(format!("there is no layer or block named `{name}`"));
        let others = self.blocks.keys().map(String::as_str).chain(STRUCTURE.iter().copied());
        let mistake = if environment.has_flow(name) {
            unknown.help(format!("`{name}` is a value: to continue from it write `from({name})`"))
        } else if let Some(meant) = layers::known_elsewhere_as(name) {
            unknown.help(format!("did you mean `{meant}`?"))
        } else if let Some(meant) = match name {
            "cat" | "concatenate" => Some("concat"),
            "mul" | "times" => Some("multiply"),
            "sub" | "minus" => Some("subtract"),
            _ => None,
        } {
            unknown.help(format!("did you mean `{meant}`?"))
        } else if let Some(absent) = layers::absent(name) {
            let help = absent.instead.map_or_else(|| self.everything(), str::to_owned);
            Mistake::new(format!("Windlass has no layer `{name}` yet")).help(help)
        } else if layers::is_loss(name) {
            Mistake::new(format!("`{name}` is a loss, not a layer")).help(
                "end the network with the input of the loss, and pass the loss to the `Trainer`".to_owned(),
            )
        } else if let Some(meant) = did_you_mean(name, LAYERS.iter().map(|rule| rule.name).chain(others)) {
            unknown.help(format!("did you mean `{meant}`?"))
        } else {
            unknown.help(self.everything())
        };
        self.errors.report(&call.name, mistake);
    }

    /// Everything that can be called.
    fn everything(&self) -> String {
        // Layers over several axes are listed once.
        let names = LAYERS.iter().map(|rule| rule.name);
        let names: Vec<&str> = names.filter(|name| !name.ends_with("1d") && !name.ends_with("3d")).collect();
        let mut text = format!("the layers are {}, each `2d` also as `1d` and `3d`", names.join(", "));
        if !self.blocks.is_empty() {
            let names: Vec<&str> = self.blocks.keys().map(String::as_str).collect();
            text.push_str(&format!("; the blocks of this `network!` are {}", names.join(", ")));
        }
        text.push_str("; `add(…)`, `subtract(…)`, `multiply(…)` and `concat { … }` combine values");
        text
    }

    /// Reports paths that cannot be concatenated, at the first that does not fit the first path.
    pub(super) fn concat_error(
        &mut self,
        keyword: &Ident,
        paths: &[Path],
        values: &[ValueId],
        error: &ShapeError,
    ) {
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
                | Statement::If { keyword, .. },
            ) => keyword,
            Some(Statement::Let { name, .. } | Statement::Output { name, .. } | Statement::It(name)) => name,
            Some(Statement::Slip(_) | Statement::Malformed(_)) | None => keyword,
        },
    }
}

fn slot_of_block(parameter: &Parameter) -> Slot {
    let name = match &parameter.pattern {
        Pattern::Name(name) => Some(plain(name)),
        Pattern::Tuple(_) => None,
    };
    let text = parameter.pattern.to_string();
    let is_flag = parameter.default.as_ref().is_some_and(is_flag);
    Slot { name, text, also: &[], required: parameter.default.is_none(), is_flag, is_list: false }
}

/// The mismatch between an argument and the form of its parameter.
fn misfit(pattern: &Pattern, value: &Value) -> Option<Mistake> {
    let Pattern::Tuple(patterns) = pattern else { return None };
    match value {
        Value::Unknown => None,
        Value::Tuple(values) if patterns.len() == values.len() => {
            patterns.iter().zip(values).find_map(|(pattern, value)| misfit(pattern, value))
        }
        Value::Tuple(_) | Value::Exact(_) | Value::Real(_) | Value::Flag(_) | Value::Layer(_) => Some(
            Mistake::new(format!("expected a tuple of {} for `{pattern}`, found `{value}`", patterns.len())),
        ),
    }
}
