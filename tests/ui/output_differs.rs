windlass::network! {
    network Vector(x: [4]) -> [10] {
        linear(12)
    }

    network Image(image: [3, 32, 32]) -> [16, 32, 32] {
        conv2d(16, kernel_size = 3)
    }

    network Two(x: [4]) -> (class: [10], size: [2]) {
        let features = it;
        linear(10); class = it;
        from(features); linear(3); size = it;
    }
}

fn main() {}
