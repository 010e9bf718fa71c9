windlass::network! {
    block direct(n) { linear(n); direct(n) }

    block left(n) { linear(n); right(n) }
    block right(n) { relu; left(n) }

    network A(x: [4]) -> [4] {
        direct(4);
        left(4);
        linear(4)
    }
}

fn main() {}
