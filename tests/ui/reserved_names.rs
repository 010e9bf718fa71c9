windlass::network! {
    block it() { relu }
    block add(n) { linear(n) }

    network A(it: [4]) -> [4] {
        let it = it;
        relu
    }
}

fn main() {}
