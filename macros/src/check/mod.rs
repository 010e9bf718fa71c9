//! Converts the syntax tree to a graph. Layers are added to the compiler's own builder, which checks their shapes; its
//! errors are reported at the user's token, and checking continues with the most likely result, so that one mistake
//! gives one error.

mod arguments;
mod attention;
mod call;
mod combine;
mod evaluate;
mod forms;
mod instance;
mod loss;
pub(crate) mod names;
mod network;
mod program;
mod recurrent;
mod scan;
mod scope;
mod settings;
mod share;
mod sizes;
mod structure;
mod unknown;
mod values;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Builder, Graph};
use windlass_compiler::shape::Dim;

use crate::ast::{Block, Body, Constant, Item, Library, Network, Program, Statement, plain};
use crate::diagnostics::{Diagnostics, Mistake};
use instance::Declared;
use names::{ScopeId, Scopes};
pub(crate) use network::is_primitive;
use program::{declare, report_unused};
use scope::{Environment, Flow, Labels};
use share::Applied;
use structure::Repeat;
use syn::{Attribute, Visibility};
pub(crate) use values::Value;

/// More layers than any network has, so that a mistaken `repeat` does not occupy the user's compiler.
const MAX_LAYERS: usize = 5_000;

/// The maximum nesting of bodies, through blocks that call each other: checking is recursive, and its stack is bounded.
const MAX_DEPTH: usize = 64;

/// The results of checking a program.
pub(crate) struct Findings<'a> {
    pub(crate) networks: Vec<Finding<'a>>,
    /// Networks of which only the name is known.
    pub(crate) nameless: Vec<(&'a Visibility, &'a Ident)>,
    pub(crate) constants: Vec<(&'a Constant, Value)>,
    pub(crate) library: Option<&'a Library>,
}

/// A network with its interface, and its graph if it has no mistakes.
pub(crate) struct Finding<'a> {
    pub(crate) attributes: &'a [Attribute],
    pub(crate) visibility: &'a Visibility,
    pub(crate) name: &'a Ident,
    /// The network whose layers it has.
    pub(crate) network: &'a Network,
    /// That network with the values of its parameters, `ResNet18<size = 96>`, if it has any.
    pub(crate) parameters: Option<String>,
    /// Sizes of one sample of each input, empty if they are wrong.
    pub(crate) inputs: Vec<Vec<Dim>>,
    /// Sizes of one sample of each output, empty if they are wrong.
    pub(crate) outputs: Vec<Vec<Dim>>,
    pub(crate) checked: Option<Checked>,
}

/// A network without mistakes.
pub(crate) struct Checked {
    pub(crate) graph: Graph,
    /// The graph of its loss, if it declares one.
    pub(crate) loss: Option<Graph>,
    pub(crate) layers: Vec<LayerRow>,
}

/// A layer for the generated documentation.
pub(crate) struct LayerRow {
    pub(crate) label: String,
    pub(crate) kind: &'static str,
    pub(crate) result: Vec<Dim>,
    pub(crate) parameters: usize,
}

/// The name of a single unnamed output.
pub(crate) const SINGLE_OUTPUT: &str = "output";

/// Checks every block and network; mistakes go to `errors`.
pub(crate) fn check<'a>(program: &'a Program, errors: &mut Diagnostics) -> Findings<'a> {
    let mut scopes = Scopes::default();
    let mut entered = HashSet::new();
    let own = declare(program, &mut scopes, &mut entered, errors);
    let mut findings =
        Findings { networks: Vec::new(), nameless: Vec::new(), constants: Vec::new(), library: None };
    for item in &program.items {
        match item {
            Item::Malformed(malformed) => errors.push(malformed.error.clone()),
            Item::Library(library) if findings.library.is_some() => {
                let mistake = Mistake::new("one `network!` has one library")
                    .help("put the blocks of the other library into a `network!` of their own".to_owned());
                errors.report(&library.name, mistake);
            }
            Item::Library(library) => findings.library = Some(library),
            Item::Constant(constant) => {
                let value = scopes.constant(own, &plain(&constant.name)).cloned();
                findings.constants.push((constant, value.unwrap_or(Value::Unknown)));
            }
            Item::Network(network) if !findings.has(&network.name) => {
                let checker = Checker::new((&scopes, own), errors, &mut entered, &plain(&network.name));
                findings.networks.push(checker.network(network, Declared::of(network), None));
            }
            Item::Use(_) | Item::Block(_) | Item::Network(_) | Item::Instance(_) => {}
        }
    }
    for item in &program.items {
        if let Item::Instance(instance) = item {
            findings.add_instance(instance, (&scopes, own), errors, &mut entered);
        }
    }
    report_unused(program, (&scopes, own), errors, &mut entered);
    findings
}

/// A call or iteration that is being checked.
enum Frame<'a> {
    /// A block, and its call if there is one.
    Block {
        scope: ScopeId,
        name: String,
        note: Option<String>,
    },
    Iteration {
        keyword: &'a Ident,
        note: String,
    },
}

/// The results of a layer, at least one of which should be used.
struct Made {
    values: Vec<ValueId>,
    /// The layer as the user wrote it.
    text: String,
    span: Span,
}

impl Made {
    fn is_unused(&self, uses: &[usize]) -> bool {
        self.values.iter().all(|value| uses[value.index()] == 0)
    }
}

/// Checks one network.
struct Checker<'c, 'a> {
    scopes: &'c Scopes<'a>,
    /// The scope of the program.
    own: ScopeId,
    /// The scope of the body that is being checked.
    scope: ScopeId,
    errors: &'c mut Diagnostics,
    /// The blocks and networks that were checked.
    entered: &'c mut HashSet<(ScopeId, String)>,
    /// Layers and blocks with labels, which may be applied again.
    applied: HashMap<String, Applied<'a>>,
    /// Those around each of the scans whose bodies are being checked: their parameters cannot be applied inside.
    applied_outside: Vec<HashMap<String, Applied<'a>>>,
    builder: Builder,
    frames: Vec<Frame<'a>>,
    /// The number of nested bodies being checked.
    depth: usize,
    steps: usize,
    placeholders: usize,
    layers: Vec<LayerRow>,
    /// The values after the last step of each recurrent layer with a label.
    states: HashMap<String, Vec<ValueId>>,
    /// The results of layers, with the text and position to report unused ones.
    results: Vec<Made>,
    /// Layers in bodies of scans whose results are unused.
    unused: Vec<Made>,
    /// Whether the loss of the network is being checked.
    in_loss: bool,
}

impl<'c, 'a> Checker<'c, 'a> {
    fn new(
        (scopes, own): (&'c Scopes<'a>, ScopeId),
        errors: &'c mut Diagnostics,
        entered: &'c mut HashSet<(ScopeId, String)>,
        name: &str,
    ) -> Self {
        Checker {
            scopes,
            own,
            scope: own,
            errors,
            entered,
            applied: HashMap::new(),
            applied_outside: Vec::new(),
            builder: Builder::new(name),
            frames: Vec::new(),
            depth: 0,
            steps: 0,
            placeholders: 0,
            layers: Vec::new(),
            states: HashMap::new(),
            results: Vec::new(),
            unused: Vec::new(),
            in_loss: false,
        }
    }

    fn expect_free_name(&mut self, name: &Ident) {
        if name == "it" {
            let mistake = Mistake::new("`it` is always the result of the previous layer")
                .help("choose another name".to_owned());
            self.errors.report(name, mistake);
        }
    }

    fn expect_statements(&mut self, body: &Body, what: &str) {
        if body.statements.is_empty() {
            let mistake = Mistake::new(format!("{what} has no layers"))
                .help("write them between the braces: `flatten; linear(10)`".to_owned());
            self.errors.report(&BraceSpan(body), mistake);
        }
    }

    fn body(
        &mut self,
        body: &'a Body,
        environment: &mut Environment,
        labels: &mut Labels,
        mut it: Flow,
    ) -> Flow {
        if self.depth == MAX_DEPTH {
            let mistake = Mistake::new(format!("`network!` allows {MAX_DEPTH} nested bodies"))
                .help("call blocks in sequence instead of from each other".to_owned());
            self.errors.report(&BraceSpan(body), mistake);
            environment.forgiving = true;
            // It is unknown whether anything calls the blocks that it uses.
            let scope = self.scope;
            self.entered.extend(self.scopes.blocks(scope).into_iter().map(|name| (scope, name.to_owned())));
            return Flow::Unknown;
        }
        self.depth += 1;
        let mark = environment.enter();
        for statement in &body.statements {
            if self.exhausted() {
                environment.forgiving = true;
                break;
            }
            it = self.statement(statement, environment, labels, it);
        }
        for name in environment.leave(mark) {
            let mistake = Mistake::new(format!("`{name}` is never used"))
                .help(format!("use it, as in `add({name})`, or leave the `let` out"));
            self.errors.report(&name, mistake);
        }
        self.depth -= 1;
        it
    }

    fn exhausted(&self) -> bool {
        self.steps >= MAX_LAYERS
    }

    /// Counts a layer; reports the one that makes a network too large.
    fn step(&mut self, at: &dyn ToTokens) {
        self.steps += 1;
        if self.steps == MAX_LAYERS {
            let outermost = self.frames.iter().find_map(|frame| match frame {
                Frame::Iteration { keyword, .. } => Some(*keyword),
                Frame::Block { .. } => None,
            });
            let text = format!("`network!` allows {MAX_LAYERS} layers");
            match outermost {
                Some(keyword) => {
                    self.errors.report(keyword, Mistake::new(format!("{text}; this `repeat` exceeds that")));
                }
                None => self.report_here(at, Mistake::new(format!("{text}; this is one more"))),
            }
        }
    }

    fn statement(
        &mut self,
        statement: &'a Statement,
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Flow {
        environment.it = match it {
            Flow::Value(value) => Some(self.builder.item_dims(value).to_vec()),
            Flow::Unknown | Flow::Nothing => None,
        };
        match statement {
            Statement::Slip(error) => {
                self.errors.push(error.clone());
                environment.forgiving = true;
                it
            }
            Statement::Malformed(error) => {
                self.errors.push(error.clone());
                environment.forgiving = true;
                Flow::Unknown
            }
            Statement::It(_) => it,
            Statement::Let { name, value } => {
                self.expect_free_name(name);
                self.expect_not_carried(name, environment);
                let flow = self.assigned_flow(value, &format!("let {name} = it"), environment, it);
                environment.define_flow(name, flow);
                it
            }
            Statement::Split { names, value } => {
                self.split((names, value), environment, labels, it);
                it
            }
            Statement::States { names, label } => {
                self.name_states((names, label), environment, labels);
                it
            }
            Statement::Output { name, value } => {
                let flow = self.assigned_flow(value, &format!("{name} = it"), environment, it);
                self.assign(name, flow, environment);
                it
            }
            Statement::Call { label, call } => {
                self.step(call);
                self.call(label.as_ref(), call, environment, labels, it)
            }
            Statement::If { keyword, condition, then, otherwise } => {
                self.step(keyword);
                self.expect_statements(then, "this `if`");
                self.conditional(condition, (then, otherwise.as_ref()), environment, labels, it)
            }
            Statement::Repeat { label, keyword, index, count, body } => {
                self.step(keyword);
                self.expect_statements(body, "this `repeat`");
                let value = self.evaluate(count, environment);
                let times = self.size(count, "the count of `repeat`", &value);
                // A count that depends on block parameters may be 0.
                if times == Some(0) && matches!(**count, syn::Expr::Lit(_)) {
                    let mistake = Mistake::new("`repeat 0` has no effect")
                        .help("leave it out, or repeat at least once".to_owned());
                    self.errors.report(count, mistake);
                }
                let name = labels.name(label.as_ref(), "repeat");
                let repeat = Repeat { keyword, index: index.as_ref(), body };
                self.repeat(&repeat, times, (&name, labels), environment, it)
            }
            Statement::Concat { label, keyword, paths } => {
                self.step(keyword);
                self.concat((label.as_ref(), keyword, paths), environment, labels, it)
            }
            Statement::Scan(scan) => {
                self.step(&scan.keyword);
                self.expect_statements(&scan.body, "this `scan`");
                self.scan(scan, environment, labels, it)
            }
        }
    }

    fn assign(&mut self, name: &Ident, flow: Flow, environment: &mut Environment) {
        if environment.in_scan() {
            return self.assign_carried(name, flow, environment);
        }
        if self.in_loss && self.frames.is_empty() {
            let mistake = Mistake::new(format!("`{name}` cannot be assigned in a loss"))
                .help(format!("the last value is the loss; to name a value write `let {name} = it;`"));
            return self.errors.report(name, mistake);
        }
        let Some(outputs) = &mut environment.outputs else {
            let mistake = Mistake::new(format!("`{name}` cannot be assigned in a block")).help(format!(
                "outputs are assigned in the network; to name a value write `let {name} = it;`"
            ));
            return self.errors.report(name, mistake);
        };
        if outputs.iter().any(|(other, _)| other == name) {
            self.errors.report(name, Mistake::new(format!("the output `{name}` is assigned twice")));
        } else {
            outputs.push((name.clone(), flow));
        }
    }

    /// Enters a block, with the arguments of a call or with unknown ones.
    fn enter(
        &mut self,
        (scope, block): (ScopeId, &'a Block),
        arguments: &[Value],
        it: Flow,
        prefix: &str,
    ) -> Flow {
        let name = plain(&block.name);
        self.entered.insert((scope, name.clone()));
        let outside = std::mem::replace(&mut self.scope, scope);
        let words: Vec<String> = arguments.iter().map(Value::to_string).collect();
        let note = match it {
            Flow::Value(value) => Some(format!(
                "in `{name}({})` called with input {:?}",
                words.join(", "),
                self.builder.item_dims(value)
            )),
            Flow::Unknown | Flow::Nothing if arguments.contains(&Value::Unknown) => None,
            Flow::Unknown | Flow::Nothing => Some(format!("in `{name}({})`", words.join(", "))),
        };
        self.expect_statements(&block.body, &format!("the block `{name}`"));
        let mut environment = Environment::default();
        self.define_parameters(block, arguments, &mut environment);
        self.frames.push(Frame::Block { scope, name, note });
        let mut labels = Labels::of_block(prefix.to_owned(), &block.body, self.errors);
        let flow = self.body(&block.body, &mut environment, &mut labels, it);
        self.frames.pop();
        self.scope = outside;
        for unused in environment.leave_block() {
            let mistake = Mistake::new(format!("the parameter `{unused}` is never used"))
                .help("use it, or leave it out".to_owned());
            self.errors.report(&unused, mistake);
        }
        flow
    }

    /// Records a layer for the documentation, and that its result should be used.
    fn record(
        &mut self,
        value: ValueId,
        label: String,
        kind: &'static str,
        text: &str,
        span: Span,
        parameters: usize,
    ) -> Flow {
        let result = self.builder.item_dims(value).to_vec();
        self.layers.push(LayerRow { label, kind, result, parameters });
        self.results.push(Made { values: vec![value], text: text.to_owned(), span });
        Flow::Value(value)
    }

    /// A placeholder for a value of known shape whose layer was wrong.
    fn placeholder(&mut self, item: &[usize]) -> Flow {
        self.placeholders += 1;
        // No input can have this name.
        let name = format!("?{}", self.placeholders);
        self.builder.input(&name, item).map_or(Flow::Unknown, Flow::Value)
    }

    /// Reports a mistake that depends on the enclosing calls and iterations, and lists them.
    fn report_here(&mut self, at: &dyn ToTokens, mistake: Mistake) {
        const SHOWN: usize = 4;
        let notes = self.frames.iter().rev().filter_map(|frame| match frame {
            Frame::Block { note, .. } => note.clone(),
            Frame::Iteration { note, .. } => Some(note.clone()),
        });
        let mistake = mistake.notes(notes.take(SHOWN));
        self.errors.report(at, mistake);
    }
}

/// The opening brace of a body.
struct BraceSpan<'a>(&'a Body);

impl ToTokens for BraceSpan<'_> {
    fn to_tokens(&self, tokens: &mut proc_macro2::TokenStream) {
        self.0.brace.surround(tokens, |_| {});
    }
}
