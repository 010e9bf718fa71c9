//! The input values of test graphs.

use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings};
use windlass_compiler::ops::window::{Sides, Window};
use windlass_compiler::shape::DType;
use windlass_compiler::shape::Sizes;

/// The values bound to every source.
pub(crate) type Sources = Bindings<f64>;

/// The kind of values in float sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Integers between −3 and 3.
    Integers,
    /// Ones of either sign among many zeros, so that whole networks stay exact.
    Sparse,
    /// Anything between −1 and 1.
    Reals,
    /// Reals with some NaN, infinities, signed zeros and denormals.
    Special,
}

/// The length of a series: `usual`, or longer by the ratio of `WINDLASS_RANDOM_CASES` to 60, the default number of
/// random networks.
pub(crate) fn cases(usual: usize) -> usize {
    match random_cases() {
        Some(asked) => (usual * asked).div_ceil(60),
        None => usual,
    }
}

/// The number of random networks given by `WINDLASS_RANDOM_CASES`.
pub(crate) fn random_cases() -> Option<usize> {
    let asked = std::env::var("WINDLASS_RANDOM_CASES").ok()?;
    Some(asked.parse().expect("a number of cases"))
}

/// A generator of small test numbers: 64-bit linear congruential, the upper bits.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }

    /// A random element.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A window and sizes of images that it fits. Every second axis is about as small as the window allows, so that
    /// strides exceed the image and padding is wider than it.
    pub(crate) fn window(&mut self, axes: usize, largest: usize) -> (Vec<usize>, Window) {
        let mut list = |lowest: usize, bound: usize| -> Vec<usize> {
            (0..axes).map(|_| lowest + self.below(bound)).collect()
        };
        let (before, after) = (list(0, 6), list(0, 6));
        let sides = before.iter().zip(after).map(|(&before, after)| {
            // One in two paddings is the same on both sides.
            if after % 2 == 0 { before.into() } else { Sides { before, after } }
        });
        let padding = sides.collect();
        let window = Window { kernel_size: list(1, 5), stride: list(1, 9), padding, dilation: list(1, 3) };
        let sizes = (0..axes)
            .map(|axis| {
                let least = window.extent(axis).saturating_sub(window.padding[axis].total()).max(1);
                match self.below(2) {
                    0 => least + self.below(window.stride[axis].min(3)),
                    _ => least.max(1 + self.below(largest)),
                }
            })
            .collect();
        (sizes, window)
    }

    /// The same for pooling, where padding must be smaller than the window.
    pub(crate) fn pooling_window(&mut self, axes: usize, largest: usize) -> (Vec<usize>, Window) {
        let (mut sizes, mut window) = self.window(axes, largest);
        for (axis, size) in sizes.iter_mut().enumerate() {
            let (kernel, Sides { before, after }) = (window.kernel_size[axis], window.padding[axis]);
            window.padding[axis] = Sides { before: before % kernel, after: after % kernel };
            *size = window.extent(axis).saturating_sub(window.padding[axis].total()).max(*size);
        }
        (sizes, window)
    }

    /// A random number between −1 and 1 that is exact in f32.
    fn real(&mut self) -> f64 {
        f64::from((self.below(1 << 23) as f32) / (1 << 22) as f32 - 1.0)
    }

    fn value(&mut self, values: Values) -> f64 {
        const SPECIAL: [f32; 8] =
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-40, -3e-39, f32::MIN_POSITIVE];
        match values {
            Values::Integers => self.below(7) as f64 - 3.0,
            Values::Sparse => [1.0, -1.0].get(self.below(16)).copied().unwrap_or(0.0),
            Values::Reals => self.real(),
            Values::Special if self.below(8) == 0 => f64::from(self.pick(&SPECIAL)),
            Values::Special => self.real(),
        }
    }
}

/// Values for every source of a graph. Variances and second moments are positive, the learning rate and the corrections
/// of moments are powers of two, integers are below their limits.
pub(crate) fn sources(graph: &Graph, sizes: impl Into<Sizes>, values: Values, seed: u64) -> Sources {
    let open = sizes.into();
    let mut numbers = Numbers::new(seed);
    let limits = graph.index_limits();
    let mut bindings = Sources::new();
    let inputs = graph.inputs().map(|(value, input)| (value, &input.name));
    let parameters = graph.parameters().map(|(value, parameter)| (value, &parameter.name));
    let states = graph.states().map(|(value, state)| (value, &state.name));
    for (value, name) in inputs.chain(parameters).chain(states) {
        let ty = graph.ty(value);
        let sizes = ty.shape.concrete(open.clone());
        let count: usize = sizes.iter().product();
        let array = match (ty.dtype, name.as_str()) {
            (DType::I32, "seed") => Array::ints(sizes, vec![7, 3]),
            (DType::I32, _) => {
                let limit = limits[value.index()].unwrap_or(1);
                Array::ints(sizes, (0..count).map(|index| ((index * 7 + 1) % limit) as i32).collect())
            }
            (DType::F32, "learning_rate") => Array::new(sizes, vec![0.5]),
            (DType::F32, "correction") => Array::new(sizes, vec![0.25; count]),
            (DType::F32, _) => {
                let positive = name.ends_with("running_var") || name.contains("second_moment");
                let number = |numbers: &mut Numbers| match positive {
                    true => numbers.real().abs() + 0.5,
                    false => numbers.value(values),
                };
                Array::new(sizes, (0..count).map(|_| number(&mut numbers)).collect())
            }
        };
        bindings.insert(name.clone(), array);
    }
    bindings
}
