//! The problem that schedules of convolution solve: every result is a sum over kernel positions and input channels of inputs
//! times weights, then finished by an epilogue and perhaps pooled. A convolution is one correlation, its gradient to the
//! input one for each phase. Nothing here says how it is computed.

use super::Conv;
use crate::entity::{NodeId, ValueId};
use crate::graph::Node;
use crate::kernel::{Address, Affine, Pool, Var};
use crate::ops::epilogue::FusedSteps;
use crate::ops::pool::absorbed::{self, Absorbed};
use crate::ops::window_walk::{Axis, forward_axes, kernel_positions, rows_and_columns};
use crate::plan::{KernelDraft, Layout, Lowering, View};

/// A correlation and where its operands are.
#[derive(Clone)]
pub(super) struct Correlation<'a> {
    pub(super) node: &'a Node,
    /// The spatial axes.
    pub(super) axes: Vec<Axis>,
    pub(super) groups: usize,
    /// Input and output channels of a group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) x: View,
    pub(super) weight: Weight,
    /// Which of the node's results these are.
    pub(super) results: Results,
    /// Where results go.
    pub(super) y: Target,
    pub(super) epilogue: FusedSteps<'a>,
    /// What is done to the results before they are stored: `y` is then where what is pooled goes.
    pub(super) pool: Option<Pool>,
    /// A pooling behind the results that a schedule may do as well.
    pub(super) pooling: Option<Absorbed>,
    /// The fraction of the node's work, as part and whole.
    pub(super) work: [usize; 2],
}

/// Which results of an image a correlation gives: the first, and the distances between rows and between neighbours of one,
/// in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Results {
    pub(super) first: usize,
    pub(super) row: usize,
    pub(super) pixel: usize,
}

/// Where results are: the one at row `r` and column `c` of item `n` is at `address + item·n + row·r + pixel·c`.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) item: usize,
    pub(super) row: usize,
    pub(super) pixel: usize,
}

/// Where the weights of a correlation are in the weight `[O, C, kernel…]` of the convolution.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    pub(super) value: ValueId,
    /// Distances between the weights of results, of inputs, and of groups.
    pub(super) output: usize,
    pub(super) input: usize,
    pub(super) group: usize,
    /// The kernel positions met along rows and columns.
    pub(super) met: [Met; 2],
}

/// Kernel positions along an axis: the first met, and the distance to the next, in the weight's elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) first: usize,
    pub(super) every: usize,
    /// Whether the next is before the first.
    pub(super) backwards: bool,
}

impl Results {
    /// All results of an image with this number of columns.
    pub(super) fn all(columns: usize) -> Self {
        Results { first: 0, row: columns, pixel: 1 }
    }

    /// Where they are in a value laid out like the image.
    pub(super) fn of(self, view: &View) -> Target {
        Target {
            address: view.address.clone().offset(self.first * view.pixel),
            item: view.item,
            row: self.row * view.pixel,
            pixel: self.pixel * view.pixel,
        }
    }
}

impl Target {
    /// The first result of item `n`.
    pub(super) fn of_item(&self, n: Var) -> Address {
        self.address.clone().plus(n, self.item)
    }
}

impl Met {
    /// A place moved by the kernel position that a variable counts.
    pub(super) fn at(self, offset: Affine, var: Var) -> Affine {
        let offset = offset.offset(self.first);
        if self.backwards { offset.minus_var(var, self.every) } else { offset.plus(var, self.every) }
    }

    /// The place of a kernel position.
    pub(super) fn place(self, index: usize) -> usize {
        let distance = index * self.every;
        if self.backwards { self.first - distance } else { self.first + distance }
    }
}

impl<'a> Correlation<'a> {
    /// A convolution, whose operands are brought into the order that its result is stored in.
    pub(super) fn of(op: &'a Conv, lowering: &mut Lowering<'_>, node: &'a Node) -> Self {
        let (x, weight) = (node.operands[0], node.operands[1]);
        let y = lowering.view(node.results[0]).clone();
        let layout = match y.layout {
            Layout::ChannelsFirst => {
                lowering.operands_in_order(node);
                Layout::ChannelsFirst
            }
            // Few channels stay as they are: tiles meet them channel by channel.
            Layout::ChannelsLast => lowering.preferred_layout(x),
        };
        let input = lowering.item(x);
        let axes = forward_axes(&op.window, &input[1..]);
        let x = lowering.in_layout(node, x, layout);
        let epilogue = FusedSteps::new(lowering, node, &op.epilogue, y.layout);
        let pooling = match y.layout {
            Layout::ChannelsFirst => None,
            Layout::ChannelsLast => absorbed::of(lowering, node.results[0]),
        };
        let (inputs, outputs) = (input[0] / op.groups, y.channels / op.groups);
        let positions = kernel_positions(&axes);
        let [_, columns] = rows_and_columns(&axes);
        let along = |every| Met { first: 0, every, backwards: false };
        let results = Results::all(columns.outputs);
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
                met: [along(columns.kernel_size), along(1)],
            },
            y: results.of(&y),
            results,
            epilogue,
            pool: None,
            pooling,
            work: [1, 1],
            axes,
        }
    }

    /// Rows and columns of an image of up to two axes.
    pub(super) fn rows_and_columns(&self) -> [Axis; 2] {
        rows_and_columns(&self.axes)
    }

    /// The same with its results pooled before they are stored, and the node that pools; `None` where nothing is to pool.
    pub(super) fn pooled(&self) -> Option<(NodeId, Self)> {
        let Absorbed { node, pool, y } = self.pooling.as_ref()?;
        let across = self.rows_and_columns()[1].outputs / pool.width;
        Some((*node, Correlation { pool: Some(*pool), y: Results::all(across).of(y), ..self.clone() }))
    }

    /// Results along each axis of which one is stored.
    pub(super) fn window(&self) -> [usize; 2] {
        self.pool.map_or([1, 1], |pool| [pool.height, pool.width])
    }

    /// Rows and columns that are stored. What is left of the results where windows do not come out even is not computed.
    pub(super) fn stored(&self) -> [usize; 2] {
        let (axes, window) = (self.rows_and_columns(), self.window());
        [0, 1].map(|axis| axes[axis].outputs / window[axis])
    }

    /// Bytes of the results of an item.
    pub(super) fn bytes(&self) -> usize {
        4 * self.axes.iter().map(|axis| axis.outputs).product::<usize>() * self.outputs * self.groups
    }

    /// Starts the kernel that does the work.
    pub(super) fn draft(&self, lowering: &Lowering<'_>, note: impl Into<String>) -> KernelDraft {
        let [part, whole] = self.work;
        lowering.draft(self.node, note).with_fraction_of_work(part, whole)
    }
}
