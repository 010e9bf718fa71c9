//! Kernels on values by channel, in the layout in which they are stored: elementwise with one number per channel, and
//! sums over each channel.

use super::{AxisView, BlockedRange, KernelDraft, Lowering, Size, View};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, ExprId, Extent, MapBuilder, Reducer, SUM_BLOCK, Split, Stmt, Var,
};
use crate::ops::elementwise::UnaryKind;
use crate::ops::epilogue::EpilogueStep;

/// The epilogue that a node applies to each element of its result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// The steps, in order.
    pub steps: &'a [EpilogueStep],
    /// The operands of the steps that take one.
    pub operands: &'a [ValueId],
}

/// Numbers that elements share: those of a channel, of a channel of an item, or of a pixel. A stride of 0 means that all
/// indices share them.
#[derive(Clone, Debug)]
pub struct SharedNumbers {
    /// The number of the first element.
    pub address: Address,
    /// The stride of items.
    pub item: Size,
    /// The stride of channels.
    pub channel: usize,
    /// The stride of pixels.
    pub pixel: usize,
}

impl From<Address> for SharedNumbers {
    /// One number for each channel, `[C]`.
    fn from(address: Address) -> Self {
        SharedNumbers { address, item: Size::fixed(0), channel: 1, pixel: 0 }
    }
}

/// An epilogue step with the location of its operand.
enum ChannelStep {
    Apply(UnaryKind),
    AddScalar(SharedNumbers),
    AddElement(Box<View>),
}

fn next(operands: &mut std::slice::Iter<'_, ValueId>) -> ValueId {
    *operands.next().expect("the shape rule counts the operands")
}

impl Lowering<'_> {
    /// Adds a kernel that computes each element of a batched value from elements at the same position and from numbers
    /// that elements share. `build` gets the map, the element of each of `elements` and the number of each of
    /// `numbers`, and returns the result, to which the epilogue is applied.
    pub fn per_channel(
        &mut self,
        node: &Node,
        elements: &[ValueId],
        numbers: &[SharedNumbers],
        epilogue: Epilogue<'_>,
        result: ValueId,
        build: impl FnOnce(&mut MapBuilder, &[ExprId], &[ExprId]) -> ExprId,
    ) {
        let to = self.view(result).clone();
        let from: Vec<View> = elements.iter().map(|&value| self.in_layout(node, value, &to.layout)).collect();
        let mut operands = epilogue.operands.iter();
        let steps: Vec<ChannelStep> = epilogue
            .steps
            .iter()
            .map(|step| match (step, step.unary()) {
                (_, Some(function)) => ChannelStep::Apply(function),
                (EpilogueStep::Bias, None) => {
                    ChannelStep::AddScalar(self.address(next(&mut operands)).into())
                }
                (_, None) => {
                    let view = self.in_layout(node, next(&mut operands), &to.layout);
                    ChannelStep::AddElement(Box::new(view))
                }
            })
            .collect();
        // Vectors run along the contiguous axis: the channels of a pixel, or the pixels of a channel.
        let along_channels = to.layout.is_channels_last() || to.pixels() == Size::fixed(1);
        let mut draft =
            self.draft(node, if along_channels { "pixel by pixel" } else { "channel by channel" });
        let (n, outer) = (draft.var(), draft.var());
        let (pixels, channels) = (to.pixels(), Size::fixed(to.channels()));
        let (count, lanes) = if along_channels { (pixels, channels) } else { (channels, pixels) };
        let at = |view: &View| match along_channels {
            true => view.of_item(n).plus(outer, view.pixel()),
            false => view.of_item(n).plus_size(outer, view.channel()),
        };
        let mut map = MapBuilder::new(lanes.extent());
        let elements: Vec<ExprId> = from.iter().map(|view| map.load(at(view), 1)).collect();
        let load_number = |map: &mut MapBuilder, number: &SharedNumbers| {
            let address = number.address.clone().plus_size(n, number.item);
            match along_channels {
                true => map.load(address.plus(outer, number.pixel), number.channel),
                false => map.load(address.plus(outer, number.channel), number.pixel),
            }
        };
        let numbers: Vec<ExprId> = numbers.iter().map(|number| load_number(&mut map, number)).collect();
        let value = build(&mut map, &elements, &numbers);
        let value = steps.iter().fold(value, |value, step| {
            let operand = match step {
                ChannelStep::Apply(function) => return map.unary(*function, value),
                ChannelStep::AddScalar(number) => load_number(&mut map, number),
                ChannelStep::AddElement(view) => map.load(at(view), 1),
            };
            map.add(value, operand)
        });
        map.store(at(&to), 1, value);
        let split = Split::Axes(vec![(n, draft.batch().extent()), (outer, count.extent())]);
        self.push(draft.finish(split, vec![map.finish()]));
    }

    /// Adds kernels that sum terms over all elements of each channel, into the values `sums` (`[C]`). `build` gets the
    /// map, the element of each of `elements` and the number of each of `numbers` (`[C]`), and returns a term for each
    /// sum.
    pub fn channel_sums<const SUMS: usize>(
        &mut self,
        node: &Node,
        elements: &[ValueId],
        numbers: &[ValueId],
        sums: [ValueId; SUMS],
        build: impl Fn(&mut MapBuilder, &[ExprId], &[ExprId]) -> [ExprId; SUMS],
    ) {
        let is_sequence = self.ty(elements[0]).shape.is_sequence();
        // The order of the sums over sequences does not depend on how they are stored.
        let layout = match is_sequence {
            true => self.preferred_layout(elements[0]),
            false => self.view(elements[0]).layout.clone(),
        };
        let from: Vec<View> = elements.iter().map(|&value| self.in_layout(node, value, &layout)).collect();
        let numbers: Vec<Address> = numbers.iter().map(|&value| self.address(value)).collect();
        let sums = sums.map(|value| self.address(value));
        if !layout.is_channels_last() || !is_sequence && from[0].pixels() == Size::fixed(1) {
            let mut draft = self.draft(node, "each channel on one thread").part("sums");
            let channels = AxisView::new(self, elements[0], 1, 1).reduction(&mut draft);
            let mut map = channels.map();
            let elements: Vec<ExprId> = from.iter().map(|view| channels.element(&mut map, view)).collect();
            let numbers: Vec<ExprId> =
                numbers.iter().map(|number| channels.load_number(&mut map, number.clone())).collect();
            let terms = build(&mut map, &elements, &numbers);
            for (sum, to) in channels.sums(&mut map, &terms).into_iter().zip(sums) {
                channels.store(&mut map, to, sum);
            }
            return self.push(channels.finish(draft, vec![map.finish()]));
        }
        let blocks = PixelBlocks::new(self, &from[0], SUMS);
        let draft = self.draft(node, blocks.note()).part("blocks");
        let kernel = blocks.kernel(draft, |block| {
            let mut map = block.map();
            let elements: Vec<ExprId> = from.iter().map(|view| block.element(&mut map, view)).collect();
            let numbers: Vec<ExprId> = numbers.iter().map(|number| map.load(number.clone(), 1)).collect();
            let reducers = build(&mut map, &elements, &numbers).map(Reducer::Sum);
            for (index, sum) in map.fold_window(&reducers).into_iter().enumerate() {
                map.store(block.result(index), 1, sum);
            }
            vec![map.finish()]
        });
        self.push(kernel);
        let mut draft = self.draft(node, "sums of all blocks").part("sums");
        let first = draft.var();
        let mut map = blocks.reduction();
        let terms: Vec<Reducer> =
            (0..SUMS).map(|index| Reducer::Sum(blocks.load(&mut map, first, index))).collect();
        for (sum, to) in map.fold_window(&terms).into_iter().zip(sums) {
            map.store(to.plus(first, 1), 1, sum);
        }
        self.push(draft.finish(blocks.reduction_split(first), vec![map.finish()]));
    }
}

/// Blocks of pixels of a value stored in NHWC layout, and some results of each block for each channel: the first of two
/// stages of a reduction. Threads share the blocks, so each thread reads whole cache lines once and in order. Results
/// do not depend on the number of threads.
///
/// A whole sequence is one block, so that results do not depend on whether its length is open either.
pub struct PixelBlocks {
    channels: usize,
    /// The pixels of a sequence.
    sequence: Option<Size>,
    range: BlockedRange,
    results: usize,
    buffer: BufferId,
    items: Extent,
}

/// The block that a statement of [`PixelBlocks::kernel`] processes.
pub struct PixelBlock<'a> {
    blocks: &'a PixelBlocks,
    n: Var,
    block: Var,
    start: &'a Affine,
    /// Pixels of the block.
    pub pixels: Size,
}

impl PixelBlocks {
    /// Divides the pixels of a value into blocks with `results` results per channel.
    pub fn new(lowering: &mut Lowering<'_>, view: &View, results: usize) -> Self {
        let sequence = (view.extents.len() == 3).then(|| view.pixels());
        let range = match sequence {
            Some(_) => BlockedRange::exact(1, 1),
            None => {
                // All blocks except the last have the same size, and none needs a compensated sum.
                let pixels = view.pixels().known();
                BlockedRange::exact(pixels, pixels.div_ceil(pixels.div_ceil(SUM_BLOCK)))
            }
        };
        let elements = range.blocks() * results * view.channels();
        let buffer = lowering.temporary("blocks", lowering.batch().size(elements));
        let items = lowering.batch().extent();
        PixelBlocks { channels: view.channels(), sequence, range, results, buffer, items }
    }

    /// The note of the kernels.
    pub fn note(&self) -> String {
        match self.sequence {
            Some(_) => "each sequence in a block".to_owned(),
            None => format!("{} blocks of {} pixels an item", self.range.blocks(), self.range.size),
        }
    }

    /// The kernel that runs `body` for every block.
    pub fn kernel(
        &self,
        mut draft: KernelDraft,
        body: impl Fn(&PixelBlock<'_>) -> Vec<Stmt>,
    ) -> crate::kernel::Kernel {
        let (n, block) = (draft.var(), draft.var());
        let body = self.range.branch(block, |start, pixels| {
            let pixels = self.sequence.unwrap_or(Size::fixed(pixels));
            body(&PixelBlock { blocks: self, n, block, start, pixels })
        });
        let blocks = Extent::Fixed(self.range.blocks());
        draft.finish(Split::Axes(vec![(n, self.items), (block, blocks)]), body)
    }

    /// The number of pixels of each block, as a constant `[blocks]`, if blocks are not sequences.
    pub fn pixels(&self, lowering: &mut Lowering<'_>) -> Option<Address> {
        let pixels = self.range.parts().flat_map(|(count, pixels)| std::iter::repeat_n(pixels as f32, count));
        let mut constant = |pixels| Address::start(lowering.constant("pixels of blocks", pixels));
        self.sequence.is_none().then(|| constant(pixels.collect()))
    }

    /// The split of kernels that reduce the results of all blocks: threads share the channels.
    pub fn reduction_split(&self, first: Var) -> Split {
        Split::Lanes(first, Extent::Fixed(self.channels))
    }

    /// A map over a thread's channels; its window is all blocks of all items.
    pub fn reduction(&self) -> MapBuilder {
        let window = [self.items, Extent::Fixed(self.range.blocks())];
        MapBuilder::new(Extent::Chunk).window(&window)
    }

    /// A result of the window's current block.
    pub fn load(&self, map: &mut MapBuilder, first: Var, index: usize) -> ExprId {
        let block = self.results * self.channels;
        let at = Address::start(self.buffer).offset(index * self.channels).plus(first, 1);
        map.load_window(at, 1, &[self.range.blocks() * block, block])
    }

    /// The number of pixels of the window's current block, from [`pixels`](Self::pixels).
    pub fn load_pixels(&self, map: &mut MapBuilder, pixels: &Option<Address>) -> ExprId {
        match (self.sequence, pixels) {
            (None, Some(pixels)) => map.load_window(pixels.clone(), 0, &[0, 1]),
            (sequence, _) => sequence.unwrap_or(Size::fixed(1)).number(map),
        }
    }
}

impl PixelBlock<'_> {
    /// A map over all channels; its window is the block's pixels.
    pub fn map(&self) -> MapBuilder {
        MapBuilder::new(Extent::Fixed(self.blocks.channels)).window(&[self.pixels.extent()])
    }

    /// The current element of a value.
    pub fn element(&self, map: &mut MapBuilder, view: &View) -> ExprId {
        map.load_window(view.of_item(self.n).at(self.start, view.pixel()), 1, &[view.pixel()])
    }

    /// The address of a result for the first channel.
    pub fn result(&self, index: usize) -> Address {
        let block = self.blocks.results * self.blocks.channels;
        Address::start(self.blocks.buffer)
            .offset(index * self.blocks.channels)
            .plus(self.n, self.blocks.range.blocks() * block)
            .plus(self.block, block)
    }
}
