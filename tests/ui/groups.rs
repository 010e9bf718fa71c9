windlass::network! {
    network A(image: [32, 28, 28]) -> [10] {
        conv2d(16, kernel_size = 3, groups = 5);
        conv2d(32, kernel_size = 3);
        conv2d(30, kernel_size = 3, groups = 4);
        global_avg_pool2d; flatten; linear(10)
    }
}

fn main() {}
