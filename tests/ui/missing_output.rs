windlass::network! {
    network A(x: [4]) { linear(10) }

    network B(x: [4]) -> (class: [10], size: [2]) {
        linear(10);
        clas = it;
    }

    network C(x: [4]) -> [10] {
        linear(10);
        class = it;
    }

    network D(x: [4]) -> (class: [10], size: [2]) {
        linear(10);
        class = it;
    }
}

fn main() {}
