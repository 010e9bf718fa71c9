//! Padding for convolution and pooling: windows read the input in place, or a copy of it with a halo that holds the
//! padding.

use super::grid::{Grid, Outer};
use super::window_walk::{Axis, strides, within};
use crate::graph::Node;
use crate::kernel::{Address, Affine, Extent, MapBuilder, Split, Stmt, Var};
use crate::plan::{KernelDraft, Lowering, Size, View, copy_span, fill, pixel_gap};

/// An image whose windows read padding, in either layout.
#[derive(Clone, Debug)]
pub(crate) struct Padded {
    pub(crate) grid: Grid,
    pub(crate) x: View,
    /// The value of the padding.
    pub(crate) halo: f32,
}

/// The memory that windows read: the input itself, or a copy with a halo.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The element that the first kernel position of the first output reads.
    pub(crate) address: Address,
    /// The stride of each axis of the grid.
    pub(crate) strides: Vec<usize>,
    /// The stride of input channels.
    pub(crate) channel: usize,
}

impl Source {
    /// The stride of rows.
    pub(crate) fn row(&self) -> usize {
        self.strides[self.strides.len() - 2]
    }

    /// The stride of the pixels of a row.
    pub(crate) fn pixel(&self) -> usize {
        self.strides[self.strides.len() - 1]
    }

    /// For each axis, the stride of kernel positions.
    pub(crate) fn position_strides(&self, grid: &Grid) -> Vec<usize> {
        grid.axes().iter().zip(&self.strides).map(|(axis, stride)| axis.dilation * stride).collect()
    }
}

/// Where the windows of a kernel read their input.
#[derive(Clone, Debug)]
pub(crate) enum Inputs {
    /// Where it is.
    InPlace,
    /// In scratch, to which each work unit copies the rows that it reads.
    Scratch(Address),
    /// Whole sequences of open length, with the stride of items.
    Sequence(Source, Size),
}

/// The columns of a copied row that exist in the input.
struct Columns {
    /// The first of them in the copy, and in the input.
    to: usize,
    from: usize,
    count: usize,
    /// The number of columns of the copy.
    width: usize,
}

impl Padded {
    /// The stride of pixels in a copy that is stored channels last.
    fn copied_pixel(&self) -> usize {
        self.x.channels() + pixel_gap(self.x.channels())
    }

    fn columns(&self) -> Columns {
        let axis = self.grid.columns();
        let width = axis.reach(axis.outputs);
        let to = (-axis.shift).max(0) as usize;
        let from = axis.shift.max(0) as usize;
        Columns { to, from, count: width.saturating_sub(to).min(axis.inputs.saturating_sub(from)), width }
    }

    /// For each axis, the stride of the input.
    fn input_strides(&self) -> Vec<usize> {
        self.grid.input_strides().into_iter().map(|pixels| pixels * self.x.pixel()).collect()
    }

    /// The input rows that `rows` neighbouring output rows starting with `first` read, with the statements that copy
    /// them to scratch if necessary.
    pub(crate) fn rows(
        &self,
        draft: &mut KernelDraft,
        (n, outer): (Var, &Outer),
        (first, rows): (&Affine, usize),
        inputs: &Inputs,
    ) -> (Vec<Stmt>, Source) {
        match inputs {
            Inputs::Scratch(to) => self.copy_rows(draft, (n, outer), (first, rows), to.clone()),
            Inputs::Sequence(source, item) => {
                let address = source.address.clone().plus_size(n, *item);
                (Vec::new(), Source { address, ..source.clone() })
            }
            Inputs::InPlace => {
                let row = self.grid.columns().inputs * self.x.pixel();
                let mut address = self.x.of_item(n).at(first, self.grid.rows().step * row);
                let axes = self.grid.outer().iter().zip(self.input_strides());
                let steps: Vec<usize> = axes.map(|(axis, stride)| axis.step * stride).collect();
                address = outer.at(address, &steps);
                (Vec::new(), self.in_place(address))
            }
        }
    }

    /// Where windows read the input of `rows` output rows. If some window extends outside the input, this is scratch
    /// that each thread fills once with the halo value, or for sequences of open length a copy by a separate kernel.
    pub(crate) fn inputs(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        draft: &mut KernelDraft,
        rows: usize,
    ) -> Inputs {
        if self.grid.columns().open.is_some() {
            let (source, item) = self.sequence(lowering, node);
            return Inputs::Sequence(source, item);
        }
        if !self.grid.leaves_input() {
            return Inputs::InPlace;
        }
        let height = self.grid.planes() * self.grid.rows().reach(rows);
        let pixel = if self.x.layout.is_channels_last() { self.copied_pixel() } else { self.x.channels() };
        let elements = height * self.columns().width * pixel;
        let scratch = Address::start(lowering.scratch("panel", elements));
        draft.setup(vec![fill(scratch.clone(), elements, self.halo)]);
        Inputs::Scratch(scratch)
    }

    /// A whole sequence of open length: in place, or copied with a halo by a separate kernel. Returns the location of
    /// the first item, and the stride of items.
    pub(crate) fn sequence(&self, lowering: &mut Lowering<'_>, node: &Node) -> (Source, Size) {
        let axis = self.grid.columns();
        let (before, behind) = (axis.padding(), axis.padding_behind());
        let place = |address: Address, pixel: usize| Source {
            address: address.offset((axis.shift + before as i64) as usize * pixel),
            strides: vec![0, pixel],
            channel: 1,
        };
        if before + behind == 0 {
            return (place(self.x.address.clone(), self.x.pixel()), self.x.item());
        }
        let (channels, length) = (self.x.channels(), axis.all_inputs());
        let item = lowering.longer(length, before + behind).times(channels);
        let batch = lowering.batch().size(1);
        let size = lowering.product_of(batch, item);
        let copy = Address::start(lowering.temporary("padded", size));
        let mut draft = lowering.draft(node, "with a halo").part("pad");
        let (n, pixel) = (draft.var(), draft.var());
        let to = copy.clone().plus_size(n, item);
        let mut body = Vec::new();
        let mut halo = |start: Affine, pixels: usize| {
            if pixels > 0 {
                body.push(fill(to.clone().at(&start, 1), pixels * channels, self.halo));
            }
        };
        halo(Affine::default(), before);
        halo(Affine::default().offset_size(length.times(channels)).offset(before * channels), behind);
        // Neighbouring pixels are one span, unless they are parts of larger ones.
        let (from, to) = (self.x.of_item(n), to.offset(before * channels));
        let copy_all = |from: Address, to: Address, elements: Extent| {
            let mut map = MapBuilder::new(elements);
            let value = map.load_as(self.x.element, from, 1, &[]);
            map.store_as(self.x.element, to, 1, value);
            map.finish()
        };
        body.push(match self.x.pixel() == channels {
            true => copy_all(from, to, length.times(channels).extent()),
            false => {
                let (from, to) = (from.plus(pixel, self.x.pixel()), to.plus(pixel, channels));
                let copy = copy_all(from, to, Extent::Fixed(channels));
                Stmt::repeat(pixel, length.extent(), vec![copy])
            }
        });
        lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
        (place(copy, channels), item)
    }

    /// The whole image in NHWC layout: in place, or copied with a halo by a separate kernel. Returns the location of
    /// the first item, and the stride of items.
    pub(crate) fn whole(&self, lowering: &mut Lowering<'_>, node: &Node) -> (Source, Size) {
        if !self.grid.leaves_input() {
            return (self.in_place(self.x.address.clone()), self.x.item());
        }
        let existing = self.columns();
        let pixel = self.x.channels();
        let sizes: Vec<usize> = self.grid.axes().iter().map(|axis| axis.reach(axis.outputs)).collect();
        let steps: Vec<usize> = strides(&sizes).into_iter().map(|pixels| pixels * pixel).collect();
        let row = existing.width * pixel;
        let item = sizes.iter().product::<usize>() * pixel;
        let copy = Address::start(lowering.temporary("padded", lowering.batch().size(item)));
        let mut draft = lowering.draft(node, "with a halo").part("pad");
        let n = draft.var();
        let lines = draft.vars(sizes.len() - 1);
        let c = draft.var();
        let (mut own, mut from) = (copy.clone().plus(n, item), self.x.of_item(n));
        let mut inputs = Vec::new();
        for (index, (axis, stride)) in self.grid.axes().iter().zip(self.input_strides()).enumerate() {
            let Some(&line) = lines.get(index) else { break };
            let input = Affine::from(line).shifted(axis.shift);
            own = own.plus(line, steps[index]);
            from = from.at(&input, stride);
            inputs.push(input);
        }
        let inside = self.copy_pixels(
            (from.offset(existing.from * self.x.pixel()), own.clone().offset(existing.to * pixel)),
            pixel,
            (c, existing.count),
        );
        let mut body = vec![fill(own, row, self.halo)];
        body.extend(self.within(&inputs, vec![inside], &[]));
        let mut split = vec![(n, lowering.batch().extent())];
        split.extend(lines.into_iter().zip(sizes).map(|(line, size)| (line, Extent::Fixed(size))));
        lowering.push(draft.finish(Split::Axes(split), body));
        (Source { address: copy, strides: steps, channel: 1 }, Size::fixed(item))
    }

    /// `inside` if the indices along the first axes lie within the input, else `outside`.
    fn within(&self, inputs: &[Affine], inside: Vec<Stmt>, outside: &[Stmt]) -> Vec<Stmt> {
        let axes = self.grid.axes().iter().zip(inputs).rev();
        axes.fold(inside, |inside, (axis, input)| within(axis, input.clone(), inside, outside.to_vec()))
    }

    /// The input in place, starting at an address.
    fn in_place(&self, address: Address) -> Source {
        let strides = self.input_strides();
        let axes = self.grid.axes().iter().zip(&strides);
        let offset = axes.map(|(axis, stride)| axis.shift as usize * stride).sum();
        Source { address: address.offset(offset), strides, channel: self.x.channel().known() }
    }

    /// Statements that copy the rows that a block reads, and the location of the copy.
    fn copy_rows(
        &self,
        draft: &mut KernelDraft,
        (n, outer): (Var, &Outer),
        (first, block_rows): (&Affine, usize),
        copy: Address,
    ) -> (Vec<Stmt>, Source) {
        let (rows, columns) = (self.grid.rows(), self.grid.columns());
        let Columns { to: skipped, from: start, count, width } = self.columns();
        let height = rows.reach(block_rows);
        let channels = self.x.channels();
        let mut sizes: Vec<usize> = self.grid.outer().iter().map(|axis| axis.reach(1)).collect();
        sizes.extend([height, width]);
        let (pixel, channel) = match self.x.layout.is_channels_last() {
            true => (self.copied_pixel(), 1),
            false => (1, sizes.iter().product()),
        };
        let steps: Vec<usize> = strides(&sizes).into_iter().map(|pixels| pixels * pixel).collect();
        let row = width * pixel;
        let (r, c) = (draft.var(), draft.var());
        let planes = draft.vars(self.grid.outer().len());
        let input_row = Affine::default().plus_scaled(first, rows.step).plus(r, 1).shifted(rows.shift);
        let mut from = self.x.of_item(n).at(&input_row, columns.inputs * self.x.pixel());
        let mut to = copy.clone().plus(r, row);
        let mut inputs = Vec::new();
        for (index, stride) in self.input_strides().into_iter().enumerate().take(planes.len()) {
            let input = outer.input(index).plus(planes[index], 1);
            from = from.at(&input, stride);
            to = to.plus(planes[index], steps[index]);
            inputs.push(input);
        }
        inputs.push(input_row);
        let from = from.offset(start * self.x.pixel());
        let into = to.clone().offset(skipped * pixel);
        let each_channel = |stmt: Stmt| Stmt::repeat(c, Extent::Fixed(channels), vec![stmt]);
        let (inside, clear) = match self.x.layout.is_channels_last() {
            true => {
                let inside = match self.x.pixel() == channels && pixel == channels {
                    true => copy_span(from, 1, into, count * channels),
                    false => self.copy_pixels((from, into), pixel, (c, count)),
                };
                (inside, fill(to, row, self.halo))
            }
            false => (
                each_channel(copy_span(
                    from.plus(c, self.x.channel().known()),
                    1,
                    into.plus(c, channel),
                    count,
                )),
                each_channel(fill(to.plus(c, channel), width, self.halo)),
            ),
        };
        let body = if count == 0 { vec![clear] } else { self.within(&inputs, vec![inside], &[clear]) };
        let mut loops: Vec<(Var, usize)> = planes.into_iter().zip(sizes).collect();
        loops.push((r, height));
        (Stmt::nest(&loops, body), Source { address: copy, strides: steps, channel })
    }

    /// Copies neighbouring pixels, channels last.
    fn copy_pixels(&self, (from, to): (Address, Address), pixel: usize, (c, count): (Var, usize)) -> Stmt {
        let copy = copy_span(from.plus(c, self.x.pixel()), 1, to.plus(c, pixel), self.x.channels());
        Stmt::repeat(c, Extent::Fixed(count), vec![copy])
    }
}

/// An input in NCHW layout with any number of axes, each of which may have a halo.
#[derive(Clone, Debug)]
pub(crate) struct PaddedChannels {
    /// Spatial sizes of the input.
    pub(crate) sizes: Vec<usize>,
    /// Spatial sizes with the halo.
    pub(crate) padded: Vec<usize>,
    /// The offset of the input within a channel with its halo.
    interior: usize,
}

impl PaddedChannels {
    pub(crate) fn new(axes: &[Axis]) -> Self {
        let padded: Vec<usize> = axes.iter().map(Axis::padded).collect();
        let interior = axes.iter().zip(strides(&padded)).map(|(axis, stride)| axis.padding() * stride).sum();
        PaddedChannels { sizes: axes.iter().map(|axis| axis.inputs).collect(), padded, interior }
    }

    /// Whether there is a halo.
    pub(crate) fn is_padded(&self) -> bool {
        self.sizes != self.padded
    }

    /// The number of elements of a channel.
    pub(crate) fn elements(&self) -> usize {
        self.sizes.iter().product()
    }

    /// The number of elements of a channel with its halo.
    pub(crate) fn padded_elements(&self) -> usize {
        self.padded.iter().product()
    }

    /// Statements that copy channels into scratch with a halo, and the address of the copy.
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

    /// Statements that copy channels and add a halo.
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

    /// Statements that copy channels without their halo.
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

    /// A loop over all rows of some channels; `body` gets the channel, the row's offset with and without the halo, and
    /// its length.
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
