//! Arguments in the syntax of other languages are understood.

windlass::network! {
    network A(image: [3, 9, 9]) -> [8, 1, 1] {
        conv2d(16, kernel_size: 3);
        conv2d(8 kernel_size = 3 stride = 2);
        conv2d(8, kernel_size = 3; stride = 2);
    }

    network B(image: [3, 9, 9]) -> [10] {
        conv2d(16, kernel_size = 3, padding = "same");
        conv2d(16, kernel_size = (1, 5), padding = "SAME", dilation = 2);
        max_pool2d(2, padding = "same");
    }

    network C(image: [3, 9, 9]) -> [16, 7, 7] {
        conv2d(16, kernel_size = 3, padding = "valid", activation = "relu")
    }

    network D(image: [3, 9, 9]) -> [16, 9, 9] {
        conv2d(16.0, kernel_size = 3, padding = "same")
    }
}

fn main() {}
