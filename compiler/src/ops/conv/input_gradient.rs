//! The gradient of a convolution with respect to its input: a correlation of the output's gradient for each phase, or
//! sums that are scattered to the input. The schedules decide how to compute it.

use super::ConvGradInput;
use super::correlation::{Correlation, Destination, KernelPositions, Results, Weight};
use super::phases::{Phase, phases};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Affine, Extent, MapBuilder, Split, Stmt};
use crate::ops::epilogue::FusedSteps;
use crate::ops::grid::Grid;
use crate::ops::window_walk::{Axis, kernel_positions, strides};
use crate::plan::{Lowering, View};
use crate::shape::Dim;

/// A gradient with respect to an input and the locations of its operands.
pub(super) struct InputGradient<'a> {
    pub(super) node: &'a Node,
    /// The spatial axes of the convolution.
    pub(super) axes: Vec<Axis>,
    pub(super) groups: usize,
    /// Input and output channels of a group, as in the convolution.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// The gradient of the convolution's output.
    pub(super) g: View,
    pub(super) weight: ValueId,
    pub(super) dx: View,
    pub(super) epilogue: FusedSteps<'a>,
}

/// Some results of a gradient with respect to an input that all use the same kernel positions.
pub(super) enum Part<'a> {
    /// At least one kernel position contributes to the results.
    Products(Box<Correlation<'a>>),
    /// No kernel position contributes to the results. The sizes count them along each axis of the grid.
    Nothing(Results, Vec<usize>),
}

impl<'a> InputGradient<'a> {
    /// The problem of a node. Its operands are copied to the layout of its result if they have another.
    pub(super) fn of(op: &'a ConvGradInput, lowering: &mut Lowering<'_>, node: &'a Node) -> Self {
        let dx = lowering.view(node.results[0]).clone();
        if !dx.layout.is_channels_last() {
            lowering.operands_in_order(node);
        }
        let g = lowering.in_layout(node, node.operands[0], &dx.layout);
        let epilogue = FusedSteps::new(lowering, node, &op.epilogue, &dx.layout);
        let sizes: Vec<Dim> = op.input_sizes.iter().cloned().map(Dim::from).collect();
        let axes = lowering.axes(&op.window, &sizes);
        InputGradient {
            node,
            axes,
            groups: op.groups,
            inputs: dx.channels() / op.groups,
            outputs: g.channels() / op.groups,
            g,
            weight: node.operands[1],
            epilogue,
            dx,
        }
    }

    /// The correlations that together compute the gradient, and the results that no kernel position contributes to.
    pub(super) fn parts(&self) -> Vec<Part<'a>> {
        let grid = Grid::new(&self.axes);
        let inputs = grid.input_strides();
        let axes: Vec<Vec<Option<Phase>>> = grid.axes().iter().map(phases).collect();
        let products = |phases: &Vec<Option<Phase>>| {
            phases.iter().flatten().map(|phase| phase.axis.outputs * phase.axis.kernel_size).sum::<usize>()
        };
        let whole = axes.iter().map(products).product();
        let mut parts = Vec::new();
        // Every combination of one phase of each axis, in which the last axis varies fastest.
        for index in 0..axes.iter().map(Vec::len).product() {
            let counts: Vec<usize> = axes.iter().map(Vec::len).collect();
            let firsts: Vec<usize> =
                strides(&counts).iter().zip(&counts).map(|(stride, count)| index / stride % count).collect();
            let results = Results {
                first: firsts.iter().zip(&inputs).map(|(first, stride)| first * stride).sum(),
                strides: counts.iter().zip(&inputs).map(|(count, stride)| count * stride).collect(),
            };
            let own: Option<Vec<Phase>> =
                axes.iter().zip(&firsts).map(|(axis, &first)| axis[first]).collect();
            parts.push(match own {
                Some(own) => Part::Products(Box::new(self.correlation(results, &own, whole))),
                None => {
                    let sizes = grid.axes().iter().zip(firsts).zip(counts);
                    let count = |((axis, first), every): ((&Axis, usize), usize)| {
                        (axis.inputs - first).div_ceil(every)
                    };
                    Part::Nothing(results, sizes.map(count).collect())
                }
            });
        }
        parts
    }

    /// The results to which the same kernel positions contribute. `whole` is the number of products of all phases for
    /// each pair of channels.
    fn correlation(&self, results: Results, phases: &[Phase], whole: usize) -> Correlation<'a> {
        let positions = kernel_positions(&self.axes);
        let along = |(phase, scale): (&Phase, usize)| KernelPositions {
            first: phase.last * scale,
            every: phase.every * scale,
            backwards: true,
        };
        let axes: Vec<Axis> = phases.iter().map(|phase| phase.axis).collect();
        Correlation {
            node: self.node,
            grid: Grid::new(&axes),
            axes,
            groups: self.groups,
            inputs: self.outputs,
            outputs: self.inputs,
            x: self.g.clone(),
            weight: Weight {
                value: self.weight,
                output: positions,
                input: self.inputs * positions,
                group: self.outputs * self.inputs * positions,
                positions: phases.iter().zip(Grid::new(&self.axes).position_strides()).map(along).collect(),
            },
            y: results.of(&self.dx),
            results,
            epilogue: self.epilogue.clone(),
            pool: None,
            pooling: None,
            work: [phases.iter().map(|phase| phase.axis.outputs * phase.axis.kernel_size).product(), whole],
        }
    }

    /// Adds the kernel of results to which no kernel position contributes, with `sizes` results along each axis of the
    /// grid: the epilogue is applied to empty sums.
    pub(super) fn clear(&self, lowering: &mut Lowering<'_>, results: &Results, sizes: &[usize]) {
        let mut draft = lowering.draft(self.node, "no kernel position contributes to these").part("clear");
        let n = draft.var();
        let vars = draft.vars(sizes.len());
        let place = |to: &Destination| {
            let item = to.address.clone().plus_size(n, to.item);
            vars.iter().zip(&to.strides).fold(item, |address, (&var, &stride)| address.plus(var, stride))
        };
        let mut map = MapBuilder::new(Extent::Fixed(self.dx.channels()));
        let zero = map.constant(0.0);
        let mut epilogue = self.epilogue.in_map(&Affine::default(), 1);
        let value = epilogue.apply(&mut map, zero, |view| place(&results.of(view)));
        map.store(place(&results.of(&self.dx)), 1, value);
        let [rows @ .., columns] = sizes else { return };
        let body = vec![Stmt::repeat(vars[rows.len()], Extent::Fixed(*columns), vec![map.finish()])];
        let mut axes = vec![(n, lowering.batch().extent())];
        axes.extend(vars.iter().zip(rows).map(|(&var, &size)| (var, Extent::Fixed(size))));
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
}
