windlass::network! {
    block nothing() {}

    network A(x: [4]) -> [4] {}

    network B() -> [4] { nothing; linear(4) }
}

fn main() {}
