//! The problem that schedules of convolution solve. Every result is a sum over kernel positions and input channels of
//! inputs times weights, to which an epilogue and perhaps a pool are applied. A convolution is one correlation; its
//! gradient with respect to the input is one for each phase. The schedules decide how to compute it.

use super::Conv;
use crate::entity::{NodeId, ValueId};
use crate::graph::Node;
use crate::kernel::{Address, Affine, Pool, Var};
use crate::ops::epilogue::FusedSteps;
use crate::ops::grid::{Grid, Outer};
use crate::ops::pool::fused::{self, FusedPool};
use crate::ops::window_walk::Axis;
use crate::plan::{KernelDraft, Lowering, Size, View};

/// A correlation and the locations of its operands.
#[derive(Clone)]
pub(super) struct Correlation<'a> {
    pub(super) node: &'a Node,
    /// All spatial axes.
    pub(super) axes: Vec<Axis>,
    /// The same axes, in the form that schedules for NHWC use.
    pub(super) grid: Grid,
    pub(super) groups: usize,
    /// Input and output channels of a group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) x: View,
    pub(super) weight: Weight,
    /// Which results of the node the correlation computes.
    pub(super) results: Results,
    /// The destination of the results.
    pub(super) y: Destination,
    pub(super) epilogue: FusedSteps<'a>,
    /// The pool that is applied to the results before they are stored; if there is one, `y` is the pool's destination.
    pub(super) pool: Option<Pool>,
    /// A pool of the results that a schedule may fuse.
    pub(super) pooling: Option<FusedPool>,
    /// The fraction of the node's work, as part and whole.
    pub(super) work: [usize; 2],
}

/// The results of an image that a correlation computes: the first one, and the strides of its results along each axis
/// of the grid, in pixels.
#[derive(Clone, Debug)]
pub(super) struct Results {
    pub(super) first: usize,
    pub(super) strides: Vec<usize>,
}

/// The location of results: the first result of item `n` is at `address + item·n`, and each axis of the grid has a
/// stride.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) address: Address,
    pub(super) item: Size,
    pub(super) strides: Vec<usize>,
}

/// The location of a correlation's weights in the weight `[O, C, kernel…]` of the convolution.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub(super) value: ValueId,
    /// The strides of outputs, of inputs, and of groups.
    pub(super) output: usize,
    pub(super) input: usize,
    pub(super) group: usize,
    /// The kernel positions along each axis of the grid.
    pub(super) positions: Vec<KernelPositions>,
}

/// Kernel positions along an axis: the first, and the stride to the next, in elements of the weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelPositions {
    pub(super) first: usize,
    pub(super) every: usize,
    /// Whether the next position is before the first.
    pub(super) backwards: bool,
}

impl Results {
    /// All results of an image, with these strides in pixels.
    pub(super) fn all(strides: Vec<usize>) -> Self {
        Results { first: 0, strides }
    }

    /// Their location in a value with the image's layout.
    pub(super) fn of(&self, view: &View) -> Destination {
        Destination {
            address: view.address.clone().offset(self.first * view.pixel()),
            item: view.item(),
            strides: self.strides.iter().map(|pixels| pixels * view.pixel()).collect(),
        }
    }
}

impl Destination {
    /// The first result of item `n`.
    pub(super) fn of_item(&self, n: Var) -> Address {
        self.address.clone().plus_size(n, self.item)
    }

    /// The first result of item `n` at an outer index.
    pub(super) fn of(&self, n: Var, outer: &Outer) -> Address {
        outer.at(self.of_item(n), &self.strides)
    }

    /// The stride of rows.
    pub(super) fn row(&self) -> usize {
        self.strides[self.strides.len() - 2]
    }

    /// The stride of the pixels of a row.
    pub(super) fn pixel(&self) -> usize {
        self.strides[self.strides.len() - 1]
    }
}

impl KernelPositions {
    /// The offset plus that of the kernel position given by a variable.
    pub(super) fn at(self, offset: Affine, var: Var) -> Affine {
        let offset = offset.offset(self.first);
        if self.backwards { offset.minus_var(var, self.every) } else { offset.plus(var, self.every) }
    }

    /// The offset of a kernel position.
    pub(super) fn place(self, index: usize) -> usize {
        let distance = index * self.every;
        if self.backwards { self.first - distance } else { self.first + distance }
    }
}

impl Weight {
    /// The offset plus that of the kernel position given by variables, one for each axis of the grid.
    pub(super) fn at_position(&self, offset: Affine, loops: &[(Var, usize)]) -> Affine {
        self.positions.iter().zip(loops).fold(offset, |offset, (axis, &(var, _))| axis.at(offset, var))
    }
}

impl<'a> Correlation<'a> {
    /// The correlation of a convolution. Its operands are copied to the layout of its result if they have another.
    pub(super) fn of(op: &'a Conv, lowering: &mut Lowering<'_>, node: &'a Node) -> Self {
        let (x, weight) = (node.operands[0], node.operands[1]);
        let y = lowering.view(node.results[0]).clone();
        let layout = match y.layout.is_channels_last() {
            false => {
                lowering.operands_in_order(node);
                lowering.channels_first(x)
            }
            // An input with few channels keeps its layout: tiles read it channel by channel.
            true => lowering.preferred_layout(x),
        };
        let axes = lowering.axes(&op.window, &lowering.ty(x).shape.dims()[2..]);
        let x = lowering.in_layout(node, x, &layout);
        let epilogue = FusedSteps::new(lowering, node, &op.epilogue, &y.layout);
        let pooling = match y.layout.is_channels_last() {
            false => None,
            true => fused::of(lowering, node.results[0]),
        };
        let (inputs, outputs) = (x.channels() / op.groups, y.channels() / op.groups);
        let grid = Grid::new(&axes);
        let positions = grid.positions();
        let along = |every| KernelPositions { first: 0, every, backwards: false };
        let results = Results::all(grid.result_strides());
        Correlation {
            node,
            groups: op.groups,
            inputs,
            outputs,
            x,
            weight: Weight {
                value: weight,
                output: inputs * positions,
                input: positions,
                group: outputs * inputs * positions,
                positions: grid.position_strides().into_iter().map(along).collect(),
            },
            y: results.of(&y),
            results,
            epilogue,
            pool: None,
            pooling,
            work: [1, 1],
            axes,
            grid,
        }
    }

    /// The same correlation with its results pooled before they are stored, and the node of the pool; `None` if there
    /// is no pool to fuse.
    pub(super) fn pooled(&self) -> Option<(NodeId, Self)> {
        let FusedPool { node, pool, y } = self.pooling.as_ref()?;
        let across = self.grid.columns().outputs / pool.width;
        let y = Results::all(vec![across, 1]).of(y);
        Some((*node, Correlation { pool: Some(*pool), y, ..self.clone() }))
    }

    /// Rows and columns of results that are pooled to one stored value.
    pub(super) fn window(&self) -> [usize; 2] {
        self.pool.map_or([1, 1], |pool| [pool.height, pool.width])
    }

    /// The number of rows and columns that are stored. Results that do not fill a whole window are not computed.
    pub(super) fn stored(&self) -> [usize; 2] {
        let [height, width] = self.window();
        [self.grid.rows().outputs / height, self.grid.columns().outputs / width]
    }

    /// Bytes of the results of an item.
    pub(super) fn bytes(&self) -> usize {
        4 * self.grid.results() * self.outputs * self.groups
    }

    /// Starts the kernel that computes the correlation.
    pub(super) fn draft(&self, lowering: &Lowering<'_>, note: impl Into<String>) -> KernelDraft {
        let [part, whole] = self.work;
        lowering.draft(self.node, note).with_fraction_of_work(part, whole)
    }
}
