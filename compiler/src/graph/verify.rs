//! Checks the invariants of a graph; runs after every pass.
//!
//! 1. Every operand exists and is produced by an earlier node.
//! 2. Every value is a result of exactly the node it names as producer.
//! 3. Every node satisfies its operator's shape rule, with the result types recorded.
//! 4. Names of sources, outputs and updates are unique; updates name a parameter or state of their type.

use std::collections::HashSet;

use super::{Graph, source_name};
use crate::error::GraphError;
use crate::ops::Operator;
use crate::ops::source::Source;

/// Checks every invariant.
///
/// # Errors
/// The first broken invariant, as [`GraphError::Invalid`].
pub fn verify(graph: &Graph) -> Result<(), GraphError> {
    let invalid = |reason: String| Err(GraphError::Invalid { reason });
    let mut defined = 0;
    let mut names = HashSet::new();
    for (id, node) in graph.node_ids() {
        if let Some(operand) = node.operands.iter().find(|operand| operand.index() >= defined) {
            return invalid(format!("{id} ({}) uses {operand} before it is produced", node.op.name()));
        }
        for result in &node.results {
            if result.index() != defined || defined >= graph.value_count() || graph.producer_id(*result) != id
            {
                return invalid(format!("{result} is not the next result of {id}"));
            }
            defined += 1;
        }
        match node.op.infer(&graph.types(&node.operands)) {
            Ok(types) if types == graph.types(&node.results) => {}
            Ok(_) => {
                return invalid(format!("{id} ({}) records other types than it produces", node.op.name()));
            }
            Err(error) => return invalid(format!("{id} ({}) {error}", node.op.name())),
        }
        if let Some(name) = source_name(&node.op)
            && !names.insert(name)
        {
            return invalid(format!("two sources are named `{name}`"));
        }
    }
    if defined != graph.value_count() {
        return invalid("a value has no producer".to_owned());
    }
    let mut outputs = HashSet::new();
    for output in graph.outputs() {
        if output.value.index() >= defined || !outputs.insert(&output.name) {
            return invalid(format!("output `{}` is broken", output.name));
        }
    }
    let mut updates = HashSet::new();
    for update in graph.updates() {
        let target = graph.source(&update.name);
        let fits = target.is_some_and(|target| {
            update.value.index() < defined
                && graph.producer(target).op.source().is_some_and(Source::is_stored)
                && graph.ty(target) == graph.ty(update.value)
        });
        if !fits || !updates.insert(&update.name) {
            return invalid(format!("update `{}` is broken", update.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::verify;
    use crate::entity::{NodeId, ValueId};
    use crate::error::GraphError;
    use crate::graph::{Graph, Named};

    /// A graph with one broken part, which only code in this crate can make.
    #[track_caller]
    fn rejects(breaking: impl FnOnce(&mut Graph)) {
        let mut graph: Graph = "graph net {
          %0 = parameter {name = \"w\", shape = \"[4]\", init = \"xavier_uniform\"}
          %1 = unary(%0) {kind = \"relu\"}
          output \"y\" = %1
          update \"w\" = %1
        }"
        .parse()
        .unwrap();
        verify(&graph).unwrap();
        breaking(&mut graph);
        assert!(matches!(verify(&graph), Err(GraphError::Invalid { .. })), "{graph:?}");
    }

    #[test]
    fn numbers_out_of_range_are_errors() {
        let far = ValueId::new(99);
        rejects(|graph| graph.outputs[0].value = far);
        rejects(|graph| graph.updates[0].value = far);
        rejects(|graph| graph.nodes[1].operands[0] = far);
        rejects(|graph| graph.nodes[1].results[0] = far);
        rejects(|graph| graph.nodes[1].operands.clear());
        rejects(|graph| graph.nodes[1].results.clear());
        rejects(|graph| graph.nodes[1].results.push(ValueId::new(2)));
        rejects(|graph| graph.values[1].producer = NodeId::new(99));
        rejects(|graph| graph.values.truncate(1));
        rejects(|graph| graph.values.push(graph.values[0].clone()));
        rejects(|graph| graph.outputs.push(graph.outputs[0].clone()));
        rejects(|graph| graph.updates[0].name = "v".to_owned());
        rejects(|graph| graph.updates.push(Named { name: "w".to_owned(), value: ValueId::new(1) }));
    }
}
