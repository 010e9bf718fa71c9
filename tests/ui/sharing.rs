//! Layers that cannot share their parameters.

windlass::network! {
    block tower(features) { c: conv2d(4, kernel_size = 3); flatten; f: linear(features) }

    network Channels(image: [3, 8, 8]) -> [2, 8, 8] {
        c1: conv2d(2, kernel_size = 3, padding = 1); relu;
        share(c1)
    }

    network Inside(left: [3, 8, 8], right: [3, 9, 9]) -> [5] {
        from(left); seen: tower(5);
        let a = it;
        from(right); share(seen);
        add(a)
    }

    network Names(image: [3, 8, 8]) -> [3, 8, 8] {
        act: relu;
        share(act);
        share(c1);
        c1: conv2d(3, kernel_size = 3, padding = 1);
        share(c2);
        share(c1, c1);
        share(3);
        stage: repeat 2 { share(c1) }
        share(stage)
    }
}

fn main() {}
