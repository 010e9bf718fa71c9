windlass::network! {
    network A(image: [1, 28, 28]) -> [10] {
        repeat 5 { conv2d(8, kernel_size = 3); max_pool2d(2) }
        flatten; linear(10)
    }
}

fn main() {}
