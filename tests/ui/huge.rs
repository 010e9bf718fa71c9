//! Sizes that exceed memory are rejected, without overflow.

windlass::network! {
    block cube(n) { linear(n * n * n) }

    network A(x: [4]) -> [4] { cube(10000000) }

    network B(x: [4]) -> [4] { linear(9223372036854775807) }

    network C(image: [3, 8, 8]) -> [4] {
        conv2d(8, kernel_size = 1099511627776)
    }

    network D(image: [3, 8, 8]) -> [4] {
        conv2d(8, kernel_size = (3, 1099511627776), dilation = 9223372036854775807)
    }

    network E(image: [3, 8, 8]) -> [4] {
        conv2d(8, kernel_size = (9, 3), padding = (0, 9223372036854775807))
    }

    network F(image: [3, 8, 8]) -> [4] {
        conv2d(9223372036854775807, kernel_size = 3, groups = 9223372036854775807)
    }

    network G(image: [3, 8, 8]) -> [3, 5, 5] {
        avg_pool2d(1073741824, stride = 1, padding = 536870912)
    }

    network H(image: [3, 8, 8]) -> [3, 1, 1] {
        max_pool2d(3, stride = 9223372036854775807)
    }

    network I(x: [4294967296, 4294967296]) -> [4] { flatten; linear(4) }

    network J(x: [4]) -> [4] { linear(1 << 40) }

    network L(x: [4]) -> [4] { linear(-(0 - 9223372036854775807 - 1)) }
}

fn main() {}
