//! Views, which locate the elements of values in memory, and copies of values in other layouts.

use smallvec::{SmallVec, smallvec};

use super::layout::AXES;
use super::{Buffer, KernelDraft, Layout, Location, Lower, Lowering, Order, Size};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, BufferId, Element, ExprId, Extent, MapBuilder, Split, Var};
use crate::shape::{Dim, Shape};

/// The location of a value's elements: the element with index `i` along each axis is at `address` plus the sum of
/// `stride·i`. Strides are in elements.
///
/// Operators on images treat all spatial axes as one run of pixels, which [`pixels`](Self::pixels) and
/// [`pixel`](Self::pixel) describe: spatial axes have no gaps. A pixel may have one behind its channels.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The first element.
    pub address: Address,
    /// The type in which elements are stored.
    pub element: Element,
    /// The order in which the axes are stored.
    pub layout: Layout,
    /// The number of indices of each axis.
    pub extents: SmallVec<[Size; AXES]>,
    /// The stride of each axis.
    pub strides: SmallVec<[Size; AXES]>,
}

impl View {
    /// Some neighbouring channels of this value.
    pub fn part(&self, first: usize, channels: usize) -> Self {
        let mut part = self.clone();
        part.address.offset = part.address.offset.offset_size(self.strides[1].times(first));
        part.extents[1] = Size::fixed(channels);
        part
    }

    /// The value with its axes in another order: axis `i` of the view is axis `order[i]` of the value.
    pub fn transposed(&self, order: &[usize]) -> Self {
        let sorted = |sizes: &[Size]| order.iter().map(|&axis| sizes[axis]).collect();
        let stored = self.layout.0.iter().filter_map(|axis| order.iter().position(|own| own == axis));
        View {
            layout: Layout(stored.collect()),
            extents: sorted(&self.extents),
            strides: sorted(&self.strides),
            ..self.clone()
        }
    }

    /// The same elements in a layout, if they have it; axes with one index may be anywhere. Channels last only requires
    /// the channels to be contiguous.
    pub fn in_layout(&self, layout: &Layout) -> Option<Self> {
        debug_assert_eq!(layout.0.len(), self.layout.0.len(), "a layout is a permutation of all axes");
        let innermost = layout.0.iter().rev().find(|&&axis| self.extents[axis] != Size::fixed(1));
        let fits = match layout.is_of_shape() {
            true => self.is_plain(),
            false => innermost.is_none_or(|&axis| self.strides[axis] == Size::fixed(1)),
        };
        if !fits || self.layout == *layout {
            return fits.then(|| self.clone());
        }
        // The stride of an axis with one index is that of the next index, if there were one.
        let mut view = View { layout: layout.clone(), ..self.clone() };
        let mut next = Some(Size::fixed(1));
        for &axis in layout.0.iter().rev() {
            match next {
                Some(next) if self.extents[axis] == Size::fixed(1) => view.strides[axis] = next,
                _ => next = self.strides[axis].product(self.extents[axis]),
            }
        }
        Some(view)
    }

    /// The first element of item `n`.
    pub fn of_item(&self, n: Var) -> Address {
        self.address.clone().plus_size(n, self.item())
    }

    /// The stride of items.
    pub fn item(&self) -> Size {
        self.strides.first().copied().unwrap_or(Size::fixed(1))
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.extents.get(1).map_or(1, |&channels| channels.known())
    }

    /// The stride of channels.
    pub fn channel(&self) -> Size {
        self.strides.get(1).copied().unwrap_or(Size::fixed(1))
    }

    /// The number of pixels of an item: the product of its spatial axes.
    ///
    /// # Panics
    /// If several of them are open.
    pub fn pixels(&self) -> Size {
        let mut axes = self.extents.iter().skip(2);
        let product = axes.try_fold(Size::fixed(1), |product, &size| product.product(size));
        product.expect("operators on images are given at most one open axis")
    }

    /// The stride of pixels.
    pub fn pixel(&self) -> usize {
        self.strides.get(2..).and_then(<[_]>::last).map_or(1, |&pixel| pixel.known())
    }

    /// Whether the elements of each item are contiguous, and the items too.
    pub fn is_dense(&self) -> bool {
        self.has_no_gaps(&self.layout, |item| item)
    }

    /// Whether the elements of an item are dense and in the order of the shape. Items start at whole words.
    pub(crate) fn is_plain(&self) -> bool {
        let words = |item: Size| match item.open {
            None => Size::fixed(whole_words(item.elements, self.element)),
            Some(_) => item,
        };
        self.has_no_gaps(&Layout::channels_first(self.extents.len()), words)
    }

    /// Whether elements are contiguous in a layout, except that `item` gives the stride of items. Only channels and
    /// items ever have gaps, so strides that are products of several open sizes need no check.
    fn has_no_gaps(&self, layout: &Layout, item: impl Fn(Size) -> Size) -> bool {
        let mut next = Some(Size::fixed(1));
        layout.0.iter().rev().all(|&axis| {
            let (extent, stride) = (self.extents[axis], self.strides[axis]);
            let expected = if axis == 0 { next.map(&item) } else { next };
            let fits = extent == Size::fixed(1) || expected.is_none_or(|expected| expected == stride);
            if extent != Size::fixed(1) {
                next = stride.product(extent);
            }
            fits
        })
    }
}

/// The elements between the channels of a pixel and the next pixel, in values that kernels of a plan compute. If pixels
/// were a multiple of 2048 bytes apart, those that a tile reads together would share so few sets of an L1 cache (64 sets
/// of lines of 64 bytes) that they evict one another; a line between them spreads them over all sets.
pub(crate) fn pixel_gap(channels: usize) -> usize {
    const LINE: usize = 16;
    if channels > 0 && (4 * channels).is_multiple_of(2048) { LINE } else { 0 }
}

/// The number of elements, rounded up to whole words of 4 bytes: items start at words.
fn whole_words(elements: usize, element: Element) -> usize {
    Size::words(elements, element) * 4 / element.bytes()
}

impl Lowering<'_> {
    /// A value that is alone in memory starting at an address: its elements have no gaps, and items start at words.
    pub fn dense_view(&mut self, address: Address, dims: &[Dim], layout: Layout, element: Element) -> View {
        let extent = |dim: &Dim| dim.fixed().map_or_else(|| self.size_of(&dim.polynomial()), Size::fixed);
        let extents = dims.iter().map(extent).collect();
        let mut strides: SmallVec<[Size; AXES]> = smallvec![Size::fixed(1); dims.len()];
        // The elements of one index of the axis, if all axes inside it have fixed sizes.
        let mut elements = Some(1);
        for (place, &axis) in layout.0.iter().enumerate().rev() {
            strides[axis] = match elements {
                Some(elements) => Size::fixed(elements),
                None => {
                    let inner: Vec<Dim> =
                        layout.0[place + 1..].iter().map(|&inner| dims[inner].clone()).collect();
                    self.product(&inner)
                }
            };
            elements = elements.zip(dims[axis].fixed()).map(|(elements, size)| elements * size);
        }
        if let [item, ..] = &mut strides[..]
            && item.open.is_none()
        {
            item.elements = whole_words(item.elements, element);
        }
        View { address, element, layout, extents, strides }
    }

    /// Whether a value is alone in memory that only kernels of this plan access, so that it may be stored elsewhere.
    pub(crate) fn is_alone(&self, value: ValueId) -> bool {
        let buffer = self.view(value).address.buffer;
        self.buffers[buffer.index()].location == Location::Nowhere
            && self.residents.get(&buffer).is_some_and(|values| values[..] == [value])
            && !self.batch_invariant.contains(&value)
    }

    /// Whether the operator that computes a value and those that read it work on pixels with gaps between them.
    pub(super) fn may_have_gaps(&self, node: &Node, value: ValueId) -> bool {
        let writes_pixels = !matches!(node.op.memory().results, Order::OfShape | Order::Dense);
        writes_pixels && self.readers(value).all(|reader| reader.op.memory().operands != Order::Dense)
    }

    /// The memory of a value that only kernels of this plan access, and its view. In channels-last layout, pixels have a
    /// gap ([`pixel_gap`]) if `may_have_gaps`.
    pub(super) fn own_view(
        &mut self,
        mut buffer: Buffer,
        shape: &Shape,
        layout: Layout,
        may_have_gaps: bool,
    ) -> View {
        let channels = if layout.is_channels_last() { shape.item()[0] } else { 1 };
        let gap = pixel_gap(channels);
        let has_gaps = may_have_gaps
            && gap > 0
            && buffer.element == Element::F32
            && !shape.has_open_item()
            && shape.item_elements() > channels;
        if has_gaps {
            buffer.size.elements = buffer.size.elements / channels * (channels + gap);
        }
        let element = buffer.element;
        let buffer = self.new_buffer(buffer);
        let mut view = self.whole_view(buffer, shape, layout, element);
        if has_gaps {
            for (axis, stride) in view.strides.iter_mut().enumerate().filter(|(axis, _)| *axis != 1) {
                debug_assert!(stride.open.is_none(), "axis {axis} of an item of fixed sizes");
                stride.elements = stride.elements / channels * (channels + gap);
            }
        }
        view
    }

    /// A value that is alone in its buffer.
    pub(super) fn whole_view(
        &mut self,
        buffer: BufferId,
        shape: &Shape,
        layout: Layout,
        element: Element,
    ) -> View {
        self.dense_view(Address::start(buffer), shape.dims(), layout, element)
    }

    /// The layout of channels first for a value.
    pub fn channels_first(&self, value: ValueId) -> Layout {
        Layout::channels_first(self.ty(value).shape.rank())
    }

    /// The layout of channels last for a value.
    pub fn channels_last(&self, value: ValueId) -> Layout {
        Layout::channels_last(self.ty(value).shape.rank())
    }

    /// The location of a value, for operators that accept any layout.
    pub fn view(&self, value: ValueId) -> &View {
        &self.views[&value][0]
    }

    /// The layout of a value if nothing else determines it.
    pub fn preferred_layout(&self, value: ValueId) -> Layout {
        self.images.of_shape(&self.ty(value).shape)
    }

    pub(crate) fn bind_view(&mut self, value: ValueId, view: View) {
        self.residents.entry(view.address.buffer).or_default().push(value);
        self.views.insert(value, vec![view]);
    }

    /// The location of a value whose elements are dense and in the order of its shape.
    ///
    /// # Panics
    /// If it is stored in another order, and [`operands_in_order`](Self::operands_in_order) was not called.
    pub fn plain(&self, value: ValueId) -> View {
        let layout = self.channels_first(value);
        let plain = self.views[&value].iter().find_map(|view| view.in_layout(&layout));
        plain.expect("operators that do not take any order are given copies in order")
    }

    /// The first element of a [`plain`](Self::plain) value.
    pub fn address(&self, value: ValueId) -> Address {
        self.plain(value).address
    }

    /// The location of a value in a given layout: the value itself, or a copy by kernels before this node's.
    pub fn in_layout(&mut self, node: &Node, value: ValueId, layout: &Layout) -> View {
        if let Some(view) = self.views[&value].iter().find_map(|view| view.in_layout(layout)) {
            return view;
        }
        let ty = self.ty(value);
        let from = self.view(value).clone();
        let (name, size) = ("reordered".to_owned(), self.stored_size(ty, from.element));
        let buffer =
            self.new_buffer(Buffer { name, size, element: from.element, location: Location::Nowhere });
        let view = self.whole_view(buffer, &ty.shape, layout.clone(), from.element);
        let draft = self.draft(node, format!("{} to {}", from.layout, layout)).part("reorder");
        self.reorder(draft, &from, &view);
        self.views.get_mut(&value).expect("bound above").push(view.clone());
        view
    }

    /// The location of a value in a given layout, where only the elements of a pixel, or of a vector `[N, C]`, need be
    /// contiguous: the value itself, or a copy.
    pub fn by_pixels(&mut self, node: &Node, value: ValueId, layout: &Layout) -> View {
        let views = &self.views[&value];
        let is_vector = |view: &&View| view.extents.len() == 2 && view.channel() == Size::fixed(1);
        match views.iter().find(is_vector) {
            Some(view) => view.clone(),
            None => self.in_layout(node, value, layout),
        }
    }

    /// Copies a node's operands that are not in the order of their shapes, so that [`address`](Self::address) may be
    /// called for them.
    pub fn operands_in_order(&mut self, node: &Node) {
        for &operand in &node.operands {
            self.in_layout(node, operand, &self.channels_first(operand));
        }
    }

    /// The location of a value in a given layout and dense: the value itself, or a copy.
    pub fn dense(&mut self, node: &Node, value: ValueId, layout: &Layout) -> View {
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
    pub fn dense_temporary(&mut self, value: ValueId, layout: &Layout) -> View {
        let ty = self.ty(value);
        let buffer = self.temporary("dense", self.size(value));
        self.whole_view(buffer, &ty.shape, layout.clone(), ty.dtype.into())
    }

    /// Adds a kernel that copies a value from one layout to another.
    pub fn reorder(&mut self, mut draft: KernelDraft, from: &View, to: &View) {
        let (n, outer) = (draft.var(), draft.var());
        let pixels = (from.pixels(), Size::fixed(from.pixel()), Size::fixed(to.pixel()));
        let channels = (Size::fixed(from.channels()), from.channel(), to.channel());
        // Vectors run along the contiguous axis of the destination, or else of the value, if their strides are fixed.
        let is_fixed = |(_, from, to): (Size, Size, Size)| from.open.is_none() && to.open.is_none();
        let is_last = to.layout.is_channels_last() || from.pixels() == Size::fixed(1);
        let along_channels = is_last && is_fixed(channels);
        let ((lanes, from_lane, to_lane), (count, from_outer, to_outer)) =
            if along_channels { (channels, pixels) } else { (pixels, channels) };
        let mut map = MapBuilder::new(lanes.extent());
        let read = from.of_item(n).plus_size(outer, from_outer);
        let value = map.load_as(from.element, read, from_lane.known(), &[]);
        map.store_as(to.element, to.of_item(n).plus_size(outer, to_outer), to_lane.known(), value);
        // The items of the value: a node may have operands of different batches.
        let items = from.extents.first().copied().unwrap_or(Size::fixed(1));
        let split = Split::Axes(vec![(n, items.extent()), (outer, count.extent())]);
        self.push(draft.finish(split, vec![map.finish()]));
    }

    /// Adds a kernel that computes a value element by element, in its storage order, from values of the same shape and
    /// from scalars. `build` gets the map, the elements and the scalars.
    pub fn pointwise(
        &mut self,
        node: &Node,
        elements: &[ValueId],
        numbers: &[ValueId],
        build: impl FnOnce(&mut MapBuilder, &[ExprId], &[ExprId]) -> ExprId,
    ) {
        let numbers: Vec<(ValueId, usize)> = numbers.iter().map(|&value| (value, 0)).collect();
        self.pointwise_all(node, elements, &numbers, |map, x, numbers| vec![build(map, x, numbers)]);
    }

    /// Like [`pointwise`](Self::pointwise), for all results of a node. Numbers have a distance between channels: 0 for
    /// scalars, 1 for one number for each channel.
    pub fn pointwise_all(
        &mut self,
        node: &Node,
        elements: &[ValueId],
        numbers: &[(ValueId, usize)],
        build: impl FnOnce(&mut MapBuilder, &[ExprId], &[ExprId]) -> Vec<ExprId>,
    ) {
        let results: Vec<View> = node.results.iter().map(|&result| self.view(result).clone()).collect();
        let to = results[0].clone();
        debug_assert!(results.iter().all(|view| view.layout == to.layout), "results have one shape");
        let from: Vec<View> = elements.iter().map(|&value| self.by_pixels(node, value, &to.layout)).collect();
        let mut draft = self.draft(node, "element by element");
        let dense = results.iter().chain(&from).all(View::is_dense)
            && numbers.iter().all(|(_, distance)| *distance == 0);
        let (split, lanes, index) = if dense {
            let first = draft.var();
            (Split::Lanes(first, self.size(node.results[0]).extent()), Extent::Chunk, vec![(first, None)])
        } else {
            // Only parts of pixels are not dense.
            let (n, pixel) = (draft.var(), draft.var());
            let split = Split::Axes(vec![(n, draft.batch().extent()), (pixel, to.pixels().extent())]);
            (split, Extent::Fixed(to.channels()), vec![(n, Some(true)), (pixel, Some(false))])
        };
        let place = |view: &View| {
            index.iter().fold(view.address.clone(), |address, &(var, kind)| {
                let stride = match kind {
                    None => Size::fixed(1),
                    Some(true) => view.item(),
                    Some(false) => Size::fixed(view.pixel()),
                };
                address.plus_size(var, stride)
            })
        };
        let mut map = MapBuilder::new(lanes);
        let loads: Vec<_> = from.iter().map(|view| map.load(place(view), 1)).collect();
        let numbers: Vec<_> =
            numbers.iter().map(|&(value, distance)| map.load(self.address(value), distance)).collect();
        let values = build(&mut map, &loads, &numbers);
        for (result, value) in results.iter().zip(values) {
            map.store(place(result), 1, value);
        }
        self.push(draft.finish(split, vec![map.finish()]));
    }
}

#[cfg(test)]
mod tests;
