//! The gradient of a convolution to its input as a problem: a correlation of the gradient of the output for each phase,
//! or sums that are scattered to where they belong. Nothing here says how it is computed.

use super::ConvGradInput;
use super::correlation::{Correlation, Met, Results, Target, Weight};
use super::phases::{Phase, phases};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Affine, Extent, MapBuilder, Split, Stmt};
use crate::ops::epilogue::FusedSteps;
use crate::ops::window_walk::{Axis, forward_axes, kernel_positions};
use crate::plan::{Layout, Lowering, View};

/// A gradient to an input and where its operands are.
pub(super) struct InputGradient<'a> {
    pub(super) node: &'a Node,
    /// The spatial axes of the convolution.
    pub(super) axes: Vec<Axis>,
    pub(super) groups: usize,
    /// Input and output channels of a group, as the convolution has them.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// The gradient of the convolution's output.
    pub(super) g: View,
    pub(super) weight: ValueId,
    pub(super) dx: View,
    pub(super) epilogue: FusedSteps<'a>,
}

/// Some results of a gradient to an input, all of which meet kernel positions alike.
pub(super) enum Part<'a> {
    /// They meet some.
    Products(Box<Correlation<'a>>),
    /// They meet none: so many rows and columns.
    Nothing(Results, [usize; 2]),
}

impl<'a> InputGradient<'a> {
    /// A node's problem, whose operands are brought into the order that its result is stored in.
    pub(super) fn of(op: &'a ConvGradInput, lowering: &mut Lowering<'_>, node: &'a Node) -> Self {
        let dx = lowering.view(node.results[0]).clone();
        if dx.layout == Layout::ChannelsFirst {
            lowering.operands_in_order(node);
        }
        let g = lowering.in_layout(node, node.operands[0], dx.layout);
        let epilogue = FusedSteps::new(lowering, node, &op.epilogue, dx.layout);
        InputGradient {
            node,
            axes: forward_axes(&op.window, &op.input_sizes),
            groups: op.groups,
            inputs: dx.channels / op.groups,
            outputs: g.channels / op.groups,
            g,
            weight: node.operands[1],
            epilogue,
            dx,
        }
    }

    /// The correlations that make up a gradient of up to two axes, and what none of them gives.
    pub(super) fn parts(&self) -> Vec<Part<'a>> {
        let (rows, columns) = match &self.axes[..] {
            [columns] => (vec![Some(Phase::SINGLE)], phases(columns)),
            axes => (phases(&axes[0]), phases(&axes[1])),
        };
        let [height, width] = match self.axes[..] {
            [columns] => [1, columns.inputs],
            _ => [self.axes[0].inputs, self.axes[1].inputs],
        };
        let products = |phases: &[Option<Phase>]| {
            phases.iter().flatten().map(|phase| phase.axis.outputs * phase.axis.kernel_size).sum::<usize>()
        };
        let whole = products(&rows) * products(&columns);
        let mut parts = Vec::new();
        for (first_row, row) in rows.iter().enumerate() {
            for (first_column, column) in columns.iter().enumerate() {
                let results = Results {
                    first: first_row * width + first_column,
                    row: rows.len() * width,
                    pixel: columns.len(),
                };
                parts.push(match (row, column) {
                    (Some(row), Some(column)) => {
                        Part::Products(Box::new(self.correlation(results, [row, column], whole)))
                    }
                    _ => {
                        let count = |first: usize, size: usize, every: usize| (size - first).div_ceil(every);
                        let rows = count(first_row, height, rows.len());
                        Part::Nothing(results, [rows, count(first_column, width, columns.len())])
                    }
                });
            }
        }
        parts
    }

    /// The results that the same kernel positions contribute to. `whole` is the number of products of all phases for each
    /// pair of channels.
    fn correlation(&self, results: Results, phases: [&Phase; 2], whole: usize) -> Correlation<'a> {
        let positions = kernel_positions(&self.axes);
        let row = self.axes[self.axes.len() - 1].kernel_size;
        let along = |phase: &Phase, scale: usize| Met {
            first: phase.last * scale,
            every: phase.every * scale,
            backwards: true,
        };
        Correlation {
            node: self.node,
            axes: phases.map(|phase| phase.axis).to_vec(),
            groups: self.groups,
            inputs: self.outputs,
            outputs: self.inputs,
            x: self.g.clone(),
            weight: Weight {
                value: self.weight,
                output: positions,
                input: self.inputs * positions,
                group: self.outputs * self.inputs * positions,
                met: [along(phases[0], row), along(phases[1], 1)],
            },
            y: results.of(&self.dx),
            results,
            epilogue: self.epilogue.clone(),
            pool: None,
            pooling: None,
            work: [phases.iter().map(|phase| phase.axis.outputs * phase.axis.kernel_size).product(), whole],
        }
    }

    /// Adds the kernel of results that no kernel position meets: sums of nothing, which the epilogue finishes.
    pub(super) fn clear(&self, lowering: &mut Lowering<'_>, results: Results, [rows, columns]: [usize; 2]) {
        let mut draft = lowering.draft(self.node, "no kernel position meets these").part("clear");
        let (n, row, column) = (draft.var(), draft.var(), draft.var());
        let place = |to: &Target| to.of_item(n).plus(row, to.row).plus(column, to.pixel);
        let mut map = MapBuilder::new(Extent::Fixed(self.dx.channels));
        let zero = map.constant(0.0);
        let mut epilogue = self.epilogue.in_map(&Affine::default(), 1);
        let value = epilogue.apply(&mut map, zero, |view| place(&results.of(view)));
        map.store(place(&results.of(&self.dx)), 1, value);
        let body = vec![Stmt::repeat(column, Extent::Fixed(columns), vec![map.finish()])];
        let axes = vec![(n, lowering.batch().extent()), (row, Extent::Fixed(rows))];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
}
