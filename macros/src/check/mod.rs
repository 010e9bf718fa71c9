//! Converts the syntax tree to a graph. Layers are added to the compiler's own builder, which checks their shapes; its
//! errors are reported at the user's token, and checking continues with the most likely result, so that one mistake
//! gives one error.

mod arguments;
mod call;
mod evaluate;
mod network;
mod scope;
mod settings;
mod structure;
mod values;

#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Builder, Graph};
use windlass_compiler::shape::Dim;

use crate::ast::{Block, Body, Item, Network, Program, Statement, plain};
use crate::diagnostics::{Diagnostics, Mistake};
use crate::layers;
pub(crate) use network::is_primitive;
use scope::{Environment, Flow, Labels};
use structure::Repeat;
use values::Value;

/// More layers than any network has, so that a mistaken `repeat` does not occupy the user's compiler.
const MAX_LAYERS: usize = 5_000;

/// The maximum nesting of bodies, through blocks that call each other: checking is recursive, and its stack is bounded.
const MAX_DEPTH: usize = 64;

/// The results of checking a program.
pub(crate) struct Findings<'a> {
    pub(crate) networks: Vec<Finding<'a>>,
}

/// A network with its interface, and its graph if it has no mistakes.
pub(crate) struct Finding<'a> {
    pub(crate) network: &'a Network,
    /// Sizes of one sample of each input, empty if they are wrong.
    pub(crate) inputs: Vec<Vec<Dim>>,
    /// Sizes of one sample of each output, empty if they are wrong.
    pub(crate) outputs: Vec<Vec<Dim>>,
    pub(crate) checked: Option<Checked>,
}

/// A network without mistakes.
pub(crate) struct Checked {
    pub(crate) graph: Graph,
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
    let mut blocks: BTreeMap<String, &'a Block> = BTreeMap::new();
    let mut networks: Vec<&'a Network> = Vec::new();
    for item in &program.items {
        match item {
            Item::Malformed(malformed) => errors.push(malformed.error.clone()),
            Item::Block(block) => declare_block(block, &mut blocks, errors),
            Item::Network(network) if networks.iter().any(|other| other.name == network.name) => {
                let mistake = Mistake::new(format!("the network `{}` is declared twice", network.name));
                errors.report(&network.name, mistake);
            }
            Item::Network(network) => networks.push(network),
        }
    }
    let mut entered = HashSet::new();
    let networks = networks
        .into_iter()
        .map(|network| Checker::new(&blocks, errors, &mut entered, &plain(&network.name)).network(network))
        .collect();
    // A call that does not parse or is misspelt may be meant to use a block.
    let sound = errors.count() == 0;
    for item in &program.items {
        let Item::Block(block) = item else { continue };
        let name = plain(&block.name);
        if entered.contains(&name) {
            continue;
        }
        // A block that nothing calls is checked as far as possible without its arguments.
        let unknown = vec![Value::Unknown; block.parameters.len()];
        Checker::new(&blocks, errors, &mut entered, "").enter(block, &unknown, Flow::Unknown, "");
        if sound && !name.starts_with('_') {
            let mistake = Mistake::new(format!("block `{name}` is never used"))
                .help(format!("call it, or name it `_{name}` to keep it for later"));
            errors.report(&block.name, mistake);
        }
    }
    Findings { networks }
}

fn declare_block<'a>(block: &'a Block, blocks: &mut BTreeMap<String, &'a Block>, errors: &mut Diagnostics) {
    let name = plain(&block.name);
    for attribute in block.attributes.iter().filter(|attribute| !attribute.path().is_ident("doc")) {
        let mistake = Mistake::new("a block takes no attributes except documentation")
            .help("put the attribute on the networks that use it".to_owned());
        errors.report(&attribute.path(), mistake);
    }
    let mut seen_default = false;
    for parameter in &block.parameters {
        if parameter.default.is_none() && seen_default {
            let mistake = Mistake::new(format!(
                "`{}` has no default, but follows a parameter with one",
                parameter.pattern
            ))
            .help("put parameters with defaults last".to_owned());
            errors.report(&block.name, mistake);
        }
        seen_default |= parameter.default.is_some();
    }
    if layers::find(&name).is_some() || layers::STRUCTURE.contains(&name.as_str()) || name == "it" {
        let mistake =
            Mistake::new(format!("`{name}` is a keyword")).help("give the block another name".to_owned());
        errors.report(&block.name, mistake);
    } else if let Entry::Vacant(place) = blocks.entry(name) {
        place.insert(block);
    } else {
        errors.report(&block.name, Mistake::new(format!("the block `{}` is declared twice", block.name)));
    }
}

/// A call or iteration that is being checked.
enum Frame<'a> {
    /// A block, and its call if there is one.
    Block {
        name: String,
        note: Option<String>,
    },
    Iteration {
        keyword: &'a Ident,
        note: String,
    },
}

/// Checks one network.
struct Checker<'c, 'a> {
    blocks: &'c BTreeMap<String, &'a Block>,
    errors: &'c mut Diagnostics,
    entered: &'c mut HashSet<String>,
    builder: Builder,
    frames: Vec<Frame<'a>>,
    /// The number of nested bodies being checked.
    depth: usize,
    steps: usize,
    placeholders: usize,
    layers: Vec<LayerRow>,
    /// The results of layers, with the text and position to report unused ones.
    results: Vec<(ValueId, String, Span)>,
}

impl<'c, 'a> Checker<'c, 'a> {
    fn new(
        blocks: &'c BTreeMap<String, &'a Block>,
        errors: &'c mut Diagnostics,
        entered: &'c mut HashSet<String>,
        name: &str,
    ) -> Self {
        Checker {
            blocks,
            errors,
            entered,
            builder: Builder::new(name),
            frames: Vec::new(),
            depth: 0,
            steps: 0,
            placeholders: 0,
            layers: Vec::new(),
            results: Vec::new(),
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
            self.entered.extend(self.blocks.keys().cloned());
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
                let flow = self.assigned_flow(value, &format!("let {name} = it"), environment, it);
                environment.define_flow(name, flow);
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
                self.repeat(&repeat, times, &name, environment, it)
            }
            Statement::Concat { label, keyword, paths } => {
                self.step(keyword);
                self.concat((label.as_ref(), keyword, paths), environment, labels, it)
            }
        }
    }

    fn assign(&mut self, name: &Ident, flow: Flow, environment: &mut Environment) {
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
    fn enter(&mut self, block: &'a Block, arguments: &[Value], it: Flow, prefix: &str) -> Flow {
        let name = plain(&block.name);
        self.entered.insert(name.clone());
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
        self.frames.push(Frame::Block { name, note });
        let mut labels = Labels::new(prefix.to_owned(), [&block.body], self.errors);
        let flow = self.body(&block.body, &mut environment, &mut labels, it);
        self.frames.pop();
        for unused in environment.leave_block() {
            let mistake = Mistake::new(format!("the parameter `{unused}` is never used"))
                .help("use it, or leave it out".to_owned());
            self.errors.report(&unused, mistake);
        }
        flow
    }

    /// The value of `it` or a name.
    fn named_flow(&mut self, name: &Ident, environment: &Environment, it: Flow) -> Flow {
        self.assigned_flow(name, "let y = it", environment, it)
    }

    /// The value of `it` or a name. `assignment` is how to name the result of a layer instead.
    fn assigned_flow(&mut self, name: &Ident, assignment: &str, environment: &Environment, it: Flow) -> Flow {
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
            mistake.help(format!("`{text}` is a number, a parameter of the block"))
        } else if layers::find(&text).is_some() || self.blocks.contains_key(&text) {
            mistake.help(format!("to name the result of `{text}`, write it before: `{text}; {assignment}`"))
        } else {
            mistake.help(format!("name the current value first: `let {text} = it;`"))
        };
        self.errors.report(name, mistake);
        Flow::Unknown
    }

    /// The current value, if there is one.
    fn flowing(&mut self, it: Flow, at: &dyn ToTokens, environment: &Environment) -> Flow {
        if it != Flow::Nothing {
            return it;
        }
        let inputs: Vec<String> =
            environment.flow_names().iter().map(|name| format!("`from({name})`")).collect();
        let mistake = Mistake::new(format!("choose an input first: {}", inputs.join(" or ")));
        self.errors.report(at, mistake);
        Flow::Unknown
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
        self.results.push((value, text.to_owned(), span));
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
