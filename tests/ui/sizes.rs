windlass::network! {
    network A(image: [1, 28, 28]) -> [10] {
        conv2d(6, kernel_size = (3, 3, 3));
        conv2d(6, kernel_size = 3, padding = -1);
        conv2d(6.5, kernel_size = 3);
        conv2d(6u32, kernel_size = 3);
        conv2d(CHANNELS, kernel_size = 3);
        conv2d("6", kernel_size = 3);
        flatten; linear(10)
    }
}

fn main() {}
