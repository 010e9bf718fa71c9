windlass::network! {
    network A(image: [1, 0, 28]) -> [] { relu }

    network B(image: [8, 28, 28]) -> [10] {
        conv2d(0, kernel_size = 3);
        flatten; linear(10)
    }

    network C(image: [8, 28, 28]) -> [8, 28, 28] {
        conv2d(8, kernel_size = 0, padding = 1)
    }

    network D(image: [8, 28, 28]) -> [8, 28, 28] {
        max_pool2d(3, stride = (0, 1))
    }

    network E(image: [8, 28, 28]) -> [10] {
        flatten; linear(0)
    }
}

fn main() {}
