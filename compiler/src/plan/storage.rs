//! How the elements of values are stored. Graphs know integers of 32 bits alone; those known to be small take a byte each.

use super::{Buffer, Layout, Lowering};
use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::kernel::{Address, Element, Kernel, Stmt};
use crate::ops::Op;
use crate::shape::DType;

/// How each value is stored, by its number.
pub(super) fn elements(graph: &Graph) -> Vec<Element> {
    let mut elements: Vec<Element> =
        (0..graph.value_count()).map(|index| graph.ty(ValueId::new(index)).dtype.into()).collect();
    for node in graph.nodes() {
        for (index, result) in node.results.iter().enumerate() {
            if graph.ty(*result).dtype == DType::I32 && fits_byte(&node.op, index) {
                elements[result.index()] = Element::U8;
            }
        }
    }
    // Whoever does not know bytes is given words.
    let others = graph.nodes().iter().flat_map(|node| {
        node.operands
            .iter()
            .enumerate()
            .filter(|(index, _)| !takes_bytes(node, *index))
            .map(|(_, value)| *value)
    });
    let named = graph.outputs().iter().chain(graph.updates()).map(|named| named.value);
    for value in others.chain(named) {
        elements[value.index()] = graph.ty(value).dtype.into();
    }
    elements
}

/// Whether a result of an operator is made of integers from 0 to 255, and its kernels can store them as bytes.
fn fits_byte(op: &Op, result: usize) -> bool {
    match op {
        Op::MaxPool(pool) => result == 1 && pool.window.elements() <= 256,
        Op::Positive(_) => true,
        _ => false,
    }
}

/// Whether the kernels of an operator read an operand as it is stored.
fn takes_bytes(node: &Node, operand: usize) -> bool {
    match node.op {
        Op::MaxPoolGrad(_) | Op::WherePositive(_) => operand == 1,
        _ => false,
    }
}

impl Lowering<'_> {
    /// The order in which [`Op::Positive`] counts the elements that its bits stand for: as they are stored, if only
    /// [`Op::WherePositive`] reads the bits, for values of the same shape; else that of the shape.
    pub fn order_of_bits(&self, bits: ValueId) -> Layout {
        let producer = self.graph.producer(bits);
        let Op::Positive(_) = producer.op else { return Layout::ChannelsFirst };
        let x = producer.operands[0];
        // Stored in bytes, they have no other readers.
        let is_hidden = self.elements[bits.index()] == Element::U8;
        if is_hidden && self.readers(bits).all(|node| self.ty(node.operands[0]) == self.ty(x)) {
            self.preferred_layout(x)
        } else {
            Layout::ChannelsFirst
        }
    }
}

/// Checks that what is stored in bytes is read and written in bytes, and nothing else is.
pub(super) fn verify(kernel: &Kernel, buffers: &[Buffer]) -> Result<(), String> {
    let mut result = Ok(());
    let mut check = |address: &Address, element: Element| {
        let stored = buffers[address.buffer.index()].element;
        if stored.bytes() != element.bytes() {
            result =
                Err(format!("kernel {}: {element} in b{} of {stored}", kernel.name, address.buffer.index()));
        }
    };
    kernel.visit(&mut |stmt| match stmt {
        Stmt::For { .. } | Stmt::Branch { .. } => {}
        Stmt::Tile(call) => call.addresses().for_each(|address| check(address, Element::F32)),
        Stmt::Map(map) => {
            map.loads.iter().for_each(|load| check(&load.address, load.element));
            map.stores.iter().for_each(|store| check(&store.address, store.element));
        }
    });
    result
}
