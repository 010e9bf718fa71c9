//! Kernels of pooling, in the layout in which the input is stored.

use super::channels_first::Pooling;
use super::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad, channels_last};
use crate::graph::Node;
use crate::kernel::{Expr, ExprId, Extent, MapBuilder, Reducer};
use crate::plan::{Bytes, Lower, Lowering, MemoryRules, Order};
use crate::shape::DType;

/// The note of the kernels for NCHW.
const CHANNELS_FIRST: &str = "channels in parallel, vectors along the width";

/// Whether to use the kernels for NHWC: if the larger of input and output is stored in that layout.
fn is_channels_last(lowering: &Lowering<'_>, node: &Node) -> bool {
    [node.operands[0], node.results[0]]
        .into_iter()
        .any(|value| lowering.view(value).layout.is_channels_last())
}

impl Lower for MaxPool {
    fn memory(&self) -> MemoryRules {
        let fits = self.window.elements() <= 256;
        MemoryRules {
            operands: Order::Any,
            results: Order::Any,
            over: Vec::new(),
            bytes: fits.then_some(Bytes::Result(1)),
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let item = lowering.item(node.operands[0]);
        let y = lowering.view(node.results[0]).clone();
        if is_channels_last(lowering, node) {
            let x = lowering.in_layout(node, node.operands[0], &lowering.channels_last(node.operands[0]));
            let argmax = lowering.is_used(node.results[1]).then(|| lowering.view(node.results[1]).clone());
            let halo = f32::NEG_INFINITY;
            return channels_last::forward(lowering, node, &self.window, &x, halo, |map, element, place| {
                let reducer =
                    if argmax.is_some() { Reducer::MaxWithArgmax(element) } else { Reducer::Max(element) };
                let largest = map.fold_window(&[reducer])[0];
                map.store(place(&y), 1, largest);
                if let Some(argmax) = &argmax {
                    let found = map.expr(Expr::Argmax(0));
                    map.store_as(argmax.element, place(argmax), 1, found);
                }
            });
        }
        lowering.operands_in_order(node);
        let mut draft = lowering.draft(node, CHANNELS_FIRST);
        let pooling = Pooling::new(&mut draft, &self.window, item[0], &item[1..]);
        let y = pooling.output_channel(&y);
        let argmax = lowering.is_used(node.results[1]).then(|| lowering.view(node.results[1]).clone());
        let body = pooling.forward(
            lowering,
            &mut draft,
            node.operands[0],
            f32::NEG_INFINITY,
            |map, element, rows| {
                let reducer =
                    if argmax.is_some() { Reducer::MaxWithArgmax(element) } else { Reducer::Max(element) };
                let largest = map.fold_window(&[reducer])[0];
                map.store(y.at(&rows.output, 1), 1, largest);
                if let Some(argmax) = argmax {
                    let place = map.expr(Expr::Argmax(0));
                    let at = pooling.output_channel(&argmax).at(&rows.output, 1);
                    map.store_as(argmax.element, at, 1, place);
                }
            },
        );
        lowering.push(draft.finish(pooling.split(), body));
    }
}

impl Lower for AvgPool {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let item = lowering.item(node.operands[0]);
        let y = lowering.view(node.results[0]).clone();
        if is_channels_last(lowering, node) {
            let x = lowering.in_layout(node, node.operands[0], &lowering.channels_last(node.operands[0]));
            let elements = self.window.elements() as f64;
            return channels_last::forward(lowering, node, &self.window, &x, 0.0, |map, element, place| {
                let sum = map.fold_window(&[Reducer::Sum(element)])[0];
                let elements = map.constant(elements);
                let mean = map.divide(sum, elements);
                map.store(place(&y), 1, mean);
            });
        }
        lowering.operands_in_order(node);
        let mut draft = lowering.draft(node, CHANNELS_FIRST);
        let pooling = Pooling::new(&mut draft, &self.window, item[0], &item[1..]);
        let y = pooling.output_channel(&y);
        let elements = self.window.elements() as f64;
        let body = pooling.forward(lowering, &mut draft, node.operands[0], 0.0, |map, element, rows| {
            let sum = map.fold_window(&[Reducer::Sum(element)])[0];
            let elements = map.constant(elements);
            let mean = map.divide(sum, elements);
            map.store(y.at(&rows.output, 1), 1, mean);
        });
        lowering.push(draft.finish(pooling.split(), body));
    }
}

impl Lower for MaxPoolGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules {
            operands: Order::Any,
            results: Order::Any,
            over: Vec::new(),
            bytes: Some(Bytes::Operand(1)),
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let dx = lowering.view(node.results[0]).clone();
        if is_channels_last(lowering, node) {
            let layout = lowering.channels_last(node.operands[0]);
            let [g, argmax] = [0, 1].map(|index| lowering.in_layout(node, node.operands[index], &layout));
            let part = |map: &mut MapBuilder, here: ExprId, load: &channels_last::Loader<'_>| {
                let gradient = load(map, DType::F32, &g);
                let found = load(map, DType::I32, &argmax);
                let chosen = map.expr(Expr::SameInteger(found, here));
                let zero = map.constant(0.0);
                map.expr(Expr::Select(chosen, gradient, zero))
            };
            let window = &self.window;
            return channels_last::backward(lowering, node, window, &dx, &[&g, &argmax], part, None);
        }
        let layout = lowering.channels_first(node.operands[0]);
        let [g, argmax] = [0, 1].map(|index| lowering.in_layout(node, node.operands[index], &layout));
        let item = lowering.item(node.results[0]);
        let mut draft = lowering.draft(node, CHANNELS_FIRST);
        let pooling = Pooling::new(&mut draft, &self.window, item[0], &item[1..]);
        let body = pooling.backward(lowering, &mut draft, node.results[0], &|map, here, load| {
            let gradient = load(map, &g);
            let found = load(map, &argmax);
            let chosen = map.expr(Expr::SameInteger(found, here));
            let zero = map.constant(0.0);
            let part = map.expr(Expr::Select(chosen, gradient, zero));
            // The sum starts at zero, so that a negative zero becomes positive.
            map.add(zero, part)
        });
        lowering.push(draft.finish(pooling.split(), body));
    }
}

impl Lower for AvgPoolGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let dx = lowering.view(node.results[0]).clone();
        if is_channels_last(lowering, node) {
            let g = lowering.in_layout(node, node.operands[0], &lowering.channels_last(node.operands[0]));
            let elements = self.window.elements() as f64;
            let part =
                |map: &mut MapBuilder, _: ExprId, load: &channels_last::Loader<'_>| load(map, DType::F32, &g);
            // Sums, then divides once, like the forward pass.
            let mean = |map: &mut MapBuilder, sum: ExprId| {
                let elements = map.constant(elements);
                map.divide(sum, elements)
            };
            let window = &self.window;
            return channels_last::backward(lowering, node, window, &dx, &[&g], part, Some(&mean));
        }
        let g = lowering.in_layout(node, node.operands[0], &lowering.channels_first(node.operands[0]));
        let item = lowering.item(node.results[0]);
        let mut draft = lowering.draft(node, CHANNELS_FIRST);
        let pooling = Pooling::new(&mut draft, &self.window, item[0], &item[1..]);
        let elements = self.window.elements() as f64;
        let covers_once = pooling.covers_once();
        let mut body = pooling.backward(lowering, &mut draft, node.results[0], &|map, _, load| {
            let gradient = load(map, &g);
            let zero = map.constant(0.0);
            let sum = map.add(zero, gradient);
            let elements = map.constant(elements);
            if covers_once { map.divide(sum, elements) } else { sum }
        });
        if !covers_once {
            // Sums, then divides once, like the forward pass.
            let channel = pooling.channel(lowering.address(node.results[0]), pooling.input.elements());
            let mut map = MapBuilder::new(Extent::Fixed(pooling.input.elements()));
            let sum = map.load(channel.clone(), 1);
            let elements = map.constant(elements);
            let mean = map.divide(sum, elements);
            map.store(channel, 1, mean);
            body.push(map.finish());
        }
        lowering.push(draft.finish(pooling.split(), body));
    }
}
