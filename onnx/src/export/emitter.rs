//! The state of an export: nodes, names of values, constants, and open sizes as nodes that compute them.

use std::collections::{BTreeSet, HashMap, HashSet};

use windlass_compiler::entity::{NodeId, ValueId};
use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::shape::{Dim, Polynomial, Shape, Symbol};

use super::attribute::{self, int};
use super::error::Unsupported;
use super::functions::Function;
use super::ops;
use crate::proto;

/// Why a node cannot be exported; none if other problems, which are noted already, are the reason.
pub(super) type Reason = Option<String>;

pub(super) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Reason> {
    Err(Some(reason.into()))
}

/// An axis of an input whose size is a multiple of an open size.
struct Axis {
    input: String,
    axis: usize,
    factor: i64,
}

/// A graph whose nodes are exported: the whole network, or the body of a scan.
pub(super) struct Level<'g> {
    graph: &'g Graph,
    uses: Vec<usize>,
    only_users: Vec<Option<NodeId>>,
    live: HashSet<ValueId>,
    /// The names of values; those that could not be exported have none.
    names: HashMap<ValueId, String>,
}

impl<'g> Level<'g> {
    fn of(graph: &'g Graph) -> Self {
        Level {
            graph,
            uses: graph.use_counts(),
            only_users: graph.only_users(),
            live: graph.reachable(graph.outputs().iter().map(|output| output.value)),
            names: HashMap::new(),
        }
    }
}

/// The state of an export.
pub(super) struct Emitter<'g> {
    level: Level<'g>,
    /// The nodes of the whole network.
    pub(super) root: Vec<proto::Node>,
    /// The nodes of the bodies that are exported, the innermost one last.
    nested: Vec<Vec<proto::Node>>,
    /// The names of values of all graphs, which may not hide one another.
    taken: HashSet<String>,
    node_names: HashSet<String>,
    label: String,
    integers: HashMap<Vec<i64>, String>,
    numbers: HashMap<u32, String>,
    sizes: HashMap<Polynomial, String>,
    axes: HashMap<Symbol, Axis>,
    pub(super) functions: BTreeSet<Function>,
    pub(super) problems: Vec<Unsupported>,
}

impl<'g> Emitter<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let mut axes: HashMap<Symbol, Axis> = HashMap::new();
        for (_, input) in graph.inputs() {
            for (axis, dim) in input.ty.shape.dims().iter().enumerate() {
                let size = dim.polynomial();
                let mut terms = size.terms();
                if let (Some(([symbol], factor)), None) = (terms.next(), terms.next())
                    && axes.get(symbol).is_none_or(|known| known.factor > factor)
                {
                    axes.insert(*symbol, Axis { input: input.name.clone(), axis, factor });
                }
            }
        }
        Emitter {
            level: Level::of(graph),
            root: Vec::new(),
            nested: Vec::new(),
            taken: HashSet::new(),
            node_names: HashSet::new(),
            label: String::new(),
            integers: HashMap::new(),
            numbers: HashMap::new(),
            sizes: HashMap::new(),
            axes,
            functions: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn graph(&self) -> &'g Graph {
        self.level.graph
    }

    pub(super) fn shape(&self, value: ValueId) -> &'g Shape {
        &self.level.graph.ty(value).shape
    }

    pub(super) fn is_used(&self, value: ValueId) -> bool {
        self.level.uses[value.index()] > 0
    }

    /// Whether a value is computed for an output.
    pub(super) fn is_live(&self, value: ValueId) -> bool {
        self.level.live.contains(&value)
    }

    /// The only user of a value.
    pub(super) fn only_user(&self, value: ValueId) -> Option<&'g Node> {
        self.level.only_users[value.index()].map(|id| self.level.graph.node(id))
    }

    /// The name of a value, unless it could not be exported.
    pub(super) fn name(&self, value: ValueId) -> Result<String, Reason> {
        self.level.names.get(&value).cloned().ok_or(None)
    }

    pub(super) fn set_name(&mut self, value: ValueId, name: String) {
        self.level.names.insert(value, name);
    }

    /// A name that no other value has: the wanted one, or one with a suffix.
    pub(super) fn fresh(&mut self, wanted: &str) -> String {
        fresh(&mut self.taken, wanted)
    }

    /// Exports the nodes of the graph. Those that cannot be exported are noted, and those that use their results are left out.
    pub(super) fn nodes(&mut self) {
        for node in self.level.graph.nodes() {
            if !node.results.iter().any(|result| self.level.live.contains(result)) {
                continue;
            }
            let label = std::mem::replace(&mut self.label, node.label.clone());
            match ops::export(self, node) {
                Ok(names) => {
                    for (&result, name) in node.results.iter().zip(names) {
                        self.level.names.entry(result).or_insert(name);
                    }
                }
                Err(None) => {}
                Err(Some(reason)) => {
                    let (label, operator) = (node.label.clone(), node.op.name().to_owned());
                    self.problems.push(Unsupported { label, operator, reason });
                }
            }
            self.label = label;
        }
    }

    /// Exports a body with the function; its nodes are the second result.
    pub(super) fn nested<T>(
        &mut self,
        body: &'g Graph,
        export: impl FnOnce(&mut Self) -> Result<T, Reason>,
    ) -> Result<(T, Vec<proto::Node>), Reason> {
        let outer = std::mem::replace(&mut self.level, Level::of(body));
        self.nested.push(Vec::new());
        let result = export(self);
        let nodes = self.nested.pop().unwrap_or_default();
        self.level = outer;
        Ok((result?, nodes))
    }

    /// Whether a node of the body that is exported computes a value.
    pub(super) fn is_computed_here(&self, name: &str) -> bool {
        let nodes = self.nested.last().unwrap_or(&self.root);
        nodes.iter().any(|node| node.outputs.iter().any(|output| output == name))
    }

    fn proto(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<proto::Attribute>,
        results: usize,
    ) -> proto::Node {
        // The first node of a layer has its name, as in the graph.
        let name = match self.label.is_empty() {
            true => fresh(&mut self.node_names, operator),
            false if !self.node_names.contains(&self.label) => fresh(&mut self.node_names, &self.label),
            false => fresh(&mut self.node_names, &format!("{}/{operator}", self.label)),
        };
        let outputs = (0..results).map(|_| fresh(&mut self.taken, &name)).collect();
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        let domain = String::new();
        proto::Node { inputs, outputs, name, operator: operator.to_owned(), attributes, domain }
    }

    /// Adds a node with some results, whose names are returned.
    pub(super) fn add(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<proto::Attribute>,
        results: usize,
    ) -> Vec<String> {
        let node = self.proto(operator, inputs, attributes, results);
        let names = node.outputs.clone();
        self.nested.last_mut().unwrap_or(&mut self.root).push(node);
        names
    }

    /// Adds a node with one result.
    pub(super) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<proto::Attribute>,
    ) -> String {
        self.add(operator, inputs, attributes, 1).swap_remove(0)
    }

    /// Adds a call of a function of the model.
    pub(super) fn call(&mut self, function: Function, inputs: &[&str]) -> String {
        self.functions.insert(function);
        let node = self.proto(function.name(), inputs, Vec::new(), 1);
        let node = proto::Node { domain: super::functions::DOMAIN.to_owned(), ..node };
        let name = node.outputs[0].clone();
        self.nested.last_mut().unwrap_or(&mut self.root).push(node);
        name
    }

    /// Adds a node of the whole network, also while a body is exported.
    fn shared(&mut self, operator: &str, inputs: &[&str], attributes: Vec<proto::Attribute>) -> String {
        let label = std::mem::take(&mut self.label);
        let node = self.proto(operator, inputs, attributes, 1);
        self.label = label;
        let name = node.outputs[0].clone();
        self.root.push(node);
        name
    }

    /// A constant list of integers, such as axes.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        if let Some(name) = self.integers.get(values) {
            return name.clone();
        }
        let tensor = attribute::integers(&[values.len()], values);
        let name = self.shared("Constant", &[], vec![attribute::tensor("value", tensor)]);
        self.integers.insert(values.to_vec(), name.clone());
        name
    }

    pub(super) fn axes(&mut self, axes: impl IntoIterator<Item = usize>) -> String {
        let axes: Vec<i64> = axes.into_iter().map(|axis| axis as i64).collect();
        self.integers(&axes)
    }

    /// A constant number.
    pub(super) fn number(&mut self, value: f64) -> String {
        let value = value as f32;
        if let Some(name) = self.numbers.get(&value.to_bits()) {
            return name.clone();
        }
        let tensor = attribute::floats(&[], &[value]);
        let name = self.shared("Constant", &[], vec![attribute::tensor("value", tensor)]);
        self.numbers.insert(value.to_bits(), name.clone());
        name
    }

    /// A size, as a list of one integer.
    pub(super) fn size(&mut self, size: &Polynomial) -> Result<String, Reason> {
        if let Some(number) = size.as_number() {
            return Ok(self.integers(&[number]));
        }
        if let Some(name) = self.sizes.get(size) {
            return Ok(name.clone());
        }
        let name = match size.as_symbol() {
            Some(symbol) => self.symbol(symbol)?,
            None => {
                let mut sum: Option<String> = None;
                for (symbols, factor) in size.terms() {
                    let mut product: Option<String> = None;
                    for &symbol in symbols {
                        let factor = self.size(&Polynomial::from(symbol))?;
                        product = Some(match product {
                            Some(product) => self.shared("Mul", &[&product, &factor], Vec::new()),
                            None => factor,
                        });
                    }
                    let term = match (product, factor) {
                        (Some(product), 1) => product,
                        (Some(product), _) => {
                            let factor = self.integers(&[factor]);
                            self.shared("Mul", &[&product, &factor], Vec::new())
                        }
                        (None, _) => self.integers(&[factor]),
                    };
                    sum = Some(match sum {
                        Some(sum) => self.shared("Add", &[&sum, &term], Vec::new()),
                        None => term,
                    });
                }
                sum.ok_or(None)?
            }
        };
        self.sizes.insert(size.clone(), name.clone());
        Ok(name)
    }

    fn symbol(&mut self, symbol: Symbol) -> Result<String, Reason> {
        let Some(Axis { input, axis, factor }) = self.axes.get(&symbol) else {
            return unsupported(format!("no axis of an input has the size {symbol}, which it needs"));
        };
        let (input, axis, factor) = (input.clone(), *axis, *factor);
        let whole =
            self.shared("Shape", &[&input], vec![int("start", axis as i64), int("end", axis as i64 + 1)]);
        if factor == 1 {
            return Ok(whole);
        }
        let factor = self.integers(&[factor]);
        Ok(self.shared("Div", &[&whole, &factor], Vec::new()))
    }

    /// Sizes as a list of integers.
    pub(super) fn sizes(&mut self, sizes: &[Polynomial]) -> Result<String, Reason> {
        if let Some(numbers) = sizes.iter().map(Polynomial::as_number).collect::<Option<Vec<_>>>() {
            return Ok(self.integers(&numbers));
        }
        let parts = sizes.iter().map(|size| self.size(size)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(self.shared("Concat", &parts, vec![int("axis", 0)]))
    }

    /// The same elements with other axes.
    pub(super) fn reshaped(&mut self, name: &str, from: &[Dim], to: &[Dim]) -> Result<String, Reason> {
        if from == to {
            return Ok(name.to_owned());
        }
        // 0 is a size of the operand at the same place, and one size, -1, follows from the others.
        let short = to.iter().enumerate().map(|(axis, dim)| match dim {
            Dim::Fixed(size) => *size as i64,
            open if from.get(axis) == Some(open) => 0,
            _ => -1,
        });
        let short: Vec<i64> = short.collect();
        let target = match short.iter().filter(|&&size| size == -1).count() {
            0 | 1 => self.integers(&short),
            _ => self.sizes(&to.iter().map(Dim::polynomial).collect::<Vec<_>>())?,
        };
        Ok(self.node("Reshape", &[name, &target], Vec::new()))
    }

    /// The value with new axes of size 1, which are those of the result.
    pub(super) fn unsqueezed(&mut self, name: &str, axes: impl IntoIterator<Item = usize>) -> String {
        let axes: Vec<usize> = axes.into_iter().collect();
        if axes.is_empty() {
            return name.to_owned();
        }
        let axes = self.axes(axes);
        self.node("Unsqueeze", &[name, &axes], Vec::new())
    }
}

fn fresh(taken: &mut HashSet<String>, wanted: &str) -> String {
    let mut name = wanted.to_owned();
    let mut count = 1;
    while !taken.insert(name.clone()) {
        count += 1;
        name = format!("{wanted}.{count}");
    }
    name
}
