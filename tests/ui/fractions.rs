//! Division is exact; an argument that must be an integer rejects a fraction.

windlass::network! {
    block same(channels, k) { conv2d(channels, kernel_size = k, padding = k / 2) }

    block half(n) { linear(n); repeat n * 2 { relu } }

    network A(image: [3, 8, 8]) -> [4, 8, 8] {
        same(4, 3);
        conv2d(8 / 3, kernel_size = 1);
    }

    network B(x: [7 / 2]) -> [8] {
        half(3 / 2); linear(8.0)
    }

    network C(x: [4]) -> [4] { dropout(3 / 2); linear(0.5); linear(1.5 % 2) }
}

fn main() {}
