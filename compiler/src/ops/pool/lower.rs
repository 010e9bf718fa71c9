//! Kernels of pooling: planes in parallel, vectors along the width.

use super::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, Expr, ExprId, Extent, MapBuilder, Reducer, Split, Stmt, Var, may_group,
};
use crate::ops::window::Window;
use crate::ops::window_walk::{OutputRows, Planes, WindowWalk, strides, window_extents, window_strides};
use crate::plan::{KernelDraft, Lower, Lowering, fill};
use crate::shape::DType;

/// The part of one output for one place of its window: gets the number of the place and a way to load the output's
/// element of a value.
type Part<'p> =
    dyn Fn(&mut MapBuilder, ExprId, &mut dyn FnMut(&mut MapBuilder, DType, Address) -> ExprId) -> ExprId + 'p;

/// What forward and backward pooling share: one plane per unit of work.
struct Pooling<'w> {
    window: &'w Window,
    planes: Planes,
    output: Vec<usize>,
    channels: usize,
    n: Var,
    c: Var,
}

impl<'w> Pooling<'w> {
    fn new(draft: &mut KernelDraft, window: &'w Window, channels: usize, input_sizes: &[usize]) -> Self {
        Pooling {
            window,
            planes: Planes::new(window, input_sizes),
            output: window.output_sizes(input_sizes),
            channels,
            n: draft.var(),
            c: draft.var(),
        }
    }

    fn plane(&self, at: Address, elements: usize) -> Address {
        at.plus(self.n, self.channels * elements).plus(self.c, elements)
    }

    fn output_plane(&self, at: Address) -> Address {
        self.plane(at, self.output.iter().product())
    }

    fn split(&self) -> Split {
        Split::Axes(vec![(self.n, Extent::Batch(1)), (self.c, Extent::Fixed(self.channels))])
    }

    /// Forward: a reduction over each window.
    fn forward(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        x: ValueId,
        padding: f32,
        build: impl FnOnce(&mut MapBuilder, ExprId, &OutputRows),
    ) -> Vec<Stmt> {
        let mut body = Vec::new();
        let mut from = self.plane(lowering.address(x), self.planes.elements());
        if self.window.is_padded() {
            let padded = Address::start(lowering.scratch("padded", self.planes.padded_elements()));
            body = self.planes.pad(draft, 1, &from, &padded, padding);
            from = padded;
        }
        let rows = OutputRows::new(draft, self.window, &self.planes.padded, &self.output);
        let mut map = MapBuilder::new(Extent::Fixed(rows.width)).window(&window_extents(self.window));
        let stride = self.window.stride[self.window.axes() - 1];
        let strides = window_strides(self.window, &self.planes.padded);
        let element = map.load_window(from.at(&rows.input, 1), stride, &strides);
        build(&mut map, element, &rows);
        body.extend(Stmt::nest(&rows.loops, vec![map.finish()]));
        body
    }

    /// Backward. `value` gives each output's part of the gradient for one place of its window.
    fn backward(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        dx: ValueId,
        value: &Part<'_>,
    ) -> Vec<Stmt> {
        let width = self.planes.sizes[self.window.axes() - 1];
        if self.covers_once() && may_group(width, self.window.kernel_size[self.window.axes() - 1]) {
            self.upsample(lowering, draft, dx, value)
        } else {
            self.scatter(lowering, draft, dx, value)
        }
    }

    /// Each element of the input belongs to one output: rows of the input are written one after the other.
    fn upsample(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        dx: ValueId,
        value: &Part<'_>,
    ) -> Vec<Stmt> {
        let to = self.plane(lowering.address(dx), self.planes.elements());
        let last = self.window.axes() - 1;
        let (input, output) = (strides(&self.planes.sizes), strides(&self.output));
        let places = strides(&self.window.kernel_size);
        let mut loops = Vec::new();
        let (mut into, mut from, mut place) = (Affine::default(), Affine::default(), Affine::default());
        for axis in 0..last {
            let (row, offset) = (draft.var(), draft.var());
            let kernel_size = self.window.kernel_size[axis];
            loops.extend([(row, self.output[axis]), (offset, kernel_size)]);
            into = into.plus(row, kernel_size * input[axis]).plus(offset, input[axis]);
            from = from.plus(row, output[axis]);
            place = place.plus(offset, places[axis]);
        }
        let group = self.window.kernel_size[last];
        let mut map = MapBuilder::new(Extent::Fixed(self.planes.sizes[last]));
        let first = map.expr(Expr::Position(place));
        let phase = map.expr(Expr::Phase(group));
        let here = map.expr(Expr::AddInteger(first, phase));
        let part = value(&mut map, here, &mut |map, dtype, at| {
            map.load_repeated(dtype, self.output_plane(at).at(&from, 1), group)
        });
        map.store(to.at(&into, 1), 1, part);
        Stmt::nest(&loops, vec![map.finish()])
    }

    /// Each output's part is added to the places of its window.
    fn scatter(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        dx: ValueId,
        value: &Part<'_>,
    ) -> Vec<Stmt> {
        let plain = self.plane(lowering.address(dx), self.planes.elements());
        let to = if self.window.is_padded() {
            Address::start(lowering.scratch("padded", self.planes.padded_elements()))
        } else {
            plain.clone()
        };
        let rows = OutputRows::new(draft, self.window, &self.planes.padded, &self.output);
        let walk = WindowWalk::new(draft, self.window, &self.planes.padded);
        let mut map = MapBuilder::new(Extent::Fixed(rows.width));
        let here = map.expr(Expr::Position(walk.place.clone()));
        let part = value(&mut map, here, &mut |map, dtype, at| {
            map.load_as(dtype, self.output_plane(at).at(&rows.output, 1), 1, &[])
        });
        let stride = self.window.stride[self.window.axes() - 1];
        let at = to.clone().at(&rows.input, 1).at(&walk.offset, 1);
        let mut body = vec![fill(to.clone(), self.planes.padded_elements(), 0.0)];
        map.accumulate(at, stride, part);
        let loops: Vec<(Var, usize)> = rows.loops.iter().chain(&walk.loops).copied().collect();
        body.extend(Stmt::nest(&loops, vec![map.finish()]));
        if self.window.is_padded() {
            body.extend(self.planes.unpad(draft, 1, &to, &plain));
        }
        body
    }

    /// Whether every element lies in exactly one window.
    fn covers_once(&self) -> bool {
        (0..self.window.axes()).all(|axis| {
            let kernel_size = self.window.kernel_size[axis];
            self.window.dilation[axis] == 1
                && self.window.padding[axis] == 0
                && self.window.stride[axis] == kernel_size
                && self.output[axis] * kernel_size == self.planes.padded[axis]
        })
    }
}

impl Lower for MaxPool {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let item = lowering.item(node.operands[0]);
        let mut draft = lowering.draft(node, "planes in parallel, vectors along the width");
        let pooling = Pooling::new(&mut draft, &self.window, item[0], &item[1..]);
        let y = pooling.output_plane(lowering.address(node.results[0]));
        let places = lowering
            .is_used(node.results[1])
            .then(|| pooling.output_plane(lowering.address(node.results[1])));
        let body = pooling.forward(
            lowering,
            &mut draft,
            node.operands[0],
            f32::NEG_INFINITY,
            |map, element, rows| {
                let reducer =
                    if places.is_some() { Reducer::MaxWithPlace(element) } else { Reducer::Max(element) };
                let largest = map.fold_window(&[reducer])[0];
                map.store(y.at(&rows.output, 1), 1, largest);
                if let Some(places) = places {
                    let place = map.expr(Expr::Place(0));
                    map.store(places.at(&rows.output, 1), 1, place);
                }
            },
        );
        lowering.push(draft.finish(pooling.split(), body));
    }
}

impl Lower for AvgPool {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let item = lowering.item(node.operands[0]);
        let mut draft = lowering.draft(node, "planes in parallel, vectors along the width");
        let pooling = Pooling::new(&mut draft, &self.window, item[0], &item[1..]);
        let y = pooling.output_plane(lowering.address(node.results[0]));
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
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let channels = lowering.item(node.results[0])[0];
        let mut draft = lowering.draft(node, "planes in parallel, vectors along the width");
        let pooling = Pooling::new(&mut draft, &self.window, channels, &self.input_sizes);
        let (g, places) = (lowering.address(node.operands[0]), lowering.address(node.operands[1]));
        let body = pooling.backward(lowering, &mut draft, node.results[0], &|map, here, load| {
            let gradient = load(map, DType::F32, g.clone());
            let found = load(map, DType::I32, places.clone());
            let chosen = map.expr(Expr::SameInteger(found, here));
            let zero = map.constant(0.0);
            let part = map.expr(Expr::Select(chosen, gradient, zero));
            // As a sum that starts at zero: a negative zero becomes a positive one.
            map.add(zero, part)
        });
        lowering.push(draft.finish(pooling.split(), body));
    }
}

impl Lower for AvgPoolGrad {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let channels = lowering.item(node.results[0])[0];
        let mut draft = lowering.draft(node, "planes in parallel, vectors along the width");
        let pooling = Pooling::new(&mut draft, &self.window, channels, &self.input_sizes);
        let g = lowering.address(node.operands[0]);
        let elements = self.window.elements() as f64;
        let covers_once = pooling.covers_once();
        let mut body = pooling.backward(lowering, &mut draft, node.results[0], &|map, _, load| {
            let gradient = load(map, DType::F32, g.clone());
            let zero = map.constant(0.0);
            let sum = map.add(zero, gradient);
            let elements = map.constant(elements);
            if covers_once { map.divide(sum, elements) } else { sum }
        });
        if !covers_once {
            // Sums first, one division last, as forward.
            let plane = pooling.plane(lowering.address(node.results[0]), pooling.planes.elements());
            let mut map = MapBuilder::new(Extent::Fixed(pooling.planes.elements()));
            let sum = map.load(plane.clone(), 1);
            let elements = map.constant(elements);
            let mean = map.divide(sum, elements);
            map.store(plane, 1, mean);
            body.push(map.finish());
        }
        lowering.push(draft.finish(pooling.split(), body));
    }
}
