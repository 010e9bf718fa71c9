//! Layers where only values are allowed, and nested layers, with the likely meaning.

windlass::network! {
    block wide(n) { linear(n) }

    network Output(image: [3, 4, 4]) -> [10] {
        flatten; f1 = linear(20); relu(f2: linear(10));
    }

    network Let(image: [3, 4, 4]) -> [10] {
        let flat = flatten();
        let h = linear(10);
        add(h)
    }

    network Nested(image: [3, 4, 4]) -> [10] {
        softmax(linear(10, bias = false, relu(flatten())))
    }

    network Blocks(x: [4]) -> (y: [10]) {
        relu(wide(10)); y = wide(10);
    }

    network Sums(x: [4]) -> (y: [4]) {
        let a = it;
        relu;
        y = a + it;
    }

    network Bare(x: [4]) -> (y: [4]) { y = relu; }
}

fn main() {}
