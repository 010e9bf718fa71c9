windlass::network! {
    network Channels(image: [16, 28, 28]) -> [32, 28, 28] {
        let skip = it;
        conv2d(32, kernel_size = 3, padding = 1);
        add(skip)
    }

    network Stride(image: [16, 28, 28]) -> [32, 14, 14] {
        let skip = it;
        conv2d(32, kernel_size = 3, stride = 2, padding = 1);
        add(skip)
    }

    network Vectors(x: [16]) -> [32] {
        let skip = it;
        linear(32);
        add(skip)
    }
}

fn main() {}
