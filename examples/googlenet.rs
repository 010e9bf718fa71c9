//! GoogLeNet on Fashion-MNIST (Dive into Deep Learning, section 8.4; Szegedy et al. 2015).
//!
//! Its inception blocks have four parallel paths, concatenated along the channels. The images are enlarged to 112×112
//! pixels (the book takes 96×96), and the layers have a quarter of the book's channels, so that a run takes a minute or
//! two on two cores; write 4 in place of 1 for the book's.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example googlenet
//! ```

mod classify;
mod failure;
mod picture;
mod repository;

use std::process::ExitCode;

use windlass::network;

network! {
    /// GoogLeNet for grey images and ten classes.
    network GoogLeNet(image: [1, 28, 28]) -> [10] { upsample2d(4, mode = linear); layers(1) }

    /// A stem, nine inception blocks, and the mean of each channel. All channels are multiples of `width`.
    block layers(width) {
        c1: conv(16 * width, 7, stride = 2); max_pool2d(3, stride = 2, padding = 1);
        c2: conv(16 * width, 1);
        c3: conv(48 * width, 3); max_pool2d(3, stride = 2, padding = 1);
        i3a: inception(16 * width, (24 * width, 32 * width), (4 * width, 8 * width), 8 * width);
        i3b: inception(32 * width, (32 * width, 48 * width), (8 * width, 24 * width), 16 * width);
        max_pool2d(3, stride = 2, padding = 1);
        i4a: inception(48 * width, (24 * width, 52 * width), (4 * width, 12 * width), 16 * width);
        i4b: inception(40 * width, (28 * width, 56 * width), (6 * width, 16 * width), 16 * width);
        i4c: inception(32 * width, (32 * width, 64 * width), (6 * width, 16 * width), 16 * width);
        i4d: inception(28 * width, (36 * width, 72 * width), (8 * width, 16 * width), 16 * width);
        i4e: inception(64 * width, (40 * width, 80 * width), (8 * width, 32 * width), 32 * width);
        max_pool2d(3, stride = 2, padding = 1);
        i5a: inception(64 * width, (40 * width, 80 * width), (8 * width, 32 * width), 32 * width);
        i5b: inception(96 * width, (48 * width, 96 * width), (12 * width, 32 * width), 32 * width);
        global_avg_pool2d; flatten;
        f1: linear(10)
    }

    /// Four parallel paths, concatenated along channels.
    block inception(c1, (c2a, c2b), (c3a, c3b), c4) {
        concat {
            { p1: conv(c1, 1) }
            { p2a: conv(c2a, 1); p2b: conv(c2b, 3) }
            { p3a: conv(c3a, 1); p3b: conv(c3b, 5) }
            { max_pool2d(3, stride = 1, padding = 1); p4: conv(c4, 1) }
        }
    }

    /// A convolution that keeps the size, or divides it by the stride.
    block conv(channels, kernel_size, stride = 1) {
        conv2d(
            channels, kernel_size = kernel_size, stride = stride, padding = (kernel_size - 1) / 2,
            init = kaiming_normal
        );
        relu
    }
}

fn main() -> ExitCode {
    classify::main::<GoogLeNet>(classify::Recipe {
        name: "googlenet",
        epochs: 5,
        batch: 64,
        learning_rate: 0.003,
    })
}
