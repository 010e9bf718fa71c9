//! Sizes at which compiled code takes other paths: around the lanes of vectors, and ones.

use fastrand::Rng;
use windlass_compiler::ops::window::{Sides, Window};

/// Channels and lengths of vectors: tails of 4, 8 and 16 lanes, and one.
const CHANNELS: [usize; 22] = [1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9, 10, 12, 15, 16, 17, 24, 31, 32, 33];

/// Sizes of spatial axes.
const SPATIAL: [usize; 20] = [1, 1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16, 17, 33];

/// The maximum number of elements of a drawn item, and of a value without a batch axis.
pub(crate) const MAX_ELEMENTS: usize = 3000;

pub(crate) fn pick<T: Copy>(numbers: &mut Rng, from: &[T]) -> T {
    from[numbers.usize(..from.len())]
}

pub(crate) fn channels(numbers: &mut Rng) -> usize {
    pick(numbers, &CHANNELS)
}

/// The sizes of a batch: mostly a few items.
pub(crate) fn batch(numbers: &mut Rng) -> usize {
    if numbers.u8(..16) == 0 { pick(numbers, &[12, 16, 17, 31, 33]) } else { numbers.usize(1..=9) }
}

/// Sizes for a number of spatial axes, so that an item with this many channels stays small.
pub(crate) fn spatial(numbers: &mut Rng, axes: usize, channels: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = (0..axes).map(|_| pick(numbers, &SPATIAL)).collect();
    while channels * sizes.iter().product::<usize>() > MAX_ELEMENTS {
        let largest = sizes.iter_mut().max().expect("an item without axes is small");
        *largest = largest.div_ceil(2);
    }
    sizes
}

/// The number of spatial axes: mostly two.
pub(crate) fn axes(numbers: &mut Rng) -> usize {
    pick(numbers, &[1, 2, 2, 2, 2, 2, 3])
}

fn at_most(padding: Sides, size: usize) -> Sides {
    Sides { before: padding.before.min(size), after: padding.after.min(size) }
}

/// A window that fits an image; pools need a padding smaller than the window.
pub(crate) fn window(numbers: &mut Rng, sizes: &[usize], is_pool: bool) -> Window {
    let fits = |window: &Window| {
        (0..sizes.len()).all(|axis| {
            window.extent(axis) <= sizes[axis] + window.padding[axis].total()
                && !(is_pool && window.padding[axis].before >= window.kernel_size[axis])
        })
    };
    let axes = sizes.len();
    // Windows as in networks, for which most algorithms are made.
    if numbers.bool() {
        let (kernel, stride, padding) = pick(
            numbers,
            &[
                (1, 1, 0),
                (3, 1, 1),
                (3, 1, 1),
                (3, 1, 0),
                (5, 1, 2),
                (3, 2, 1),
                (2, 2, 0),
                (1, 2, 0),
                (5, 1, 0),
            ],
        );
        let window = Window {
            kernel_size: vec![kernel; axes],
            stride: vec![stride; axes],
            padding: vec![padding.into(); axes],
            dilation: vec![1; axes],
        };
        if fits(&window) {
            return window;
        }
    }
    let mut window = Window { kernel_size: vec![], stride: vec![], padding: vec![], dilation: vec![] };
    for &size in sizes {
        let mut padding = Sides::from(pick(numbers, &[0, 0, 0, 0, 1, 1, 1, 2, 3, 5]));
        if numbers.u8(..4) == 0 {
            padding.after = pick(numbers, &[0, 1, 2, 3]);
        }
        let dilation = pick(numbers, &[1, 1, 1, 1, 2, 2, 3, 5]);
        let padded = size + padding.total();
        // The largest window that fits is as likely as any other.
        let largest = (padded - 1) / dilation + 1;
        let kernel = pick(numbers, &[1, 2, 3, 3, 4, 5, 7, largest.min(9)]).min(largest);
        window.padding.push(if is_pool { at_most(padding, kernel - 1) } else { padding });
        window.dilation.push(dilation);
        window.kernel_size.push(kernel);
        window.stride.push(pick(numbers, &[1, 1, 1, 1, 2, 2, 3, 4, 5, 7, padded, padded + 3]));
    }
    for (axis, &size) in sizes.iter().enumerate() {
        // Less padding may leave no room for the window.
        while window.extent(axis) > size + window.padding[axis].total() {
            window.kernel_size[axis] -= 1;
            if is_pool {
                window.padding[axis] = at_most(window.padding[axis], window.kernel_size[axis] - 1);
            }
        }
    }
    window
}
