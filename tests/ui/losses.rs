//! Mistakes in the loss of a network.

windlass::network! {
    network Net(x: [4]) -> (class: [3], place: [2]) {
        let seen = it;
        linear(3); class = it;
        from(seen); linear(2); place = it;
    }
    loss(label: [] of index, corner: [2]) {
        cross_entropy(label)
    }

    network Shapes(x: [4]) -> [3] { linear(3) }
    loss(label: [2] of index, other: [4]) {
        cross_entropy(label);
        from(output); subtract(other)
    }

    network Kinds(x: [4]) -> [3] { linear(3) }
    loss(label: [3], probability: [3] of index) {
        cross_entropy(label);
        from(output); binary_cross_entropy(probability)
    }

    network Parameters(x: [4]) -> [3] { linear(3) }
    loss(target: [3]) { subtract(target); linear(1); square }

    network Unused(x: [4]) -> [3] { linear(3) }
    loss(target: [3], label: [] of index) { subtract(target); square }

    network Names(x: [4]) -> (y: [3]) { linear(3); y = it; }
    loss(y: [3], t: [T]) { subtract(target); square; z = it; }

    network Dropped(x: [4]) -> [3] { linear(3) }
    loss(target: [3]) { subtract(target); dropout(0.5); square }

    network Indices(x: [4]) -> [3] { linear(3) }
    loss(target: [] of index) { from(target) }

    network Targets(x: [4]) -> [3] { linear(3) }
    loss { square }

    network Elsewhere(x: [4]) -> [3] { linear(3); cross_entropy(x) }
}

fn main() {}
