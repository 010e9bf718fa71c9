//! Mistakes that only other values of a network's parameters cause are reported where the values are given.

use windlass::network;

network! {
    block stage(channels) { conv2d(channels, kernel_size = 5); relu; max_pool2d(2) }

    network Stages<size = 32, classes = 10>(image: [3, size, size]) -> [classes] {
        s1: stage(8);
        s2: stage(16);
        flatten; linear(classes)
    }

    network Narrow = Stages<size = 12>;

    network Fraction = Stages<size = 33 / 2>;

    network Unknown = Stages<sise = 12, classes = 3, classes = 4>;

    network Flag = Stages<classes = true>;

    network Nothing = Stage;

    network Chain = Narrow<size = 32>;

    network NoValue = Stages<size>;

    network Positional = Stages<12>;

    network Narrow = Stages<size = 24>;

    network NoDefault<size>(image: [3, size, size]) -> [3] { global_avg_pool2d; flatten }

    network Unused<size = 4, other = 3>(image: [3, size, size]) -> [3] { global_avg_pool2d; flatten }

    network Divided<size = 4, steps = 8 / size>(x: [size]) -> [steps] { linear(steps) }

    network Zero = Divided<size = 0>;

    network Output<size = 4>(x: [size]) -> [size + 1] { linear(size) }
}

fn main() {
    println!("{:?} {:?} {:?}", Stages::graph(), Narrow::graph(), Nothing::graph());
}
