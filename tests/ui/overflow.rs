windlass::network! {
    block cube(n) { linear(n * n * n) }
    block halves(n) { linear(n / (n - 4)) }

    network A(x: [4]) -> [10] {
        linear(99999999999999999999);
        cube(10000000);
        halves(4);
        linear(9000000000000000000 + 9000000000000000000);
        linear(2 - 7);
        linear(10)
    }

    network B(x: [2000000000, 3]) -> [10] { flatten; linear(10) }

    network C(x: [100000]) -> [100000] { linear(100000) }

    network D(image: [1, 4, 4]) -> [1, 4, 4] {
        conv2d(1, kernel_size = 3, padding = 9000000000000000000)
    }

    network E(image: [1024, 1024, 1024]) -> [4096, 1024, 1024] {
        conv2d(4096, kernel_size = 1)
    }
}

fn main() {}
