windlass::network! {
    block head() { linear(10); class = it; }

    network A(x: [4]) -> (class: [10]) {
        head;
        class = it;
    }
}

fn main() {}
