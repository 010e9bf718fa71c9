windlass::network! {
    block widen(channels) { conv2d(chanels * 2, kernel_size = 1); conv2d(width, kernel_size = 1) }

    network A(image: [8, 4, 4]) -> [10] {
        let skip = it;
        widen(4);
        add(skp);
        from(start);
        skip;
        add("x");
        flatten; linear(10)
    }
}

fn main() {}
