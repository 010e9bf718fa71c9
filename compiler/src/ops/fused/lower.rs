//! The kernel of fused functions: one map with all operands and results.

use super::{Fused, FusedStep};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::plan::{Lower, Lowering, MemoryRules, Order};
use crate::shape::Shape;

impl Lower for Fused {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let first = lowering.ty(node.operands[0]).clone();
        let (full, shared): (Vec<usize>, Vec<usize>) =
            (0..node.operands.len()).partition(|&index| *lowering.ty(node.operands[index]) == first);
        let elements: Vec<ValueId> = full.iter().map(|&index| node.operands[index]).collect();
        let numbers: Vec<(ValueId, usize)> = shared
            .iter()
            .map(|&index| {
                let value = node.operands[index];
                (value, usize::from(lowering.ty(value).shape != Shape::scalar()))
            })
            .collect();
        lowering.pointwise_all(node, &elements, &numbers, |map, elements, numbers| {
            let operand = |index: usize| match full.binary_search(&index) {
                Ok(place) => elements[place],
                Err(_) => numbers[shared.partition_point(|&other| other < index)],
            };
            let mut values: Vec<_> = (0..node.operands.len()).map(operand).collect();
            for step in &self.steps {
                values.push(match *step {
                    FusedStep::Unary(kind, x) => map.unary(kind, values[x]),
                    FusedStep::Binary(kind, left, right) => kind.expression(map, values[left], values[right]),
                });
            }
            self.results.iter().map(|&value| values[value]).collect()
        });
    }
}
