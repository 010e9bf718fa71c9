windlass::network! {
    /// The errors of one network do not hide those of another.
    network LeNet(image: [1, 28, 28]) -> [10] {
        c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
        c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
        f5: linear(120); sigmoid;
        f6: linear(84); sigmoid;
        linear(10)
    }

    network Late(image: [1, 28, 28]) -> [6, 24, 24] {
        flatten;
        conv2d(6, kernel_size = 5)
    }
}

fn main() {}
