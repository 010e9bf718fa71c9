//! How the elements of values are stored. Graphs only have 32-bit integers; integers that are known to be small are
//! stored in bytes.

use super::{Buffer, Bytes, Lower};
use crate::entity::ValueId;
use crate::graph::Graph;
use crate::kernel::{Address, Element, Kernel, Stmt};

/// How each value is stored, by its index.
pub(super) fn elements(graph: &Graph) -> Vec<Element> {
    let mut elements: Vec<Element> =
        (0..graph.value_count()).map(|index| graph.ty(ValueId::new(index)).dtype.into()).collect();
    for node in graph.nodes() {
        // Items of open sizes would not start at words.
        if let Some(Bytes::Result(result)) = node.op.memory().bytes
            && !graph.ty(node.results[result]).shape.has_open_item()
        {
            elements[node.results[result].index()] = Element::U8;
        }
    }
    // Operators without byte support read and write words.
    let others = graph.nodes().iter().flat_map(|node| {
        let bytes = node.op.memory().bytes;
        let takes_words = move |index: &usize| bytes != Some(Bytes::Operand(*index));
        (0..node.operands.len()).filter(takes_words).map(|index| node.operands[index])
    });
    let named = graph.outputs().iter().chain(graph.updates()).map(|named| named.value);
    for value in others.chain(named) {
        elements[value.index()] = graph.ty(value).dtype.into();
    }
    elements
}

/// Checks that kernels read and write values stored in bytes as bytes, and other values as words.
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
        Stmt::Lookup { from, .. } => check(from, Element::I32),
        Stmt::Tile(call) => call.addresses().for_each(|address| check(address, Element::F32)),
        Stmt::Map(map) => {
            map.loads.iter().for_each(|load| check(&load.address, load.element));
            map.stores.iter().for_each(|store| check(&store.address, store.element));
        }
    });
    result
}
