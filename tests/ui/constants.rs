//! The macro cannot read Rust constants, and shapes do not include the batch.

const K: usize = 3;
const CHANNELS: usize = 8;

windlass::network! {
    network A(image: [CHANNELS, 8, 8]) -> [10] { flatten; linear(10) }

    network B(image: [3, 8, 8]) -> [10] {
        conv2d(CHANNELS, kernel_size = K);
        conv2d(Self::WIDTH, kernel_size = usize::MAX);
        conv2d(width, kernel_size = 3);
        flatten; linear(10)
    }

    network Batch(x: [N, 4]) -> [batch_size, 10] { linear(10) }

    network Minus(x: [-1, 4]) -> [_, 10] { linear(10) }

    network Images(images: [64, 3, 32, 32]) -> [10] { conv2d(8, kernel_size = 3); flatten; linear(10) }

    network Outputs(x: [784]) -> [64, 10] { linear(10) }
}

fn main() {
    println!("{CHANNELS} {K}");
}
