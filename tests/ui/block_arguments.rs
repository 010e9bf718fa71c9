windlass::network! {
    block paths(a, (b, c)) {
        concat { { conv2d(a, kernel_size = 1) } { conv2d(b, kernel_size = 1); conv2d(c, kernel_size = 1) } }
    }

    network A(image: [1, 4, 4]) -> [10] {
        paths(1);
        paths(1, 2);
        paths(1, (2, 3), 4);
        paths((1, 2), (3, 4));
        paths(1, (2, 3, 4));
        paths(d = 1, (2, 3));
        flatten; linear(10)
    }
}

fn main() {}
