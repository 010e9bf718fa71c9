//! Pooling forward and backward, bit for bit.

use windlass_compiler::graph::Graph;
use windlass_compiler::ops::pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::{Numbers, Values, cases};

/// Max and average pooling and their gradients in one graph.
fn graph(channels: usize, sizes: &[usize], window: &Window) -> Graph {
    let image = |sizes: &[usize]| [&[channels], sizes].concat();
    let mut ops = Ops::new();
    let x = ops.input("x", &image(sizes));
    let g = ops.input("g", &image(&window.output_sizes(sizes)));
    let (window, input_sizes) = (window.clone(), sizes.to_vec());
    let max = ops.ops(MaxPool { window: window.clone() }, &[x]);
    // These argmax indices are not used.
    let other = ops.input("other", &image(&input_sizes));
    let alone = ops.op(MaxPool { window: window.clone() }, &[other]);
    let max_dx =
        ops.op(MaxPoolGrad { window: window.clone(), input_sizes: fixed_sizes(&input_sizes) }, &[g, max[1]]);
    let mean = ops.op(AvgPool { window: window.clone() }, &[x]);
    let mean_dx = ops.op(AvgPoolGrad { window, input_sizes: fixed_sizes(&input_sizes) }, &[g]);
    ops.output("max", max[0])
        .output("max alone", alone)
        .output("max dx", max_dx)
        .output("mean", mean)
        .output("mean dx", mean_dx)
        .finish()
}

#[track_caller]
fn check(channels: usize, sizes: &[usize], window: &Window, batches: &[usize]) {
    Expectation::new(&graph(channels, sizes, window), batches, Values::Integers, Agreement::Exact)
        .check_variants(Mode::Inference, &format!("{channels} channels of {sizes:?}, {window:?}"));
}

#[test]
fn every_width_from_1_to_37() {
    for size in 1..=37 {
        check(2, &[size, size], &Window::square(2, 1 + size % 3, 1), &[1]);
        if size >= 3 {
            check(1, &[3, size], &Window::square(3, 3, 0), &[2]);
        }
    }
}

#[test]
fn every_number_of_channels() {
    for channels in [1, 3, 5, 16, 17, 33] {
        check(channels, &[6, 7], &Window::square(3, 2, 1), &[1, 2, 7]);
    }
}

/// Windows that cover their input without overlap, narrower and wider than the unrolled ones.
#[test]
fn windows_side_by_side() {
    for size in 1..=6 {
        for outputs in [1, 2, 3, 5, 8, 11, 17, 33] {
            check(2, &[size, size * outputs], &Window::square(size, size, 0), &[1]);
        }
        let line = Window {
            kernel_size: vec![size],
            stride: vec![size],
            padding: vec![0.into()],
            dilation: vec![1],
        };
        check(1, &[7 * size], &line, &[2]);
        let block = Window {
            kernel_size: vec![2, size, 3],
            stride: vec![2, size, 3],
            padding: vec![0.into(); 3],
            dilation: vec![1; 3],
        };
        check(2, &[4, 2 * size, 9], &block, &[2]);
    }
}

#[test]
fn whole_images() {
    for size in [1, 2, 4, 7, 13] {
        check(3, &[size, size], &Window::square(size, 1, 0), &[2]);
        check(3, &[size, size], &Window::square(size, size, size - 1), &[1]);
    }
}

/// Images with many channels, overlapping and other windows, with and without padding.
#[test]
fn images_of_many_channels() {
    let mut numbers = Numbers::new(5);
    for _ in 0..cases(30) {
        for channels in [8, 16, 17, 33, 70] {
            let axes = numbers.pick(&[1, 2, 2, 2]);
            let (sizes, mut window) = numbers.pooling_window(axes, [37, 37, 13][axes]);
            // In half of the cases, windows are adjacent.
            if numbers.below(2) == 0 {
                window.stride.clone_from(&window.kernel_size);
            }
            let batch = numbers.pick(&[1, 2, 7]);
            let what = format!("{channels} channels of {sizes:?}, {window:?}");
            Expectation::new(&graph(channels, &sizes, &window), &[batch], Values::Integers, Agreement::Exact)
                .check_some(Mode::Inference, &mut numbers, &what);
        }
    }
}

/// Windows that are too large for unrolled gradients, and images whose gradients have many work units.
#[test]
fn large_windows_and_large_images() {
    check(8, &[7, 7], &Window::square(7, 1, 0), &[2]);
    check(17, &[9, 8], &Window::square(5, 1, 2), &[1]);
    check(9, &[5, 14], &Window::square(13, 3, 6), &[2]);
    for (stride, padding) in [(1, 1), (2, 0), (2, 1), (5, 1)] {
        check(70, &[40, 41], &Window::square(3, stride, padding), &[1]);
    }
}

/// Images of one pixel, which have both layouts at once, before and after the pool.
#[test]
fn images_of_one_pixel() {
    for channels in [8, 16, 17] {
        check(channels, &[1, 1], &Window::square(2, 1, 1), &[2]);
        check(channels, &[1, 1], &Window::square(3, 2, 2), &[1]);
        check(channels, &[3, 3], &Window::square(3, 1, 0), &[2]);
    }
}

/// Argmax indices up to the largest that fits a byte, and larger ones.
#[test]
fn windows_of_many_places() {
    for channels in [3, 11] {
        for kernel_size in [[16, 16], [16, 17]] {
            let window = Window {
                kernel_size: kernel_size.to_vec(),
                stride: vec![3, 2],
                padding: vec![1.into(), 0.into()],
                dilation: vec![1, 1],
            };
            check(channels, &[21, 19], &window, &[1, 3]);
        }
    }
}

#[test]
fn mixed_shapes() {
    let mut numbers = Numbers::new(2);
    for _ in 0..80 {
        let axes = numbers.pick(&[1, 2, 2, 3]);
        let (sizes, window) = numbers.pooling_window(axes, [0, 40, 17, 7][axes]);
        let batch = numbers.pick(&[1, 2, 7]);
        check(1 + numbers.below(4), &sizes, &window, &[batch]);
    }
}
