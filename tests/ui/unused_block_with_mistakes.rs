windlass::network! {
    block never(n) { linera(n); conv2d(n, kernel_size = 0 - 1); linear(n, bias = 3) }
}

fn main() {}
