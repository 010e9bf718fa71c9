//! The import of a model: its inputs, nodes in order, and outputs.

use std::collections::HashMap;
use std::sync::Arc;

use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::source::{Constant, Parameter, State};
use windlass_compiler::shape::Shape;

use crate::decode::Decoder;
use crate::error::{ImportError, Problem, Reason};
use crate::export::functions::{DOMAIN, Function};
use crate::known::Known;
use crate::loops::Frame;
use crate::node::Node;
use crate::value::{Value, Weight};
use crate::{ImportOptions, Imported, Tensor, ops, proto};

/// Nested graphs (branches, functions) beyond this depth are refused.
const MOST_NESTED: usize = 32;

/// The most elements of a tensor that the import computes itself.
pub(crate) const MOST_KNOWN: usize = 1 << 24;

/// A parameter or state of an initialiser.
struct Source {
    known: Known,
    is_state: bool,
    value: ValueId,
}

/// The state of an import.
pub(crate) struct Importer<'m> {
    pub(crate) builder: Builder,
    pub(crate) decoder: Decoder,
    pub(crate) options: &'m ImportOptions,
    /// Whether the batch is an axis of the model; otherwise it is outside.
    pub(crate) open_batch: bool,
    /// The label of the node that is imported.
    pub(crate) label: String,
    functions: HashMap<(&'m str, &'m str), &'m proto::Function>,
    opsets: HashMap<&'m str, i64>,
    /// Parameters and states that exist already, by the names of their initialisers.
    sources: HashMap<String, Vec<Source>>,
    tensors: Vec<Tensor>,
    problems: Vec<Problem>,
    /// The number of nodes that were imported.
    imported: usize,
    /// The number of elements that were computed.
    computed: usize,
    /// The same value with its first axis folded into the batch, and the other way round.
    pub(crate) forms: HashMap<ValueId, ValueId>,
    /// The graphs around the body of a loop that is imported, the innermost one last.
    pub(crate) frames: Vec<Frame>,
}

/// The most nodes that are imported, those of functions counted for each call.
const MOST_NODES: usize = 1 << 18;

/// The most nodes of the network.
const MOST_OPERATORS: usize = 1 << 18;

/// The most elements of all tensors together that the import computes.
const MOST_COMPUTED: usize = 1 << 26;

/// The values of a graph by name, and those of the graphs around it; `None` for results of nodes that could not be imported.
#[derive(Debug, Default)]
pub(crate) struct Scope<'s> {
    own: HashMap<String, Option<Value>>,
    outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    /// The own values, in a graph that another one is around.
    pub(crate) fn beside<'o>(&self, outer: &'o Scope<'o>) -> Scope<'o> {
        Scope { own: self.own.clone(), outer: Some(outer) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Option<Value>> {
        self.own.get(name).or_else(|| self.outer?.get(name))
    }

    /// Names a value, and returns whether the name was free in this graph.
    pub(crate) fn insert(&mut self, name: String, value: Option<Value>) -> bool {
        self.own.insert(name, value).is_none()
    }
}

impl<'m> Importer<'m> {
    pub(crate) fn import(
        model: &'m proto::Model,
        decoder: Decoder,
        options: &'m ImportOptions,
    ) -> Result<Imported, ImportError> {
        let Some(graph) = &model.graph else {
            return Err(ImportError::Format { reason: "it has no graph".to_owned() });
        };
        let name = if graph.name.is_empty() { "model" } else { &graph.name };
        let mut importer = Importer {
            builder: Builder::new(name),
            decoder,
            options,
            open_batch: false,
            label: String::new(),
            functions: HashMap::new(),
            opsets: model.opset_import.iter().map(|set| (domain(&set.domain), set.version)).collect(),
            sources: HashMap::new(),
            tensors: Vec::new(),
            problems: Vec::new(),
            imported: 0,
            computed: 0,
            forms: HashMap::new(),
            frames: Vec::new(),
        };
        for function in &model.functions {
            importer.functions.insert((domain(&function.domain), &function.name), function);
        }
        let mut scope = Scope::default();
        importer.initializers(graph, &mut scope)?;
        let inputs = importer.inputs(graph, &mut scope)?;
        importer.nodes(&graph.nodes, &mut scope, 0);
        if !importer.problems.is_empty() {
            return Err(ImportError::Nodes { problems: importer.problems });
        }
        let outputs = importer.outputs(graph, &scope)?;
        let Importer { builder, mut tensors, .. } = importer;
        let graph = without_unused(&builder.finish()?)?;
        tensors.retain(|tensor| graph.source(&tensor.name).is_some());
        Ok(Imported { graph, tensors, inputs, outputs })
    }

    /// The initialisers of a graph, whose elements are known.
    pub(crate) fn initializers(
        &mut self,
        graph: &proto::Graph,
        scope: &mut Scope<'_>,
    ) -> Result<(), ImportError> {
        for tensor in &graph.initializers {
            let mut known = self.decoder.tensor(tensor)?;
            // Numbers, such as exponents and small epsilons, are no parameters.
            if known.is_float() && !known.dims.is_empty() {
                known.name = Some(Arc::from(tensor.name.as_str()));
            }
            if !scope.insert(tensor.name.clone(), Some(known.into())) {
                let reason = "occurs twice".to_owned();
                return Err(ImportError::Tensor { name: tensor.name.clone(), reason });
            }
        }
        Ok(())
    }

    /// Imports nodes in order. Those that cannot be imported are noted, and those that use their results are left out.
    pub(crate) fn nodes(
        &mut self,
        nodes: impl IntoIterator<Item = &'m proto::Node>,
        scope: &mut Scope<'_>,
        depth: usize,
    ) {
        for proto in nodes {
            self.imported += 1;
            if self.imported > MOST_NODES {
                // Once is enough.
                if self.imported == MOST_NODES + 1 {
                    let reason = Reason::Unsupported(format!("the model has more than {MOST_NODES} nodes"));
                    let (node, operator) = (proto.name.clone(), proto.operator.clone());
                    self.problems.push(Problem { node, operator, reason });
                }
                return;
            }
            let node_name = [&proto.name].into_iter().chain(&proto.outputs).find(|name| !name.is_empty());
            let node_name = node_name.cloned().unwrap_or_default();
            let mut operands = Vec::with_capacity(proto.inputs.len());
            let mut is_reachable = true;
            let mut unknown = None;
            for name in &proto.inputs {
                match scope.get(name) {
                    _ if name.is_empty() => operands.push(Value::Absent),
                    Some(Some(value)) => operands.push(value.clone()),
                    Some(None) => is_reachable = false,
                    None => unknown = Some(name),
                }
            }
            let results = match (unknown, is_reachable) {
                (Some(name), _) => {
                    Err(Some(Reason::Unsupported(format!("there is no value `{name}` before it"))))
                }
                (None, false) => Err(None),
                (None, true) => self.node(proto, operands, scope, depth, &node_name).map_err(Some),
            };
            let mut results = match results {
                Ok(results) => results.into_iter().map(Some).collect(),
                Err(reason) => {
                    if let Some(reason) = reason {
                        let operator = proto.operator.clone();
                        self.problems.push(Problem { node: node_name.clone(), operator, reason });
                    }
                    Vec::new()
                }
            }
            .into_iter();
            for name in &proto.outputs {
                let value = results.next().flatten();
                if name.is_empty() {
                    continue;
                }
                if !scope.insert(name.clone(), value) {
                    let reason = Reason::Unsupported(format!("another value is named `{name}`"));
                    let operator = proto.operator.clone();
                    self.problems.push(Problem { node: node_name.clone(), operator, reason });
                }
            }
        }
    }

    /// Counts a step of a loop that is unrolled as a node, so that steps without nodes are bounded too.
    pub(crate) fn count_step(&mut self) -> Result<(), Reason> {
        self.imported += 1;
        match self.has_too_many_nodes() {
            true => Err(Reason::Unsupported(format!("the model has more than {MOST_NODES} nodes"))),
            false => Ok(()),
        }
    }

    /// Whether nodes were left out because there are too many.
    pub(crate) fn has_too_many_nodes(&self) -> bool {
        self.imported > MOST_NODES
    }

    fn node(
        &mut self,
        proto: &'m proto::Node,
        operands: Vec<Value>,
        scope: &Scope<'_>,
        depth: usize,
        name: &str,
    ) -> Result<Vec<Value>, Reason> {
        if depth > MOST_NESTED {
            return Err(Reason::Unsupported(format!("graphs are nested more than {MOST_NESTED} times")));
        }
        self.label = name.chars().map(|it| if it == '/' { '.' } else { it }).collect();
        let domain = domain(&proto.domain);
        if domain == DOMAIN
            && let Some(function) = Function::named(&proto.operator)
        {
            return ops::sequence::function(self, function, &operands);
        }
        if let Some(&function) = self.functions.get(&(domain, proto.operator.as_str())) {
            return self.function(function, proto, operands, depth);
        }
        if let Some(attribute) = proto.attributes.iter().find(|attribute| !attribute.reference.is_empty()) {
            // The attribute of a function, which calls do not pass.
            return Err(Reason::Attribute { name: attribute.name.clone() });
        }
        let opset = self.opsets.get(domain).copied().unwrap_or(1);
        let node = Node::new(proto, operands, opset);
        if domain.is_empty() && proto.operator == "If" {
            return self.branch(&node, scope, depth);
        }
        let results = match domain {
            "" if proto.operator == "Scan" => self.scan(&node, scope, depth)?,
            "" if proto.operator == "Loop" => self.repeated_body(&node, scope, depth)?,
            "" => ops::import(self, &node)?,
            _ => {
                return Err(Reason::Unsupported(format!(
                    "the domain `{domain}` of operators is not supported"
                )));
            }
        };
        let is_operand = |known: &Known| {
            node.operands
                .iter()
                .any(|operand| operand.known().is_ok_and(|operand| operand.shares_elements(known)))
        };
        let new = results.iter().map(|value| match value {
            Value::Known(known) if !is_operand(known) => known.len(),
            _ => 0,
        });
        self.computed = self.computed.saturating_add(new.sum());
        if self.computed > MOST_COMPUTED {
            return Err(Reason::Unsupported(format!(
                "the constants have more than {MOST_COMPUTED} elements"
            )));
        }
        if self.builder.graph().nodes().len() > MOST_OPERATORS {
            return Err(Reason::Unsupported(format!("the network has more than {MOST_OPERATORS} operators")));
        }
        match node.unread() {
            Some(name) => Err(Reason::Attribute { name: name.to_owned() }),
            None => Ok(results),
        }
    }

    /// A call of a function of the model.
    fn function(
        &mut self,
        function: &'m proto::Function,
        proto: &'m proto::Node,
        operands: Vec<Value>,
        depth: usize,
    ) -> Result<Vec<Value>, Reason> {
        if let Some(attribute) = proto.attributes.first() {
            return Err(Reason::Attribute { name: attribute.name.clone() });
        }
        let given = operands.into_iter().chain(std::iter::repeat(Value::Absent));
        let own = function.inputs.iter().cloned().zip(given).map(|(name, value)| (name, Some(value)));
        let mut inner = Scope { own: own.collect(), outer: None };
        self.body(&function.nodes, &mut inner, depth)?;
        function.outputs.iter().map(|name| result(&inner, name)).collect()
    }

    /// The branch of a condition that is known.
    fn branch(&mut self, node: &Node<'m>, scope: &Scope<'_>, depth: usize) -> Result<Vec<Value>, Reason> {
        let condition = match node.known(0)?.to_booleans().as_deref() {
            Some([condition]) => *condition,
            _ => return Err(Reason::Operand { index: 0, problem: "must be one truth value".to_owned() }),
        };
        let name = if condition { "then_branch" } else { "else_branch" };
        let Some(graph) = node.graph(name) else { return Err(Reason::Attribute { name: name.to_owned() }) };
        let mut inner = Scope { own: HashMap::new(), outer: Some(scope) };
        self.initializers(graph, &mut inner).map_err(|error| Reason::Unsupported(error.to_string()))?;
        self.body(&graph.nodes, &mut inner, depth)?;
        graph.outputs.iter().map(|output| result(&inner, &output.name)).collect()
    }

    /// The nodes of a nested graph.
    pub(crate) fn body(
        &mut self,
        nodes: impl IntoIterator<Item = &'m proto::Node>,
        scope: &mut Scope<'_>,
        depth: usize,
    ) -> Result<(), Reason> {
        let before = self.problems.len();
        self.nodes(nodes, scope, depth + 1);
        match self.problems.len() > before {
            // The first problem stands for the node.
            true => {
                let problem = self.problems.swap_remove(before);
                self.problems.truncate(before);
                Err(Reason::Unsupported(format!("its graph has {problem}")))
            }
            false => Ok(()),
        }
    }

    /// Adds an operator under the label of the node.
    pub(crate) fn op(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, Reason> {
        let label = std::mem::take(&mut self.label);
        let result = self.builder.op(op, operands, &label);
        self.label = label;
        Ok(result?)
    }

    /// A known tensor as a value of the graph: the parameter of an initialiser, or a constant.
    pub(crate) fn stored(&mut self, known: &Known, is_state: bool) -> Result<Weight, Reason> {
        let Some(values) = known.to_floats() else {
            return Err(Reason::Unsupported("it computes with a size that is open".to_owned()));
        };
        if known.dims.contains(&0) {
            return Err(Reason::Unsupported("it computes with a tensor without elements".to_owned()));
        }
        if known.name.is_some() && !self.frames.is_empty() {
            return self.declared_around(|importer| importer.stored(known, is_state));
        }
        let fixed = Shape::fixed(&known.dims);
        let value = match &known.name {
            Some(name) => {
                let declared = self.sources.entry(name.to_string()).or_default();
                let is_same =
                    |source: &&Source| source.is_state == is_state && source.known.shares_elements(known);
                match declared.iter().find(is_same).map(|source| source.value) {
                    Some(value) => value,
                    None => {
                        // Another one of the name: a parameter that is also a state, or one of a nested graph.
                        let name = match declared.len() {
                            0 => name.to_string(),
                            count => format!("{name}.{count}"),
                        };
                        let value = self.declare(&name, fixed, values, is_state)?;
                        let key = known.name.as_deref().unwrap_or_default().to_owned();
                        let known = known.clone();
                        self.sources.entry(key).or_default().push(Source { known, is_state, value });
                        value
                    }
                }
            }
            None => self.op(Constant { shape: fixed, values }, &[])?,
        };
        Ok(Weight::new(value, known.dims.clone()))
    }

    /// Declares a parameter or state with its values.
    fn declare(
        &mut self,
        name: &str,
        shape: Shape,
        values: Vec<f32>,
        is_state: bool,
    ) -> Result<ValueId, Reason> {
        let dims = shape.item();
        let init = Initializer::ZEROS;
        let op: Op = match is_state {
            true => State { name: name.to_owned(), shape, init }.into(),
            false => Parameter { name: name.to_owned(), shape, init }.into(),
        };
        let value = self.op(op, &[])?;
        self.tensors.push(Tensor { name: name.to_owned(), dims, values });
        Ok(value)
    }

    /// Notes the values of a parameter that a layer declares.
    pub(crate) fn set(&mut self, name: String, dims: Vec<usize>, values: Vec<f32>) {
        self.tensors.push(Tensor { name, dims, values });
    }

    /// A value that depends on parameters only.
    pub(crate) fn weight(&mut self, value: &Value) -> Result<Weight, Reason> {
        match value {
            Value::Known(known) => self.stored(known, false),
            Value::Weight(weight) => Ok(weight.clone()),
            Value::Empty(_) => {
                Err(Reason::Unsupported("it computes with a value without elements".to_owned()))
            }
            other => Err(Reason::NeedsParameter { index: 0, input: other.input() }),
        }
    }

    /// A known tensor of an attribute.
    pub(crate) fn decoded(&mut self, tensor: &proto::Tensor) -> Result<Known, Reason> {
        self.decoder.tensor(tensor).map_err(|error| Reason::Unsupported(error.to_string()))
    }
}

/// A graph without the operators and parameters that no output needs, such as the weights of a recurrent layer before their
/// gates are put in order.
fn without_unused(graph: &Graph) -> Result<Graph, GraphError> {
    let live = graph.reachable(graph.outputs().iter().map(|output| output.value));
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        if matches!(node.op, Op::Input(_)) || node.results.iter().any(|value| live.contains(value)) {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// A value of a nested graph that it gives to the graph around.
pub(crate) fn result(scope: &Scope<'_>, name: &str) -> Result<Value, Reason> {
    match scope.get(name) {
        Some(Some(value)) => Ok(value.clone()),
        _ => Err(Reason::Unsupported(format!("its graph has no value `{name}`"))),
    }
}

/// The standard domain has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}
