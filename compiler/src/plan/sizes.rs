//! The sizes of buffers and loops, and the list of a plan's open sizes.

use std::fmt;

use super::Lowering;
use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::kernel::{Element, Extent, SizeId};
use crate::ops::Op;
use crate::shape::{Dim, Polynomial, Sizes, Symbol, Type};

/// A number of elements, in words of 4 bytes: a fixed number, or an open size times a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The open size, if there is one.
    pub open: Option<SizeId>,
    /// The number.
    pub elements: usize,
}

impl Size {
    /// A fixed number of elements.
    pub fn fixed(elements: usize) -> Self {
        Size { open: None, elements }
    }

    /// The words of 4 bytes that `elements` elements take.
    pub(super) fn words(elements: usize, element: Element) -> usize {
        (elements * element.bytes()).div_ceil(4)
    }

    /// A loop over all elements.
    pub fn extent(self) -> Extent {
        self.open.map_or(Extent::Fixed(self.elements), |size| Extent::Open(size, self.elements))
    }

    /// The number at the values of a plan's open sizes; `None` if it overflows.
    pub fn at(self, values: &[usize]) -> Option<usize> {
        self.elements.checked_mul(self.open.map_or(1, |size| values[size.index()]))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.open.map_or(Ok(()), |size| write!(f, "{size}*"))?;
        write!(f, "{}", self.elements)
    }
}

/// The number of items of a batch: an open size times a number, for example 7 steps of each of N samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The open size.
    pub size: SizeId,
    /// The factor.
    pub times: usize,
}

impl Batch {
    /// A loop over all items.
    pub fn extent(self) -> Extent {
        self.extent_of(1)
    }

    /// A loop over `elements` elements of every item.
    pub fn extent_of(self, elements: usize) -> Extent {
        Extent::Open(self.size, self.times * elements)
    }

    /// The number of items rounded down to a multiple.
    pub fn floor(self, multiple: usize) -> Extent {
        Extent::Floor { size: self.size, times: self.times, multiple }
    }

    /// Memory for `elements` elements of every item.
    pub fn size(self, elements: usize) -> Size {
        Size { open: Some(self.size), elements: self.times * elements }
    }
}

/// The open sizes of a plan. Each is a polynomial of the network's symbols whose coefficients have no common divisor.
/// The first is the number of samples in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSizes(Vec<Polynomial>);

impl OpenSizes {
    /// The open sizes of a graph's values.
    pub(super) fn of(graph: &Graph) -> Self {
        let mut sizes = OpenSizes(vec![Polynomial::from(Symbol::BATCH)]);
        sizes.add_all(graph);
        sizes
    }

    /// Adds the open sizes of a graph's values.
    pub(super) fn add_all(&mut self, graph: &Graph) {
        let sizes = self;
        for value in (0..graph.value_count()).map(ValueId::new) {
            let shape = &graph.ty(value).shape;
            let open = shape.dims().iter().filter(|dim| dim.fixed().is_none());
            open.for_each(|dim| _ = sizes.add(&dim.polynomial()));
            sizes.add(&shape.count());
        }
    }

    /// The polynomials.
    pub fn polynomials(&self) -> &[Polynomial] {
        &self.0
    }

    /// The symbols in order, each once; the batch is the first.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = self.0.iter().flat_map(Polynomial::symbols).collect();
        symbols.sort_unstable();
        symbols.dedup();
        symbols
    }

    /// Writes their values at the sizes of a run, in order, to existing memory.
    pub fn values_into(&self, sizes: &Sizes, values: &mut Vec<usize>) {
        values.clear();
        values.push(sizes.batch());
        values.extend(self.0[1..].iter().map(|size| size.at(sizes)));
    }

    /// Returns a size, adding it if it is new.
    pub(super) fn add(&mut self, polynomial: &Polynomial) -> Size {
        let (elements, primitive) = polynomial.primitive();
        if let Some(number) = polynomial.as_number() {
            return Size::fixed(usize::try_from(number).unwrap_or(0));
        }
        let index = self.0.iter().position(|known| *known == primitive).unwrap_or_else(|| {
            self.0.push(primitive);
            self.0.len() - 1
        });
        Size { open: Some(SizeId(index)), elements }
    }

    /// Returns a known size.
    ///
    /// # Panics
    /// If the size is unknown.
    pub(super) fn get(&self, polynomial: &Polynomial) -> Size {
        let (elements, primitive) = polynomial.primitive();
        match polynomial.as_number() {
            Some(number) => Size::fixed(usize::try_from(number).unwrap_or(0)),
            None => {
                let index = self.0.iter().position(|known| *known == primitive);
                Size { open: Some(SizeId(index.expect("the sizes of all values are known"))), elements }
            }
        }
    }

    /// The size of a value with a type that a value of the graph has.
    pub fn of_type(&self, ty: &Type) -> Size {
        self.get(&ty.shape.count())
    }
}

/// For each value of a graph, whether its rows are parts of samples, such as the steps of sequences, as far as the operators
/// that computed it tell. The shape does not tell it of sequences of a single step.
pub(super) fn parts_of_samples(graph: &Graph) -> Vec<bool> {
    let mut are_parts = vec![false; graph.value_count()];
    for node in graph.nodes() {
        let shape = |value: ValueId| graph.ty(value).shape.dims();
        let are = match (&node.op, node.operands.first(), node.results.first()) {
            (Op::FoldSteps(_) | Op::Scan(_), ..) => true,
            (Op::UnfoldSteps(_), ..) => false,
            // `[N, T, F]` as `[N*T, F]`.
            (Op::Reshape(_), Some(&from), Some(&to)) => {
                let (from, to) = (shape(from), shape(to));
                from.len() == to.len() + 1 && to.len() > 1 && from.last() == to.last()
            }
            _ => node.operands.iter().any(|operand| are_parts[operand.index()]),
        };
        for result in &node.results {
            are_parts[result.index()] = are;
        }
    }
    are_parts
}

impl Lowering<'_> {
    /// The number of elements of a value.
    pub fn size(&self, value: ValueId) -> Size {
        self.sizes.of_type(self.ty(value))
    }

    /// The words of a stored value, with each item rounded up to whole words.
    pub(super) fn stored_size(&self, ty: &Type, element: Element) -> Size {
        match element {
            Element::F32 | Element::I32 => self.sizes.of_type(ty),
            Element::U8 => {
                let batch =
                    self.sizes.get(&ty.shape.dims().first().map_or(1usize.into(), |dim| dim.polynomial()));
                let words = match ty.shape.is_batched() {
                    true => batch.elements * Size::words(ty.shape.item_elements(), element),
                    false => Size::words(ty.shape.item_elements(), element),
                };
                Size { elements: words, ..batch }
            }
        }
    }

    /// The items of a batched value.
    ///
    /// # Panics
    /// If the value is not batched.
    pub fn batch_of(&self, value: ValueId) -> Batch {
        let first = self.ty(value).shape.dims().first().expect("a batched value has a first axis");
        let size = self.sizes.get(&first.polynomial());
        Batch { size: size.open.expect("the batch is open"), times: size.elements }
    }

    /// The items of the batch that the current node works on: those of its first batched value.
    ///
    /// # Panics
    /// If the node has no batched value.
    pub fn batch(&self) -> Batch {
        self.batch_of_node(self.graph.node(self.node)).expect("a node of a batch has batched values")
    }

    /// The number of items of a batched value to optimise for: the samples, times a usual number of parts if an item is a
    /// part of a sample, such as a step of a sequence or a patch of an image. It does not depend on the number of parts,
    /// so that a fixed and an open length have the same plans.
    pub fn usual_items(&self, value: ValueId) -> usize {
        const PARTS: usize = 32;
        let samples = self.parallelism.items;
        let items = self.ty(value).shape.dims().first().map(Dim::polynomial);
        let are_whole = items.is_none_or(|items| items == Polynomial::from(Symbol::BATCH));
        if are_whole && !self.are_parts[value.index()] { samples } else { samples.saturating_mul(PARTS) }
    }

    /// The items of the first batched value of a node.
    pub(super) fn batch_of_node(&self, node: &Node) -> Option<Batch> {
        let mut values = node.operands.iter().chain(&node.results);
        values.find(|value| self.ty(**value).shape.is_batched()).map(|&value| self.batch_of(value))
    }
}
