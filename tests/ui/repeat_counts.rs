windlass::network! {
    block twice() { repeat 2 { relu } }

    network A(x: [4]) -> [4] { repeat 1000000000000 { relu } }

    network B(x: [4]) -> [4] { repeat 100 { repeat 100 { twice } } }

    network C(x: [4]) -> [4] { repeat -1 { relu } }

    network D(x: [4]) -> [4] { repeat 1.5 { relu } }

    network E(x: [4]) -> [4] { repeat { relu } }

    network F(x: [4]) -> [4] { repeat 3 {} }

    network G(x: [4]) -> [4] { repeat(3) }
}

fn main() {}
