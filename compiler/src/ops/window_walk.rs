//! Lowering shared by convolution and pooling: where windows lie in padded planes, and copies in and out of them.

use crate::kernel::{Address, Affine, Extent, Stmt, Var};
use crate::ops::window::Window;
use crate::plan::{KernelDraft, copy_span, fill};

/// Row-major strides of sizes.
pub(crate) fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; sizes.len()];
    for axis in (1..sizes.len()).rev() {
        strides[axis - 1] = strides[axis] * sizes[axis];
    }
    strides
}

/// Planes (one per channel) of an input, padded where the window asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    /// Spatial sizes of the unpadded input.
    pub sizes: Vec<usize>,
    /// Spatial sizes with padding.
    pub padded: Vec<usize>,
    /// Padding before the input on each axis.
    pub padding: Vec<usize>,
}

impl Planes {
    pub(crate) fn new(window: &Window, sizes: &[usize]) -> Self {
        Planes { sizes: sizes.to_vec(), padded: window.padded_sizes(sizes), padding: window.padding.clone() }
    }

    /// Elements of an unpadded plane.
    pub(crate) fn elements(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Elements of a padded plane.
    pub(crate) fn padded_elements(&self) -> usize {
        self.padded.iter().product()
    }

    /// Where the unpadded input starts within a padded plane.
    fn interior(&self) -> usize {
        self.padding.iter().zip(strides(&self.padded)).map(|(padding, stride)| padding * stride).sum()
    }

    /// Statements that fill `planes` padded planes with `value` and copy the input into them.
    pub(crate) fn pad(
        &self,
        draft: &mut KernelDraft,
        planes: usize,
        from: &Address,
        to: &Address,
        value: f32,
    ) -> Vec<Stmt> {
        let mut stmts = vec![fill(to.clone(), planes * self.padded_elements(), value)];
        stmts.extend(self.rows(draft, planes, |padded, plain, width| {
            copy_span(from.clone().at(&plain, 1), 1, to.clone().at(&padded, 1), width)
        }));
        stmts
    }

    /// Statements that copy the inputs' part of padded planes out.
    pub(crate) fn unpad(
        &self,
        draft: &mut KernelDraft,
        planes: usize,
        from: &Address,
        to: &Address,
    ) -> Vec<Stmt> {
        self.rows(draft, planes, |padded, plain, width| {
            copy_span(from.clone().at(&padded, 1), 1, to.clone().at(&plain, 1), width)
        })
    }

    /// A loop over all rows of all planes; `body` gets the row's place in padded and unpadded planes, and its length.
    fn rows(
        &self,
        draft: &mut KernelDraft,
        planes: usize,
        body: impl FnOnce(Affine, Affine, usize) -> Stmt,
    ) -> Vec<Stmt> {
        let plane = draft.var();
        let outer = self.sizes.len() - 1;
        let vars = draft.vars(outer);
        let (padded_strides, plain_strides) = (strides(&self.padded), strides(&self.sizes));
        let mut padded = Affine::constant(self.interior()).plus(plane, self.padded_elements());
        let mut plain = Affine::default().plus(plane, self.elements());
        let mut loops = vec![(plane, planes)];
        for (axis, &var) in vars.iter().enumerate() {
            padded = padded.plus(var, padded_strides[axis]);
            plain = plain.plus(var, plain_strides[axis]);
            loops.push((var, self.sizes[axis]));
        }
        Stmt::nest(&loops, vec![body(padded, plain, self.sizes[outer])])
    }
}

/// Loops over the places of a window in padded planes.
#[derive(Clone, Debug)]
pub(crate) struct WindowWalk {
    /// Loop variables with the window's extents, outermost first.
    pub loops: Vec<(Var, usize)>,
    /// Offset of the place within a padded plane.
    pub offset: Affine,
    /// Number of the place within the window, row by row.
    pub place: Affine,
}

impl WindowWalk {
    pub(crate) fn new(draft: &mut KernelDraft, window: &Window, padded: &[usize]) -> Self {
        let vars = draft.vars(window.axes());
        let (plane, places) = (strides(padded), strides(&window.kernel_size));
        let mut walk = WindowWalk { loops: Vec::new(), offset: Affine::default(), place: Affine::default() };
        for (axis, &var) in vars.iter().enumerate() {
            walk.loops.push((var, window.kernel_size[axis]));
            walk.offset = walk.offset.plus(var, window.dilation[axis] * plane[axis]);
            walk.place = walk.place.plus(var, places[axis]);
        }
        walk
    }
}

/// Loops over the rows of a window's output: all spatial axes but the last.
#[derive(Clone, Debug)]
pub(crate) struct OutputRows {
    /// Loop variables with their extents, outermost first.
    pub loops: Vec<(Var, usize)>,
    /// Offset of the row's first window within a padded plane.
    pub input: Affine,
    /// Offset of the row within an output plane.
    pub output: Affine,
    /// Results in a row.
    pub width: usize,
}

impl OutputRows {
    pub(crate) fn new(draft: &mut KernelDraft, window: &Window, padded: &[usize], output: &[usize]) -> Self {
        let outer = output.len() - 1;
        let vars = draft.vars(outer);
        let (plane, results) = (strides(padded), strides(output));
        let mut rows = OutputRows {
            loops: Vec::new(),
            input: Affine::default(),
            output: Affine::default(),
            width: output[outer],
        };
        for (axis, &var) in vars.iter().enumerate() {
            rows.loops.push((var, output[axis]));
            rows.input = rows.input.plus(var, window.stride[axis] * plane[axis]);
            rows.output = rows.output.plus(var, results[axis]);
        }
        rows
    }
}

/// Extents of window loops as a map's window.
pub(crate) fn window_extents(window: &Window) -> Vec<Extent> {
    window.kernel_size.iter().map(|&size| Extent::Fixed(size)).collect()
}

/// Distances between a window's places in padded planes.
pub(crate) fn window_strides(window: &Window, padded: &[usize]) -> Vec<usize> {
    strides(padded).iter().zip(&window.dilation).map(|(stride, dilation)| stride * dilation).collect()
}
