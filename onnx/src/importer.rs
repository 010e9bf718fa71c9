//! The import of a model: its inputs, nodes in order, and outputs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::source::{Constant, Input, InputRole, Parameter, State};
use windlass_compiler::shape::{DType, Dim, Shape, Symbol, Type};

use crate::decode::{Decoder, ElementType};
use crate::error::{ImportError, Problem, Reason};
use crate::known::Known;
use crate::node::Node;
use crate::value::{Batch, Data, Meaning, Value, Weight, shape};
use crate::{ImportOptions, Imported, Output, Port, Tensor, ops, proto};

/// Nested graphs (branches, functions) beyond this depth are refused.
const MOST_NESTED: usize = 32;

/// The most elements of a tensor that the import computes itself.
pub(crate) const MOST_KNOWN: usize = 1 << 24;

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
    /// Parameters and states that exist already.
    sources: HashMap<String, ValueId>,
    tensors: Vec<Tensor>,
    problems: Vec<Problem>,
    /// The number of nodes that were imported.
    imported: usize,
    /// The number of elements that were computed.
    computed: usize,
    /// The same value with its first axis folded into the batch, and the other way round.
    pub(crate) forms: HashMap<ValueId, ValueId>,
}

/// The most nodes that are imported, those of functions counted for each call.
const MOST_NODES: usize = 1 << 20;

/// The most nodes of the network.
const MOST_OPERATORS: usize = 1 << 20;

/// The most elements of all tensors together that the import computes.
const MOST_COMPUTED: usize = 1 << 26;

/// The most names of open sizes.
const MOST_SIZES: usize = 64;

/// The values of a graph by name, and those of the graphs around it; `None` for results of nodes that could not be imported.
#[derive(Debug, Default)]
pub(crate) struct Scope<'s> {
    own: HashMap<String, Option<Value>>,
    outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Option<&Option<Value>> {
        self.own.get(name).or_else(|| self.outer?.get(name))
    }

    /// Names a value, and returns whether the name was free in this graph.
    fn insert(&mut self, name: String, value: Option<Value>) -> bool {
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
    fn initializers(&mut self, graph: &proto::Graph, scope: &mut Scope<'_>) -> Result<(), ImportError> {
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

    /// Declares the inputs. Those that also are initialisers have their values.
    fn inputs(&mut self, graph: &'m proto::Graph, scope: &mut Scope<'_>) -> Result<Vec<Port>, ImportError> {
        for name in self.options.values.keys().chain(self.options.parameters.keys()) {
            if !graph.inputs.iter().any(|input| input.name == *name) {
                let names: Vec<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
                let reason = format!("names no input of the model; they are {}", names.join(", "));
                return Err(ImportError::Option { name: name.clone(), reason });
            }
        }
        let mut declared: Vec<(&str, ElementType, Vec<Size<'_>>)> = Vec::new();
        for input in &graph.inputs {
            let known = self.options.values.get(&input.name).or(self.options.parameters.get(&input.name));
            if let Some(known) = known {
                let mut known = known.clone();
                if self.options.parameters.contains_key(&input.name) {
                    known.name = Some(Arc::from(input.name.as_str()));
                }
                scope.insert(input.name.clone(), Some(known.into()));
                continue;
            }
            if scope.get(&input.name).is_some() {
                continue;
            }
            let (element, sizes) = tensor_type(input).map_err(|reason| ImportError::Port {
                what: "input",
                name: input.name.clone(),
                reason,
            })?;
            declared.push((&input.name, element, sizes));
        }
        let names = Names::of(&declared, self.options);
        self.open_batch = names.batch.is_some();
        let mut ports = Vec::new();
        for (name, element, sizes) in &declared {
            let port = |reason: String| ImportError::Port { what: "input", name: (*name).to_owned(), reason };
            let dims: Vec<Dim> =
                sizes.iter().map(|size| names.dim(size)).collect::<Result<_, _>>().map_err(port)?;
            if dims.iter().any(|dim| dim.fixed() == Some(0)) {
                return Err(port("has an axis of size 0".to_owned()));
            }
            let batch = match self.open_batch {
                false => Batch::Outside,
                true => match dims.iter().position(|dim| *dim == Dim::batch()) {
                    Some(axis) => Batch::Axis(axis),
                    None => {
                        let reason = "has no axis for the batch, which other inputs have; give it a value with \
                                      `ImportOptions::value`, or fix the size of the batch with `ImportOptions::size`";
                        return Err(port(reason.to_owned()));
                    }
                },
            };
            let (dtype, meaning) = match element {
                element if element.is_float() => (DType::F32, Meaning::Float),
                ElementType::Bool => (DType::F32, Meaning::Truth),
                _ => (DType::I32, Meaning::Index),
            };
            // A first axis of size 1 is left out: `[1, 3, 224, 224]` is a batch of images.
            let is_single = batch == Batch::Outside && dims.first().and_then(Dim::fixed) == Some(1);
            let whole = shape(batch, &dims);
            let declared_shape =
                if is_single { Shape::batch_of(dims[1..].iter().cloned()) } else { whole.clone() };
            let ty = Type { dtype, shape: declared_shape.clone() };
            let op = Input { name: (*name).to_owned(), role: InputRole::Data, ty };
            let input = self.builder.op(op, &[], "")?;
            let mut data =
                Data { value: input, dims: dims.clone(), batch, meaning, input: Some(Arc::from(*name)) };
            if is_single {
                data.batch = Batch::Axis(0);
            }
            ports.push(Port { name: (*name).to_owned(), dims, shape: declared_shape });
            if !scope.insert((*name).to_owned(), Some(data.into())) {
                return Err(port("occurs twice".to_owned()));
            }
        }
        Ok(ports)
    }

    /// Imports nodes in order. Those that cannot be imported are noted, and those that use their results are left out.
    pub(crate) fn nodes(&mut self, nodes: &'m [proto::Node], scope: &mut Scope<'_>, depth: usize) {
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
        if let Some(&function) = self.functions.get(&(domain, proto.operator.as_str())) {
            return self.function(function, proto, operands, depth);
        }
        let opset = self.opsets.get(domain).copied().unwrap_or(1);
        let node = Node::new(proto, operands, opset);
        if domain.is_empty() && proto.operator == "If" {
            return self.branch(&node, scope, depth);
        }
        let results = match domain {
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
    fn body(&mut self, nodes: &'m [proto::Node], scope: &mut Scope<'_>, depth: usize) -> Result<(), Reason> {
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

    fn outputs(&mut self, graph: &proto::Graph, scope: &Scope<'_>) -> Result<Vec<Output>, ImportError> {
        let mut outputs = Vec::new();
        let mut named = HashSet::new();
        for output in &graph.outputs {
            let port =
                |reason: String| ImportError::Port { what: "output", name: output.name.clone(), reason };
            let Some(Some(value)) = scope.get(&output.name) else {
                return Err(port("is computed by no node".to_owned()));
            };
            if !named.insert(&output.name) {
                return Err(port("occurs twice".to_owned()));
            }
            let dims = value.dims();
            let found = match value {
                Value::Known(known) => Output::Known(self.known_tensor(&output.name, known)),
                Value::Empty(_) => return Err(port("has no elements".to_owned())),
                Value::Absent => return Err(port("is computed by no node".to_owned())),
                Value::Weight(weight) => {
                    // Every output of a network is a batch.
                    let lifted = self.lifted(weight).map_err(|reason| port(reason.to_string()))?;
                    self.named_output(&output.name, lifted, port)?
                }
                Value::Data(data) => self.named_output(&output.name, data.clone(), port)?,
            };
            outputs.push(match found {
                Output::Computed(port) => Output::Computed(Port { dims, ..port }),
                known => known,
            });
        }
        Ok(outputs)
    }

    fn named_output(
        &mut self,
        name: &str,
        data: Data,
        port: impl Fn(String) -> ImportError,
    ) -> Result<Output, ImportError> {
        if data.meaning == Meaning::Index {
            return Err(port("is an input of integers; outputs are floats".to_owned()));
        }
        let data = match (data.batch, data.dims.first().and_then(Dim::fixed)) {
            (Batch::Outside, Some(1)) => self.folded(&data).map_err(|reason| port(reason.to_string()))?,
            (Batch::Axis(0), Some(size)) if size > 1 && !self.open_batch => {
                self.spread(&data).map_err(|reason| port(reason.to_string()))?
            }
            _ => data,
        };
        self.builder.output(name, data.value)?;
        Ok(Output::Computed(Port { name: name.to_owned(), dims: data.dims.clone(), shape: data.shape() }))
    }

    fn known_tensor(&self, name: &str, known: &Known) -> Tensor {
        let values = known.to_floats().unwrap_or_default();
        Tensor { name: name.to_owned(), dims: known.dims.clone(), values }
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
        let fixed = Shape::fixed(&known.dims);
        let value = match &known.name {
            Some(name) => {
                let key = format!("{name}:{is_state}");
                match self.sources.get(&key) {
                    Some(&value) => value,
                    None => {
                        let taken = self.sources.contains_key(&format!("{name}:{}", !is_state));
                        let name = if taken { format!("{name}.copy") } else { name.to_string() };
                        let value = self.declare(&name, fixed, values, is_state)?;
                        self.sources.insert(key, value);
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

fn result(scope: &Scope<'_>, name: &str) -> Result<Value, Reason> {
    match scope.get(name) {
        Some(Some(value)) => Ok(value.clone()),
        _ => Err(Reason::Unsupported(format!("its graph has no value `{name}`"))),
    }
}

/// The standard domain has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// The size of an axis of an input.
enum Size<'m> {
    Fixed(usize),
    Named(&'m str),
    Unknown,
}

/// The element type and axes of an input.
fn tensor_type(info: &proto::ValueInfo) -> Result<(ElementType, Vec<Size<'_>>), String> {
    let tensor = info.ty.as_ref().and_then(|ty| ty.tensor.as_ref());
    let tensor = tensor.ok_or_else(|| "is no tensor".to_owned())?;
    let element = ElementType::of(tensor.element)
        .ok_or_else(|| format!("has elements of type {}, which is not supported", tensor.element))?;
    let shape = tensor.shape.as_ref().ok_or_else(|| "has no declared number of axes".to_owned())?;
    let size = |axis: &'_ proto::Axis| match (axis.value, &axis.name) {
        (Some(value), _) => match usize::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("has an axis of size {value}")),
        },
        (None, _) => Ok(None),
    };
    let mut sizes = Vec::with_capacity(shape.axes.len());
    for axis in &shape.axes {
        sizes.push(match (size(axis)?, axis.name.as_deref().filter(|name| !name.is_empty())) {
            (Some(value), _) => Size::Fixed(value),
            (None, Some(name)) => Size::Named(name),
            (None, None) => Size::Unknown,
        });
    }
    Ok((element, sizes))
}

/// The symbols of open sizes.
struct Names<'m> {
    /// The name of the batch; an empty name is an axis without a name.
    batch: Option<&'m str>,
    others: Vec<(&'m str, Symbol)>,
    options: &'m ImportOptions,
}

impl<'m> Names<'m> {
    fn of(inputs: &[(&'m str, ElementType, Vec<Size<'m>>)], options: &'m ImportOptions) -> Self {
        let all = || inputs.iter().flat_map(|(_, _, sizes)| sizes);
        let is_open = |name: &&str| !options.sizes.contains_key(*name);
        let named = || all().filter_map(|size| if let Size::Named(name) = size { Some(*name) } else { None });
        // The first axis of an input, unless another one is named like a batch.
        let first = inputs.iter().find_map(|(_, _, sizes)| match sizes.first() {
            Some(Size::Named(name)) if is_open(name) => Some(*name),
            Some(Size::Unknown) => Some(""),
            _ => None,
        });
        let batch = named().filter(is_open).find(|name| name.to_lowercase().contains("batch")).or(first);
        let mut others: Vec<(&str, Symbol)> = Vec::new();
        for name in named().filter(is_open) {
            let is_free = others.len() < MOST_SIZES;
            if is_free && Some(name) != batch && !others.iter().any(|(other, _)| *other == name) {
                let symbol = symbol(name, &others);
                others.extend(symbol.map(|symbol| (name, symbol)));
            }
        }
        Names { batch, others, options }
    }

    fn dim(&self, size: &Size<'_>) -> Result<Dim, String> {
        match size {
            Size::Fixed(size) => Ok(Dim::Fixed(*size)),
            Size::Named(name) if self.options.sizes.contains_key(*name) => {
                Ok(Dim::Fixed(self.options.sizes[*name]))
            }
            Size::Named(name) if self.batch == Some(name) => Ok(Dim::batch()),
            Size::Unknown if self.batch == Some("") => Ok(Dim::batch()),
            Size::Named(name) => match self.others.iter().find(|(other, _)| other == name) {
                Some((_, symbol)) => Ok(Dim::from(*symbol)),
                None => Err(format!("has too many open sizes; fix `{name}` with `ImportOptions::size`")),
            },
            Size::Unknown => {
                Err("has an axis that has neither a size nor a name; name it when the model is exported"
                    .to_owned())
            }
        }
    }
}

/// A symbol for a name, other than those that are taken.
fn symbol(name: &str, taken: &[(&str, Symbol)]) -> Option<Symbol> {
    let mut letters: String = name
        .chars()
        .filter(|it| it.is_ascii_alphanumeric() || *it == '_')
        .take(Symbol::MOST_BYTES - 2)
        .collect();
    if !letters.starts_with(|first: char| first.is_ascii_alphabetic()) {
        letters.insert(0, 'D');
    }
    letters[..1].make_ascii_uppercase();
    let is_free =
        |symbol: &Symbol| *symbol != Symbol::BATCH && taken.iter().all(|(_, other)| other != symbol);
    let numbered = (1..100).map(|number| format!("{letters}{number}"));
    let mut candidates = std::iter::once(letters.clone()).chain(numbered);
    candidates.find_map(|text| text.parse::<Symbol>().ok().filter(is_free))
}
