//! The graph: operators on typed values, in an order in which every operand precedes its use.
//!
//! A graph is built only by adding nodes, each checked by its operator's shape rule; passes build new graphs. The graph
//! defines what is computed; algorithms, memory and loops are chosen later.

mod attention;
mod axes;
mod builder;
mod forms;
pub mod initializer;
mod layer;
mod limits;
pub(crate) mod losses;
mod names;
mod raw;
mod results;
mod scans;
mod text;
mod verify;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use names::Names;

pub use attention::{AttentionMask, Heads};
pub use builder::{Builder, Combination};
pub use layer::{
    Cell, GruReset, Interpolation, Layer, PaddingMode, Recurrence, Recurrent, RecurrentOperands,
    RnnActivation, rules,
};
pub use scans::{ScanInputs, ScanOperands, ScanOutputs, Scanned, Stateful, with_states};
#[cfg(feature = "codegen")]
pub(crate) use text::describe;
pub use verify::verify;

use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::ops::source::{Input, Parameter, Source, State};
use crate::ops::{Op, Operator};
use crate::shape::Type;

/// An operator applied to values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The operator.
    pub op: Op,
    /// Its operands.
    pub operands: Vec<ValueId>,
    /// Its results.
    pub results: Vec<ValueId>,
    /// The layer it comes from: `c1`, `inception3a.path2`. Empty if there is none.
    pub label: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ValueData {
    ty: Type,
    producer: NodeId,
}

/// A named value: an output, or the new value of a parameter or state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The value.
    pub value: ValueId,
}

/// A directed acyclic graph of operators.
///
/// ```
/// use windlass::{Builder, Graph, Layer};
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(2), x)?;
/// builder.output("y", y)?;
/// let graph = builder.finish()?;
/// assert_eq!(graph.to_string().parse::<Graph>()?, graph);
/// # Ok::<(), windlass::GraphError>(())
/// ```
///
/// `serde` checks a graph like the builder does: deserialization gives a valid graph or an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "raw::RawGraph")]
pub struct Graph {
    name: String,
    nodes: Vec<Node>,
    values: Vec<ValueData>,
    outputs: Vec<Named>,
    updates: Vec<Named>,
    #[serde(skip)]
    names: Names,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Graph {
            name: name.into(),
            nodes: Vec::new(),
            values: Vec::new(),
            outputs: Vec::new(),
            updates: Vec::new(),
            names: Names::default(),
        }
    }

    /// The name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The nodes, operands before uses.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The nodes with their ids, operands before uses.
    pub fn node_ids(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId::new(index), node))
    }

    /// The number of values.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The type of a value.
    pub fn ty(&self, value: ValueId) -> &Type {
        &self.values[value.index()].ty
    }

    /// The node that produces a value.
    pub fn producer(&self, value: ValueId) -> &Node {
        self.node(self.values[value.index()].producer)
    }

    /// The id of the node that produces a value.
    pub fn producer_id(&self, value: ValueId) -> NodeId {
        self.values[value.index()].producer
    }

    /// The types of a list of values.
    pub fn types(&self, values: &[ValueId]) -> Vec<Type> {
        values.iter().map(|&value| self.ty(value).clone()).collect()
    }

    /// The outputs of the graph, by name.
    pub fn outputs(&self) -> &[Named] {
        &self.outputs
    }

    /// The new values of parameters and states, by the name of their source.
    pub fn updates(&self) -> &[Named] {
        &self.updates
    }

    /// The inputs with their values, in declaration order.
    pub fn inputs(&self) -> impl Iterator<Item = (ValueId, &Input)> {
        self.nodes.iter().filter_map(|node| {
            let Op::Input(input) = &node.op else { return None };
            Some((node.results[0], input))
        })
    }

    /// The trainable parameters with their values, in declaration order.
    pub fn parameters(&self) -> impl Iterator<Item = (ValueId, &Parameter)> {
        self.nodes.iter().filter_map(|node| {
            let Op::Parameter(parameter) = &node.op else { return None };
            Some((node.results[0], parameter))
        })
    }

    /// The states with their values, in declaration order.
    pub fn states(&self) -> impl Iterator<Item = (ValueId, &State)> {
        self.nodes.iter().filter_map(|node| {
            let Op::State(state) = &node.op else { return None };
            Some((node.results[0], state))
        })
    }

    /// The value of an input, parameter or state.
    pub fn source(&self, name: &str) -> Option<ValueId> {
        self.names.source(name)
    }

    /// The number of uses of each value by operators, outputs and updates.
    pub fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        let named = self.outputs.iter().chain(&self.updates).map(|named| named.value);
        for value in self.nodes.iter().flat_map(|node| node.operands.iter().copied()).chain(named) {
            counts[value.index()] += 1;
        }
        counts
    }

    /// For each value the node that is its only user. `None` for a value that is unused, used more than once, or named
    /// as an output or update.
    pub fn only_users(&self) -> Vec<Option<NodeId>> {
        let counts = self.use_counts();
        let mut users = vec![None; self.values.len()];
        for (id, node) in self.node_ids() {
            for operand in &node.operands {
                users[operand.index()] = (counts[operand.index()] == 1).then_some(id);
            }
        }
        users
    }

    /// Adds a node after checking its shape rule.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the rule is broken; [`GraphError::DuplicateName`] for a source whose name is taken;
    /// [`GraphError::UnknownValue`] for an operand that does not exist.
    pub fn add(
        &mut self,
        op: impl Into<Op>,
        operands: &[ValueId],
        label: &str,
    ) -> Result<Vec<ValueId>, GraphError> {
        let op = op.into();
        operands.iter().try_for_each(|&value| self.check_exists(op.name(), value))?;
        let name_of =
            || if label.is_empty() { op.name().to_owned() } else { format!("{label}: {}", op.name()) };
        let types =
            op.infer(&self.types(operands)).map_err(|error| GraphError::Shape { at: name_of(), error })?;
        if let Some(name) = source_name(&op)
            && self.names.source(name).is_some()
        {
            return Err(GraphError::DuplicateName { name: name.to_owned() });
        }
        if !types.iter().all(|ty| self.names.add_sizes(&ty.shape.symbols())) {
            return Err(GraphError::TooManySizes { at: name_of(), most: names::MOST_SIZES });
        }
        let producer = NodeId::new(self.nodes.len());
        let first = self.values.len();
        self.values.extend(types.into_iter().map(|ty| ValueData { ty, producer }));
        let results: Vec<ValueId> = (first..self.values.len()).map(ValueId::new).collect();
        if let Some(name) = source_name(&op) {
            self.names.add_source(name, results[0]);
        }
        self.nodes.push(Node {
            op,
            operands: operands.to_vec(),
            results: results.clone(),
            label: label.to_owned(),
        });
        Ok(results)
    }

    /// Checks that a used value exists.
    fn check_exists(&self, user: &str, value: ValueId) -> Result<(), GraphError> {
        let values = self.values.len();
        if value.index() < values {
            return Ok(());
        }
        Err(GraphError::UnknownValue { user: user.to_owned(), value, values })
    }

    /// Adds a node with a single result.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn add_single(
        &mut self,
        op: impl Into<Op>,
        operands: &[ValueId],
        label: &str,
    ) -> Result<ValueId, GraphError> {
        self.add(op, operands, label).map(|results| results[0])
    }

    /// Names a value as an output.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`] if another output has the name, [`GraphError::UnknownValue`] if the value does not
    /// exist.
    pub fn add_output(&mut self, name: &str, value: ValueId) -> Result<(), GraphError> {
        self.check_exists(&format!("output {name}"), value)?;
        if !self.names.add_output(name) {
            return Err(GraphError::DuplicateName { name: name.to_owned() });
        }
        self.outputs.push(Named { name: name.to_owned(), value });
        Ok(())
    }

    /// Declares the new value of a parameter or state, stored after a run.
    ///
    /// # Errors
    /// [`GraphError::UnknownName`], [`GraphError::UnknownValue`], [`GraphError::DuplicateName`], or
    /// [`GraphError::Shape`] if the types differ.
    pub fn add_update(&mut self, name: &str, value: ValueId) -> Result<(), GraphError> {
        let target = self
            .source(name)
            .filter(|&target| self.producer(target).op.source().is_some_and(Source::is_stored))
            .ok_or_else(|| GraphError::UnknownName { name: name.to_owned() })?;
        self.check_exists(&format!("update {name}"), value)?;
        crate::ops::expect_type("new value", self.ty(value), self.ty(target))
            .map_err(|error| GraphError::Shape { at: format!("update {name}"), error })?;
        if !self.names.add_update(name) {
            return Err(GraphError::DuplicateName { name: name.to_owned() });
        }
        self.updates.push(Named { name: name.to_owned(), value });
        Ok(())
    }

    /// Copies a node of another graph into this one and maps its operands. Passes are written with it.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn copy_node(
        &mut self,
        node: &Node,
        values: &mut HashMap<ValueId, ValueId>,
    ) -> Result<(), GraphError> {
        let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
        let results = self.add(node.op.clone(), &operands, &node.label)?;
        values.extend(node.results.iter().copied().zip(results));
        Ok(())
    }

    /// Copies another graph's outputs and updates into this one and maps their values.
    ///
    /// # Errors
    /// As [`Graph::add_output`] and [`Graph::add_update`].
    pub fn copy_ends(&mut self, from: &Graph, values: &HashMap<ValueId, ValueId>) -> Result<(), GraphError> {
        for output in &from.outputs {
            self.add_output(&output.name, values[&output.value])?;
        }
        for update in &from.updates {
            self.add_update(&update.name, values[&update.value])?;
        }
        Ok(())
    }

    /// The same graph with some of its outputs, by index.
    pub(crate) fn with_outputs(&self, kept: &[usize]) -> Graph {
        let mut graph = self.clone();
        graph.outputs = kept.iter().map(|&index| self.outputs[index].clone()).collect();
        graph.names.clear_outputs();
        for output in &graph.outputs {
            graph.names.add_output(&output.name);
        }
        graph
    }

    /// The same graph without updates.
    pub(crate) fn without_updates(&self) -> Graph {
        let mut graph = self.clone();
        graph.updates.clear();
        graph.names.clear_updates();
        graph
    }

    /// The values from which the given ones are computed, including themselves.
    pub fn reachable(&self, from: impl IntoIterator<Item = ValueId>) -> HashSet<ValueId> {
        let mut seen = HashSet::new();
        let mut pending: Vec<ValueId> = from.into_iter().collect();
        while let Some(value) = pending.pop() {
            if seen.insert(value) {
                pending.extend_from_slice(&self.producer(value).operands);
            }
        }
        seen
    }
}

/// The name of an input, parameter or state.
pub fn source_name(op: &Op) -> Option<&str> {
    op.source().and_then(Source::name)
}
