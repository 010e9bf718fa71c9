//! The results of layers, found by their labels.

use super::{Graph, Node};
use crate::entity::ValueId;
use crate::error::GraphError;

impl Graph {
    /// The labels of layers, in the order of their first operators. Layers in the body of a scan are not among them.
    ///
    /// ```
    /// use windlass::{Builder, Layer};
    ///
    /// let mut builder = Builder::new("net");
    /// let x = builder.input("x", &[4])?;
    /// let hidden = builder.layer("f1", &Layer::linear(3), x)?;
    /// let bounded = builder.layer("bounded", &Layer::Tanh, hidden)?;
    /// builder.output("y", bounded)?;
    /// let graph = builder.finish()?;
    /// assert_eq!(graph.layer_labels(), ["f1", "bounded"]);
    /// assert_eq!(graph.layer_result("f1"), Some(hidden));
    /// # Ok::<(), windlass::GraphError>(())
    /// ```
    pub fn layer_labels(&self) -> Vec<&str> {
        let mut seen = std::collections::HashSet::new();
        let labels = self.nodes().iter().filter(|node| is_layer(node)).map(|node| node.label.as_str());
        labels.filter(|label| !label.is_empty() && seen.insert(*label)).collect()
    }

    /// The result of the layer with a label: the last of its values that another layer or an output reads. For the label of a
    /// block, it is that of the block.
    pub fn layer_result(&self, label: &str) -> Option<ValueId> {
        if label.is_empty() {
            return None;
        }
        let belongs = |node: &Node| {
            let rest = node.label.strip_prefix(label);
            is_layer(node) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let own: Vec<bool> = self.nodes().iter().map(belongs).collect();
        let is_own = |value: ValueId| own[self.producer_id(value).index()];
        let others = self.nodes().iter().zip(&own).filter(|(_, own)| !**own).map(|(node, _)| node);
        let read = others.flat_map(|node| node.operands.iter().copied());
        let read =
            read.chain(self.outputs().iter().map(|output| output.value)).filter(|&value| is_own(value)).max();
        // What nothing reads is the last result.
        read.or_else(|| {
            self.nodes().iter().zip(&own).rfind(|(_, own)| **own).map(|(node, _)| node.results[0])
        })
    }

    /// The same graph with other outputs.
    ///
    /// # Errors
    /// [`GraphError::DuplicateName`] for a repeated name, [`GraphError::UnknownValue`].
    pub fn with_output_values<'n>(
        &self,
        outputs: impl IntoIterator<Item = (&'n str, ValueId)>,
    ) -> Result<Graph, GraphError> {
        let mut graph = self.with_outputs(&[]);
        outputs.into_iter().try_for_each(|(name, value)| graph.add_output(name, value))?;
        Ok(graph)
    }
}

/// Whether a node computes something: inputs, parameters and constants carry labels too.
fn is_layer(node: &Node) -> bool {
    node.op.source().is_none()
}
