use windlass::network;

fn main() {}

network! {
    block late(stride = 1, channels) { conv2d(channels, kernel_size = 1, stride = stride) }

    block unit(channels, activation = relu) { conv2d(channels, kernel_size = 1); activation }

    network Sizes(image: [3, 8, 8]) -> [3] {
        conv2d(it.depth, kernel_size = 1);
        conv2d(it.kernels, kernel_size = 1);
        conv2d(image.channels, kernel_size = 1);
        flatten;
        linear(it.channels)
    }

    network Conditions(image: [3, 8, 8]) -> [3, 8, 8] {
        if it.channels { relu }
        if 1 < 2 < 3 { relu }
        if it.channels == 3 { conv2d(0, kernel_size = 1) } else { unit(5) }
        unit(3, activation = 2);
        unit(3, activation = linear)
    }

    network Repeats(image: [3, 8, 8]) -> [3, 8, 8] {
        repeat i in 2 { relu }
        repeat it in 2 { relu }
        late(1, 3)
    }
}
