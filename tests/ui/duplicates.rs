windlass::network! {
    block a() { relu }
    block a() { tanh }
    block linear() { tanh }
    block pair(n, n) { linear(n) }

    network A(x: [4], x: [4]) -> [4] {
        from(x);
        f: linear(4); a;
        f: linear(4);
        pair(4, 4)
    }

    network A(x: [4]) -> [4] { relu }

    network C(output: [4]) -> [4] { relu }

    network B(x: [4]) -> (y: [4], y: [4], x: [4]) { y = it; y = it; }
}

fn main() {}
