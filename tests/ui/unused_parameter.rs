windlass::network! {
    block two(a, b) { linear(a) }

    network A(x: [4]) -> [10] { two(10, 3) }
}

fn main() {}
