//! Lowering shared by convolution and pooling of images of up to two axes, in either order: which inputs a window meets,
//! and the rows that a block of results meets, in place or copied into a panel with a border.

use super::window::Window;
use crate::kernel::{Address, Affine, Extent, Stmt, Var};
use crate::plan::{KernelDraft, Layout, Lowering, View, copy_span, fill};

/// One spatial axis: result `q` and tap `j` meet at the input's `q·step + j·dilation + shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Size of the input.
    pub(crate) inputs: usize,
    /// Number of results.
    pub(crate) outputs: usize,
    pub(crate) step: usize,
    pub(crate) taps: usize,
    pub(crate) dilation: usize,
    pub(crate) shift: i64,
}

impl Axis {
    pub(crate) const SINGLE: Axis = Axis { inputs: 1, outputs: 1, step: 1, taps: 1, dilation: 1, shift: 0 };

    /// Inputs that so many neighbouring results meet, from first to last.
    pub(crate) fn reach(&self, outputs: usize) -> usize {
        (outputs - 1) * self.step + (self.taps - 1) * self.dilation + 1
    }

    /// Whether some result meets places outside the input.
    pub(crate) fn leaves_input(&self) -> bool {
        self.shift < 0 || self.shift + self.reach(self.outputs) as i64 > self.inputs as i64
    }
}

/// A forward convolution's axes: rows, then columns.
pub(crate) fn forward_axes(window: &Window, sizes: &[usize]) -> [Axis; 2] {
    let outputs = window.output_sizes(sizes);
    let axis = |axis: usize| Axis {
        inputs: sizes[axis],
        outputs: outputs[axis],
        step: window.stride[axis],
        taps: window.kernel_size[axis],
        dilation: window.dilation[axis],
        shift: -(window.padding[axis] as i64),
    };
    match sizes.len() {
        1 => [Axis::SINGLE, axis(0)],
        _ => [axis(0), axis(1)],
    }
}

/// The rows of an input that windows meet.
#[derive(Clone, Debug)]
pub(crate) struct Bordered {
    pub(crate) axes: [Axis; 2],
    pub(crate) x: View,
    /// What stands outside the input.
    pub(crate) border: f32,
}

/// The distances in the input as tiles see it: in place, or in a panel.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The first element that the block's first result and tap meet.
    pub(crate) address: Address,
    pub(crate) row: usize,
    pub(crate) pixel: usize,
    /// Distance between input channels.
    pub(crate) channel: usize,
}

impl Bordered {
    /// The rows that `rows` neighbouring results from `first` on meet, in place or in a panel, with the statements that
    /// copy them there.
    pub(crate) fn rows(
        &self,
        draft: &mut KernelDraft,
        n: Var,
        (first, rows): (&Affine, usize),
        panel: Option<Address>,
    ) -> (Vec<Stmt>, Source) {
        match panel {
            Some(panel) => self.panel(draft, n, first, rows, panel),
            None => (Vec::new(), self.in_place(n, first)),
        }
    }

    /// Scratch for the panel of `rows` results, filled with the border once by each thread; none where no result meets
    /// places outside the input.
    pub(crate) fn scratch(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        rows: usize,
    ) -> Option<Address> {
        self.axes.iter().any(Axis::leaves_input).then(|| {
            let [row_axis, column_axis] = self.axes;
            let pixels = row_axis.reach(rows) * column_axis.reach(column_axis.outputs);
            let elements = pixels * self.x.channels;
            let panel = Address::start(lowering.scratch("panel", elements));
            draft.setup(vec![fill(panel.clone(), elements, self.border)]);
            panel
        })
    }

    /// The input where it is.
    fn in_place(&self, n: Var, first: &Affine) -> Source {
        let [rows, columns] = self.axes;
        let row = columns.inputs * self.x.pixel;
        let address = self
            .x
            .of_item(n)
            .at(first, rows.step * row)
            .offset(rows.shift as usize * row + columns.shift as usize * self.x.pixel);
        Source { address, row, pixel: self.x.pixel, channel: self.x.channel }
    }

    /// Statements that copy the rows a block meets into a panel, and the panel.
    fn panel(
        &self,
        draft: &mut KernelDraft,
        n: Var,
        first: &Affine,
        block_rows: usize,
        panel: Address,
    ) -> (Vec<Stmt>, Source) {
        let [rows, columns] = self.axes;
        let (height, width) = (rows.reach(block_rows), columns.reach(columns.outputs));
        let channels = self.x.channels;
        let (row, pixel, channel) = match self.x.layout {
            Layout::ChannelsLast => (width * channels, channels, 1),
            Layout::ChannelsFirst => (width, 1, height * width),
        };
        // The columns that exist, in the panel and in the input.
        let skipped = (-columns.shift).max(0) as usize;
        let start = columns.shift.max(0) as usize;
        let count = width.saturating_sub(skipped).min(columns.inputs.saturating_sub(start));
        let (r, c) = (draft.var(), draft.var());
        let input_row = Affine::default().plus_scaled(first, rows.step).plus(r, 1).shifted(rows.shift);
        let from =
            self.x.of_item(n).at(&input_row, columns.inputs * self.x.pixel).offset(start * self.x.pixel);
        let to = panel.clone().plus(r, row).offset(skipped * pixel);
        let copy = match self.x.layout {
            Layout::ChannelsLast if self.x.pixel == channels => copy_span(from, 1, to, count * channels),
            Layout::ChannelsLast => Stmt::repeat(
                c,
                Extent::Fixed(count),
                vec![copy_span(from.plus(c, self.x.pixel), 1, to.plus(c, channels), channels)],
            ),
            Layout::ChannelsFirst => Stmt::repeat(
                c,
                Extent::Fixed(channels),
                vec![copy_span(from.plus(c, self.x.channel), 1, to.plus(c, channel), count)],
            ),
        };
        let clear = match self.x.layout {
            Layout::ChannelsLast => fill(panel.clone().plus(r, row), row, self.border),
            Layout::ChannelsFirst => Stmt::repeat(
                c,
                Extent::Fixed(channels),
                vec![fill(panel.clone().plus(r, row).plus(c, channel), width, self.border)],
            ),
        };
        let body = if count == 0 { vec![clear] } else { within(&rows, input_row, vec![copy], vec![clear]) };
        let stmts = vec![Stmt::repeat(r, Extent::Fixed(height), body)];
        (stmts, Source { address: panel, row, pixel, channel })
    }
}

/// `inside` where a row is one of the axis' inputs, else `outside`; without a question where it always is.
pub(crate) fn within(axis: &Axis, row: Affine, inside: Vec<Stmt>, outside: Vec<Stmt>) -> Vec<Stmt> {
    if !axis.leaves_input() {
        return inside;
    }
    let below =
        Stmt::Branch { value: row.clone(), bound: axis.inputs as i64, below: inside, rest: outside.clone() };
    vec![Stmt::Branch { value: row, bound: 0, below: outside, rest: vec![below] }]
}
