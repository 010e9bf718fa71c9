//! The ranges of integers.

use super::Graph;
use crate::ops::{Indices, Operator};

impl Graph {
    /// For each value of integers, their exclusive upper limit, by the value's index: the lowest of the operators that
    /// look them up, perhaps after others have moved them. `None` for values that none looks up, and for floats.
    ///
    /// ```
    /// use windlass_compiler::graph::{Graph, Builder, Layer};
    /// use windlass_compiler::shape::DType;
    ///
    /// let mut builder = Builder::new("net");
    /// let tokens = builder.input_of("tokens", DType::I32, [35.into()])?;
    /// builder.layer("e", &Layer::embedding(256, 8), tokens)?;
    /// assert_eq!(builder.graph().index_limits()[tokens.index()], Some(256));
    /// # Ok::<(), windlass_compiler::error::GraphError>(())
    /// ```
    pub fn index_limits(&self) -> Vec<Option<usize>> {
        let mut limits: Vec<Option<usize>> = vec![None; self.value_count()];
        for node in self.nodes().iter().rev() {
            match (node.op.facts().indices, &node.operands[..]) {
                (Some(Indices::Below(limit)), &[.., indices]) => lower(&mut limits[indices.index()], limit),
                (Some(Indices::Channels), &[.., logits, labels]) => {
                    let channels = self.ty(logits).shape.item().first().copied();
                    lower(&mut limits[labels.index()], channels.unwrap_or(usize::MAX));
                }
                (Some(_), _) => {}
                // Operators that move integers pass on the limit.
                (None, operands) => {
                    let asked = node.results.iter().filter_map(|result| limits[result.index()]).min();
                    for operand in operands {
                        if let Some(limit) = asked {
                            lower(&mut limits[operand.index()], limit);
                        }
                    }
                }
            }
        }
        limits
    }
}

fn lower(known: &mut Option<usize>, limit: usize) {
    *known = Some(known.map_or(limit, |known| known.min(limit)));
}

#[cfg(test)]
mod tests {
    use crate::graph::Graph;

    #[test]
    fn limits_pass_through_what_moves_integers() {
        let graph: Graph = r#"graph net {
            %tokens = input {name = "tokens", type = "i32[N, 6]"}
            %labels = input {name = "labels", type = "i32[N]"}
            %other = input {name = "other", type = "i32[N]"}
            %x = input {name = "x", type = "f32[N, 5]"}
            %few = parameter {name = "few", shape = "[7, 2]", init = {constant = 0.0}}
            %many = parameter {name = "many", shape = "[9, 2]", init = {constant = 0.0}}
            %part = slice(%tokens) {axis = 1, start = 2, length = 3}
            %y = gather(%many, %tokens) {rows = 9}
            %z = gather(%few, %part) {rows = 7}
            %loss = cross_entropy(%x, %labels)
            output "y" = %y
            output "z" = %z
            output "loss" = %loss
        }"#
        .parse()
        .unwrap();
        let limits = graph.index_limits();
        let of = |name: &str| limits[graph.source(name).unwrap().index()];
        assert_eq!((of("tokens"), of("labels"), of("other")), (Some(7), Some(5), None));
        assert_eq!((of("x"), of("many")), (None, None));
    }
}
