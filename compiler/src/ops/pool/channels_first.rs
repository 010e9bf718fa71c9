//! Pooling in NCHW layout over any number of axes: channels in parallel, vectors along the width.

use crate::entity::ValueId;
use crate::kernel::{Address, Affine, Expr, ExprId, Extent, MapBuilder, Split, Stmt, Var, may_group};
use crate::ops::halo::PaddedChannels;
use crate::ops::window::Window;
use crate::ops::window_walk::{
    Axis, OutputRows, WindowWalk, forward_axes, output_sizes, strides, window_extents, window_strides,
};
use crate::plan::{KernelDraft, Lowering, View, fill};

/// The contribution of one output to one position of its window: it gets the position's number and a function that
/// loads the output's element of a value with the outputs' layout.
type Part<'p> = dyn Fn(&mut MapBuilder, ExprId, &dyn Fn(&mut MapBuilder, &View) -> ExprId) -> ExprId + 'p;

/// The data that forward and backward pooling share. A work unit is one channel of an item.
pub(super) struct Pooling {
    axes: Vec<Axis>,
    pub(super) input: PaddedChannels,
    channels: usize,
    n: Var,
    c: Var,
    items: Extent,
}

impl Pooling {
    pub(super) fn new(
        draft: &mut KernelDraft,
        window: &Window,
        channels: usize,
        input_sizes: &[usize],
    ) -> Self {
        let axes = forward_axes(window, input_sizes);
        let items = draft.batch().extent();
        let (n, c) = (draft.var(), draft.var());
        Pooling { input: PaddedChannels::new(&axes), axes, channels, n, c, items }
    }

    /// The last axis, along which vectors run.
    fn width(&self) -> Axis {
        self.axes[self.axes.len() - 1]
    }

    /// The current channel of a value with `elements` elements per channel.
    pub(super) fn channel(&self, at: Address, elements: usize) -> Address {
        at.plus(self.n, self.channels * elements).plus(self.c, elements)
    }

    /// The current channel of a value with the outputs' layout.
    pub(super) fn output_channel(&self, view: &View) -> Address {
        view.of_item(self.n).plus(self.c, view.channel().known())
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
        halo: f32,
        build: impl FnOnce(&mut MapBuilder, ExprId, &OutputRows),
    ) -> Vec<Stmt> {
        let mut body = Vec::new();
        let mut from = self.channel(lowering.address(x), self.input.elements());
        if self.input.is_padded() {
            (body, from) = self.input.pad_in_scratch(lowering, draft, 1, &from, halo);
        }
        let rows = OutputRows::new(draft, &self.axes, &self.input.padded);
        let mut map = MapBuilder::new(Extent::Fixed(rows.width)).window(&window_extents(&self.axes));
        let stride = self.width().step;
        let strides = window_strides(&self.axes, &self.input.padded);
        let element = map.load_window(from.at(&rows.input, 1), stride, &strides);
        build(&mut map, element, &rows);
        body.extend(Stmt::nest(&rows.loops, vec![map.finish()]));
        body
    }

    /// Backward. `value` returns each output's contribution to the gradient at one position of its window.
    pub(super) fn backward(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        dx: ValueId,
        value: &Part<'_>,
    ) -> Vec<Stmt> {
        if self.covers_once() && may_group(self.width().inputs, self.width().kernel_size) {
            self.upsample(lowering, draft, dx, value)
        } else {
            self.scatter(lowering, draft, dx, value)
        }
    }

    /// If each input element belongs to one output: writes the rows of the input one after the other.
    fn upsample(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        dx: ValueId,
        value: &Part<'_>,
    ) -> Vec<Stmt> {
        let to = self.channel(lowering.address(dx), self.input.elements());
        let (input, output) = (strides(&self.input.sizes), strides(&output_sizes(&self.axes)));
        let kernel_sizes: Vec<usize> = self.axes.iter().map(|axis| axis.kernel_size).collect();
        let places = strides(&kernel_sizes);
        let outer = self.axes.len() - 1;
        let mut loops = Vec::new();
        let (mut into, mut from, mut place) = (Affine::default(), Affine::default(), Affine::default());
        for axis in 0..outer {
            let (row, offset) = (draft.var(), draft.var());
            let Axis { outputs, kernel_size, .. } = self.axes[axis];
            loops.extend([(row, outputs), (offset, kernel_size)]);
            into = into.plus(row, kernel_size * input[axis]).plus(offset, input[axis]);
            from = from.plus(row, output[axis]);
            place = place.plus(offset, places[axis]);
        }
        let group = self.width().kernel_size;
        let mut map = MapBuilder::new(Extent::Fixed(self.width().inputs));
        let first = map.expr(Expr::Position(place));
        let phase = map.expr(Expr::Phase(group));
        let here = map.expr(Expr::AddInteger(first, phase));
        let part = value(&mut map, here, &|map, view| {
            map.load_repeated(view.element, self.output_channel(view).at(&from, 1), group)
        });
        map.store(to.at(&into, 1), 1, part);
        Stmt::nest(&loops, vec![map.finish()])
    }

    /// Adds each output's contribution to the positions of its window.
    fn scatter(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        dx: ValueId,
        value: &Part<'_>,
    ) -> Vec<Stmt> {
        let plain = self.channel(lowering.address(dx), self.input.elements());
        let to = if self.input.is_padded() {
            Address::start(lowering.scratch("padded", self.input.padded_elements()))
        } else {
            plain.clone()
        };
        let rows = OutputRows::new(draft, &self.axes, &self.input.padded);
        let walk = WindowWalk::new(draft, &self.axes, &self.input.padded);
        let mut map = MapBuilder::new(Extent::Fixed(rows.width));
        let here = map.expr(Expr::Position(walk.place.clone()));
        let part = value(&mut map, here, &|map, view| {
            map.load_as(view.element, self.output_channel(view).at(&rows.output, 1), 1, &[])
        });
        let stride = self.width().step;
        let at = to.clone().at(&rows.input, 1).at(&walk.offset, 1);
        let mut body = vec![fill(to.clone(), self.input.padded_elements(), 0.0)];
        map.accumulate(at, stride, part);
        let loops: Vec<(Var, usize)> = rows.loops.iter().chain(&walk.loops).copied().collect();
        body.extend(Stmt::nest(&loops, vec![map.finish()]));
        if self.input.is_padded() {
            body.extend(self.input.unpad(draft, 1, &to, &plain));
        }
        body
    }

    /// Whether every element lies in exactly one window.
    pub(super) fn covers_once(&self) -> bool {
        self.axes.iter().all(|axis| {
            axis.dilation == 1
                && axis.padding() == 0
                && axis.step == axis.kernel_size
                && axis.outputs * axis.kernel_size == axis.inputs
        })
    }
}
