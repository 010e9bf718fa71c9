//! Pooling of images with their channels first, over any number of axes: planes in parallel, vectors along the width.

use crate::entity::ValueId;
use crate::kernel::{Address, Affine, Expr, ExprId, Extent, MapBuilder, Split, Stmt, Var, may_group};
use crate::ops::window::Window;
use crate::ops::window_walk::{OutputRows, Planes, WindowWalk, strides, window_extents, window_strides};
use crate::plan::{KernelDraft, Lowering, View, fill};

/// The part of one output for one place of its window: gets the number of the place and a way to load the output's
/// element of a value laid out like the outputs.
type Part<'p> = dyn Fn(&mut MapBuilder, ExprId, &dyn Fn(&mut MapBuilder, &View) -> ExprId) -> ExprId + 'p;

/// What forward and backward pooling share: one plane per unit of work.
pub(super) struct Pooling<'w> {
    window: &'w Window,
    pub(super) planes: Planes,
    output: Vec<usize>,
    channels: usize,
    items: Extent,
    n: Var,
    c: Var,
}

impl<'w> Pooling<'w> {
    pub(super) fn new(
        draft: &mut KernelDraft,
        window: &'w Window,
        channels: usize,
        input_sizes: &[usize],
    ) -> Self {
        Pooling {
            window,
            planes: Planes::new(window, input_sizes),
            output: window.output_sizes(input_sizes),
            channels,
            n: draft.var(),
            c: draft.var(),
            items: draft.batch().extent(),
        }
    }

    pub(super) fn plane(&self, at: Address, elements: usize) -> Address {
        at.plus(self.n, self.channels * elements).plus(self.c, elements)
    }

    /// The current plane of a value laid out like the outputs.
    pub(super) fn output_plane(&self, view: &View) -> Address {
        view.of_item(self.n).plus(self.c, view.channel)
    }

    pub(super) fn split(&self) -> Split {
        Split::Axes(vec![(self.n, self.items), (self.c, Extent::Fixed(self.channels))])
    }

    /// Forward: a reduction over each window.
    pub(super) fn forward(
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
    pub(super) fn backward(
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
        let part = value(&mut map, here, &|map, view| {
            map.load_repeated(view.element, self.output_plane(view).at(&from, 1), group)
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
        let part = value(&mut map, here, &|map, view| {
            map.load_as(view.element, self.output_plane(view).at(&rows.output, 1), 1, &[])
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
    pub(super) fn covers_once(&self) -> bool {
        (0..self.window.axes()).all(|axis| {
            let kernel_size = self.window.kernel_size[axis];
            self.window.dilation[axis] == 1
                && self.window.padding[axis] == 0
                && self.window.stride[axis] == kernel_size
                && self.output[axis] * kernel_size == self.planes.padded[axis]
        })
    }
}
