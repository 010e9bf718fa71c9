//! Kernels along one axis of a value: elementwise with one number per index of the axis, or reductions over the other
//! axes.

use super::{Batch, KernelDraft, Lowering, View};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, Affine, ExprId, Extent, MapBuilder, Reducer, Split, Stmt, Var};
use crate::shape::Dim;

/// A value of fixed item sizes seen as `[items, outer, size, inner]` around one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AxisView {
    /// The items of the batch, if the batch axis is outermost.
    pub batch: Option<Batch>,
    /// Indices between the batch axis and the axis.
    pub outer: usize,
    /// Size of the axis.
    pub size: usize,
    /// Elements of one index of the axis.
    pub inner: usize,
}

impl AxisView {
    /// The view of a value around `count` axes, seen as one, starting with `axis`; the batch axis is axis 0.
    pub fn new(lowering: &Lowering<'_>, value: ValueId, axis: usize, count: usize) -> Self {
        let shape = &lowering.ty(value).shape;
        let size_of = |dim: &Dim| dim.fixed().unwrap_or(1);
        let dims = shape.dims();
        AxisView {
            batch: shape.is_batched().then(|| lowering.batch_of(value)),
            outer: dims[..axis].iter().map(size_of).product(),
            size: dims[axis..axis + count].iter().map(size_of).product(),
            inner: dims[axis + count..].iter().map(size_of).product(),
        }
    }

    /// A loop over the items of the batch.
    pub fn items(&self) -> Extent {
        self.batch.map_or(Extent::Fixed(1), Batch::extent)
    }

    /// Adds a kernel that computes each element from elements and from one number per index of the axis. `build` gets
    /// the map, the element of each of `elements` and the number of each of `numbers`, and returns the result.
    pub fn elementwise(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        elements: &[ValueId],
        numbers: &[ValueId],
        result: ValueId,
        build: impl FnOnce(&mut MapBuilder, &[ExprId], &[ExprId]) -> ExprId,
    ) {
        let mut draft = lowering.draft(node, "one span per row");
        let (n, o) = (draft.var(), draft.var());
        let mut axes = vec![(n, self.items()), (o, Extent::Fixed(self.outer))];
        let mut offset =
            Affine::default().plus(n, self.outer * self.size * self.inner).plus(o, self.size * self.inner);
        let mut number = Affine::default();
        let (lanes, number_lane) = if self.inner == 1 {
            (self.size, 1)
        } else {
            let c = draft.var();
            axes.push((c, Extent::Fixed(self.size)));
            offset = offset.plus(c, self.inner);
            number = number.plus(c, 1);
            (self.inner, 0)
        };
        let mut map = MapBuilder::new(Extent::Fixed(lanes));
        let element_values: Vec<ExprId> =
            elements.iter().map(|&value| map.load(lowering.address(value).at(&offset, 1), 1)).collect();
        let number_values: Vec<ExprId> = numbers
            .iter()
            .map(|&value| map.load(lowering.address(value).at(&number, 1), number_lane))
            .collect();
        let value = build(&mut map, &element_values, &number_values);
        map.store(lowering.address(result).at(&offset, 1), 1, value);
        lowering.push(draft.finish(Split::Axes(axes), vec![map.finish()]));
    }

    /// Reductions over all axes except this one, for views without indices between the batch axis and the axis.
    pub fn reduction(&self, draft: &mut KernelDraft) -> AxisReduction {
        let var = draft.var();
        AxisReduction { view: *self, var }
    }
}

/// Reductions over the batch and all elements of each index of the axis.
#[derive(Clone, Copy, Debug)]
pub struct AxisReduction {
    view: AxisView,
    var: Var,
}

impl AxisReduction {
    /// The split of the kernel among threads.
    pub fn split(&self) -> Split {
        let extent = Extent::Fixed(self.view.size);
        if self.view.inner == 1 {
            Split::Lanes(self.var, extent)
        } else {
            Split::Axes(vec![(self.var, extent)])
        }
    }

    /// The address of the number of the current index.
    pub fn number(&self, at: Address) -> Address {
        at.plus(self.var, 1)
    }

    /// The stride of the numbers between lanes.
    pub fn number_lane(&self) -> usize {
        usize::from(self.view.inner == 1)
    }

    /// A map over all elements of the current index.
    pub fn map(&self) -> MapBuilder {
        let lanes = if self.view.inner == 1 { Extent::Chunk } else { Extent::Fixed(self.view.inner) };
        MapBuilder::new(lanes).window(&[self.view.items()])
    }

    /// The current element of a value of the view's shape, stored channels first.
    pub fn element(&self, map: &mut MapBuilder, value: &View) -> ExprId {
        map.load_window(
            value.address.clone().plus(self.var, value.channel().known()),
            1,
            &[value.item().known()],
        )
    }

    /// One number of the current index, for all its elements.
    pub fn load_number(&self, map: &mut MapBuilder, at: Address) -> ExprId {
        map.load(self.number(at), self.number_lane())
    }

    /// Sums over all elements of the index.
    pub fn sums(&self, map: &mut MapBuilder, values: &[ExprId]) -> Vec<ExprId> {
        let reducers: Vec<Reducer> = values.iter().map(|&value| Reducer::Sum(value)).collect();
        if self.view.inner == 1 { map.fold_window(&reducers) } else { map.fold_lanes(&reducers) }
    }

    /// Stores a number of the current index.
    pub fn store(&self, map: &mut MapBuilder, at: Address, value: ExprId) {
        map.store(self.number(at), self.number_lane(), value);
    }

    /// Finishes a kernel with these statements.
    pub fn finish(&self, draft: KernelDraft, stmts: Vec<Stmt>) -> crate::kernel::Kernel {
        draft.finish(self.split(), stmts)
    }
}
