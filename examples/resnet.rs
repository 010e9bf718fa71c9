//! ResNet-18 on Fashion-MNIST (Dive into Deep Learning, section 8.6; He et al. 2016).
//!
//! Its blocks add their input to their result, so that deep networks can be trained. The images are enlarged to 112×112
//! pixels (the book takes 96×96), and the layers have a quarter of the book's channels, so that a run takes a minute or
//! two on two cores; multiply `width` by 4 for the book's.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example resnet
//! ```

mod classify;
mod failure;
mod picture;
mod repository;

use std::process::ExitCode;

use windlass::network;

network! {
    /// ResNet with 18 layers for grey images and ten classes.
    network ResNet(image: [1, 28, 28]) -> [10] { upsample2d(4, mode = linear); layers(16) }

    /// A stem, four stages of two blocks, and the mean of each channel.
    block layers(width) {
        stem: conv_norm(width, 7, 2); relu; max_pool2d(3, stride = 2, padding = 1);
        s1: stage(width, 1);
        s2: stage(2 * width, 2);
        s3: stage(4 * width, 2);
        s4: stage(8 * width, 2);
        global_avg_pool2d; flatten;
        f1: linear(10)
    }

    /// Two residual blocks, of which the first may halve the resolution.
    block stage(channels, stride) { r1: residual(channels, stride); r2: residual(channels, 1) }

    /// Two convolutions, and a shortcut around them that fits their result.
    block residual(channels, stride) {
        let input = it;
        c1: conv_norm(channels, 3, stride); relu;
        c2: conv_norm(channels, 3, 1);
        let main = it;
        from(input);
        if stride > 1 || channels != it.channels { shortcut: conv_norm(channels, 1, stride) }
        add(main); relu
    }

    /// A convolution without a bias, because its normalisation has one.
    block conv_norm(channels, kernel_size, stride) {
        conv: conv2d(channels, kernel_size = kernel_size, stride = stride, padding = (kernel_size - 1) / 2, bias = false);
        norm: batch_norm
    }
}

fn main() -> ExitCode {
    classify::main::<ResNet>(classify::Recipe { name: "resnet", epochs: 5, batch: 64, learning_rate: 0.005 })
}
