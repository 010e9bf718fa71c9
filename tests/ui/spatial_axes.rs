//! Convolution along an open axis: what would shorten sequences to nothing, or needs to know their length, is an error.

windlass::network! {
    network Shorter(signal: [4, T]) -> [8, T - 2] { conv1d(8, kernel_size = 3) }

    network Strided(signal: [4, T]) -> [8, T] { conv1d(8, kernel_size = 2, stride = 2) }

    network Grouped(signal: [4, T]) -> [6, T] { conv1d(6, kernel_size = 3, padding = 1, groups = 3) }

    network Pooled(signal: [4, T]) -> [4, T] { max_pool1d(2) }

    network Flat(signal: [4, 8]) -> [8, 8] { conv2d(8, kernel_size = 3, padding = 1) }

    network Pair(volume: [4, 8, 8, 8]) -> [8, 8, 8, 8] { conv3d(8, kernel_size = (3, 3), padding = 1) }

    network Same(signal: [4, 8]) -> [8, 8] { conv1d(8, kernel_size = 3, padding = "same") }
}

fn main() {}
