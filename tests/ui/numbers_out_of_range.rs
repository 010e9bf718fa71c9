windlass::network! {
    network A(x: [4]) -> [4] {
        dropout(1.5);
        dropout(3 / 2 - 2);
        batch_norm(epsilon = 0);
        batch_norm(momentum = 2)
    }
}

fn main() {}
