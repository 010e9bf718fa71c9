windlass::network! {
    network A(image: [1, 28, 28]) -> [1, 28, 28] {
        max_pool2d(2, stride = 1, padding = 2)
    }
}

fn main() {}
