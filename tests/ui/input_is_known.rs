//! Quantities that a layer takes from its input are not written; other libraries have them as the first argument.

windlass::network! {
    network A(image: [3, 32, 32]) -> [10] {
        conv2d(3, 8, 3);
        batch_norm(8);
        conv2d(in_channels = 8, out_channels = 16, kernel_size = 3);
        conv2d(16, 32, 3, 2, 1);
        batch_norm(num_features = 32, momentum = 0.2);
        conv2d(8, 3, 2);
        flatten;
        linear(1568, 100);
        linear(in_features = 100, out_features = 50);
        linear(50, 10, bias = false)
    }

    block widen(from, to) { conv2d(from, to, 3) }

    network B(image: [4, 8, 8]) -> [8, 6, 6] {
        widen(4, 8); batch_norm(0.001)
    }
}

fn main() {}
