//! Syntax that would have no effect.

windlass::network! {
    block unused(n) { linear(n) }

    block _kept_for_later(n) { linear(n) }

    network A(x: [4]) -> [4] { relu }
}

windlass::network! {
    block times(n) { repeat n { relu } }

    network B(x: [4]) -> [4] {
        it: relu;
        repeat 0 { linear(5) }
        times(0)
    }
}

fn main() {}
