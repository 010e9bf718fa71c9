//! Panels of patches: the division of a convolution's outputs into panels, and copies to and from panels. A panel has a
//! row for each element of a patch and a column for each output.

use crate::graph::Node;
use crate::kernel::{Address, Affine, BufferId, Extent, MapBuilder, Split, Stmt, Var};
use crate::ops::halo::PaddedChannels;
use crate::ops::window_walk::{Axis, WindowWalk, kernel_positions, output_sizes, strides};
use crate::plan::{BlockedRange, Im2col, KernelDraft, Lowering, Vectors, View, copy_span};

/// Panels with at most this many outputs have unrolled rows: loops over short rows cost as much as the copies.
const UNROLLED: usize = 256;

/// Sizes of a convolution, for all three directions.
pub(super) struct Geometry {
    axes: Vec<Axis>,
    pub(super) input: PaddedChannels,
    /// Spatial sizes of the output.
    output: Vec<usize>,
    pub(super) groups: usize,
    /// Input channels of a group.
    pub(super) inputs: usize,
    /// Output channels of a group.
    pub(super) outputs: usize,
}

/// The division of one channel's outputs into panels: rows of the output, or parts of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    /// Rows along the second-to-last axis.
    pub(super) rows: BlockedRange,
    /// Columns along the last axis.
    pub(super) columns: BlockedRange,
    /// The stride of a panel's rows in memory.
    pub(super) stride: usize,
}

/// The variables of a product with panels.
pub(super) struct Loops {
    /// The item.
    pub(super) n: Var,
    pub(super) group: Var,
    /// The axes before the last two, with their extents.
    pub(super) outer: Vec<(Var, usize)>,
    row_block: Var,
    column_block: Var,
}

impl Loops {
    pub(super) fn new(draft: &mut KernelDraft, geometry: &Geometry) -> Self {
        let n = draft.var();
        let count = geometry.output.len().saturating_sub(2);
        let outer = (0..count).map(|axis| (draft.var(), geometry.output[axis])).collect();
        let (row_block, column_block, group) = (draft.var(), draft.var(), draft.var());
        Loops { n, group, outer, row_block, column_block }
    }

    /// The variables that count the panels of an item, outermost first, with their extents.
    pub(super) fn of_panels(&self, panels: &Panels) -> Vec<(Var, usize)> {
        let blocks = [(self.row_block, panels.rows.blocks()), (self.column_block, panels.columns.blocks())];
        self.outer.iter().copied().chain(blocks).collect()
    }
}

/// One panel: the first row and column of its outputs, and their numbers.
pub(super) struct Panel<'a> {
    pub(super) row: &'a Affine,
    pub(super) rows: usize,
    pub(super) column: &'a Affine,
    pub(super) columns: usize,
}

impl Panels {
    /// Code for the panel given by the variables.
    pub(super) fn branch(&self, loops: &Loops, mut body: impl FnMut(&Panel<'_>) -> Vec<Stmt>) -> Vec<Stmt> {
        self.rows.branch(loops.row_block, |row, rows| {
            self.columns
                .branch(loops.column_block, |column, columns| body(&Panel { row, rows, column, columns }))
        })
    }
}

impl Panel<'_> {
    pub(super) fn width(&self) -> usize {
        self.rows * self.columns
    }
}

impl Geometry {
    /// The sizes from the axes of a convolution, its groups, and the input and output channels of each group.
    pub(super) fn new(axes: &[Axis], groups: usize, [inputs, outputs]: [usize; 2]) -> Self {
        let (input, output) = (PaddedChannels::new(axes), output_sizes(axes));
        Geometry { axes: axes.to_vec(), input, output, groups, inputs, outputs }
    }

    /// Rows of a panel: elements of a patch.
    pub(super) fn patch(&self) -> usize {
        self.inputs * kernel_positions(&self.axes)
    }

    /// Elements of an output channel.
    pub(super) fn results(&self) -> usize {
        self.output.iter().product()
    }

    pub(super) fn width(&self) -> usize {
        self.output[self.output.len() - 1]
    }

    /// Size of the second-to-last axis; 1 if there is only one axis.
    pub(super) fn height(&self) -> usize {
        if self.output.len() < 2 { 1 } else { self.output[self.output.len() - 2] }
    }

    /// Whether the input itself is the panel: windows of one element at every position.
    pub(super) fn is_pointwise(&self) -> bool {
        kernel_positions(&self.axes) == 1
            && !self.input.is_padded()
            && self.axes.iter().all(|axis| axis.step == 1)
    }

    /// The panels of a channel. If the input itself is the panel, its rows are whole channels.
    pub(super) fn panels(&self, im2col: Im2col, vectors: Vectors) -> Panels {
        let (rows, columns) = self.ranges(im2col, vectors);
        let stride = match self.is_pointwise() {
            true => self.results(),
            false => (rows.size * columns.size).next_multiple_of(vectors.lanes),
        };
        Panels { rows, columns, stride }
    }

    fn ranges(&self, im2col: Im2col, vectors: Vectors) -> (BlockedRange, BlockedRange) {
        let (height, width) = (self.height(), self.width());
        let whole = BlockedRange::exact(width, width);
        let Im2col::Tiled { panel_bytes } = im2col else {
            return (BlockedRange::exact(height, height), whole);
        };
        let fitting = (panel_bytes / 4 / self.patch()).max(3 * vectors.lanes);
        if fitting < width {
            let columns = fitting / (3 * vectors.lanes) * (3 * vectors.lanes);
            return (BlockedRange::exact(height, 1), BlockedRange::exact(width, columns));
        }
        let blocks = height.div_ceil(fitting / width);
        (BlockedRange::exact(height, height.div_ceil(blocks)), whole)
    }

    /// Offset of a panel's first output within an output channel.
    pub(super) fn output_offset(&self, outer: &[(Var, usize)], panel: &Panel<'_>) -> Affine {
        let strides = strides(&self.output);
        let mut offset = Affine::default().plus_scaled(panel.row, self.width()).plus_scaled(panel.column, 1);
        for (axis, &(var, _)) in outer.iter().enumerate() {
            offset = offset.plus(var, strides[axis]);
        }
        offset
    }

    /// Offset of a panel's first window within a channel with its halo, and the stride of its rows there.
    pub(super) fn input_offset(&self, outer: &[(Var, usize)], panel: &Panel<'_>) -> (Affine, usize) {
        let channel = strides(&self.input.padded);
        let last = self.output.len() - 1;
        let mut offset = Affine::default().plus_scaled(panel.column, self.axes[last].step);
        let row = if last > 0 { self.axes[last - 1].step * channel[last - 1] } else { 0 };
        offset = offset.plus_scaled(panel.row, row);
        for (axis, &(var, _)) in outer.iter().enumerate() {
            offset = offset.plus(var, self.axes[axis].step * channel[axis]);
        }
        (offset, row)
    }

    /// The channels of item `n`, padded if needed, with the statements that pad them. If an item has a single panel, it
    /// is padded in scratch right before its patches are gathered; if it has several, a separate kernel pads it once
    /// for all panels.
    pub(super) fn padded_item(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        draft: &mut KernelDraft,
        x: &View,
        (n, panels): (Var, usize),
    ) -> (Vec<Stmt>, Address) {
        let channels = self.groups * self.inputs;
        let elements = channels * self.input.padded_elements();
        if !self.input.is_padded() {
            return (Vec::new(), x.of_item(n));
        }
        if panels == 1 {
            return self.input.pad_in_scratch(lowering, draft, channels, &x.of_item(n), 0.0);
        }
        let padded = Address::start(lowering.temporary("padded", lowering.batch().size(elements)));
        let mut pad = lowering.draft(node, "once for all panels of an item").part("pad");
        let (own, channel) = (pad.var(), pad.var());
        let from = x.of_item(own).plus(channel, self.input.elements());
        let to = padded.clone().plus(own, elements).plus(channel, self.input.padded_elements());
        let body = self.input.pad(&mut pad, 1, &from, &to, 0.0);
        let split = Split::Axes(vec![(own, lowering.batch().extent()), (channel, Extent::Fixed(channels))]);
        lowering.push(pad.finish(split, body));
        (Vec::new(), padded.plus(n, elements))
    }

    /// The location of a panel's patches: a buffer, with the statements that gather them, or the channels themselves.
    pub(super) fn patches_of(
        &self,
        draft: &mut KernelDraft,
        outer: &[(Var, usize)],
        panel: &Panel<'_>,
        input: &Address,
        gathered: Option<BufferId>,
        panel_stride: usize,
    ) -> (Vec<Stmt>, Address) {
        match gathered {
            Some(buffer) => {
                let to = Address::start(buffer);
                (self.gather(draft, outer, panel, input, &to, panel_stride), to)
            }
            None => (Vec::new(), input.clone().at(&self.output_offset(outer, panel), 1)),
        }
    }

    /// Statements that gather the patches of a panel.
    fn gather(
        &self,
        draft: &mut KernelDraft,
        outer: &[(Var, usize)],
        panel: &Panel<'_>,
        input: &Address,
        to: &Address,
        panel_stride: usize,
    ) -> Vec<Stmt> {
        self.patches(draft, outer, panel, panel_stride, |in_input, in_panel, stride| {
            copy_span(input.clone().at(&in_input, 1), stride, to.clone().at(&in_panel, 1), panel.columns)
        })
    }

    /// Statements that add the elements of a panel to the pixels that they belong to.
    pub(super) fn scatter(
        &self,
        draft: &mut KernelDraft,
        outer: &[(Var, usize)],
        panel: &Panel<'_>,
        from: &Address,
        input: &Address,
        panel_stride: usize,
    ) -> Vec<Stmt> {
        self.patches(draft, outer, panel, panel_stride, |in_input, in_panel, stride| {
            let mut map = MapBuilder::new(Extent::Fixed(panel.columns));
            let value = map.load(from.clone().at(&in_panel, 1), 1);
            map.accumulate(input.clone().at(&in_input, 1), stride, value);
            map.finish()
        })
    }

    /// A loop over the patch elements and rows of a panel; `body` gets the span's location in the input and in the
    /// panel, and the stride of its elements in the input.
    pub(super) fn patches(
        &self,
        draft: &mut KernelDraft,
        outer: &[(Var, usize)],
        panel: &Panel<'_>,
        panel_stride: usize,
        body: impl Fn(Affine, Affine, usize) -> Stmt,
    ) -> Vec<Stmt> {
        let (first, row_stride) = self.input_offset(outer, panel);
        let channel = draft.var();
        let walk = WindowWalk::new(draft, &self.axes, &self.input.padded);
        let in_input = first.plus(channel, self.input.padded_elements()).plus_scaled(&walk.offset, 1);
        let in_panel = Affine::default()
            .plus(channel, kernel_positions(&self.axes) * panel_stride)
            .plus_scaled(&walk.place, panel_stride);
        let stride = self.axes[self.axes.len() - 1].step;
        let mut loops = vec![(channel, self.inputs)];
        loops.extend(&walk.loops);
        let rows = if panel.width() <= UNROLLED {
            let row = |row| {
                body(
                    in_input.clone().offset(row * row_stride),
                    in_panel.clone().offset(row * panel.columns),
                    stride,
                )
            };
            (0..panel.rows).map(row).collect()
        } else {
            let row = draft.var();
            let stmt = body(in_input.plus(row, row_stride), in_panel.plus(row, panel.columns), stride);
            vec![Stmt::repeat(row, Extent::Fixed(panel.rows), vec![stmt])]
        };
        Stmt::nest(&loops, rows)
    }
}
