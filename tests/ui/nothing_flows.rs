windlass::network! {
    network Two(left: [4], right: [4]) -> [4] {
        linear(4);
        add(right)
    }

    network Unreached(left: [4], right: [4]) -> [4] {
        let a = left;
        let b = right;
        concat { a b };
        linear(4)
    }

    network Never(left: [4], right: [4]) -> [4] {
        let a = left;
    }
}

fn main() {}
