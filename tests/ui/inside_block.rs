windlass::network! {
    block inception(c1, (c2a, c2b), c4) {
        concat {
            { conv2d(c1, kernel_size = 1); relu }
            { conv2d(c2a, kernel_size = 1); relu; conv2d(c2b, kernel_size = 3); relu }
            { max_pool2d(3, stride = 1, padding = 1); conv2d(c4, kernel_size = 1); relu }
        }
    }

    block stage(width) {
        inception(width, (width, width), width)
    }

    network A(image: [192, 28, 28]) -> [10] {
        inc3a: inception(64, (96, 128), 32);
        inc3b: inception(64, (96, 128), 32);
        global_avg_pool2d; flatten; linear(10)
    }

    network B(image: [192, 28, 28]) -> [10] {
        stage(64);
        global_avg_pool2d; flatten; linear(10)
    }
}

fn main() {}
