//! The layout of images in memory, and the location of parts of a value.
//!
//! Images with enough channels are stored in NHWC layout. A vector then holds the channels of one pixel for any image
//! width, neighbours within a window are whole pixels apart, concatenation of channels needs no copy, since a value may
//! be a part of another's pixels, and the layout does not depend on the vector width. Images with few channels, and all
//! inputs and outputs of a program, are stored in NCHW layout, as in graphs. The layout depends only on a value's
//! shape. Values that are combined element by element therefore always have the same layout, and only the start, the
//! end and flattening layers of a network need copies between layouts.

use serde::{Deserialize, Serialize};

use super::{Buffer, KernelDraft, Location, Lower, Lowering, Order, Size};
use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::kernel::{Address, BufferId, Element, Extent, MapBuilder, Split, Var};
use crate::ops::{Move, Operator, Role};
use crate::shape::Shape;

/// Images with fewer channels are stored in NCHW layout: their vectors run along the width.
const FEW_CHANNELS: usize = 8;

/// Which images are stored channels last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layouts {
    /// Images with enough channels to fill vectors.
    #[default]
    ByChannels,
    /// No images.
    ChannelsFirst,
}

/// The layout of an image's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[C, H, W]`: channels first (NCHW).
    ChannelsFirst,
    /// `[H, W, C]`: channels last (NHWC).
    ChannelsLast,
}

impl Layouts {
    /// The layout of values with a shape, if nothing else determines it.
    fn of(self, shape: &Shape) -> Layout {
        let item = shape.item();
        let is_image = shape.is_batched() && !shape.has_open_item() && item.len() >= 2;
        if self == Layouts::ByChannels
            && is_image
            && item[0] >= FEW_CHANNELS
            && item[1..].iter().product::<usize>() > 1
        {
            Layout::ChannelsLast
        } else {
            Layout::ChannelsFirst
        }
    }
}

/// The layout in which a node's result is stored.
pub(super) fn result_layout(layouts: Layouts, graph: &Graph, node: &Node, result: ValueId) -> Layout {
    let has_open = node.operands.iter().any(|&operand| graph.ty(operand).shape.has_open_item());
    match node.op.memory().results {
        Order::Any if !has_open => layouts.of(&graph.ty(result).shape),
        Order::Any | Order::OfShape => Layout::ChannelsFirst,
    }
}

/// The location of a value's elements: one channel of one pixel of one item is at
/// `address + item·n + pixel·p + channel·c`. Strides are in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The first element.
    pub address: Address,
    /// The type in which elements are stored.
    pub element: Element,
    /// The layout of the elements.
    pub layout: Layout,
    /// The number of channels.
    pub channels: usize,
    /// The number of pixels.
    pub pixels: usize,
    /// The stride of items.
    pub item: usize,
    /// The stride of pixels.
    pub pixel: usize,
    /// The stride of channels.
    pub channel: usize,
}

impl View {
    /// A value that is alone in its buffer.
    pub(super) fn whole(buffer: BufferId, shape: &Shape, layout: Layout, element: Element) -> Self {
        let item = shape.item();
        let elements: usize = item.iter().product();
        let channels = if shape.is_batched() { item.first().copied().unwrap_or(1) } else { 1 };
        let pixels = elements / channels.max(1);
        let (pixel, channel) = match layout {
            Layout::ChannelsFirst => (1, pixels),
            Layout::ChannelsLast => (channels, 1),
        };
        let item = whole_words(elements, element);
        View { address: Address::start(buffer), element, layout, channels, pixels, item, pixel, channel }
    }

    /// Some neighbouring channels of this value.
    pub fn part(&self, first: usize, channels: usize) -> Self {
        let address = self.address.clone().offset(first * self.channel);
        View { address, channels, ..self.clone() }
    }

    /// The elements of a dense value, viewed as items of `channels` channels and `pixels` pixels in NCHW layout.
    pub fn split(&self, channels: usize, pixels: usize) -> Self {
        let layout = Layout::ChannelsFirst;
        let item = channels * pixels;
        View { layout, channels, pixels, item, pixel: 1, channel: pixels, ..self.clone() }
    }

    /// A value of one pixel or one channel, which has both layouts, in the other layout.
    fn in_other_order(&self) -> Self {
        let (layout, pixel, channel) = match self.layout {
            Layout::ChannelsFirst => (Layout::ChannelsLast, self.channels, 1),
            Layout::ChannelsLast => (Layout::ChannelsFirst, 1, self.pixels),
        };
        View { layout, pixel, channel, ..self.clone() }
    }

    /// The same elements in a layout, if they have it: a single pixel, or a single channel, has both.
    pub fn in_layout(&self, layout: Layout) -> Option<Self> {
        let fits = match layout {
            Layout::ChannelsFirst => self.is_plain(),
            Layout::ChannelsLast => self.channel == 1 || self.channels == 1,
        };
        fits.then(|| if self.layout == layout { self.clone() } else { self.in_other_order() })
    }

    /// The first element of item `n`.
    pub fn of_item(&self, n: Var) -> Address {
        self.address.clone().plus(n, self.item)
    }

    /// Whether the elements of each item are contiguous, and the items too.
    pub fn is_dense(&self) -> bool {
        self.item == self.channels * self.pixels
    }

    /// Whether the elements of an item are dense and in the order of the shape.
    fn is_plain(&self) -> bool {
        let is_packed = self.item == whole_words(self.channels * self.pixels, self.element);
        is_packed && (self.layout == Layout::ChannelsFirst || self.pixels == 1 || self.channels == 1)
    }
}

/// The number of elements, rounded up to whole words of 4 bytes: items start at words.
fn whole_words(elements: usize, element: Element) -> usize {
    Size::words(elements, element) * 4 / element.bytes()
}

impl Lowering<'_> {
    /// The location of a value, for operators that accept any layout.
    pub fn view(&self, value: ValueId) -> &View {
        &self.views[&value][0]
    }

    /// The layout of a value if nothing else determines it.
    pub fn preferred_layout(&self, value: ValueId) -> Layout {
        self.options.layouts.of(&self.ty(value).shape)
    }

    pub(crate) fn bind_view(&mut self, value: ValueId, view: View) {
        self.residents.entry(view.address.buffer).or_default().push(value);
        self.views.insert(value, vec![view]);
    }

    /// The address of a value whose elements are dense and in the order of its shape.
    pub fn address(&self, value: ValueId) -> Address {
        let plain = self.views[&value].iter().find(|view| view.is_plain());
        plain.expect("operators that do not take any order are given copies in order").address.clone()
    }

    /// The location of a value in a given layout: the value itself, or a copy by kernels before this node's.
    pub fn in_layout(&mut self, node: &Node, value: ValueId, layout: Layout) -> View {
        if let Some(view) = self.views[&value].iter().find_map(|view| view.in_layout(layout)) {
            return view;
        }
        let ty = self.ty(value);
        let from = self.view(value).clone();
        let (name, size) = ("reordered".to_owned(), self.stored_size(ty, from.element));
        let buffer =
            self.new_buffer(Buffer { name, size, element: from.element, location: Location::Nowhere });
        let view = View::whole(buffer, &ty.shape, layout, from.element);
        let draft = self.draft(node, format!("{} to {}", from.layout, layout)).part("reorder");
        self.reorder(draft, &from, &view);
        self.views.get_mut(&value).expect("bound above").push(view.clone());
        view
    }

    /// Copies a node's operands that are not in the order of their shapes, so that [`address`](Self::address) may be
    /// called for them.
    pub fn operands_in_order(&mut self, node: &Node) {
        for &operand in &node.operands {
            self.in_layout(node, operand, Layout::ChannelsFirst);
        }
    }

    /// The location of a value in a given layout and dense: the value itself, or a copy.
    pub fn dense(&mut self, node: &Node, value: ValueId, layout: Layout) -> View {
        let view = self.in_layout(node, value, layout);
        if view.is_dense() {
            return view;
        }
        let copy = self.dense_temporary(value, layout);
        let draft = self.draft(node, "a copy without gaps").part("reorder");
        self.reorder(draft, &view, &copy);
        copy
    }

    /// Memory for the elements of a value in a given layout, valid during the kernels of this node.
    pub fn dense_temporary(&mut self, value: ValueId, layout: Layout) -> View {
        let ty = self.ty(value);
        let buffer = self.temporary("dense", self.size(value));
        View::whole(buffer, &ty.shape, layout, ty.dtype.into())
    }

    /// Adds a kernel that copies a value from one layout to another.
    pub fn reorder(&mut self, mut draft: KernelDraft, from: &View, to: &View) {
        let (n, outer) = (draft.var(), draft.var());
        // Vectors run along the contiguous axis of the destination.
        let (count, lanes, from_outer, from_lane, to_outer) = match to.layout {
            Layout::ChannelsFirst => (from.channels, from.pixels, from.channel, from.pixel, to.channel),
            Layout::ChannelsLast => (from.pixels, from.channels, from.pixel, from.channel, to.pixel),
        };
        let mut map = MapBuilder::new(Extent::Fixed(lanes));
        let value = map.load_as(from.element, from.of_item(n).plus(outer, from_outer), from_lane, &[]);
        map.store_as(to.element, to.of_item(n).plus(outer, to_outer), 1, value);
        let split = Split::Axes(vec![(n, draft.batch().extent()), (outer, Extent::Fixed(count))]);
        self.push(draft.finish(split, vec![map.finish()]));
    }

    /// Adds a kernel that computes a value element by element, in its storage order, from values of the same shape and
    /// from scalars. `build` gets the map, the elements and the scalars.
    pub fn pointwise(
        &mut self,
        node: &Node,
        elements: &[ValueId],
        numbers: &[ValueId],
        build: impl FnOnce(
            &mut MapBuilder,
            &[crate::kernel::ExprId],
            &[crate::kernel::ExprId],
        ) -> crate::kernel::ExprId,
    ) {
        let to = self.view(node.results[0]).clone();
        let from: Vec<View> = elements.iter().map(|&value| self.in_layout(node, value, to.layout)).collect();
        let mut draft = self.draft(node, "element by element");
        let dense = to.is_dense() && from.iter().all(View::is_dense);
        let (split, lanes, index) = if dense {
            let first = draft.var();
            (Split::Lanes(first, self.size(node.results[0]).extent()), Extent::Chunk, vec![(first, None)])
        } else {
            // Only parts of pixels are not dense.
            let (n, pixel) = (draft.var(), draft.var());
            let split = Split::Axes(vec![(n, draft.batch().extent()), (pixel, Extent::Fixed(to.pixels))]);
            (split, Extent::Fixed(to.channels), vec![(n, Some(true)), (pixel, Some(false))])
        };
        let place = |view: &View| {
            index.iter().fold(view.address.clone(), |address, &(var, kind)| {
                address.plus(
                    var,
                    match kind {
                        None => 1,
                        Some(true) => view.item,
                        Some(false) => view.pixel,
                    },
                )
            })
        };
        let mut map = MapBuilder::new(lanes);
        let loads: Vec<_> = from.iter().map(|view| map.load(place(view), 1)).collect();
        let numbers: Vec<_> = numbers.iter().map(|&value| map.load(self.address(value), 0)).collect();
        let value = build(&mut map, &loads, &numbers);
        map.store(place(&to), 1, value);
        self.push(draft.finish(split, vec![map.finish()]));
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Layout::ChannelsFirst => "channels first",
            Layout::ChannelsLast => "channels last",
        })
    }
}

/// Lets kernels write concatenated channels in place: the operands of a concatenation that are computed by a kernel,
/// and concatenated only once, become parts of its result.
pub(super) fn concat_in_place(graph: &Graph, lowering: &mut Lowering<'_>) {
    let mut concatenated = vec![0; graph.value_count()];
    for node in graph.nodes() {
        if let Role::Move(Move::Join { .. }) = node.op.facts().role {
            node.operands.iter().for_each(|operand| concatenated[operand.index()] += 1);
        }
    }
    // In reverse order, since a concatenation may itself be a part of a later one.
    for node in graph.nodes().iter().rev() {
        let Role::Move(Move::Join { axis: 1 }) = node.op.facts().role else { continue };
        let whole = lowering.view(node.results[0]).clone();
        if whole.layout != Layout::ChannelsLast {
            continue;
        }
        let mut first = 0;
        for &operand in &node.operands {
            let own = lowering.view(operand).clone();
            let producer = &graph.producer(operand).op;
            let is_computed = producer.memory().results == Order::Any;
            // A producer whose result is a part of another value writes nothing.
            let writes_parts = !matches!(producer.facts().role, Role::Move(Move::Part { .. }));
            if own.layout == Layout::ChannelsLast
                && is_computed
                && writes_parts
                && concatenated[operand.index()] == 1
            {
                lowering.bind_view(operand, whole.part(first, own.channels));
            }
            first += own.channels;
        }
    }
}
