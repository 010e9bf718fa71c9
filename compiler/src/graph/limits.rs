//! The ranges of integers.

use super::{Graph, Node};
use crate::entity::ValueId;
use crate::ops::{Indices, Op, Operator};
use crate::shape::Dim;

impl Graph {
    /// For each value of integers, their exclusive upper limit, by the value's index: the lowest of the operators that
    /// look them up, perhaps after others have moved them. `None` for values that none looks up, and for floats.
    ///
    /// ```
    /// use windlass::{Builder, DType, Graph, Layer};
    ///
    /// let mut builder = Builder::new("net");
    /// let tokens = builder.input_of("tokens", DType::I32, [35.into()])?;
    /// builder.layer("e", &Layer::embedding(256, 8), tokens)?;
    /// assert_eq!(builder.graph().index_limits()[tokens.index()], Some(256));
    /// # Ok::<(), windlass::GraphError>(())
    /// ```
    pub fn index_limits(&self) -> Vec<Option<usize>> {
        let of_node = |graph: &Graph, node: &Node| match (node.op.facts().indices?, &node.operands[..]) {
            (Indices::Below(limit), _) => Some(limit),
            (Indices::Channels, &[.., logits, _]) => {
                Some(graph.ty(logits).shape.item().first().copied().unwrap_or(usize::MAX))
            }
            (Indices::Channels | Indices::Lengths, _) => None,
        };
        self.limits(&of_node, &|known: &mut usize, limit: &usize| *known = *limit.min(known))
    }

    /// For each value of integers that are lengths of padded sequences, by the value's index: the sizes of the axes that
    /// they are lengths along, without repetition. None for all other values.
    ///
    /// ```
    /// use windlass::{AttentionMask, Builder, DType, Dim, Symbol};
    ///
    /// let mut builder = Builder::new("net");
    /// let steps: Symbol = "T".parse()?;
    /// let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(8)])?;
    /// let lengths = builder.input_of("lengths", DType::I32, [])?;
    /// let mask = AttentionMask { lengths: Some(lengths), ..AttentionMask::default() };
    /// builder.attention("a", [x, x, x], &mask)?;
    /// assert_eq!(builder.graph().length_limits()[lengths.index()], [Dim::from(steps)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn length_limits(&self) -> Vec<Vec<Dim>> {
        let of_node = |graph: &Graph, node: &Node| match (node.op.facts().indices?, node.operands.first()) {
            (Indices::Lengths, Some(&x)) => graph.ty(x).shape.dims().last().map(|dim| vec![dim.clone()]),
            _ => None,
        };
        let join = |known: &mut Vec<Dim>, limits: &Vec<Dim>| {
            known.extend(limits.iter().filter(|&limit| !known.contains(limit)).cloned().collect::<Vec<_>>());
        };
        self.limits(&of_node, &join).into_iter().map(Option::unwrap_or_default).collect()
    }

    /// The limits of values of integers. `of_node` gives those of a node's last operand, if the node itself has a rule for
    /// it; nodes that move integers pass limits on, and scans have those of their bodies.
    fn limits<L: Clone>(
        &self,
        of_node: &impl Fn(&Graph, &Node) -> Option<L>,
        join: &impl Fn(&mut L, &L),
    ) -> Vec<Option<L>> {
        let mut limits: Vec<Option<L>> = vec![None; self.value_count()];
        let add = |limits: &mut Vec<Option<L>>, value: ValueId, limit: &L| match &mut limits[value.index()] {
            Some(known) => join(known, limit),
            unknown => *unknown = Some(limit.clone()),
        };
        for node in self.nodes().iter().rev() {
            if let Op::Scan(scan) = &node.op {
                let inner = scan.body.limits(of_node, join);
                for ((input, _), &operand) in scan.body.inputs().zip(&node.operands) {
                    if let Some(limit) = &inner[input.index()] {
                        add(&mut limits, operand, limit);
                    }
                }
            } else if node.op.facts().indices.is_some() {
                if let (Some(limit), Some(&last)) = (of_node(self, node), node.operands.last()) {
                    add(&mut limits, last, &limit);
                }
            } else {
                for result in &node.results {
                    if let Some(limit) = limits[result.index()].clone() {
                        node.operands.iter().for_each(|&operand| add(&mut limits, operand, &limit));
                    }
                }
            }
        }
        limits
    }
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

    #[test]
    fn bodies_of_scans_limit_what_they_are_given() {
        let graph: Graph = r#"graph net {
            %tokens = input {name = "tokens", type = "i32[N, T]"}
            %lengths = input {name = "lengths", type = "i32[N]"}
            %counts = input {name = "counts", type = "i32[N]"}
            %table = parameter {name = "table", shape = "[7, 4]", init = {constant = 0.0}}
            %x = input {name = "x", type = "f32[N, T]"}
            %h = fill {shape = "[N, 4]", value = 0.0}
            %s = fold_steps(%tokens)
            %last = scan(%table, %lengths, %s, %h) {steps = "T", slices = 1, carried = 1} body step {
              %table = input {name = "table", type = "f32[7, 4]"}
              %lengths = input {name = "lengths", type = "i32[N]"}
              %token = input {name = "token", type = "i32[N]"}
              %h = input {name = "h", type = "f32[N, 4]"}
              %row = gather(%table, %token) {rows = 7}
              %kept = mask(%row, %lengths) {masked = "lengths", fill = "zero"}
              %sum = binary(%h, %kept) {kind = "add"}
              output "h" = %sum
            }
            %y = mask(%x, %counts) {masked = "lengths", fill = "zero"}
            %z = mask(%x, %lengths) {masked = "lengths", fill = "zero"}
            output "last" = %last
            output "y" = %y
            output "z" = %z
        }"#
        .parse()
        .unwrap();
        let place = |name: &str| graph.source(name).unwrap().index();
        let indices = graph.index_limits();
        assert_eq!((indices[place("tokens")], indices[place("lengths")]), (Some(7), None));
        let told = |name: &str| {
            let limits = &graph.length_limits()[place(name)];
            limits.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([told("tokens"), told("lengths"), told("counts")], ["", "T 4", "T"]);
    }
}
