//! The sliding window of convolution and pooling, over any number of spatial axes.

use serde::{Deserialize, Serialize};

use crate::error::ShapeError;
use crate::shape::{Dim, MAX_ELEMENTS, Polynomial, Shape, Sizes};

/// Padding before and after the elements of an axis. The serialized form is one number if both are equal, else a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "SerializedSides", into = "SerializedSides")]
pub struct Sides {
    /// Elements before the first.
    pub before: usize,
    /// Elements after the last.
    pub after: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a size such as 1, or a pair [before, after]")]
enum SerializedSides {
    Equal(usize),
    Pair([usize; 2]),
}

impl From<SerializedSides> for Sides {
    fn from(sides: SerializedSides) -> Self {
        match sides {
            SerializedSides::Equal(size) => Sides::from(size),
            SerializedSides::Pair([before, after]) => Sides { before, after },
        }
    }
}

impl From<Sides> for SerializedSides {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides { before, after } if before == after => SerializedSides::Equal(before),
            Sides { before, after } => SerializedSides::Pair([before, after]),
        }
    }
}

impl From<usize> for Sides {
    fn from(size: usize) -> Self {
        Sides { before: size, after: size }
    }
}

impl Sides {
    /// The number of elements on both sides; it saturates.
    pub fn total(self) -> usize {
        self.before.saturating_add(self.after)
    }
}

impl std::fmt::Display for Sides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sides { before, after } if before == after => write!(f, "{before}"),
            Sides { before, after } => write!(f, "({before}, {after})"),
        }
    }
}

/// A sliding window: one entry per spatial axis in every field.
///
/// ```
/// use windlass::Window;
/// let window = Window::square(5, 1, 2);
/// assert_eq!(window.output_sizes(&[28, 28]), [28, 28]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Size of the window.
    pub kernel_size: Vec<usize>,
    /// Distance between neighbouring windows.
    pub stride: Vec<usize>,
    /// Elements added before and after the input.
    pub padding: Vec<Sides>,
    /// Distance between neighbouring elements of a window.
    pub dilation: Vec<usize>,
}

impl Window {
    /// A two-dimensional window with the same size along both axes and no dilation.
    pub fn square(kernel_size: usize, stride: usize, padding: usize) -> Self {
        Window::cube(2, kernel_size, stride, padding)
    }

    /// A window with the same size along some axes and no dilation.
    pub fn cube(axes: usize, kernel_size: usize, stride: usize, padding: usize) -> Self {
        Window {
            kernel_size: vec![kernel_size; axes],
            stride: vec![stride; axes],
            padding: vec![padding.into(); axes],
            dilation: vec![1; axes],
        }
    }

    /// The number of spatial axes.
    pub fn axes(&self) -> usize {
        self.kernel_size.len()
    }

    /// The number of elements in the window.
    pub fn elements(&self) -> usize {
        self.kernel_size.iter().product()
    }

    /// The size of the dilated window along an axis.
    pub fn extent(&self, axis: usize) -> usize {
        (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
    }

    /// The padding that keeps the size of an input at stride 1, P = D·(K − 1)/2 on both sides of each axis for a kernel
    /// of size K and dilation D. If D·(K − 1) is odd, there is one element more after the input. It saturates.
    ///
    /// ```
    /// use windlass::Window;
    /// let dilated = Window { dilation: vec![4, 4], ..Window::square(3, 1, 0) };
    /// let padded = Window { padding: dilated.same_padding(), ..dilated };
    /// assert_eq!(padded.padding, [4.into(), 4.into()]);
    /// assert_eq!(padded.output_sizes(&[28, 17]), [28, 17]);
    /// ```
    pub fn same_padding(&self) -> Vec<Sides> {
        let along = |(size, dilation): (&usize, &usize)| {
            let around = size.saturating_sub(1).saturating_mul(*dilation);
            Sides { before: around / 2, after: around - around / 2 }
        };
        self.kernel_size.iter().zip(&self.dilation).map(along).collect()
    }

    /// Whether any axis has padding.
    pub fn is_padded(&self) -> bool {
        self.padding.iter().any(|padding| padding.total() > 0)
    }

    /// Sizes of the padded input; they saturate.
    pub fn padded_sizes(&self, input: &[usize]) -> Vec<usize> {
        input.iter().zip(&self.padding).map(|(size, padding)| size.saturating_add(padding.total())).collect()
    }

    /// Sizes of the output, for an input that passed [`Window::check`].
    pub fn output_sizes(&self, input: &[usize]) -> Vec<usize> {
        (0..self.axes())
            .map(|axis| {
                (input[axis] + self.padding[axis].total() - self.extent(axis)) / self.stride[axis] + 1
            })
            .collect()
    }

    /// The output's sizes for an input with the sizes `input`, that passed [`Window::check`]; both may be open.
    pub fn output_dims(&self, input: &[Dim]) -> Vec<Dim> {
        let along = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => {
                Dim::Fixed((size + self.padding[axis].total() - self.extent(axis)) / self.stride[axis] + 1)
            }
            Dim::Open(size) => {
                let padded = size.plus(&Polynomial::from(self.padding[axis].total()));
                Dim::from(padded.minus(&Polynomial::from(self.extent(axis) - 1)))
            }
        };
        input.iter().enumerate().map(along).collect()
    }

    /// The window with more padding after the input, so that the sizes of its output are rounded up instead of down:
    /// `ceil_mode` of other libraries. Every window still starts in the input or in the padding before it.
    #[must_use]
    pub fn rounded_up(&self, input: &[usize]) -> Self {
        let mut window = self.clone();
        for (axis, &size) in input.iter().enumerate().take(self.axes()) {
            let (stride, padding, extent) = (self.stride[axis], self.padding[axis], self.extent(axis));
            let Some(room) = (size + padding.total()).checked_sub(extent) else { continue };
            let mut outputs = room.div_ceil(stride) + 1;
            if (outputs - 1) * stride >= size + padding.before {
                outputs -= 1;
            }
            let needed = (outputs - 1) * stride + extent;
            window.padding[axis].after = padding.after.max(needed.saturating_sub(size + padding.before));
        }
        window
    }

    /// Checks that all arguments have a size for each axis, and none that must be positive is zero.
    ///
    /// # Errors
    /// [`ShapeError::NoAxes`], [`ShapeError::Arity`] or [`ShapeError::ZeroArgument`].
    pub fn check_arguments(&self) -> Result<(), ShapeError> {
        let axes = self.axes();
        if axes == 0 {
            return Err(ShapeError::NoAxes);
        }
        for (argument, values) in
            [("kernel_size", &self.kernel_size), ("stride", &self.stride), ("dilation", &self.dilation)]
        {
            if values.len() != axes {
                return Err(ShapeError::Arity { expected: format!("{axes} sizes"), got: values.len() });
            }
            if values.contains(&0) {
                return Err(ShapeError::ZeroArgument { argument });
            }
        }
        if self.padding.len() != axes {
            return Err(ShapeError::Arity { expected: format!("{axes} sizes"), got: self.padding.len() });
        }
        Ok(())
    }

    /// Checks the window against a batch of images `[N, C, spatial…]`. The only spatial axis of a sequence may have an
    /// open size; the result then has fewer elements than the padded input by a constant, which may leave none
    /// ([`Shape::check`]).
    ///
    /// # Errors
    /// No axis or a wrong number of them, an argument of zero, a window larger than its padded input, a stride along an
    /// axis of open size, or any other open size.
    pub fn check(&self, input: &Shape) -> Result<(), ShapeError> {
        let axes = self.axes();
        if axes == 0 {
            return Err(ShapeError::NoAxes);
        }
        if !input.is_batched() || input.rank() != axes + 2 {
            return Err(ShapeError::Rank { expected: image_words(axes), got: input.clone() });
        }
        self.check_arguments()?;
        let is_open = input.has_open_item();
        if is_open && !input.is_open_sequence() {
            return Err(ShapeError::OpenSize { shape: input.clone() });
        }
        if is_open && self.stride != [1] {
            let value = self.stride[0] as f64;
            let range = "1 along an axis of open size";
            return Err(ShapeError::NumberOutOfRange { argument: "stride", value, range });
        }
        for (axis, &size) in input.item()[1..].iter().enumerate() {
            let too_large = |argument, value: usize| ShapeError::NumberOutOfRange {
                argument,
                value: value as f64,
                range: "small enough for sizes below 2^31",
            };
            let Sides { before, after } = self.padding[axis];
            let padded = before
                .checked_add(after)
                .and_then(|padding| padding.checked_add(size))
                .filter(|&padded| padded <= MAX_ELEMENTS)
                .ok_or_else(|| too_large("padding", before.max(after)))?;
            let window = (self.kernel_size[axis] - 1)
                .checked_mul(self.dilation[axis])
                .and_then(|extent| extent.checked_add(1))
                .ok_or_else(|| too_large("kernel_size", self.kernel_size[axis]))?;
            if window > padded && !is_open {
                return Err(ShapeError::WindowExceedsInput {
                    kernel_size: self.kernel_size.clone(),
                    dilation: self.dilation.clone(),
                    padded: self.padded_sizes(&input.item()[1..]),
                    input: input.clone(),
                });
            }
        }
        // A pooling window has no parameter of its size that would be rejected.
        let elements = self.kernel_size.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
            return Err(ShapeError::NumberOutOfRange {
                argument: "kernel_size",
                value: self.kernel_size.iter().copied().max().unwrap_or_default() as f64,
                range: "small enough for windows of at most 2^31 elements",
            });
        }
        Ok(())
    }
}

/// Fixed sizes as polynomials, for the attributes of gradients.
pub fn fixed_sizes(sizes: &[usize]) -> Vec<Polynomial> {
    sizes.iter().map(|&size| Polynomial::from(size)).collect()
}

/// Sizes in a run, as constant polynomials.
pub(crate) fn sizes_at(sizes: &[Polynomial], at: &Sizes) -> Vec<Polynomial> {
    sizes.iter().map(|size| Polynomial::from(size.at(at))).collect()
}

/// "height", "width" or "depth".
pub fn axis_name(axes: usize, axis: usize) -> String {
    let names = ["depth", "height", "width"];
    names.get(axis + 3 - axes.min(3)).map_or_else(|| format!("axis {axis}"), |name| (*name).to_owned())
}

/// The required shape of items for windows over some axes.
pub(crate) fn image_words(axes: usize) -> String {
    match axes {
        1 => "a sequence [channels, width]",
        2 => "an image [channels, height, width]",
        3 => "a volume [channels, depth, height, width]",
        _ => "channels and spatial axes",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use crate::error::{GraphError, ShapeError};
    use crate::graph::Graph;

    /// Every operator with a window rejects one without axes, whose kernels would have no row to iterate along.
    #[test]
    fn windows_have_axes() {
        const WINDOW: &str = "kernel_size = [], stride = [], padding = [], dilation = []";
        for node in [
            "conv(%0, %1) {WINDOW, groups = 1}",
            "conv_grad_input(%0, %1) {WINDOW, groups = 1, input_sizes = []}",
            "conv_grad_weight(%0, %0) {WINDOW, groups = 1}",
            "max_pool(%0) {WINDOW}",
            "max_pool_grad(%0, %2) {WINDOW, input_sizes = []}",
            "avg_pool(%0) {WINDOW}",
            "avg_pool_grad(%0) {WINDOW, input_sizes = []}",
        ] {
            let results = if node.starts_with("max_pool(") { "%3, %4" } else { "%3" };
            let text = format!(
                "graph net {{
                  %0 = input {{name = \"x\", type = \"f32[N, 3]\"}}
                  %1 = parameter {{name = \"w\", shape = \"[3, 3]\", init = \"xavier_uniform\"}}
                  %2 = input {{name = \"places\", type = \"i32[N, 3]\"}}
                  {results} = {}
                }}",
                node.replace("WINDOW", WINDOW)
            );
            let error = text.parse::<Graph>().unwrap_err();
            let GraphError::Text { line: 5, reason } = &error else { panic!("{node}: {error}") };
            assert!(reason.contains(&ShapeError::NoAxes.to_string()), "{node}: {error}");
        }
    }
}
