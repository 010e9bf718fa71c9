//! Sizes and strides of any number of axes: products of their sizes, rows, and copies axis by axis.

use super::{Buffer, KernelDraft, Layout, Location, Lowering, Size, View};
use crate::entity::ValueId;
use crate::kernel::{Address, Affine, Element, Expr, ExprId, Extent, MapBuilder, OpenTerm, Split, Var};
use crate::shape::{Dim, Polynomial};

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

    /// The number, for operators that are only given fixed sizes.
    ///
    /// # Panics
    /// If the size is open.
    pub fn known(self) -> usize {
        self.as_number().expect("operators without open axes are given fixed sizes")
    }

    /// The size as a float.
    pub fn number(self, map: &mut MapBuilder) -> ExprId {
        match self.open {
            Some(open) => map.expr(Expr::Size(open, self.elements)),
            None => map.constant(self.elements as f64),
        }
    }

    /// This size times a number.
    #[must_use]
    pub fn times(self, number: usize) -> Self {
        Size { elements: self.elements * number, ..self }
    }

    /// The product; `None` if both sizes are open.
    #[must_use]
    pub fn product(self, other: Size) -> Option<Size> {
        match (self.open, other.open) {
            (_, None) => Some(self.times(other.elements)),
            (None, Some(_)) => Some(other.times(self.elements)),
            (Some(_), Some(_)) => None,
        }
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

    /// This minus a variable times a size.
    #[must_use]
    pub fn minus_size(mut self, var: Var, size: Size) -> Self {
        let Some(open) = size.open else { return self.minus_var(var, size.elements) };
        self.open.push(OpenTerm { var: Some(var), size: open, factor: -(size.elements as i64) });
        self
    }

    /// This plus another sum times a size.
    ///
    /// # Panics
    /// If both are open.
    #[must_use]
    pub fn plus_scaled_size(mut self, other: &Affine, size: Size) -> Self {
        let Some(open) = size.open else { return self.plus_scaled(other, size.elements) };
        assert!(other.open.is_empty(), "an affine sum has no products of two open sizes");
        let factor = size.elements as i64;
        let term = |var, own: i64| OpenTerm { var, size: open, factor: own * factor };
        self.open.extend(other.terms.iter().map(|&(var, own)| term(Some(var), own)));
        self.open.extend((other.constant != 0).then(|| term(None, other.constant)));
        self
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

impl Address {
    /// This address plus an index times a size.
    ///
    /// # Panics
    /// If both are open.
    #[must_use]
    pub fn at_size(mut self, index: &Affine, size: Size) -> Self {
        self.offset = self.offset.plus_scaled_size(index, size);
        self
    }

    /// This address plus a variable times a size.
    #[must_use]
    pub fn plus_size(mut self, var: Var, size: Size) -> Self {
        self.offset = self.offset.plus_size(var, size);
        self
    }
}

impl Lowering<'_> {
    /// A size that is a polynomial of the sizes of values.
    pub fn size_of(&mut self, size: &Polynomial) -> Size {
        self.sizes.add(size)
    }

    /// A size plus a number.
    pub fn longer(&mut self, size: Size, by: usize) -> Size {
        let longer = self.polynomial(size).plus(&Polynomial::from(by));
        self.sizes.add(&longer)
    }

    /// The product of two sizes.
    pub fn product_of(&mut self, left: Size, right: Size) -> Size {
        let product = self.polynomial(left).times(&self.polynomial(right));
        self.sizes.add(&product)
    }

    fn polynomial(&self, size: Size) -> Polynomial {
        let number = Polynomial::from(size.elements);
        size.open.map_or(number.clone(), |open| self.sizes.polynomials()[open.index()].times(&number))
    }

    /// The product of the sizes of some axes.
    pub fn product(&mut self, axes: &[Dim]) -> Size {
        let product =
            axes.iter().fold(Polynomial::from(1usize), |product, dim| product.times(&dim.polynomial()));
        self.sizes.add(&product)
    }

    /// A value viewed as rows, one for each index of the axes before `axis`.
    pub fn rows_of(&mut self, value: ValueId, axis: usize) -> RowsOf {
        let dims = self.ty(value).shape.dims().to_vec();
        RowsOf { rows: self.product(&dims[..axis]), row: self.product(&dims[axis..]) }
    }

    /// Memory for a dense value with some sizes in the order of its axes, valid during the kernels of this node.
    pub fn dense_buffer(&mut self, name: &str, dims: &[Dim], element: Element) -> View {
        let size = self.product(dims);
        let size = Size { elements: Size::words(size.elements, element), ..size };
        let (name, place) = (name.to_owned(), Location::Nowhere);
        let address = Address::start(self.new_buffer(Buffer { name, size, element, location: place }));
        self.dense_view(address, dims, Layout::channels_first(dims.len()), element)
    }

    /// Adds a kernel that copies a value axis by axis to another with the same extents.
    pub fn copy_axes(&mut self, mut draft: KernelDraft, from: &View, to: &View) {
        // Vectors run along the last axis of the copy, or else the innermost axis of the value, if both strides are
        // known at planning time.
        let innermost = |view: &View| view.layout.axes().last().copied();
        let known = |axis: usize| from.strides[axis].as_number().zip(to.strides[axis].as_number());
        let candidates = [innermost(to), innermost(from)].into_iter().flatten();
        let lanes = candidates.into_iter().find_map(|axis| known(axis).map(|strides| (axis, strides)));
        let (mut read, mut write) = (from.address.clone(), to.address.clone());
        // Written in the order of memory.
        let mut loops = Vec::new();
        for &axis in to.layout.axes() {
            if lanes.is_none_or(|(along, _)| along != axis) {
                let var = draft.var();
                read = read.plus_size(var, from.strides[axis]);
                write = write.plus_size(var, to.strides[axis]);
                loops.push((var, to.extents[axis].extent()));
            }
        }
        let (extent, (read_lane, write_lane)) = match lanes {
            Some((axis, strides)) => (to.extents[axis].extent(), strides),
            None => (Extent::Fixed(1), (1, 1)),
        };
        let mut map = MapBuilder::new(extent);
        let value = map.load_as(from.element, read, read_lane, &[]);
        map.store_as(to.element, write, write_lane, value);
        let split = if loops.is_empty() { Split::Serial } else { Split::Axes(loops) };
        self.push(draft.finish(split, vec![map.finish()]));
    }
}
