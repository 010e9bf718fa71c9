//! Lowering shared by convolution and pooling: the inputs that windows read, and loops over them.

use crate::kernel::{Affine, Extent, Stmt, Var};
use crate::ops::window::Window;
use crate::plan::{KernelDraft, Lowering, Size};
use crate::shape::Dim;

/// One spatial axis: output `q` at kernel position `j` reads the input at `q·step + j·dilation + shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Size of the input.
    pub(crate) inputs: usize,
    /// Number of outputs.
    pub(crate) outputs: usize,
    pub(crate) step: usize,
    /// Number of kernel positions.
    pub(crate) kernel_size: usize,
    pub(crate) dilation: usize,
    pub(crate) shift: i64,
    /// The sizes, if they are open. `inputs` and `outputs` are then sizes to optimise for, with the same difference.
    pub(crate) open: Option<OpenAxis>,
}

/// The sizes of an axis of open size, whose step is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenAxis {
    pub(crate) inputs: Size,
    pub(crate) outputs: Size,
}

/// The size to optimise for along an axis of open size.
const USUAL_LENGTH: usize = 256;

impl Axis {
    pub(crate) const SINGLE: Axis =
        Axis { inputs: 1, outputs: 1, step: 1, kernel_size: 1, dilation: 1, shift: 0, open: None };

    /// The number of inputs that `outputs` neighbouring outputs read, from the first to the last.
    pub(crate) fn reach(&self, outputs: usize) -> usize {
        (outputs - 1) * self.step + (self.kernel_size - 1) * self.dilation + 1
    }

    /// The number of inputs in a run.
    pub(crate) fn all_inputs(&self) -> Size {
        self.open.map_or(Size::fixed(self.inputs), |open| open.inputs)
    }

    /// The number of outputs in a run.
    pub(crate) fn all_outputs(&self) -> Size {
        self.open.map_or(Size::fixed(self.outputs), |open| open.outputs)
    }

    /// The number of elements behind the input that outputs read.
    pub(crate) fn padding_behind(&self) -> usize {
        (self.shift + self.reach(self.outputs) as i64 - self.inputs as i64).max(0) as usize
    }

    /// Whether some output reads outside the input.
    pub(crate) fn leaves_input(&self) -> bool {
        self.padding() > 0 || self.padding_behind() > 0
    }

    /// The padding before the input.
    pub(crate) fn padding(&self) -> usize {
        (-self.shift).max(0) as usize
    }

    /// The padding after the input that windows read.
    fn padding_after(&self) -> usize {
        (self.shift + self.reach(self.outputs) as i64 - self.inputs as i64).max(0) as usize
    }

    /// The number of inputs with their padding.
    pub(crate) fn padded(&self) -> usize {
        self.padding() + self.inputs + self.padding_after()
    }
}

/// The axes of a window on an input with the given sizes.
pub(crate) fn forward_axes(window: &Window, sizes: &[usize]) -> Vec<Axis> {
    let outputs = window.output_sizes(sizes);
    let axis = |axis: usize| Axis {
        inputs: sizes[axis],
        outputs: outputs[axis],
        step: window.stride[axis],
        kernel_size: window.kernel_size[axis],
        dilation: window.dilation[axis],
        shift: -(window.padding[axis].before as i64),
        open: None,
    };
    (0..sizes.len()).map(axis).collect()
}

impl Lowering<'_> {
    /// The axes of a window on an input with the given sizes, which may be open.
    pub(crate) fn axes(&mut self, window: &Window, sizes: &[Dim]) -> Vec<Axis> {
        let Some([inputs, outputs]) = self.open_axis(window, sizes) else {
            let fixed: Vec<usize> = sizes.iter().filter_map(Dim::fixed).collect();
            return forward_axes(window, &fixed);
        };
        let extent = window.extent(0);
        // Long enough for an output.
        let usual = USUAL_LENGTH.max(extent);
        let axis = forward_axes(window, &[usual])[0];
        vec![Axis { open: Some(OpenAxis { inputs, outputs }), ..axis }]
    }

    /// The numbers of inputs and outputs along an axis of open size; `None` if all sizes are fixed.
    fn open_axis(&mut self, window: &Window, sizes: &[Dim]) -> Option<[Size; 2]> {
        let is_open = sizes.iter().any(|size| size.fixed().is_none());
        let outputs = is_open.then(|| window.output_dims(sizes))?;
        let [Some(inputs), Some(outputs)] = [sizes, &outputs].map(|dims| dims.first().map(Dim::polynomial))
        else {
            return None;
        };
        Some([self.size_of(&inputs), self.size_of(&outputs)])
    }
}

/// Kernel positions of a window.
pub(crate) fn kernel_positions(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.kernel_size).product()
}

/// `inside` if a row is one of the axis' inputs, else `outside`; without a branch if it always is.
pub(crate) fn within(axis: &Axis, row: Affine, inside: Vec<Stmt>, outside: Vec<Stmt>) -> Vec<Stmt> {
    if !axis.leaves_input() {
        return inside;
    }
    let below =
        Stmt::Branch { value: row.clone(), bound: axis.inputs as i64, below: inside, rest: outside.clone() };
    vec![Stmt::Branch { value: row, bound: 0, below: outside, rest: vec![below] }]
}

/// Row-major strides of an array with these sizes.
pub(crate) fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; sizes.len()];
    for axis in (1..sizes.len()).rev() {
        strides[axis - 1] = strides[axis] * sizes[axis];
    }
    strides
}

/// Loops over the kernel positions of a window, in a channel with its halo.
#[derive(Clone, Debug)]
pub(crate) struct WindowWalk {
    /// Loop variables with the window's extents, outermost first.
    pub loops: Vec<(Var, usize)>,
    /// Offset of the kernel position within the channel.
    pub offset: Affine,
    /// Number of the kernel position within the window, in row-major order.
    pub place: Affine,
}

impl WindowWalk {
    pub(crate) fn new(draft: &mut KernelDraft, axes: &[Axis], padded: &[usize]) -> Self {
        let vars = draft.vars(axes.len());
        let sizes: Vec<usize> = axes.iter().map(|axis| axis.kernel_size).collect();
        let (channel, places) = (strides(padded), strides(&sizes));
        let mut walk = WindowWalk { loops: Vec::new(), offset: Affine::default(), place: Affine::default() };
        for (axis, &var) in vars.iter().enumerate() {
            walk.loops.push((var, sizes[axis]));
            walk.offset = walk.offset.plus(var, axes[axis].dilation * channel[axis]);
            walk.place = walk.place.plus(var, places[axis]);
        }
        walk
    }
}

/// Loops over the rows of a window's output: all spatial axes except the last.
#[derive(Clone, Debug)]
pub(crate) struct OutputRows {
    /// Loop variables with their extents, outermost first.
    pub loops: Vec<(Var, usize)>,
    /// Offset of the row's first window within a channel with its halo.
    pub input: Affine,
    /// Offset of the row within a channel of the output.
    pub output: Affine,
    /// Outputs in a row.
    pub width: usize,
}

impl OutputRows {
    pub(crate) fn new(draft: &mut KernelDraft, axes: &[Axis], padded: &[usize]) -> Self {
        let outer = axes.len() - 1;
        let vars = draft.vars(outer);
        let (channel, results) = (strides(padded), strides(&output_sizes(axes)));
        let mut rows = OutputRows {
            loops: Vec::new(),
            input: Affine::default(),
            output: Affine::default(),
            width: axes[outer].outputs,
        };
        for (axis, &var) in vars.iter().enumerate() {
            rows.loops.push((var, axes[axis].outputs));
            rows.input = rows.input.plus(var, axes[axis].step * channel[axis]);
            rows.output = rows.output.plus(var, results[axis]);
        }
        rows
    }
}

/// Spatial sizes of the output.
pub(crate) fn output_sizes(axes: &[Axis]) -> Vec<usize> {
    axes.iter().map(|axis| axis.outputs).collect()
}

/// The extents of the window loops as a map's window.
pub(crate) fn window_extents(axes: &[Axis]) -> Vec<Extent> {
    axes.iter().map(|axis| Extent::Fixed(axis.kernel_size)).collect()
}

/// The strides of a window's kernel positions in a channel with its halo.
pub(crate) fn window_strides(axes: &[Axis], padded: &[usize]) -> Vec<usize> {
    strides(padded).iter().zip(axes).map(|(stride, axis)| stride * axis.dilation).collect()
}
