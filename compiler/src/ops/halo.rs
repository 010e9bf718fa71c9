//! Padding, shared by convolution and pooling: inputs as windows meet them, where they are or copied with a halo of what
//! stands outside them.

use super::window_walk::{Axis, strides, within};
use crate::graph::Node;
use crate::kernel::{Address, Affine, Extent, Split, Stmt, Var};
use crate::plan::{KernelDraft, Layout, Lowering, View, copy_span, fill};

/// An image of up to two axes, in either order, that windows meet.
#[derive(Clone, Debug)]
pub(crate) struct Padded {
    /// Rows, then columns.
    pub(crate) axes: [Axis; 2],
    pub(crate) x: View,
    /// What the halo holds.
    pub(crate) halo: f32,
}

/// Where windows find their elements: the distances in the input, or in a copy with a halo.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The first element that the first result meets, by the first place of its window.
    pub(crate) address: Address,
    pub(crate) row: usize,
    pub(crate) pixel: usize,
    /// Distance between input channels.
    pub(crate) channel: usize,
}

/// The columns of a copied row that exist in the input.
struct Columns {
    /// The first in the copy, and in the input.
    to: usize,
    from: usize,
    count: usize,
    /// Columns of the copy.
    width: usize,
}

impl Padded {
    /// Whether some window meets places outside the input.
    fn needs_halo(&self) -> bool {
        self.axes.iter().any(Axis::leaves_input)
    }

    fn columns(&self) -> Columns {
        let axis = self.axes[1];
        let width = axis.reach(axis.outputs);
        let to = (-axis.shift).max(0) as usize;
        let from = axis.shift.max(0) as usize;
        Columns { to, from, count: width.saturating_sub(to).min(axis.inputs.saturating_sub(from)), width }
    }

    /// The rows that `rows` neighbouring results from `first` on meet, in place or in scratch, with the statements that
    /// copy them there.
    pub(crate) fn rows(
        &self,
        draft: &mut KernelDraft,
        n: Var,
        (first, rows): (&Affine, usize),
        scratch: Option<Address>,
    ) -> (Vec<Stmt>, Source) {
        match scratch {
            Some(to) => self.copy_rows(draft, n, (first, rows), to),
            None => {
                let row = self.axes[1].inputs * self.x.pixel;
                let address = self.x.of_item(n).at(first, self.axes[0].step * row);
                (Vec::new(), self.in_place(address))
            }
        }
    }

    /// Scratch for what `rows` results meet, filled with the halo once by each thread; none where no result meets places
    /// outside the input.
    pub(crate) fn scratch(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        rows: usize,
    ) -> Option<Address> {
        self.needs_halo().then(|| {
            let elements = self.axes[0].reach(rows) * self.columns().width * self.x.channels;
            let scratch = Address::start(lowering.scratch("panel", elements));
            draft.setup(vec![fill(scratch.clone(), elements, self.halo)]);
            scratch
        })
    }

    /// The whole image, channels last: in place, or copied with a halo by a kernel of its own. Gives the place of the first
    /// item, and the distance between items.
    pub(crate) fn whole(&self, lowering: &mut Lowering<'_>, node: &Node) -> (Source, usize) {
        if !self.needs_halo() {
            return (self.in_place(self.x.address.clone()), self.x.item);
        }
        let [rows, columns] = self.axes;
        let existing = self.columns();
        let (height, pixel) = (rows.reach(rows.outputs), self.x.channels);
        let row = existing.width * pixel;
        let item = height * row;
        let copy = Address::start(lowering.temporary("padded", lowering.batch().size(item)));
        let mut draft = lowering.draft(node, "with a halo").part("pad");
        let (n, r, c) = (draft.var(), draft.var(), draft.var());
        let own = copy.clone().plus(n, item).plus(r, row);
        let input_row = Affine::from(r).shifted(rows.shift);
        let from = self.x.of_item(n).at(&input_row, columns.inputs * self.x.pixel);
        let inside = self.copy_pixels(
            from.offset(existing.from * self.x.pixel),
            own.clone().offset(existing.to * pixel),
            (c, existing.count),
        );
        let mut body = vec![fill(own, row, self.halo)];
        body.extend(within(&rows, input_row, vec![inside], Vec::new()));
        let split = Split::Axes(vec![(n, lowering.batch().extent()), (r, Extent::Fixed(height))]);
        lowering.push(draft.finish(split, body));
        (Source { address: copy, row, pixel, channel: 1 }, item)
    }

    /// The input where it is, from an address on.
    fn in_place(&self, address: Address) -> Source {
        let [rows, columns] = self.axes;
        let row = columns.inputs * self.x.pixel;
        let address = address.offset(rows.shift as usize * row + columns.shift as usize * self.x.pixel);
        Source { address, row, pixel: self.x.pixel, channel: self.x.channel }
    }

    /// Statements that copy the rows a block meets, and the copy.
    fn copy_rows(
        &self,
        draft: &mut KernelDraft,
        n: Var,
        (first, block_rows): (&Affine, usize),
        copy: Address,
    ) -> (Vec<Stmt>, Source) {
        let [rows, columns] = self.axes;
        let Columns { to: skipped, from: start, count, width } = self.columns();
        let height = rows.reach(block_rows);
        let channels = self.x.channels;
        let (row, pixel, channel) = match self.x.layout {
            Layout::ChannelsLast => (width * channels, channels, 1),
            Layout::ChannelsFirst => (width, 1, height * width),
        };
        let (r, c) = (draft.var(), draft.var());
        let input_row = Affine::default().plus_scaled(first, rows.step).plus(r, 1).shifted(rows.shift);
        let from =
            self.x.of_item(n).at(&input_row, columns.inputs * self.x.pixel).offset(start * self.x.pixel);
        let to = copy.clone().plus(r, row);
        let into = to.clone().offset(skipped * pixel);
        let each_channel = |stmt: Stmt| Stmt::repeat(c, Extent::Fixed(channels), vec![stmt]);
        let (inside, clear) = match self.x.layout {
            Layout::ChannelsLast => {
                let inside = match self.x.pixel == channels {
                    true => copy_span(from, 1, into, count * channels),
                    false => self.copy_pixels(from, into, (c, count)),
                };
                (inside, fill(to, row, self.halo))
            }
            Layout::ChannelsFirst => (
                each_channel(copy_span(from.plus(c, self.x.channel), 1, into.plus(c, channel), count)),
                each_channel(fill(to.plus(c, channel), width, self.halo)),
            ),
        };
        let body = if count == 0 { vec![clear] } else { within(&rows, input_row, vec![inside], vec![clear]) };
        let stmts = vec![Stmt::repeat(r, Extent::Fixed(height), body)];
        (stmts, Source { address: copy, row, pixel, channel })
    }

    /// Copies some neighbouring pixels, channels last.
    fn copy_pixels(&self, from: Address, to: Address, (c, count): (Var, usize)) -> Stmt {
        let channels = self.x.channels;
        let copy = copy_span(from.plus(c, self.x.pixel), 1, to.plus(c, channels), channels);
        Stmt::repeat(c, Extent::Fixed(count), vec![copy])
    }
}

/// An input of any number of axes with its channels first, of which each may have a halo.
#[derive(Clone, Debug)]
pub(crate) struct PaddedChannels {
    /// Spatial sizes of the input.
    pub(crate) sizes: Vec<usize>,
    /// Spatial sizes with the halo.
    pub(crate) padded: Vec<usize>,
    /// Where the input starts within a channel and its halo.
    interior: usize,
}

impl PaddedChannels {
    pub(crate) fn new(axes: &[Axis]) -> Self {
        let padded: Vec<usize> = axes.iter().map(|axis| axis.inputs + 2 * axis.padding()).collect();
        let interior = axes.iter().zip(strides(&padded)).map(|(axis, stride)| axis.padding() * stride).sum();
        PaddedChannels { sizes: axes.iter().map(|axis| axis.inputs).collect(), padded, interior }
    }

    /// Whether there is a halo.
    pub(crate) fn is_padded(&self) -> bool {
        self.sizes != self.padded
    }

    /// Elements of a channel.
    pub(crate) fn elements(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Elements of a channel and its halo.
    pub(crate) fn padded_elements(&self) -> usize {
        self.padded.iter().product()
    }

    /// Statements that copy some channels into scratch, with a halo, and where they then are.
    pub(crate) fn pad_in_scratch(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        channels: usize,
        from: &Address,
        halo: f32,
    ) -> (Vec<Stmt>, Address) {
        let padded = Address::start(lowering.scratch("padded", channels * self.padded_elements()));
        (self.pad(draft, channels, from, &padded, halo), padded)
    }

    /// Statements that copy some channels, with a halo.
    pub(crate) fn pad(
        &self,
        draft: &mut KernelDraft,
        channels: usize,
        from: &Address,
        to: &Address,
        halo: f32,
    ) -> Vec<Stmt> {
        let mut stmts = vec![fill(to.clone(), channels * self.padded_elements(), halo)];
        stmts.extend(self.rows(draft, channels, |_, padded, plain, width| {
            copy_span(from.clone().at(&plain, 1), 1, to.clone().at(&padded, 1), width)
        }));
        stmts
    }

    /// Statements that copy some channels without their halo.
    pub(crate) fn unpad(
        &self,
        draft: &mut KernelDraft,
        channels: usize,
        from: &Address,
        to: &Address,
    ) -> Vec<Stmt> {
        self.rows(draft, channels, |_, padded, plain, width| {
            copy_span(from.clone().at(&padded, 1), 1, to.clone().at(&plain, 1), width)
        })
    }

    /// A loop over all rows of some channels; `body` gets the channel, the row's place with and without the halo, and its
    /// length.
    pub(crate) fn rows(
        &self,
        draft: &mut KernelDraft,
        channels: usize,
        body: impl FnOnce(Var, Affine, Affine, usize) -> Stmt,
    ) -> Vec<Stmt> {
        let channel = draft.var();
        let outer = self.sizes.len() - 1;
        let vars = draft.vars(outer);
        let (padded_strides, plain_strides) = (strides(&self.padded), strides(&self.sizes));
        let mut padded = Affine::constant(self.interior).plus(channel, self.padded_elements());
        let mut plain = Affine::default().plus(channel, self.elements());
        let mut loops = vec![(channel, channels)];
        for (axis, &var) in vars.iter().enumerate() {
            padded = padded.plus(var, padded_strides[axis]);
            plain = plain.plus(var, plain_strides[axis]);
            loops.push((var, self.sizes[axis]));
        }
        Stmt::nest(&loops, vec![body(channel, padded, plain, self.sizes[outer])])
    }
}
