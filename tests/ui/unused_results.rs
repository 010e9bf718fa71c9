windlass::network! {
    network A(left: [4], right: [4]) -> [2] {
        from(left);
        let kept = it;
        linear(7); relu;
        from(kept);
        linear(2)
    }
}

fn main() {}
