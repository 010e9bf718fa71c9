//! The spatial axes of an image, sequence or volume in NHWC layout, as convolution and pooling iterate over them.

use crate::kernel::{Address, Affine, Extent, Var};
use crate::ops::window_walk::{Axis, strides};
use crate::plan::KernelDraft;

/// The spatial axes of an image from the outermost to the innermost: any number of outer axes, then rows and columns. A
/// sequence is an image with one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    axes: Vec<Axis>,
}

impl Grid {
    /// The grid of one or more spatial axes.
    pub(crate) fn new(axes: &[Axis]) -> Self {
        let row = (axes.len() < 2).then_some(Axis::SINGLE);
        Grid { axes: row.into_iter().chain(axes.iter().copied()).collect() }
    }

    /// All axes.
    pub(crate) fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// All axes except rows and columns.
    pub(crate) fn outer(&self) -> &[Axis] {
        &self.axes[..self.axes.len() - 2]
    }

    /// The axis of the rows.
    pub(crate) fn rows(&self) -> Axis {
        self.axes[self.axes.len() - 2]
    }

    /// The axis within a row.
    pub(crate) fn columns(&self) -> Axis {
        self.axes[self.axes.len() - 1]
    }

    /// The number of kernel positions.
    pub(crate) fn positions(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel_size).product()
    }

    /// The number of outputs.
    pub(crate) fn results(&self) -> usize {
        self.axes.iter().map(|axis| axis.outputs).product()
    }

    /// Whether some window extends outside the input.
    pub(crate) fn leaves_input(&self) -> bool {
        self.axes.iter().any(Axis::leaves_input)
    }

    /// The number of input planes (indices of the outer axes) that the windows of one outer index read.
    pub(crate) fn planes(&self) -> usize {
        self.outer().iter().map(|axis| axis.reach(1)).product()
    }

    /// For each axis, the stride between neighbouring inputs, in pixels.
    pub(crate) fn input_strides(&self) -> Vec<usize> {
        self.strides(&self.axes.iter().map(|axis| axis.inputs).collect::<Vec<_>>())
    }

    /// For each axis, the stride between neighbouring outputs, in pixels.
    pub(crate) fn result_strides(&self) -> Vec<usize> {
        self.strides(&self.axes.iter().map(|axis| axis.outputs).collect::<Vec<_>>())
    }

    /// The strides of an array with these sizes. A sequence of open length is the only row.
    fn strides(&self, sizes: &[usize]) -> Vec<usize> {
        let mut strides = strides(sizes);
        if let ([row, _], true) = (&mut strides[..], self.columns().open.is_some()) {
            *row = 0;
        }
        strides
    }

    /// For each axis, the stride between neighbouring kernel positions, in kernel positions.
    pub(crate) fn position_strides(&self) -> Vec<usize> {
        strides(&self.axes.iter().map(|axis| axis.kernel_size).collect::<Vec<_>>())
    }

    /// Variables for the outer indices of a work unit, with their extents.
    pub(crate) fn outer_units(&self, draft: &mut KernelDraft) -> Outer {
        Outer { vars: draft.vars(self.outer().len()), axes: self.outer().to_vec() }
    }

    /// Variables for all kernel positions, with their extents.
    pub(crate) fn position_loops(&self, draft: &mut KernelDraft) -> Vec<(Var, usize)> {
        let vars = draft.vars(self.axes.len());
        vars.into_iter().zip(&self.axes).map(|(var, axis)| (var, axis.kernel_size)).collect()
    }
}

/// The index of a work unit's outputs along each outer axis.
#[derive(Clone, Debug)]
pub(crate) struct Outer {
    vars: Vec<Var>,
    axes: Vec<Axis>,
}

impl Outer {
    /// The axes of the work that threads share.
    pub(crate) fn extents(&self) -> impl Iterator<Item = (Var, Extent)> + '_ {
        self.loops().into_iter().map(|(var, count)| (var, Extent::Fixed(count)))
    }

    /// Loops over all outer indices.
    pub(crate) fn loops(&self) -> Vec<(Var, usize)> {
        self.vars.iter().zip(&self.axes).map(|(&var, axis)| (var, axis.outputs)).collect()
    }

    /// Moves an address to the outer index. `strides` has the stride of each outer axis in elements; those of rows and
    /// columns may follow.
    pub(crate) fn at(&self, address: Address, strides: &[usize]) -> Address {
        self.vars.iter().zip(strides).fold(address, |address, (&var, &stride)| address.plus(var, stride))
    }

    /// The input index along an outer axis that the first kernel position reads.
    pub(crate) fn input(&self, axis: usize) -> Affine {
        Affine::default().plus(self.vars[axis], self.axes[axis].step).shifted(self.axes[axis].shift)
    }
}
