windlass::network! {
    network Sizes(image: [16, 28, 28]) -> [32, 28, 28] {
        concat {
            { conv2d(16, kernel_size = 1) }
            { conv2d(16, kernel_size = 3); relu }
        }
    }

    network Ranks(image: [16, 28, 28]) -> [32] {
        concat {
            {}
            { global_avg_pool2d; flatten }
        };
        linear(32)
    }

    network One(image: [16, 28, 28]) -> [16, 28, 28] {
        concat { { relu } }
    }

    network Call(image: [16, 28, 28]) -> [16, 28, 28] {
        let skip = it;
        relu;
        concat(skip)
    }
}

fn main() {}
