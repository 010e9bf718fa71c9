//! Layers with arguments as arguments of blocks.

windlass::network! {
    block unit(channels, activation) { conv2d(channels, kernel_size = 1); activation }

    block scaled(activation) { activation(slope = 0.3) }

    network A(image: [3, 8, 8]) -> [3, 8, 8] {
        unit(3, leaky_relu(0.1));
        unit(3, leaky_relu(slope = -1));
        unit(3, conv2d);
        unit(3, linear(4));
        unit(3, leeky_relu(slope = 0.1));
        scaled(leaky_relu(slope = 0.2));
        scaled(leaky_relu)
    }
}

fn main() {}
