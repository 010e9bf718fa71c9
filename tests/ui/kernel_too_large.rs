windlass::network! {
    network A(image: [1, 28, 28]) -> [10] {
        conv2d(6, kernel_size = 5); max_pool2d(2); max_pool2d(2);
        conv2d(16, kernel_size = (9, 5), padding = 1);
        flatten; linear(10)
    }
}

fn main() {}
