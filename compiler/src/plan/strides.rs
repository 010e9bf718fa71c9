//! Dense values by axis: the number of indices of each axis, and their strides.

use super::{Buffer, KernelDraft, Location, Lowering, Size};
use crate::entity::ValueId;
use crate::kernel::{Address, Affine, Element, Extent, MapBuilder, Split, Var};
use crate::shape::{Dim, Polynomial};

/// The axes of a dense value whose elements are in the order of its shape.
#[derive(Clone, Debug)]
pub struct Strides {
    /// The number of indices of each axis.
    pub sizes: Vec<Size>,
    /// The stride of each axis, in elements.
    pub distances: Vec<Size>,
}

/// A value viewed as a matrix: the axes before a given axis are its rows, the others its columns.
#[derive(Clone, Copy, Debug)]
pub struct RowsOf {
    /// The number of rows.
    pub rows: Size,
    /// The elements of a row.
    pub row: Size,
}

impl Size {
    /// The number, if it does not depend on open sizes.
    pub fn as_number(self) -> Option<usize> {
        self.open.is_none().then_some(self.elements)
    }
}

impl Affine {
    /// This plus a variable times a size.
    #[must_use]
    pub fn plus_size(self, var: Var, size: Size) -> Self {
        match size.open {
            Some(open) => self.plus_open(Some(var), open, size.elements),
            None => self.plus(var, size.elements),
        }
    }

    /// This plus a size.
    #[must_use]
    pub fn offset_size(self, size: Size) -> Self {
        match size.open {
            Some(open) => self.plus_open(None, open, size.elements),
            None => self.offset(size.elements),
        }
    }
}

impl Lowering<'_> {
    /// A size that is a polynomial of the sizes of values.
    pub fn size_of(&mut self, size: &Polynomial) -> Size {
        self.sizes.add(size)
    }

    /// The product of the sizes of some axes.
    pub fn product(&mut self, axes: &[Dim]) -> Size {
        let product =
            axes.iter().fold(Polynomial::from(1usize), |product, dim| product.times(&dim.polynomial()));
        self.sizes.add(&product)
    }

    /// The strides of a dense value of a shape.
    pub fn strides(&mut self, dims: &[Dim]) -> Strides {
        Strides {
            sizes: dims.iter().map(|dim| self.sizes.add(&dim.polynomial())).collect(),
            distances: (0..dims.len()).map(|axis| self.product(&dims[axis + 1..])).collect(),
        }
    }

    /// A value viewed as rows, one for each index of the axes before `axis`.
    pub fn rows_of(&mut self, value: ValueId, axis: usize) -> RowsOf {
        let dims = self.ty(value).shape.dims().to_vec();
        RowsOf { rows: self.product(&dims[..axis]), row: self.product(&dims[axis..]) }
    }

    /// Memory for a dense value with some sizes, valid during the kernels of this node.
    pub fn dense_buffer(&mut self, name: &str, dims: &[Dim], element: Element) -> Address {
        let size = self.product(dims);
        let size = Size { elements: Size::words(size.elements, element), ..size };
        let (name, place) = (name.to_owned(), Location::Nowhere);
        Address::start(self.new_buffer(Buffer { name, size, element, location: place }))
    }

    /// Adds a kernel that copies a dense value of a shape with its axes in another order: axis `i` of the copy is axis
    /// `order[i]` of the value.
    pub fn transpose(
        &mut self,
        mut draft: KernelDraft,
        (from, dims): (&Address, &[Dim]),
        order: &[usize],
        to: &Address,
        element: Element,
    ) {
        let sorted: Vec<Dim> = order.iter().map(|&axis| dims[axis].clone()).collect();
        let (source, target) = (self.strides(dims), self.strides(&sorted));
        // Vectors run along the last axis of the copy, or else of the value, if both strides are known at planning
        // time.
        let last = |axis: &usize| order[*axis] + 1 == order.len();
        let candidates = (0..order.len()).rev().take(1).chain((0..order.len()).filter(last));
        let known = |axis: &usize| {
            source.distances[order[*axis]].as_number().zip(target.distances[*axis].as_number())
        };
        let lanes = candidates.into_iter().find_map(|axis| known(&axis).map(|distances| (axis, distances)));
        let (mut read, mut write) = (from.clone(), to.clone());
        let mut loops = Vec::new();
        for (axis, &origin) in order.iter().enumerate() {
            if lanes.is_none_or(|(along, _)| along != axis) {
                let var = draft.var();
                read.offset = read.offset.plus_size(var, source.distances[origin]);
                write.offset = write.offset.plus_size(var, target.distances[axis]);
                loops.push((var, target.sizes[axis].extent()));
            }
        }
        let (extent, (read_lane, write_lane)) = match lanes {
            Some((axis, distances)) => (target.sizes[axis].extent(), distances),
            None => (Extent::Fixed(1), (1, 1)),
        };
        let mut map = MapBuilder::new(extent);
        let value = map.load_as(element, read, read_lane, &[]);
        map.store_as(element, write, write_lane, value);
        let split = if loops.is_empty() { Split::Serial } else { Split::Axes(loops) };
        self.push(draft.finish(split, vec![map.finish()]));
    }
}
