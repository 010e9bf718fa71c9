//! The interface of a network: its inputs, its outputs, and whether everything between them is used.

use std::collections::{BTreeSet, HashSet};

use proc_macro2::Ident;
use quote::ToTokens;
use windlass_compiler::error::GraphError;
use windlass_compiler::shape::{DType, Dim, Symbol};

use super::instance::{Declared, Given};
use super::scope::{Environment, Flow, Labels};
use super::{Checked, Checker, Finding, SINGLE_OUTPUT};
use crate::ast::{Network, Outputs, Port, Sizes, plain};
use crate::diagnostics::{Diagnostics, Mistake, did_you_mean};
use crate::parse::OUTPUTS_HELP;

/// Whether a network of this name would hide a type of Rust.
pub(crate) fn is_primitive(name: &Ident) -> bool {
    PRIMITIVES.contains(&plain(name).as_str())
}

const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32",
    "u64", "u128", "usize",
];

impl<'a> Checker<'_, 'a> {
    /// Checks a network, perhaps with other values of its parameters. Mistakes that only these cause are reported where
    /// the values are given.
    pub(super) fn network(
        mut self,
        network: &'a Network,
        written: Declared<'a>,
        given: Option<Given<'a>>,
    ) -> Finding<'a> {
        let before = self.errors.count();
        let Declared { attributes, visibility, name } = written;
        self.entered.insert((self.scope, plain(&network.name)));
        if is_primitive(name) {
            let mistake = Mistake::new(format!("`{name}` is a type of Rust"))
                .help("give the network another name, such as `Net`".to_owned());
            self.errors.report(name, mistake);
        }
        let mut environment = Environment::of_network();
        let enter = |errors: &mut Diagnostics, words: &str| {
            if let Some(given) = &given {
                errors.enter(given.instance, format!("in the network `{words}`"));
            }
        };
        enter(self.errors, &plain(&network.name));
        let parameters = self.define_network_parameters(network, given.as_ref(), &mut environment);
        if let Some(words) = given.as_ref().and(parameters.as_ref()) {
            self.errors.leave();
            enter(self.errors, words);
        }
        let (inputs, first) = self.inputs(network, &mut environment);
        let declared = self.declared_outputs(network, &environment);
        self.expect_statements(&network.body, &format!("the network `{}`", network.name));
        let mut labels = Labels::of_block(String::new(), &network.body, self.errors);
        let last = self.body(&network.body, &mut environment, &mut labels, first);
        let assigned = environment.outputs.take().unwrap_or_default();
        let assigned = self.declared_only(network, assigned);
        match &network.outputs {
            Outputs::Missing => self.output_missing(network, last),
            Outputs::Single(sizes) => {
                self.output(network, SINGLE_OUTPUT, sizes, declared[0].as_deref(), last)
            }
            Outputs::Named(ports) => {
                for (port, sizes) in ports.iter().zip(&declared) {
                    let name = plain(&port.name);
                    match assigned.iter().find(|(other, _)| *other == name) {
                        Some((_, flow)) => self.output(network, &name, &port.sizes, sizes.as_deref(), *flow),
                        None if environment.forgiving => {}
                        None => {
                            let mistake = Mistake::new(format!("the output `{name}` is never assigned"))
                                .help(format!("write `{name} = it;` where it is the current value"));
                            self.errors.report(&port.name, mistake);
                        }
                    }
                }
            }
        }
        let loss = self.loss(network, &declared, &mut environment);
        if self.errors.count() == before {
            for unused in environment.leave_block() {
                let mistake = Mistake::new(format!("the parameter `{unused}` is never used"))
                    .help("use it, or leave it out".to_owned());
                self.errors.report(&unused, mistake);
            }
            self.report_unused(network);
        }
        let complete =
            |sizes: Vec<Option<Vec<Dim>>>| sizes.into_iter().map(Option::unwrap_or_default).collect();
        let (inputs, outputs) = (complete(inputs), complete(declared));
        let checked = match self.builder.finish() {
            _ if self.errors.count() > before => None,
            Ok(graph) => Some(Checked { graph, loss, layers: self.layers }),
            Err(error) => {
                self.errors.report(name, Mistake::new(error.to_string()));
                None
            }
        };
        if given.is_some() {
            self.errors.leave();
        }
        Finding { attributes, visibility, name, network, parameters, inputs, outputs, checked }
    }

    /// Declares the inputs; returns the sizes of each, and the input of the first layer.
    fn inputs(&mut self, network: &Network, environment: &mut Environment) -> (Vec<Option<Vec<Dim>>>, Flow) {
        if network.inputs.is_empty() {
            let mistake = Mistake::new(format!("`{}` has no input", network.name))
                .help(format!("write `{}(image: [1, 28, 28])`", network.name));
            self.errors.report(&network.name, mistake);
        }
        let mut first = Flow::Unknown;
        let mut sizes = Vec::new();
        self.report_duplicates(&network.inputs, "input");
        for port in &network.inputs {
            let name = plain(&port.name);
            self.expect_free_name(&port.name);
            let whose = format!("the input `{name}`");
            let (dtype, item) = match &port.of_index {
                // One index for each sample.
                Some(_) if port.sizes.sizes.is_empty() => (DType::I32, Some(Vec::new())),
                Some(_) => (DType::I32, self.declared_sizes(&port.sizes, &whose, None, environment)),
                None => (DType::F32, self.declared_sizes(&port.sizes, &whose, None, environment)),
            };
            let flow =
                match item.as_deref().map(|item| self.builder.input_of(&name, dtype, item.iter().cloned())) {
                    Some(Ok(value)) => Flow::Value(value),
                    Some(Err(GraphError::Shape { .. })) => {
                        // Sizes of zero are already reported.
                        let mistake = Mistake::new(format!(
                            "one sample of the input `{name}` has more than 2^31 elements"
                        ));
                        self.errors.report(&port.sizes, mistake);
                        Flow::Unknown
                    }
                    Some(Err(_)) | None => Flow::Unknown,
                };
            environment.define_flow(&port.name, flow);
            sizes.push(item);
            first = if network.inputs.len() == 1 { flow } else { Flow::Nothing };
        }
        (sizes, first)
    }

    fn declared_outputs(&mut self, network: &Network, environment: &Environment) -> Vec<Option<Vec<Dim>>> {
        let open = self.open_sizes(network, environment);
        let ports = match &network.outputs {
            Outputs::Missing => return Vec::new(),
            Outputs::Single(sizes) => {
                if let Some(input) = network.inputs.iter().find(|input| plain(&input.name) == SINGLE_OUTPUT) {
                    let mistake = Mistake::new(format!("`{SINGLE_OUTPUT}` is the name of the output")).help(
                        "give the input another name, or the output one of its own: `-> (y: [10])`"
                            .to_owned(),
                    );
                    self.errors.report(&input.name, mistake);
                }
                return vec![self.declared_sizes(sizes, "the output", Some(&open), environment)];
            }
            Outputs::Named(ports) => ports,
        };
        if ports.is_empty() {
            let mistake = Mistake::new(format!("`{}` has no output", network.name))
                .help("write `-> [10]` after the inputs".to_owned());
            self.errors.report(&network.name, mistake);
        }
        self.report_duplicates(ports, "output");
        for port in ports {
            let name = plain(&port.name);
            self.expect_free_name(&port.name);
            if let Some(word) = &port.of_index {
                let mistake = Mistake::new(format!("the output `{name}` cannot be of `index`"))
                    .help(OUTPUTS_HELP.to_owned());
                self.errors.report(word, mistake);
            }
            if network.inputs.iter().any(|input| plain(&input.name) == name) {
                let mistake = Mistake::new(format!("`{name}` is an input and an output"))
                    .help("give them different names".to_owned());
                self.errors.report(&port.name, mistake);
            }
        }
        ports
            .iter()
            .map(|port| {
                let whose = format!("the output `{}`", port.name);
                self.declared_sizes(&port.sizes, &whose, Some(&open), environment)
            })
            .collect()
    }

    /// The open sizes of the inputs.
    pub(super) fn open_sizes(&mut self, network: &Network, environment: &Environment) -> Vec<Symbol> {
        let written = network.inputs.iter().flat_map(|input| &input.sizes.sizes);
        let open: BTreeSet<Symbol> = written
            .filter_map(|size| self.open_size(size, environment))
            .flat_map(|size| size.symbols())
            .collect();
        open.into_iter().collect()
    }

    pub(super) fn report_duplicates(&mut self, ports: &[Port], kind: &str) {
        let mut names = HashSet::new();
        for port in ports {
            // Constants are named after ports in upper case.
            if !names.insert(plain(&port.name).to_uppercase()) {
                let mistake = Mistake::new(format!("the {kind} `{}` is declared twice", port.name));
                self.errors.report(&port.name, mistake);
            }
        }
    }

    fn output_missing(&mut self, network: &Network, last: Flow) {
        let mistake = Mistake::new(format!("`{}` does not declare its output", network.name));
        let mistake = match last {
            Flow::Value(value) => {
                mistake.help(format!("write `-> {:?}` after the inputs", self.builder.item_dims(value)))
            }
            Flow::Unknown | Flow::Nothing => mistake.help("write `-> [10]` after the inputs".to_owned()),
        };
        self.errors.report(&network.name, mistake);
    }

    fn output(
        &mut self,
        network: &Network,
        name: &str,
        declared: &Sizes,
        expected: Option<&[Dim]>,
        flow: Flow,
    ) {
        let Flow::Value(value) = flow else {
            if flow == Flow::Nothing && !network.body.statements.is_empty() {
                self.nothing_flows(declared, "the output", network);
            }
            return;
        };
        let computed = self.builder.item_dims(value).to_vec();
        if self.builder.graph().ty(value).dtype == DType::I32 {
            let mistake =
                Mistake::new(format!("the output is {computed:?} of index, but outputs are numbers"))
                    .help("put `embedding(vocabulary, features)` before it".to_owned());
            return self.errors.report(declared, mistake);
        }
        if let Some(expected) = expected.filter(|expected| *expected != computed) {
            let whose = match &network.outputs {
                Outputs::Named(_) => format!("the output `{name}`"),
                Outputs::Single(_) | Outputs::Missing => "the output".to_owned(),
            };
            let mut help = format!("declare `{computed:?}`");
            if expected.split_first().is_some_and(|(_, item)| item == computed) {
                help = format!("leave the batch out: declare `{computed:?}`");
            }
            if let ([features], [_]) = (expected, &computed[..]) {
                help = format!("{help}, or make the last layer `linear({features})`");
            }
            let mistake =
                Mistake::new(format!("{whose} is declared as {expected:?} but computed as {computed:?}"));
            self.errors.report(declared, mistake.help(help));
        }
        if let Err(error) = self.builder.output(name, value)
            && self.errors.count() == 0
        {
            self.errors.report(declared, Mistake::new(error.to_string()));
        }
    }

    /// The assigned values with the names of declared outputs. Other names are reported; misspelt ones are resolved.
    fn declared_only(&mut self, network: &Network, assigned: Vec<(Ident, Flow)>) -> Vec<(String, Flow)> {
        let declared: Vec<String> = match &network.outputs {
            Outputs::Named(ports) => ports.iter().map(|port| plain(&port.name)).collect(),
            Outputs::Missing | Outputs::Single(_) => Vec::new(),
        };
        let mut known = Vec::new();
        for (name, flow) in assigned {
            let text = plain(&name);
            if declared.contains(&text) {
                known.push((text, flow));
                continue;
            }
            let mistake = Mistake::new(format!("there is no output named `{text}`"));
            let meant = did_you_mean(&text, declared.iter().map(String::as_str));
            let mistake = match (meant, &network.outputs) {
                (Some(meant), _) => mistake.help(format!("did you mean `{meant}`?")),
                (None, Outputs::Named(_)) => {
                    mistake.help(format!("declare it after `->`, or write `let {text} = it;`"))
                }
                (None, Outputs::Missing | Outputs::Single(_)) => mistake.help(format!(
                    "declare it, `-> ({text}: [10])`, or write `let {text} = it;` to name a value"
                )),
            };
            self.errors.report(&name, mistake);
            known.extend(meant.map(|meant| (meant.to_owned(), flow)));
        }
        known
    }

    /// Reports unused inputs, and layers whose results are unused.
    fn report_unused(&mut self, network: &Network) {
        let uses = self.builder.graph().use_counts();
        for port in &network.inputs {
            let value = self.builder.graph().source(&plain(&port.name));
            if value.is_some_and(|value| uses[value.index()] == 0) {
                let mistake = Mistake::new(format!("the input `{}` is never used", port.name))
                    .help(format!("start a path with `from({})`, or leave it out", port.name));
                self.errors.report(&port.name, mistake);
            }
        }
        self.report_unused_results(&uses);
    }

    /// Reports layers whose results are unused.
    pub(super) fn report_unused_results(&mut self, uses: &[usize]) {
        let results = std::mem::take(&mut self.results).into_iter();
        let unused = std::mem::take(&mut self.unused).into_iter();
        for made in unused.chain(results.filter(|made| made.is_unused(uses))) {
            let mistake = Mistake::new(format!("the result of `{}` is never used", made.text))
                .help("name it with `let name = it;` and use it, or leave the layer out".to_owned());
            self.errors.report(&Ident::new("_layer", made.span), mistake);
        }
    }

    fn nothing_flows(&mut self, at: &dyn ToTokens, what: &str, network: &Network) {
        let inputs: Vec<String> =
            network.inputs.iter().map(|port| format!("`from({})`", port.name)).collect();
        let mistake = Mistake::new(format!("{what} has no value: no layer was reached"))
            .help(format!("start with one of the inputs: {}", inputs.join(" or ")));
        self.errors.report(at, mistake);
    }
}
